// Whom to rely on, and how much of the mesh this peer sees.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/machine.hpp>

#include <algorithm>

namespace covey::mesh {

/// A peer that hears nobody accuses everybody, and is refuted by everybody. The dead accuse nobody: who was cut off long enough to
/// be held dead holds us dead as well.
COVEY_INLINE bool machine::is_believed(time_point now, peer_id accuser) const {
    if (accuser == m_self.id) return true;
    const table::row* r = m_table.find(accuser);
    if (r != nullptr && r->state() == member_state::dead) return false;
    return m_refuted.of(now, accuser) < m_config.accuser_marks;
}

/// Somebody not believed accuses this member: a few of us, not all, ask it themselves.
COVEY_INLINE void machine::verify(time_point now, const member& subject) {
    ++m_stats.accusations_ignored;
    if (is_observer() || m_leaving || m_prober.asks(subject.id())) return;
    if (m_random.below(live_count()) < 8) send_ping(now, open_ping::purpose::probe, subject);
}

COVEY_INLINE void machine::mark_flap(time_point now, peer_id id, std::uint32_t marks) {
    if (m_flaps.add(now, id, marks) < m_config.flaky_marks || m_flaky.size() >= scores::entries_max || !m_table.mark_flaky(id, true))
        return;
    m_flaky.push_back(id);
    if (m_next_steadying == never) m_next_steadying = after(now, m_config.mark_half_life / 4);
    event(membership_event::what::flaky, *m_table.find(id));
}

COVEY_INLINE void machine::run_steadying(time_point now) {
    if (now < m_next_steadying) return;
    std::erase_if(m_flaky, [&](peer_id id) {
        const table::row* r = m_table.find(id);
        if (r != nullptr && (!r->is_live() || m_flaps.of(now, id) > m_config.steady_marks)) return false;
        if (m_table.mark_flaky(id, false)) event(membership_event::what::steady, *m_table.find(id));
        return true;
    });
    m_next_steadying = m_flaky.empty() ? never : after(now, m_config.mark_half_life / 4);
}

/// It cleared itself: whoever began this was wrong. Those that accuse a flaky one are not to blame.
COVEY_INLINE void machine::hold_against_accuser(time_point now, const member& subject) {
    const peer_id accuser = m_suspicions.first_accuser(subject.id());
    if (accuser && accuser != m_self.id && !subject.is_flaky()) m_refuted.add(now, accuser, 1);
}

COVEY_INLINE void machine::see_reachable(const member& m) {
    // One that leaves answers to the end; it is not back for that.
    if (m.is_live() && m.is_unreachable() && m_table.mark_unreachable(m.id(), false))
        event(membership_event::what::alive_again, *m_table.find(m.id()));
}

COVEY_INLINE void machine::see_stream_only(time_point now, const member& m) {
    ++m_stats.probes_stream_only;
    const peer_id id = m.id();
    if (!m_table.mark_unreachable(id, true)) return;
    event(membership_event::what::unreachable, *m_table.find(id));
    mark_flap(now, id, 1);
}

/// Said when a quarter of the mesh, two at least, died lately without a word; until at most an eighth of it is missing.
COVEY_INLINE void machine::watch_for_split(time_point now, bool is_return) {
    const std::size_t dead = m_table.retry_count();
    if (!m_split && (dead < 2 || 4 * dead < live_count() + dead)) return;
    m_split_since = now.time_since_epoch() > m_config.split_memory ? now - m_config.split_memory : time_point{};
    const std::size_t lost = m_table.died_since(m_split_since);
    const std::size_t at_most = live_count() + lost;
    if (!m_split && lost >= 2 && 4 * lost >= at_most) {
        m_split = true;
        ++m_self_changes;
        say(log_level::warning, covey::detail::concat({"perhaps the network is cut: this peer sees ", live_count(), " of ", at_most,
                                                       " members; both sides go on, and join again when they hear of each other"}));
        event(membership_event::what::partition_suspected, self_member());
    } else if (m_split && 8 * lost <= at_most) {
        m_split = false;
        ++m_self_changes;
        if (is_return) return event(membership_event::what::healed, self_member());
        say(log_level::info, "those that died without a word have been gone for long: they are no longer taken for cut off");
    }
}

}  // namespace covey::mesh
