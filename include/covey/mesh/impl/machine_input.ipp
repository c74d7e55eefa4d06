#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/machine.hpp>

#include <algorithm>

namespace covey::mesh {

COVEY_INLINE void machine::on_datagram(time_point now, const endpoint& from, bytes_view bytes) {
    if (!m_started || m_left) return;
    ++m_stats.packets_in;
    m_stats.bytes_in += bytes.size();
    if (bytes.size() > m_config.packet_bytes_max) return reject(rejection::oversized);
    const packet_result decoded = decode_packet(bytes, m_cluster);
    if (decoded.why != rejection::count_) return reject(decoded.why);
    const packet& p = decoded.value;
    const peer_id sender = p.header.sender;
    if (sender == m_self.id) return reject(rejection::own_echo);

    bool is_about_us = false;
    for (const claim& c : p.claims) {
        is_about_us = is_about_us || (c.subject.id() == m_self.id && c.subject.state() != member_state::alive);
        apply(now, c, source::gossip, sender, true);
    }
    // An answer begins with what its receiver needs most: our word against its doubts, and the news of its own death.
    std::vector<claim> first;
    if (is_about_us && !is_observer()) first.push_back({self_member(), m_self.id});
    const member* known = m_table.find(sender);
    // To an address that proved nothing we send little more than it sent, so that we are no use for a flood.
    const bool is_proven = known != nullptr && known->is_live() && known->address() == from;
    const std::size_t budget = is_proven ? packet_budget() : std::min(packet_budget(), 3 * bytes.size());
    const bool is_gossip = p.request.kind == control_kind::none;
    // And the word of others that cleared themselves: the news may have missed the sender. Few packets bring such a claim.
    if (is_proven && !is_observer() && (is_gossip || p.request.kind == control_kind::ping)) {
        for (const claim& c : p.claims) {
            if (is_outdated(c)) first.push_back({*m_table.find(c.subject.id()), m_self.id});
        }
    }
    // Gossip has no other answer than that. It holds no doubts, so it gets none itself.
    if (is_proven && is_gossip && !first.empty()) send_packet(from, control{}, first, budget, gossip::leave_out);
    if (known != nullptr && known->state() == member_state::dead && p.header.epoch <= known->epoch()) {
        first.push_back(claim_about(*known));
        // Gossip of the dead is not answered, or two that hold each other dead would never stop: it is told at the next round.
        if (is_gossip) tell_dead(sender);
    }
    switch (p.request.kind) {
        case control_kind::none: return;
        case control_kind::ping:
        case control_kind::ping_req: return on_request(now, from, p, budget, first);
        case control_kind::ack: return on_ack(now, p);
        case control_kind::nack: return on_nack(p);
        case control_kind::not_me: return on_not_me(now, from, p);
    }
}

COVEY_INLINE void machine::answer(const endpoint& to, control_kind kind, std::uint32_t sequence, std::span<const claim> first,
                                  std::size_t budget) {
    control c;
    c.kind = kind;
    c.sequence = sequence;
    c.view_digest = view_digest();
    c.view_members = static_cast<std::uint32_t>(live_count());
    send_packet(to, c, first, budget);
}

COVEY_INLINE void machine::on_request(time_point now, const endpoint& from, const packet& p, std::size_t budget,
                                      std::span<const claim> first) {
    if (p.request.kind == control_kind::ping) {
        if (p.request.target == m_self.id) return answer(from, control_kind::ack, p.request.sequence, first, budget);
        control c;
        c.kind = control_kind::not_me;
        c.sequence = p.request.sequence;
        c.target = p.request.target;
        return send_packet(from, c, first, budget);
    }
    // Only members are helped, at the address where they live, and only towards members: nobody can aim our packets.
    const member* requester = m_table.find(p.header.sender);
    if (requester == nullptr || !requester->is_live() || requester->address() != from) return reject(rejection::unexpected);
    const member* target = m_table.find(p.request.target);
    const time_point due = after(now, m_config.probe_timeout);
    open_ping* relay = nullptr;
    if (target != nullptr && target->is_live()) relay = m_prober.begin(open_ping::purpose::relay, target->id(), due, due);
    if (relay == nullptr) return answer(from, control_kind::nack, p.request.sequence, first, budget);
    relay->requester = from;
    relay->requester_sequence = p.request.sequence;
    control ping;
    ping.kind = control_kind::ping;
    ping.sequence = relay->sequence;
    ping.target = target->id();
    const claim told = claim_about(*target);
    send_packet(target->address(), ping, {&told, target->state() == member_state::alive ? 0u : 1u}, packet_budget());
}

COVEY_INLINE void machine::on_ack(time_point now, const packet& p) {
    const open_ping* open = m_prober.find(p.request.sequence);
    if (open == nullptr) return reject(rejection::unexpected);
    const peer_id sender = p.header.sender;
    const bool from_helper = std::find(open->helpers.begin(), open->helpers.end(), sender) != open->helpers.end();
    if (sender != open->target && !from_helper) return reject(rejection::unexpected);
    const std::optional<open_ping> answered = m_prober.take(p.request.sequence);
    if (answered->why == open_ping::purpose::relay) {
        answer(answered->requester, control_kind::ack, answered->requester_sequence, {}, packet_budget());
    } else if (answered->why == open_ping::purpose::probe) {
        m_prober.heard();
    }
    compare_views(now, sender, p.request.view_digest);
}

COVEY_INLINE void machine::on_nack(const packet& p) {
    open_ping* open = m_prober.find(p.request.sequence);
    const bool expected = open != nullptr && open->nacks < open->helpers.size() &&
                          std::find(open->helpers.begin(), open->helpers.end(), p.header.sender) != open->helpers.end();
    if (!expected) return reject(rejection::unexpected);
    ++open->nacks;
}

COVEY_INLINE void machine::on_not_me(time_point now, const endpoint& from, const packet& p) {
    const open_ping* open = m_prober.find(p.request.sequence);
    const member* target = m_table.find(p.request.target);
    // Whoever says so must sit where the target was.
    if (open == nullptr || open->target != p.request.target || target == nullptr || target->address() != from)
        return reject(rejection::unexpected);
    const std::optional<open_ping> answered = m_prober.take(p.request.sequence);
    if (answered->why == open_ping::purpose::relay)
        answer(answered->requester, control_kind::nack, answered->requester_sequence, {}, packet_budget());
    if (target->is_live()) {
        suspect_strongly(now, target->id());
    } else {
        m_table.give_up(target->id());
    }
}

/// News travels fast but may be lost; digests that stay different while nothing is on its way call for a comparison.
COVEY_INLINE void machine::compare_views(time_point now, peer_id with, std::uint64_t digest) {
    if (digest == view_digest()) {
        m_mismatches = 0;
        m_sync_pause = duration{};
        return;
    }
    const member* other = m_table.find(with);
    ++m_mismatches;
    if (m_mismatches < 3 || now < m_sync_after || !m_broadcasts.empty() || other == nullptr || !other->is_live()) return;
    m_mismatches = 0;
    m_sync_pause =
        std::clamp(m_sync_pause * 2, 4 * m_config.probe_interval, std::max(m_config.push_pull_interval, 4 * m_config.probe_interval));
    m_sync_after = after(now, jittered(m_sync_pause));
    request_table(now, other->address());
}

COVEY_INLINE void machine::on_stream_message(time_point now, const endpoint& from, bytes_view bytes) {
    if (!m_started || m_left) return;
    ++m_stats.streams_in;
    m_stats.stream_bytes_in += bytes.size();
    const push_pull_result decoded = decode_push_pull(bytes, m_cluster, m_config.members_max);
    if (decoded.why != rejection::count_) return reject(decoded.why);
    const push_pull& p = decoded.value;
    if (p.header.sender == m_self.id) return reject(rejection::own_echo);
    // Who joins learns what everybody knows, and need not repeat it; unless it brings others with it.
    bool pass_on = true;
    if (p.is_reply) {
        const auto asked = std::find(m_requests.begin(), m_requests.end(), p.nonce);
        if (asked == m_requests.end()) return reject(rejection::unexpected);
        m_requests.erase(asked);
        pass_on = live_count() > 1;
    }
    apply(now, {p.self, p.header.sender}, source::exchange, p.header.sender, true);
    for (const member& m : p.members) {
        // A suspect that we do not know yet is a member first.
        if (m.state() == member_state::suspect) apply(now, {member(m.info()), p.header.sender}, source::exchange, p.header.sender, pass_on);
        apply(now, {m, p.header.sender}, source::exchange, p.header.sender, pass_on);
    }
    if (!p.is_reply) return send_push_pull(now, from, true, p.nonce);
    if (!m_join_answered && !m_seeds.empty()) {
        m_join_answered = true;
        m_next_join = never;
        say(log_level::info, covey::detail::concat({"joined through ", to_string(from), ": ", live_count(), " members"}));
    }
}

COVEY_INLINE void machine::on_stream_failed(time_point now, const endpoint& to) {
    if (!m_started || m_left || m_join_answered) return;
    if (std::find(m_seeds.begin(), m_seeds.end(), to) == m_seeds.end()) return;
    // Said at first, then now and then.
    if (m_join_attempts > 3 && m_join_attempts % 10 != 0) return;
    const auto wait_ms =
        m_next_join > now && m_next_join != never ? std::chrono::duration_cast<std::chrono::milliseconds>(m_next_join - now).count() : 0;
    say(log_level::warning, covey::detail::concat({"seed ", to_string(to), " cannot be reached (attempt ", m_join_attempts,
                                                   "); next attempt in ", wait_ms, " ms. Is a peer of this cluster running there?"}));
}

}  // namespace covey::mesh
