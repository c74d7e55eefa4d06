#pragma once

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

    const open_ping* asked = p.request.kind == control_kind::ack ? m_prober.find(p.request.sequence) : nullptr;
    m_answering = asked != nullptr && asked->target == sender ? sender : peer_id{};
    bool is_about_us = false;
    for (const claim& c : p.claims) {
        is_about_us = is_about_us || (c.id == m_self.id && c.state != member_state::alive);
        apply(now, c, source::gossip, sender, true);
    }
    m_answering = {};
    // An answer begins with what its receiver needs most: our word against its doubts, and the news of its own death.
    std::vector<claim> first;
    if (is_about_us && !is_observer()) first.push_back(claim_about(self_member()));
    hear_loads(p);
    const table::row* known = m_table.find(sender);
    // To an address that proved nothing we send little more than it sent, so that we are no use for a flood.
    const bool is_proven = known != nullptr && known->is_live() && known->address() == from;
    const std::size_t budget = is_proven ? packet_budget() : std::min(packet_budget(), 3 * bytes.size());
    const bool is_gossip = p.request.kind == control_kind::none;
    // And the word of others that cleared themselves: the news may have missed the sender. Few packets bring such a claim.
    if (is_proven && !is_observer() && (is_gossip || p.request.kind == control_kind::ping)) {
        for (const claim& c : p.claims) {
            if (is_outdated(c)) first.push_back(claim_about(*m_table.find(c.id)));
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

COVEY_INLINE void machine::put_load(time_point now, control& c) {
    if (m_load_wanted != m_load && now >= m_load_after) {
        m_load = m_load_wanted;
        m_load_after = after(now, m_config.load_interval);
        // 0 says that there is none.
        if (++m_load_version == 0) ++m_load_version;
    }
    c.load_version = m_load_version;
    c.load = m_load;
}

COVEY_INLINE void machine::hear_loads(const packet& p) {
    const auto hear = [this](peer_id id, std::uint16_t version, const load& level) {
        if (version == 0 || !m_table.set_load(id, level, version) || is_observer()) return;
        std::erase_if(m_load_news, [&](const load_news& n) { return n.about == id; });
        // As with news, each is passed on as often as it takes to reach everybody while few change; while many do, the newest are.
        if (m_load_news.size() >= loads_max) m_load_news.erase(m_load_news.begin());
        m_load_news.push_back({id, sends_max() / 2 + 1});
    };
    for (const load_claim& l : p.loads) hear(l.id, l.version, l.level);
    if (detail::has_load(p.request.kind)) hear(p.header.sender, p.request.load_version, p.request.load);
}

COVEY_INLINE void machine::answer(time_point now, const endpoint& to, control_kind kind, std::uint32_t sequence,
                                  std::span<const claim> first, std::size_t budget) {
    control c;
    c.kind = kind;
    c.sequence = sequence;
    c.view_digest = view_digest();
    c.view_members = static_cast<std::uint32_t>(live_count());
    put_load(now, c);
    send_packet(to, c, first, budget);
}

COVEY_INLINE void machine::on_request(time_point now, const endpoint& from, const packet& p, std::size_t budget,
                                      std::span<const claim> first) {
    if (p.request.kind == control_kind::ping) {
        if (p.request.target == m_self.id) return answer(now, from, control_kind::ack, p.request.sequence, first, budget);
        control c;
        c.kind = control_kind::not_me;
        c.sequence = p.request.sequence;
        c.target = p.request.target;
        return send_packet(from, c, first, budget, gossip::leave_out);
    }
    // Only members are helped, at the address where they live, and only towards members: nobody can aim our packets.
    const table::row* requester = m_table.find(p.header.sender);
    if (requester == nullptr || !requester->is_live() || requester->address() != from) return reject(rejection::unexpected);
    const table::row* target = m_table.find(p.request.target);
    // A nack must be there before the requester gives up.
    const time_point due = after(now, (m_config.probe_give_up - m_config.probe_timeout) * 4 / 5);
    open_ping* relay = nullptr;
    if (target != nullptr && target->is_live()) relay = m_prober.begin(open_ping::purpose::relay, target->id(), due, due);
    if (relay == nullptr) return answer(now, from, control_kind::nack, p.request.sequence, first, budget);
    relay->sent = now;
    relay->requester = from;
    relay->requester_sequence = p.request.sequence;
    const control ping = ping_of(now, relay->sequence, target->id());
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
    m_inconclusive = 0;
    if (answered->why == open_ping::purpose::relay) {
        answer(now, answered->requester, control_kind::ack, answered->requester_sequence, {}, packet_budget());
    } else if (answered->why == open_ping::purpose::probe) {
        m_prober.heard();
    }
    if (!from_helper) {
        const table::row* m = m_table.find(sender);
        if (m != nullptr) see_reachable(*m);
    }
    compare_views(now, sender, p.request.view_digest, p.request.view_members);
}

COVEY_INLINE void machine::on_nack(const packet& p) {
    open_ping* open = m_prober.find(p.request.sequence);
    const bool expected = open != nullptr && open->nacks < open->helpers.size() &&
                          std::find(open->helpers.begin(), open->helpers.end(), p.header.sender) != open->helpers.end();
    if (!expected) return reject(rejection::unexpected);
    ++open->nacks;
    m_inconclusive = 0;
}

COVEY_INLINE void machine::on_not_me(time_point now, const endpoint& from, const packet& p) {
    const open_ping* open = m_prober.find(p.request.sequence);
    const table::row* target = m_table.find(p.request.target);
    // Whoever says so must sit where the target was.
    if (open == nullptr || open->target != p.request.target || target == nullptr || target->address() != from)
        return reject(rejection::unexpected);
    const std::optional<open_ping> answered = m_prober.take(p.request.sequence);
    if (answered->why == open_ping::purpose::relay)
        answer(now, answered->requester, control_kind::nack, answered->requester_sequence, {}, packet_budget());
    if (target->is_live()) {
        // Not asked again: who lives at its address by now would say the same, for as long as we ask.
        suspect_for_good_reason(now, target->id());
    } else {
        m_table.give_up(target->id());
    }
}

}  // namespace covey::mesh
