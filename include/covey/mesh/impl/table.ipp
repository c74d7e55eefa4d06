#pragma once

#include <covey/core/hash.hpp>
#include <covey/mesh/table.hpp>

#include <algorithm>

namespace covey::mesh {

COVEY_INLINE std::uint64_t table::digest_of(const member& m) noexcept { return hash_combine(mix64(m.id().value), m.epoch()); }

COVEY_INLINE const member* table::find(peer_id id) const noexcept {
    const auto it = m_entries.find(id);
    return it == m_entries.end() ? nullptr : &it->second.record;
}

COVEY_INLINE peer_id table::at_address(const endpoint& address) const noexcept {
    const auto it = m_addresses.find(address);
    return it == m_addresses.end() ? peer_id{} : it->second;
}

COVEY_INLINE void table::unlink(peer_id id, const entry& e) {
    if (e.record.is_live()) {
        const auto at = std::find(m_order.begin(), m_order.end(), id);
        if (static_cast<std::size_t>(at - m_order.begin()) < m_cursor) --m_cursor;
        m_order.erase(at);
        const auto owner = m_addresses.find(e.record.address());
        if (owner != m_addresses.end() && owner->second == id) m_addresses.erase(owner);
        m_digest ^= digest_of(e.record);
    } else {
        m_tombstones.erase({e.changed, id});
        if (e.worth_retrying) m_retry.erase(std::find(m_retry.begin(), m_retry.end(), id));
    }
}

COVEY_INLINE void table::link(peer_id id, const entry& e, random_source& random) {
    if (e.record.is_live()) {
        const auto at = static_cast<std::size_t>(random.below(m_order.size() + 1));
        // Before the cursor it waits for the next round, like one that was just probed.
        if (at < m_cursor) ++m_cursor;
        m_order.insert(m_order.begin() + static_cast<std::ptrdiff_t>(at), id);
        m_addresses[e.record.address()] = id;
        m_digest ^= digest_of(e.record);
    } else {
        m_tombstones.insert({e.changed, id});
        if (e.worth_retrying) m_retry.push_back(id);
    }
}

COVEY_INLINE void table::put(time_point now, const member& record, random_source& random) {
    ++m_number;
    const peer_id id = record.id();
    const auto it = m_entries.find(id);
    if (it == m_entries.end()) {
        entry& e = m_entries[id];
        e.record = record;
        e.changed = now;
        e.has_address = record.address().port != 0;
        e.worth_retrying = e.has_address && record.state() == member_state::dead;
        link(id, e, random);
        return;
    }
    entry& e = it->second;
    const bool state_changes = e.record.state() != record.state();
    const bool stays_live = e.record.is_live() && record.is_live();
    if (stays_live) {
        // Its place in the probe order stays.
        m_digest ^= digest_of(e.record) ^ digest_of(record);
        if (record.address() != e.record.address()) {
            const auto owner = m_addresses.find(e.record.address());
            if (owner != m_addresses.end() && owner->second == id) m_addresses.erase(owner);
            m_addresses[record.address()] = id;
        }
        e.record = record;
        if (state_changes) e.changed = now;
        return;
    }
    unlink(id, e);
    if (record.address().port != 0) {
        e.record = record;
        e.has_address = true;
    } else {
        // Hearsay: what we know about the peer itself is worth keeping.
        e.record.m_info.epoch = record.epoch();
        e.record.m_info.incarnation = record.incarnation();
        e.record.m_state = record.state();
    }
    e.worth_retrying = e.has_address && e.record.state() == member_state::dead;
    if (state_changes) e.changed = now;
    link(id, e, random);
}

COVEY_INLINE void table::set_state(time_point now, peer_id id, member_state state, random_source& random) {
    const auto it = m_entries.find(id);
    if (it == m_entries.end()) return;
    member changed = it->second.record;
    changed.m_state = state;
    put(now, changed, random);
}

COVEY_INLINE void table::give_up(peer_id id) {
    const auto it = m_entries.find(id);
    if (it == m_entries.end() || !it->second.worth_retrying) return;
    it->second.worth_retrying = false;
    m_retry.erase(std::find(m_retry.begin(), m_retry.end(), id));
}

COVEY_INLINE void table::bury_oldest() {
    if (m_tombstones.empty()) return;
    const peer_id id = m_tombstones.begin()->second;
    unlink(id, m_entries.at(id));
    m_entries.erase(id);
    ++m_number;
}

COVEY_INLINE void table::bury_before(time_point limit) {
    while (!m_tombstones.empty() && m_tombstones.begin()->first < limit) bury_oldest();
}

COVEY_INLINE peer_id table::next_to_probe(random_source& random) {
    if (m_order.empty()) return {};
    if (m_cursor >= m_order.size()) {
        random.shuffle(std::span(m_order));
        m_cursor = 0;
    }
    return m_order[m_cursor++];
}

COVEY_INLINE std::vector<peer_id> table::pick(std::size_t count, peer_id except, random_source& random) const {
    std::vector<peer_id> chosen;
    if (m_order.empty()) return chosen;
    if (count + 1 >= m_order.size()) {
        // Nearly everybody: choosing at random would miss some.
        for (const peer_id id : m_order) {
            if (id != except) chosen.push_back(id);
        }
        random.shuffle(std::span(chosen));
        if (chosen.size() > count) chosen.resize(count);
        return chosen;
    }
    for (std::size_t tries = 0; chosen.size() < count && tries < 4 * count + 4; ++tries) {
        const peer_id id = m_order[static_cast<std::size_t>(random.below(m_order.size()))];
        if (id != except && std::find(chosen.begin(), chosen.end(), id) == chosen.end()) chosen.push_back(id);
    }
    return chosen;
}

COVEY_INLINE peer_id table::pick_dead(random_source& random) const {
    if (m_retry.empty()) return {};
    return m_retry[static_cast<std::size_t>(random.below(m_retry.size()))];
}

COVEY_INLINE peer_id table::pick_recently_dead(time_point since, random_source& random) const {
    if (m_retry.empty()) return {};
    const std::size_t newest = std::min<std::size_t>(m_retry.size(), 8);
    const peer_id id = m_retry[m_retry.size() - 1 - static_cast<std::size_t>(random.below(newest))];
    return m_entries.at(id).changed >= since ? id : peer_id{};
}

}  // namespace covey::mesh
