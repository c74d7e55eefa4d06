#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/machine.hpp>
#include <covey/mesh/seal.hpp>

#include <algorithm>
#include <bit>

namespace covey::mesh {

namespace detail {

inline config checked(const config& c) {
    const auto require = [](bool good, const char* what) {
        if (!good) throw error(errc::bad_argument, covey::detail::concat({"membership configuration: ", what}));
    };
    constexpr duration least = std::chrono::milliseconds(1);
    constexpr duration most = std::chrono::hours(24);
    for (const duration d : {c.probe_interval, c.probe_timeout, c.probe_give_up, c.gossip_interval, c.push_pull_interval,
                             c.join_retry_first, c.join_retry_max, c.leave_linger, c.dead_retry}) {
        require(d >= least && d <= most, "every interval and timeout must be between 1 ms and 24 h");
    }
    require(c.probe_give_up > c.probe_timeout, "probe_give_up must be longer than probe_timeout");
    require(c.gossip_fanout >= 1 && c.gossip_fanout <= 64, "gossip_fanout must be 1 to 64");
    require(c.indirect_probes <= 16, "indirect_probes must be at most 16");
    require(c.retransmit_multiplier >= 1 && c.retransmit_multiplier <= 64, "retransmit_multiplier must be 1 to 64");
    require(c.suspicion_multiplier >= 1 && c.suspicion_multiplier <= 64, "suspicion_multiplier must be 1 to 64");
    require(c.suspicion_factor_max >= 1 && c.suspicion_factor_max <= 64, "suspicion_factor_max must be 1 to 64");
    require(c.health_max <= 64, "health_max must be at most 64");
    require(c.packet_bytes_max >= 1024 && c.packet_bytes_max <= 65000, "packet_bytes_max must be 1024 to 65000");
    require(c.members_max >= 2 && c.outputs_max >= 64 && c.broadcasts_max >= 16, "a bound is too small to work with");
    return c;
}

/// Of a whole number, rounded up: the digits of n, for n >= 1 exact powers of ten excepted.
inline unsigned ceil_log10(std::size_t n) noexcept {
    unsigned digits = 0;
    for (std::size_t power = 1; power < n; power *= 10) ++digits;
    return std::max(digits, 1u);
}

}  // namespace detail

COVEY_INLINE machine::machine(const config& how, member_info self, const cluster_id& cluster, std::uint64_t seed)
    : m_config(detail::checked(how)),
      m_cluster(cluster),
      m_self(std::move(self)),
      m_random(hash_combine(seed, m_self.id.value)),
      m_broadcasts(how.broadcasts_max),
      m_prober(static_cast<std::uint32_t>(m_random.next()), how.health_max) {
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
    m_started = true;
    // A random phase each, so that peers started together do not act together.
    const auto phase = [&](duration d) {
        return after(now, duration(static_cast<std::int64_t>(m_random.below(static_cast<std::uint64_t>(d.count())))));
    };
    m_next_probe = is_observer() ? never : phase(m_config.probe_interval);
    m_next_gossip = phase(m_config.gossip_interval);
    m_next_push_pull = after(phase(m_config.push_pull_interval), m_config.push_pull_interval / 2);
    m_next_dead_retry = is_observer() ? never : phase(m_config.dead_retry);
    ++m_self_changes;
    broadcast_self();
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

COVEY_INLINE unsigned machine::sends_max() const noexcept { return m_config.retransmit_multiplier * detail::ceil_log10(live_count() + 1); }

COVEY_INLINE std::uint64_t machine::view_digest() const noexcept {
    return m_table.digest() ^ (is_observer() || m_leaving ? 0 : table::digest_of(member(m_self)));
}

COVEY_INLINE view machine::make_view() const {
    view v;
    v.number = snapshot_number();
    v.digest = view_digest();
    v.members.reserve(live_count());
    v.members.push_back(self_member());
    for (const auto& [id, e] : m_table.entries()) {
        if (e.record.is_live()) v.members.push_back(e.record);
    }
    return v;
}

COVEY_INLINE std::optional<member> machine::find(peer_id id) const {
    if (id == m_self.id) return self_member();
    if (const member* m = m_table.find(id)) return *m;
    return std::nullopt;
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
    if (extra == gossip::fill_in && bytes.size() < budget && !is_observer()) m_broadcasts.fill(bytes, budget - bytes.size(), sends_max());
    emit(send_datagram{to, std::move(bytes)});
}

COVEY_INLINE void machine::send_ping(time_point now, open_ping::purpose why, const member& target) {
    const duration timeout = m_prober.scaled(m_config.probe_timeout);
    const duration give_up = m_prober.scaled(m_config.probe_give_up);
    const bool is_probe = why == open_ping::purpose::probe;
    const open_ping* p = m_prober.begin(why, target.id(), after(now, is_probe ? timeout : give_up), after(now, give_up));
    if (p == nullptr) return;
    if (is_probe) ++m_stats.probes;
    control ping;
    ping.kind = control_kind::ping;
    ping.sequence = p->sequence;
    ping.target = target.id();
    // Who is suspected or held dead is told so first: that is its chance to clear itself.
    if (target.state() == member_state::alive) {
        send_packet(target.address(), ping, {}, packet_budget());
    } else {
        const claim told = claim_about(target);
        send_packet(target.address(), ping, {&told, 1}, packet_budget(), target.is_live() ? gossip::fill_in : gossip::leave_out);
    }
}

COVEY_INLINE void machine::request_table(time_point now, const endpoint& to) {
    const std::uint64_t nonce = m_random.next();
    if (m_requests.size() >= requests_max) m_requests.erase(m_requests.begin());
    m_requests.push_back(nonce);
    send_push_pull(now, to, false, nonce);
}

COVEY_INLINE void machine::send_push_pull(time_point now, const endpoint& to, bool is_reply, std::uint64_t nonce) {
    push_pull message;
    message.header = header();
    message.is_reply = is_reply;
    message.nonce = nonce;
    message.self = self_member();
    // An observer has nothing to tell.
    if (!is_observer()) {
        for (const auto& [id, e] : m_table.entries()) {
            if (e.record.is_live()) message.members.push_back(e.record);
        }
        // Of the dead only the recent ones: that others died is known everywhere by now, or found out by trying.
        const std::size_t most = std::min(m_config.members_max, message.members.size() + tombstones_told_max);
        for (const auto& [id, e] : m_table.entries()) {
            if (message.members.size() >= most) break;
            if (!e.record.is_live() && e.has_address && now - e.changed < 4 * m_config.gossip_to_dead) message.members.push_back(e.record);
        }
    }
    byte_buffer bytes;
    encode(bytes, message);
    ++m_stats.streams_out;
    m_stats.stream_bytes_out += bytes.size();
    emit(send_stream{to, std::move(bytes)});
}

COVEY_INLINE claim machine::claim_about(const member& subject) const { return {subject, m_self.id}; }

COVEY_INLINE void machine::broadcast(const claim& news) {
    if (is_observer()) return;
    byte_buffer encoded;
    byte_writer w(encoded);
    news.write(w);
    m_broadcasts.push(news.subject.id(), encoded);
}

COVEY_INLINE void machine::broadcast_self() { broadcast({self_member(), m_self.id}); }

COVEY_INLINE time_point machine::next_wakeup() const noexcept {
    if (!m_started || m_left) return never;
    time_point next = std::min({m_next_probe, m_next_push_pull, m_next_dead_retry, m_next_join, m_leave_by});
    if (has_news() && live_count() > 1) next = std::min(next, m_next_gossip);
    return std::min({next, m_prober.next(), m_suspicions.next()});
}

}  // namespace covey::mesh
