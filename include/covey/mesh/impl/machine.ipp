#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/machine.hpp>
#include <covey/mesh/seal.hpp>
#include <covey/mesh/settings.hpp>

#include <algorithm>
#include <bit>

namespace covey::mesh {

namespace detail {

inline const config& checked(const config& c) {
    check(c);
    return c;
}

/// Of a whole number, rounded up: the digits of n, for n >= 1 exact powers of ten excepted.
inline unsigned ceil_log10(std::size_t n) noexcept {
    unsigned digits = 0;
    for (std::size_t power = 1; power < n; power *= 10) ++digits;
    return std::max(digits, 1u);
}

}  // namespace detail

COVEY_INLINE machine::machine(const config& how, member_info self, const cluster_id& cluster, std::uint64_t seed,
                              std::shared_ptr<record_pool> records)
    : m_config(detail::checked(how)),
      m_cluster(cluster),
      m_self(std::move(self)),
      m_random(hash_combine(seed, m_self.id.value)),
      m_records(std::move(records)),
      m_table(m_self.id, m_random.next()),
      m_broadcasts(how.broadcasts_max),
      m_prober(static_cast<std::uint32_t>(m_random.next()), how.health_max),
      m_flaps(how.mark_half_life),
      m_refuted(how.mark_half_life) {
    member_info addressed = m_self;
    addressed.address = endpoint::v4(127, 0, 0, 1, 1);
    if (const char* why = fault(addressed))
        throw error(errc::bad_argument, covey::detail::concat({"this peer's own record: ", why}), m_self.id);
}

COVEY_INLINE void machine::start(time_point now) {
    if (m_started) return;
    if (m_self.address.port == 0 || m_self.address.is_unspecified()) {
        throw error(errc::bad_address,
                    covey::detail::concat({"this peer would tell others to reach it at ", to_string(m_self.address),
                                           ", which is no address they can send to; give the address of one interface"}),
                    m_self.id);
    }
    m_self_record = std::make_shared<const record>(m_self);
    if (m_records != nullptr) m_self_record = m_records->decode(m_self_record->encoded());
    m_started = true;
    m_lineage = mix64(m_self.id.value);
    // A random phase each, so that peers started together do not act together.
    const auto phase = [&](duration d) {
        return after(now, duration(static_cast<std::int64_t>(m_random.below(static_cast<std::uint64_t>(d.count())))));
    };
    m_next_probe = is_observer() ? never : phase(m_config.probe_interval);
    m_next_gossip = phase(m_config.gossip_interval);
    m_next_push_pull = after(phase(m_config.push_pull_interval), m_config.push_pull_interval / 2);
    m_next_dead_retry = is_observer() ? never : phase(m_config.dead_retry);
    m_reply_tokens = m_config.exchange_bytes_per_second;
    m_reply_refilled = now;
    ++m_self_changes;
    broadcast(m_self.id, {});
}

COVEY_INLINE void machine::describe(time_point, description what) {
    what.address = m_self.address;
    what.bulk = m_self.bulk;
    what.role = m_self.role;
    if (m_started) {
        m_self_record = std::make_shared<const record>(what);
    } else if (what.address.port != 0 && fault(what) != nullptr) {
        throw error(errc::bad_argument, covey::detail::concat({"this peer's own record: ", fault(what)}), m_self.id);
    }
    static_cast<description&>(m_self) = std::move(what);
    if (!m_started || m_leaving) return;
    ++m_self.incarnation;
    ++m_self_changes;
    broadcast(m_self.id, {});
}

COVEY_INLINE member machine::self_member() const {
    const member_state state = m_left || m_leaving ? member_state::left : member_state::alive;
    return {m_self.id, m_self.epoch, m_self.incarnation, m_self_record, state, m_load_wanted};
}

COVEY_INLINE std::optional<output> machine::next_output() {
    if (m_outputs.empty()) return std::nullopt;
    std::optional<output> o(std::move(m_outputs.front()));
    m_outputs.pop_front();
    return o;
}

COVEY_INLINE void machine::emit(output&& o) {
    // Events are never dropped: they are at most as many as one message has records, and whoever calls drains each time.
    const bool droppable = std::holds_alternative<send_datagram>(o) || std::holds_alternative<note>(o);
    if (droppable && m_outputs.size() >= m_config.outputs_max) {
        ++m_stats.outputs_dropped;
        return;
    }
    if (const auto* d = std::get_if<send_datagram>(&o)) {
        ++m_stats.packets_out;
        m_stats.bytes_out += d->bytes.size();
    }
    m_outputs.push_back(std::move(o));
}

COVEY_INLINE std::size_t machine::packet_budget() const noexcept { return m_config.packet_bytes_max - datagram_seal::overhead; }

/// Of n members some one misses a news told t times by each with a chance of about n * exp(-t). memberlist's
/// multiplier * ceil(log10(n + 1)) makes that one in thirty at 99 members; one multiplier more, one in two thousand.
COVEY_INLINE unsigned machine::sends_max() const noexcept {
    return m_config.retransmit_multiplier * (1 + detail::ceil_log10(live_count() + 1));
}

COVEY_INLINE std::uint64_t machine::view_digest() const noexcept {
    if (is_observer() || m_leaving) return m_table.digest();
    return m_table.digest() ^ table::digest_of(member(m_self.id, m_self.epoch, 0, nullptr, member_state::alive));
}

COVEY_INLINE view machine::make_view() const {
    view v;
    v.number = snapshot_number();
    v.digest = view_digest();
    v.members = m_table.live_members();
    v.members.insert(v.members.begin(), self_member());
    v.members_at_most = v.members.size() + m_table.died_since(m_split_since);
    v.is_split_suspected = m_split;
    v.lineage = m_lineage;
    return v;
}

COVEY_INLINE std::optional<member> machine::find(peer_id id) const {
    if (id == m_self.id) return self_member();
    if (const member* m = m_table.find(id)) return *m;
    return std::nullopt;
}

COVEY_INLINE record_ptr machine::decode_record(bytes_view encoded) {
    return m_records != nullptr ? m_records->decode(encoded) : record::decode(encoded);
}

/// What is true of the subject now; nothing if it is forgotten.
COVEY_INLINE void machine::write_news(const broadcast_queue::entry& e, byte_buffer& out) const {
    byte_writer w(out);
    if (e.subject == m_self.id) return claim::about(self_member(), m_self.id).write(w);
    const table::row* r = m_table.find(e.subject);
    if (r != nullptr) claim::about(*r, e.accuser).write(w);
}

COVEY_INLINE void machine::send_packet(const endpoint& to, const control& request, std::span<const claim> first, std::size_t budget,
                                       gossip extra) {
    byte_buffer bytes;
    write_packet_front(bytes, header(), request);
    byte_writer w(bytes);
    for (const claim& c : first) {
        const std::size_t before = bytes.size();
        c.write(w);
        if (bytes.size() > budget) {
            bytes.truncate(before);
            break;
        }
    }
    // News is sent a limited number of times: none of them is spent on the dead.
    if (extra == gossip::fill_in && bytes.size() < budget && !is_observer()) {
        m_broadcasts.fill(bytes, budget - bytes.size(), sends_max(),
                          [this](const broadcast_queue::entry& e, byte_buffer& out) { write_news(e, out); });
        // Each once at most, however often it is still to be sent.
        for (std::size_t n = std::min(loads_per_packet, m_load_news.size()); n > 0; --n) {
            if (bytes.size() + load_claim::encoded_bytes > budget) break;
            load_news news = m_load_news.front();
            m_load_news.erase(m_load_news.begin());
            const table::row* r = m_table.find(news.about);
            if (r == nullptr || !r->is_live()) continue;
            write_load(w, {r->id(), r->load_version, r->load()});
            if (--news.sends_left > 0) m_load_news.push_back(news);
        }
    }
    emit(send_datagram{to, std::move(bytes)});
}

COVEY_INLINE control machine::ping_of(time_point now, std::uint32_t sequence, peer_id target) {
    control c;
    c.kind = control_kind::ping;
    c.sequence = sequence;
    c.target = target;
    put_load(now, c);
    return c;
}

COVEY_INLINE bool machine::send_ping(time_point now, open_ping::purpose why, const member& target) {
    const duration timeout = m_prober.scaled(m_config.probe_timeout);
    const duration give_up = m_prober.scaled(m_config.probe_give_up);
    const bool is_probe = why == open_ping::purpose::probe;
    open_ping* p = m_prober.begin(why, target.id(), after(now, is_probe ? timeout : give_up), after(now, give_up));
    if (p == nullptr) return false;
    p->sent = now;
    if (is_probe) ++m_stats.probes;
    const control ping = ping_of(now, p->sequence, target.id());
    // Who is suspected or held dead is told so first: that is its chance to clear itself.
    if (target.state() == member_state::alive) {
        send_packet(target.address(), ping, {}, packet_budget());
    } else {
        const claim told = claim_about(target);
        send_packet(target.address(), ping, {&told, 1}, packet_budget(), target.is_live() ? gossip::fill_in : gossip::leave_out);
    }
    return true;
}

COVEY_INLINE void machine::broadcast(peer_id subject, peer_id accuser) {
    if (!is_observer()) m_broadcasts.push(subject, accuser);
}

COVEY_INLINE time_point machine::next_wakeup() const noexcept {
    if (!m_started || m_left) return never;
    time_point next =
        std::min({m_next_probe, m_next_push_pull, m_next_dead_retry, m_next_join, m_leave_by, m_next_catch_up, m_next_steadying});
    if (has_news() && live_count() > 1) next = std::min(next, m_next_gossip);
    return std::min({next, m_prober.next(), m_suspicions.next()});
}

}  // namespace covey::mesh
