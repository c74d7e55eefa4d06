#pragma once

#include <covey/mesh/machine.hpp>

#include <algorithm>

namespace covey::mesh {

COVEY_INLINE void machine::on_time(time_point now) {
    if (!m_started || m_left) return;
    make_up_for_lateness(now);
    run_joining(now);
    run_pings(now);
    run_suspicions(now);
    run_probe(now);
    run_gossip(now);
    run_push_pull(now);
    run_catch_up(now);
    run_dead_retry(now);
    run_steadying(now);
    run_leaving(now);
}

COVEY_INLINE void machine::make_up_for_lateness(time_point now) {
    // Gossip is not among them: its time lies in the past whenever there was nothing to tell.
    const time_point earliest = std::min({m_next_probe, m_next_push_pull, m_next_dead_retry, m_prober.next(), m_suspicions.next()});
    if (earliest >= now || now - earliest <= m_config.probe_timeout) return;
    // What others answered meanwhile waits in the socket, behind this call: it gets time to be read.
    const duration by = now - earliest + m_config.probe_timeout;
    m_prober.shift(by);
    m_suspicions.shift(by);
    m_prober.missed();
}

COVEY_INLINE void machine::on_lag(time_point now, duration lag) {
    // Once a probe interval at most: one long pause is one reason.
    if (lag < m_config.probe_timeout / 2 || now < m_lag_noted) return;
    m_lag_noted = after(now, m_config.probe_interval);
    m_prober.missed();
}

COVEY_INLINE void machine::add_seeds(std::span<const endpoint> seeds) {
    for (const endpoint& e : seeds) {
        const bool is_known = std::find(m_seeds.begin(), m_seeds.end(), e) != m_seeds.end();
        if (!is_known && e != m_self.address && e.port != 0 && m_seeds.size() < seeds_max) m_seeds.push_back(e);
    }
}

COVEY_INLINE void machine::join(time_point now, std::span<const endpoint> seeds, seeds_known known) {
    add_seeds(seeds);
    m_seeds_known = known;
    if (m_seeds.empty() && known == seeds_known::for_good) return;
    m_join_answered = false;
    m_join_attempts = 0;
    m_next_join = now;
    if (m_started) run_joining(now);
}

COVEY_INLINE void machine::set_seeds(std::span<const endpoint> seeds, seeds_known known) {
    const std::vector<endpoint> before = std::exchange(m_seeds, {});
    add_seeds(seeds);
    m_seeds_known = known;
    if (!m_started || m_leaving || m_next_join == never) return;
    std::vector<endpoint> fresh = m_seeds;
    std::erase_if(fresh, [&before](const endpoint& e) { return std::find(before.begin(), before.end(), e) != before.end(); });
    ask_seeds(std::move(fresh));
}

COVEY_INLINE void machine::ask_seeds(std::vector<endpoint> some) {
    m_random.shuffle(std::span(some));
    if (some.size() > m_config.join_fanout) some.resize(m_config.join_fanout);
    for (const endpoint& e : some) open_exchange(e);
}

COVEY_INLINE void machine::run_joining(time_point now) {
    if (m_leaving) return;
    const bool is_alone = live_count() < 2 && !(m_seeds.empty() && m_seeds_known == seeds_known::for_good);
    if (has_joined() && !is_alone) {
        m_next_join = never;
    } else if (m_next_join == never) {
        // Nobody is left, or nobody was there yet: perhaps they are where others were once found.
        m_join_attempts = 0;
        m_next_join = after(now, jittered(m_config.join_retry_first));
    }
    if (now < m_next_join) return;
    const unsigned doublings = std::min(m_join_attempts, 16u);
    ++m_join_attempts;
    ++m_seed_rounds;
    m_next_join = after(now, jittered(std::min(m_config.join_retry_first * (std::int64_t{1} << doublings), m_config.join_retry_max)));
    ask_seeds(m_seeds);
}

/// Something has happened: for a while probes go out as often as they may.
COVEY_INLINE void machine::stir(time_point now) {
    m_quiet_from = after(now, 10 * m_config.probe_interval);
    if (m_next_probe != never) m_next_probe = std::min(m_next_probe, after(now, m_prober.scaled(m_config.probe_interval)));
}

/// Slower while nothing happens: who is gone for good is mostly found by its refused port, and who is only silent has to be suspected
/// for longer than this in any case.
COVEY_INLINE duration machine::pace_of_probes(time_point now) const {
    const bool is_quiet = now >= m_quiet_from && m_suspicions.size() == 0;
    return is_quiet ? std::max(m_config.probe_interval, m_config.quiet_probe_interval) : m_config.probe_interval;
}

COVEY_INLINE void machine::run_probe(time_point now) {
    if (now < m_next_probe || m_leaving) return;
    m_next_probe = after(now, m_prober.scaled(pace_of_probes(now)));
    note_size();
    // Every other probe goes to the next member on the ring, so that each is probed every other interval at least: chance alone
    // would leave one in eight unasked for two intervals, and one in fifty for four.
    m_ring_turn = !m_ring_turn;
    peer_id id = std::exchange(m_probe_again, {});
    if (!id) id = m_ring_turn ? m_table.successor() : m_table.next_to_probe(m_random);
    const table::row* target = m_table.find(id);
    if (target != nullptr && target->is_live() && !m_prober.asks(id)) send_ping(now, open_ping::purpose::probe, *target);
}

COVEY_INLINE void machine::run_pings(time_point now) {
    while (open_ping* p = m_prober.due(now)) {
        if (p->why == open_ping::purpose::probe && !p->asked_helpers && now < p->give_up) {
            ask_helpers(*p);
        } else {
            const std::optional<open_ping> silent = m_prober.take(p->sequence);
            end_ping(now, *silent);
        }
    }
}

/// And, in parallel, a stream: where only datagrams do not pass, nobody is to be suspected.
COVEY_INLINE void machine::ask_helpers(open_ping& p) {
    p.asked_helpers = true;
    p.due = p.give_up;
    const table::row* target = m_table.find(p.target);
    if (target == nullptr || !target->is_live()) return;
    control request;
    request.kind = control_kind::ping_req;
    request.sequence = p.sequence;
    request.target = p.target;
    for (const peer_id helper : m_table.pick(m_config.indirect_probes, p.target, m_random)) {
        const table::row* m = m_table.find(helper);
        if (m->state() != member_state::alive) continue;
        p.helpers.push_back(helper);
        send_packet(m->address(), request, {}, packet_budget());
    }
    exchange ping;
    ping.header = header();
    ping.step = exchange_step::ping;
    ping.nonce = p.sequence;
    ping.target = p.target;
    send_exchange(target->address(), ping);
}

COVEY_INLINE void machine::end_ping(time_point now, const open_ping& p) {
    switch (p.why) {
        case open_ping::purpose::probe: return fail_probe(now, p);
        case open_ping::purpose::check: return;
        case open_ping::purpose::relay: {
            answer(now, p.requester, control_kind::nack, p.requester_sequence, {}, packet_budget());
            // Whoever asked is about to suspect it: what we find by then is the independent confirmation it needs.
            const table::row* m = m_table.find(p.target);
            if (m != nullptr && m->is_live() && !m_leaving && !m_prober.asks(p.target)) send_ping(now, open_ping::purpose::confirm, *m);
            return;
        }
        case open_ping::purpose::confirm: {
            const table::row* m = m_table.find(p.target);
            if (m != nullptr && m->state() == member_state::suspect && !m_leaving)
                suspect(now, now, p.target, m_self.id, m->incarnation(), true);
            return;
        }
    }
}

COVEY_INLINE void machine::fail_probe(time_point now, const open_ping& p) {
    ++m_stats.probes_failed;
    stir(now);
    // Helpers that said nothing, or none at all to ask: perhaps it is we who hear badly.
    if (p.helpers.empty() || p.nacks < p.helpers.size()) m_prober.missed();
    const table::row* m = m_table.find(p.target);
    if (m_leaving || m == nullptr || !m->is_live()) return;
    if (p.stream_answered) return see_stream_only(now, *m);
    // A flaky one that has just cleared itself would do so again, and the whole mesh would pass it on each time.
    if (m->is_flaky() && m->state() == member_state::alive && now - m->changed < m_config.mark_half_life / 4) return;
    // Nor do we hear any of the helpers: that says more of us than of it, unless it goes on.
    if (!p.helpers.empty() && p.nacks == 0 && ++m_inconclusive <= m_config.inconclusive_max) {
        ++m_stats.probes_inconclusive;
        m_probe_again = p.target;
        return;
    }
    suspect(now, std::min(p.sent, now), p.target, m_self.id, m->incarnation(), true);
}

COVEY_INLINE void machine::run_suspicions(time_point now) {
    while (const std::optional<suspicions::verdict> v = m_suspicions.take_due(now)) {
        const table::row* m = m_table.find(v->subject);
        if (m == nullptr || m->state() != member_state::suspect || m_leaving) continue;
        if (!v->is_final) {
            ask_about(now, *m, v->accuser);
            continue;
        }
        declare(now, member(m->id(), m->epoch(), m->incarnation(), m->shared_record(), member_state::dead), m_self.id, true);
    }
}

/// Whether it lives: itself, and others for what they heard of it. The others get the suspicion as it came, with the accuser's
/// name: who knows better says so at once (on_datagram), and nobody counts us as one more who noticed.
COVEY_INLINE void machine::ask_about(time_point now, const member& subject, peer_id accuser) {
    send_ping(now, open_ping::purpose::check, subject);
    const control nothing;
    const claim doubt = claim::about(subject, accuser);
    for (const peer_id id : m_table.pick(m_config.indirect_probes, subject.id(), m_random)) {
        const table::row* other = m_table.find(id);
        if (other->state() == member_state::alive) send_packet(other->address(), nothing, {&doubt, 1}, packet_budget());
    }
}

COVEY_INLINE void machine::run_gossip(time_point now) {
    if (now < m_next_gossip || !has_news() || live_count() < 2) return;
    m_next_gossip = after(now, m_config.gossip_interval);
    const control nothing;
    for (const peer_id id : m_table.pick(m_config.gossip_fanout, {}, m_random)) {
        if (m_broadcasts.empty()) break;
        send_packet(m_table.find(id)->address(), nothing, {}, packet_budget());
    }
    if (is_observer()) return;
    // Who died lately is told too: it may be alive, and then it learns of its death. All members together tell it as often as
    // one of them tells others.
    if (!m_broadcasts.empty() && m_random.below(live_count()) < m_config.gossip_fanout) {
        const peer_id dead = m_table.pick_recently_dead(now - m_config.gossip_to_dead, m_random);
        if (dead) tell_dead(dead);
    }
    for (unsigned i = 0; i < 4 && !m_tell.empty(); ++i) {
        const peer_id id = m_tell.front();
        m_tell.erase(m_tell.begin());
        const table::row* m = m_table.find(id);
        if (m != nullptr && m->state() == member_state::dead) send_ping(now, open_ping::purpose::check, *m);
    }
}

COVEY_INLINE duration machine::stretched_push_pull() const {
    // Above 32 members each doubling adds one interval, as memberlist does: the traffic of a whole table grows with it.
    std::int64_t factor = 1;
    for (std::size_t n = 32; n < live_count(); n *= 2) ++factor;
    return m_config.push_pull_interval * factor;
}

COVEY_INLINE void machine::run_push_pull(time_point now) {
    if (now < m_next_push_pull) return;
    m_next_push_pull = after(now, jittered(stretched_push_pull()));
    m_table.bury_before(now - m_config.tombstone_time);
    if (m_split) watch_for_split(now, false);
    if (m_leaving) return;
    const std::vector<peer_id> one = m_table.pick(1, {}, m_random);
    if (!one.empty()) open_exchange(m_table.find(one.front())->address());
    // Where a seed should be and no member is, there may be another part of the mesh, which nobody left here has ever seen.
    std::vector<endpoint> unseen;
    for (const endpoint& e : m_seeds) {
        if (!m_table.at_address(e)) unseen.push_back(e);
    }
    if (!unseen.empty()) open_exchange(unseen[static_cast<std::size_t>(m_random.below(unseen.size()))]);
    if (m_seeds_known != seeds_known::for_good) ++m_seed_rounds;
}

COVEY_INLINE void machine::run_dead_retry(time_point now) {
    if (now < m_next_dead_retry) return;
    m_next_dead_retry = after(now, jittered(m_config.dead_retry));
    // However many we are, one of them hears eight of us in this time.
    if (m_leaving || m_random.below(live_count()) >= 8 * m_table.retry_count()) return;
    const peer_id id = m_table.pick_dead(m_random);
    if (id) send_ping(now, open_ping::purpose::check, *m_table.find(id));
}

COVEY_INLINE void machine::leave(time_point now) {
    if (!m_started || m_leaving) return;
    m_leaving = true;
    ++m_self_changes;
    m_leave_by = after(now, m_config.leave_linger);
    m_next_probe = never;
    m_next_join = never;
    m_next_dead_retry = never;
    broadcast(m_self.id, {});
    const control nothing;
    for (const peer_id id : m_table.pick(2 * std::size_t{m_config.gossip_fanout}, {}, m_random)) {
        if (!m_broadcasts.contains(m_self.id)) break;
        send_packet(m_table.find(id)->address(), nothing, {}, packet_budget());
    }
    m_next_gossip = after(now, m_config.gossip_interval);
    run_leaving(now);
}

COVEY_INLINE void machine::run_leaving(time_point now) {
    if (!m_leaving) return;
    // Done when it was said often enough; or to nobody; or when patience is over.
    if (now >= m_leave_by || live_count() < 2 || !m_broadcasts.contains(m_self.id)) {
        m_left = true;
        ++m_self_changes;
    }
}

}  // namespace covey::mesh
