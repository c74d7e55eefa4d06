#pragma once

#include <covey/core/hash.hpp>
#include <covey/mesh/table.hpp>

#include <algorithm>
#include <cstring>

namespace covey::mesh {

namespace detail {

inline std::uint64_t key_of(const endpoint& e) noexcept {
    std::uint64_t high = 0, low = 0;
    std::memcpy(&high, e.address.data(), 8);
    std::memcpy(&low, e.address.data() + 8, 8);
    return hash_combine(high, low) + e.port;
}

}  // namespace detail

COVEY_INLINE std::uint64_t table::digest_of(const member& m) noexcept { return hash_combine(mix64(m.id().value), m.epoch()); }

COVEY_INLINE std::uint32_t table::slot_of(peer_id id) const noexcept {
    return m_by_id.find(m_by_id.hash(id.value), [&](std::uint32_t r) { return m_rows[r].id() == id; });
}

COVEY_INLINE std::uint32_t table::slot_at(const endpoint& address) const noexcept {
    return m_by_address.find(m_by_address.hash(detail::key_of(address)), [&](std::uint32_t r) { return m_rows[r].address() == address; });
}

COVEY_INLINE const table::row* table::find(peer_id id) const noexcept {
    const std::uint32_t slot = slot_of(id);
    return slot == none ? nullptr : &m_rows[slot];
}

COVEY_INLINE peer_id table::at_address(const endpoint& address) const noexcept {
    const std::uint32_t slot = slot_at(address);
    return slot == none ? peer_id{} : m_rows[slot].id();
}

COVEY_INLINE std::vector<member> table::live_members() const {
    std::vector<member> live;
    live.reserve(m_order.size());
    for (const std::uint32_t slot : m_order) live.push_back(m_rows[slot]);
    std::sort(live.begin(), live.end(), [](const member& a, const member& b) { return a.id() < b.id(); });
    return live;
}

COVEY_INLINE void table::set_address_owner(std::uint32_t slot) {
    const auto hash_of = [this](std::uint32_t r) { return m_by_address.hash(detail::key_of(m_rows[r].address())); };
    const std::uint32_t before = slot_at(m_rows[slot].address());
    if (before == slot) return;
    if (before != none) m_by_address.erase(before, hash_of);
    m_by_address.insert(slot, hash_of);
}

COVEY_INLINE void table::drop_address(std::uint32_t slot) {
    if (slot_at(m_rows[slot].address()) != slot) return;
    m_by_address.erase(slot, [this](std::uint32_t r) { return m_by_address.hash(detail::key_of(m_rows[r].address())); });
}

COVEY_INLINE void table::swap_in_order(std::size_t a, std::size_t b) {
    std::swap(m_order[a], m_order[b]);
    m_rows[m_order[a]].place = static_cast<std::uint32_t>(a);
    m_rows[m_order[b]].place = static_cast<std::uint32_t>(b);
}

/// Into the orders and sums, as its state says.
COVEY_INLINE void table::enter(std::uint32_t slot, random_source& random) {
    row& r = m_rows[slot];
    if (!r.is_live()) {
        m_tombstones.insert({r.changed, r.id()});
        if (!r.worth_retrying) return;
        r.place = static_cast<std::uint32_t>(m_retry.size());
        m_retry.push_back(slot);
        return;
    }
    // Before the cursor it waits for the next round, like one that was just probed.
    auto at = static_cast<std::size_t>(random.below(m_order.size() + 1));
    m_order.push_back(slot);
    r.place = static_cast<std::uint32_t>(m_order.size() - 1);
    if (at < m_cursor) {
        swap_in_order(m_cursor, m_order.size() - 1);
        at = m_cursor++;
    } else {
        swap_in_order(at, m_order.size() - 1);
    }
    m_digest ^= digest_of(r);
    set_address_owner(slot);
    if (m_successor && r.id().value - m_self.value < m_successor.value - m_self.value) m_successor = r.id();
}

COVEY_INLINE void table::take_out(std::uint32_t slot) {
    const row& r = m_rows[slot];
    if (!r.is_live()) {
        m_tombstones.erase({r.changed, r.id()});
        if (!r.worth_retrying) return;
        m_retry[r.place] = m_retry.back();
        m_rows[m_retry[r.place]].place = r.place;
        m_retry.pop_back();
        return;
    }
    std::size_t hole = r.place;
    if (hole < m_cursor) {
        swap_in_order(hole, --m_cursor);
        hole = m_cursor;
    }
    swap_in_order(hole, m_order.size() - 1);
    m_order.pop_back();
    m_digest ^= digest_of(r);
    drop_address(slot);
    if (m_successor == r.id()) m_successor = {};
}

COVEY_INLINE void table::put(time_point now, const member& m, random_source& random) {
    ++m_number;
    std::uint32_t slot = slot_of(m.id());
    if (slot == none) {
        // Half as much again, not twice: there are many tables in one process when a large mesh is simulated.
        if (m_rows.size() == m_rows.capacity()) m_rows.reserve(m_rows.size() + m_rows.size() / 2 + 4);
        slot = static_cast<std::uint32_t>(m_rows.size());
        row& r = m_rows.emplace_back();
        static_cast<member&>(r) = m;
        r.changed = now;
        r.worth_retrying = m.is_described() && m.state() == member_state::dead;
        m_by_id.insert(slot, [this](std::uint32_t i) { return m_by_id.hash(m_rows[i].id().value); });
        return enter(slot, random);
    }
    row& r = m_rows[slot];
    const bool state_changes = r.state() != m.state();
    const bool stays_live = r.is_live() && m.is_live();
    const bool moves = m.is_described() && m.shared_record() != r.shared_record();
    if (stays_live) {
        // Its place in the probe order stays.
        m_digest ^= digest_of(r);
        if (moves) drop_address(slot);
    } else {
        take_out(slot);
    }
    // Hearsay brings no description: what we know about the peer itself is worth keeping.
    if (moves) r.m_record = m.m_record;
    r.m_epoch = m.m_epoch;
    r.m_incarnation = m.m_incarnation;
    r.m_state = m.m_state;
    if (stays_live) {
        m_digest ^= digest_of(r);
        if (moves) set_address_owner(slot);
        if (state_changes) r.changed = now;
        return;
    }
    r.worth_retrying = r.is_described() && r.state() == member_state::dead;
    if (state_changes) r.changed = now;
    enter(slot, random);
}

COVEY_INLINE void table::set_state(time_point now, peer_id id, member_state state, random_source& random) {
    const row* r = find(id);
    if (r == nullptr) return;
    member changed = *r;
    changed.m_state = state;
    put(now, changed, random);
}

COVEY_INLINE bool table::mark(peer_id id, std::uint8_t flag, bool on) {
    const std::uint32_t slot = slot_of(id);
    if (slot == none) return false;
    std::uint8_t& flags = m_rows[slot].m_flags;
    const auto marked = static_cast<std::uint8_t>(on ? flags | flag : flags & ~flag);
    if (marked == flags) return false;
    flags = marked;
    ++m_number;
    return true;
}

COVEY_INLINE bool table::set_load(peer_id id, load now, std::uint16_t version) {
    const std::uint32_t slot = slot_of(id);
    if (slot == none || !m_rows[slot].is_live()) return false;
    row& r = m_rows[slot];
    if (static_cast<std::int16_t>(version - r.load_version) <= 0) return false;
    r.load_version = version;
    r.m_load = now.packed();
    return true;
}

COVEY_INLINE void table::give_up(peer_id id) {
    const std::uint32_t slot = slot_of(id);
    if (slot == none || !m_rows[slot].worth_retrying) return;
    row& r = m_rows[slot];
    m_retry[r.place] = m_retry.back();
    m_rows[m_retry[r.place]].place = r.place;
    m_retry.pop_back();
    r.worth_retrying = false;
}

/// The last row moves into its slot.
COVEY_INLINE void table::erase(std::uint32_t slot) {
    take_out(slot);
    m_by_id.erase(slot, [this](std::uint32_t i) { return m_by_id.hash(m_rows[i].id().value); });
    const auto last = static_cast<std::uint32_t>(m_rows.size() - 1);
    if (slot != last) {
        const row& moving = m_rows[last];
        if (moving.is_live()) {
            m_order[moving.place] = slot;
            if (slot_at(moving.address()) == last) {
                m_by_address.renumber(last, slot, m_by_address.hash(detail::key_of(moving.address())));
            }
        } else if (moving.worth_retrying) {
            m_retry[moving.place] = slot;
        }
        m_by_id.renumber(last, slot, m_by_id.hash(moving.id().value));
        m_rows[slot] = std::move(m_rows[last]);
    }
    m_rows.pop_back();
    ++m_number;
}

COVEY_INLINE void table::bury_oldest() {
    if (!m_tombstones.empty()) erase(slot_of(m_tombstones.begin()->second));
}

COVEY_INLINE void table::bury_before(time_point limit) {
    while (!m_tombstones.empty() && m_tombstones.begin()->first < limit) bury_oldest();
}

COVEY_INLINE void table::forget_dead() {
    const std::set<std::pair<time_point, peer_id>> tombstones = m_tombstones;
    for (const auto& [when, id] : tombstones) {
        const std::uint32_t slot = slot_of(id);
        if (m_rows[slot].state() == member_state::dead) erase(slot);
    }
}

COVEY_INLINE peer_id table::next_to_probe(random_source& random) {
    if (m_order.empty()) return {};
    if (m_cursor >= m_order.size()) {
        random.shuffle(std::span(m_order));
        for (std::size_t i = 0; i < m_order.size(); ++i) m_rows[m_order[i]].place = static_cast<std::uint32_t>(i);
        m_cursor = 0;
    }
    return m_rows[m_order[m_cursor++]].id();
}

COVEY_INLINE peer_id table::successor() const noexcept {
    if (m_successor || m_order.empty()) return m_successor;
    std::uint64_t nearest = 0;
    for (const std::uint32_t slot : m_order) {
        const std::uint64_t distance = m_rows[slot].id().value - m_self.value;
        if (m_successor && distance >= nearest) continue;
        nearest = distance;
        m_successor = m_rows[slot].id();
    }
    return m_successor;
}

COVEY_INLINE std::vector<peer_id> table::pick(std::size_t count, peer_id except, random_source& random) const {
    std::vector<peer_id> chosen;
    if (m_order.empty()) return chosen;
    if (count + 1 >= m_order.size()) {
        // Nearly everybody: choosing at random would miss some.
        for (const std::uint32_t slot : m_order) {
            if (m_rows[slot].id() != except) chosen.push_back(m_rows[slot].id());
        }
        random.shuffle(std::span(chosen));
        if (chosen.size() > count) chosen.resize(count);
        return chosen;
    }
    chosen.reserve(count);
    for (std::size_t tries = 0; chosen.size() < count && tries < 4 * count + 4; ++tries) {
        const peer_id id = m_rows[m_order[static_cast<std::size_t>(random.below(m_order.size()))]].id();
        if (id != except && std::find(chosen.begin(), chosen.end(), id) == chosen.end()) chosen.push_back(id);
    }
    return chosen;
}

COVEY_INLINE peer_id table::pick_dead(random_source& random) const {
    if (m_retry.empty()) return {};
    return m_rows[m_retry[static_cast<std::size_t>(random.below(m_retry.size()))]].id();
}

COVEY_INLINE peer_id table::pick_recently_dead(time_point since, random_source& random) const {
    peer_id newest[8];
    std::size_t found = 0, seen = 0;
    for (auto it = m_tombstones.rbegin(); it != m_tombstones.rend() && it->first >= since && seen < 16 && found < 8; ++it, ++seen) {
        if (find(it->second)->worth_retrying) newest[found++] = it->second;
    }
    return found == 0 ? peer_id{} : newest[static_cast<std::size_t>(random.below(found))];
}

COVEY_INLINE std::size_t table::died_since(time_point since) const noexcept {
    std::size_t count = 0;
    for (const std::uint32_t slot : m_retry) count += m_rows[slot].changed >= since;
    return count;
}

}  // namespace covey::mesh
