// What a peer believes about the others, and about itself. The order within one life of a member is that of SWIM
// (section 4.2): a higher incarnation beats a lower, suspect beats alive of the same incarnation, dead and left beat both
// at any incarnation; a higher epoch beats everything.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/machine.hpp>

#include <algorithm>
#include <cmath>

namespace covey::mesh {

namespace detail {
/// Nobody lives or clears itself this often: such a number is an attack on the counter.
inline constexpr std::uint32_t counter_max = 0xfffffff0u;
}  // namespace detail

COVEY_INLINE void machine::apply(time_point now, const claim& news, source via, peer_id told_by, bool pass_on) {
    if (news.subject.epoch() >= detail::counter_max || news.subject.incarnation() >= detail::counter_max)
        return reject(rejection::malformed);
    if (news.subject.id() == m_self.id) return apply_about_self(now, news, told_by);
    switch (news.subject.state()) {
        case member_state::alive: return apply_alive(now, news, pass_on);
        case member_state::suspect: return apply_suspect(now, news, pass_on);
        case member_state::dead:
        case member_state::left: return apply_end(now, news, via, told_by, pass_on);
    }
}

COVEY_INLINE void machine::apply_alive(time_point now, const claim& news, bool pass_on) {
    const member& subject = news.subject;
    if (subject.role() == member_role::observer) return;
    const member* known = m_table.find(subject.id());
    membership_event::what kind = membership_event::what::joined;
    bool is_event = true;
    if (known == nullptr) {
        if (m_table.live_count() + 1 >= m_config.members_max) return reject(rejection::full);
    } else if (subject.epoch() > known->epoch()) {
        kind = membership_event::what::rejoined;
    } else if (subject.epoch() < known->epoch()) {
        return reject(rejection::stale);
    } else if (!known->is_live()) {
        // Somebody still believes in a life that is over; if its owner does, it must hear of it.
        tell_dead(subject.id());
        return reject(rejection::stale);
    } else if (subject.incarnation() <= known->incarnation()) {
        return;
    } else {
        kind = membership_event::what::alive_again;
        is_event = known->state() == member_state::suspect;
    }
    const peer_id tenant = m_table.at_address(subject.address());
    m_suspicions.erase(subject.id());
    m_table.put(now, subject, m_random);
    if (pass_on) broadcast(news);
    if (is_event) event(kind, subject);
    // Two processes cannot listen at one address, and this one is the news.
    if (tenant && tenant != subject.id()) suspect_strongly(now, tenant);
}

COVEY_INLINE void machine::apply_suspect(time_point now, const claim& news, bool pass_on) {
    const member* known = m_table.find(news.subject.id());
    if (known == nullptr || news.subject.epoch() != known->epoch() || !known->is_live()) return;
    if (news.subject.incarnation() < known->incarnation()) return;
    suspect(now, news.subject.id(), news.accuser, news.subject.incarnation(), pass_on);
}

COVEY_INLINE void machine::apply_end(time_point now, const claim& news, source via, peer_id told_by, bool pass_on) {
    const member& subject = news.subject;
    const member* known = m_table.find(subject.id());
    if (known == nullptr) {
        // Remembered without an event, so that late news of its life does not bring it back.
        if (m_config.tombstones_max == 0) return;
        if (m_table.tombstone_count() >= m_config.tombstones_max) m_table.bury_oldest();
        m_table.put(now, subject, m_random);
        return;
    }
    if (subject.epoch() < known->epoch()) return reject(rejection::stale);
    if (!known->is_live()) {
        const bool said_goodbye =
            subject.epoch() == known->epoch() && subject.state() == member_state::left && known->state() == member_state::dead;
        if (said_goodbye) m_table.give_up(subject.id());
        if (subject.epoch() > known->epoch()) m_table.put(now, subject, m_random);
        return;
    }
    // A table may be old: the subject gets a chance to answer to what it says (memberlist does the same).
    const bool may_be_old = via == source::exchange && subject.state() == member_state::dead && subject.epoch() == known->epoch();
    if (may_be_old && !is_observer())
        return suspect(now, subject.id(), told_by, std::max(subject.incarnation(), known->incarnation()), pass_on);
    member_info info = known->info();
    info.epoch = subject.epoch();
    info.incarnation = subject.incarnation();
    declare(now, member(std::move(info), subject.state()), news.accuser, pass_on);
}

COVEY_INLINE void machine::declare(time_point now, const member& subject, peer_id accuser, bool pass_on) {
    if (m_table.tombstone_count() >= std::max<std::size_t>(m_config.tombstones_max, 1)) m_table.bury_oldest();
    m_suspicions.erase(subject.id());
    m_table.put(now, subject, m_random);
    const bool is_death = subject.state() == member_state::dead;
    if (is_death) ++m_stats.deaths;
    if (pass_on) broadcast({subject, accuser});
    event(is_death ? membership_event::what::dead : membership_event::what::left, subject);
}

COVEY_INLINE suspicions::terms machine::suspicion_terms() const {
    const double scale = std::max(1.0, std::log10(static_cast<double>(live_count())));
    const auto shortest_ms =
        static_cast<std::int64_t>(m_config.suspicion_multiplier * scale * static_cast<double>(m_config.probe_interval.count()) / 1e6);
    suspicions::terms t;
    t.shortest = std::max<duration>(m_config.suspicion_floor, std::chrono::milliseconds(shortest_ms));
    t.longest = t.shortest * m_config.suspicion_factor_max;
    t.last_word = std::min(m_config.probe_give_up, t.shortest / 2);
    t.confirmations = m_config.suspicion_multiplier > 2 ? m_config.suspicion_multiplier - 2 : 0;
    // As many others must exist, beside the subject and this peer.
    if (live_count() < t.confirmations + 2) t.confirmations = 0;
    return t;
}

COVEY_INLINE void machine::suspect(time_point now, peer_id id, peer_id accuser, std::uint32_t incarnation, bool pass_on) {
    const member* known = m_table.find(id);
    if (known == nullptr || !known->is_live()) return;
    const bool is_new = known->state() == member_state::alive;
    if (is_new || incarnation > known->incarnation()) {
        member_info info = known->info();
        info.incarnation = incarnation;
        m_table.put(now, member(std::move(info), member_state::suspect), m_random);
        known = m_table.find(id);
    }
    if (is_new) {
        ++m_stats.suspicions;
        // An observer asks nobody: it cannot clear anybody either, and waits for what the next table says.
        if (!is_observer()) m_suspicions.start(now, id, accuser, suspicion_terms());
        event(membership_event::what::suspected, *known);
    } else if (!m_suspicions.confirm(id, accuser)) {
        return;
    }
    if (pass_on) broadcast({*known, accuser});
}

/// A suspicion of one that has cleared itself since, or that lives again.
COVEY_INLINE bool machine::is_outdated(const claim& news) const {
    if (news.subject.state() != member_state::suspect) return false;
    const member* known = m_table.find(news.subject.id());
    if (known == nullptr || known->state() != member_state::alive) return false;
    if (known->epoch() != news.subject.epoch()) return known->epoch() > news.subject.epoch();
    return known->incarnation() > news.subject.incarnation();
}

COVEY_INLINE void machine::suspect_strongly(time_point now, peer_id id) {
    const member* known = m_table.find(id);
    if (known == nullptr || !known->is_live() || m_leaving || is_observer()) return;
    suspect(now, id, m_self.id, known->incarnation(), true);
    m_suspicions.hurry(now, id, after(now, m_config.probe_interval));
    // Asked at once and told at once: a live one clears itself with its answer.
    if (!m_prober.probes(id)) send_ping(now, open_ping::purpose::check, *m_table.find(id));
}

COVEY_INLINE void machine::report_connection_refused(time_point now, peer_id id) {
    if (m_started && !m_left) suspect_strongly(now, id);
}

COVEY_INLINE void machine::tell_dead(peer_id id) {
    const auto it = m_table.entries().find(id);
    if (is_observer() || it == m_table.entries().end() || !it->second.worth_retrying || m_tell.size() >= tell_max) return;
    if (std::find(m_tell.begin(), m_tell.end(), id) == m_tell.end()) m_tell.push_back(id);
}

COVEY_INLINE void machine::apply_about_self(time_point now, const claim& news, peer_id told_by) {
    if (m_leaving || is_observer()) return;
    const member& subject = news.subject;
    if (subject.epoch() < m_self.epoch) return;
    if (!subject.is_live() || subject.epoch() > m_self.epoch) return begin_new_epoch(now, subject.epoch(), told_by);
    if (subject.state() == member_state::suspect) {
        if (subject.incarnation() >= m_self.incarnation) refute(subject.incarnation());
        return;
    }
    const bool is_ours = subject.info() == m_self;
    if (subject.incarnation() > m_self.incarnation) {
        refute(subject.incarnation());
    } else if (!is_ours && subject.incarnation() == m_self.incarnation && !m_conflict_noted) {
        m_conflict_noted = true;
        say(log_level::error,
            covey::detail::concat({"peer ", to_string(told_by), " knows our id ", to_string(m_self.id), " as \"", subject.name(), "\" at ",
                                   to_string(subject.address()), ": two processes were given the same id; restart one of them"}));
    }
}

COVEY_INLINE void machine::refute(std::uint32_t incarnation) {
    m_self.incarnation = incarnation + 1;
    ++m_self_changes;
    ++m_stats.refutations;
    m_prober.missed();
    broadcast_self();
}

COVEY_INLINE void machine::begin_new_epoch(time_point now, epoch_t over, peer_id told_by) {
    m_self.epoch = over + 1;
    m_self.incarnation = 0;
    ++m_self_changes;
    ++m_stats.rebirths;
    m_prober.missed();
    broadcast_self();
    say(log_level::warning, covey::detail::concat({"peer ", to_string(told_by),
                                                   " says that this peer was declared dead; it goes on under epoch ", m_self.epoch}));
    event(membership_event::what::rejoined, member(m_self));
    // We were away, perhaps for long: whoever said so knows more.
    const member* teller = m_table.find(told_by);
    if (teller != nullptr && teller->address().port != 0) request_table(now, teller->address());
}

}  // namespace covey::mesh
