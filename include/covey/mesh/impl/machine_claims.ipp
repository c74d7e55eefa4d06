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
    if (news.epoch >= detail::counter_max || news.incarnation >= detail::counter_max) return reject(rejection::malformed);
    if (news.id == m_self.id) return apply_about_self(now, news, told_by);
    switch (news.state) {
        case member_state::alive: return apply_alive(now, news, pass_on);
        case member_state::suspect: return apply_suspect(now, news, pass_on);
        case member_state::dead:
        case member_state::left: return apply_end(now, news, via, told_by, pass_on);
    }
}

COVEY_INLINE void machine::apply_alive(time_point now, const claim& news, bool pass_on) {
    const table::row* known = m_table.find(news.id);
    membership_event::what kind = membership_event::what::joined;
    bool is_event = true;
    if (known == nullptr) {
        if (m_table.live_count() + 1 >= m_config.members_max) return reject(rejection::full);
    } else if (news.epoch > known->epoch()) {
        kind = membership_event::what::rejoined;
    } else if (news.epoch < known->epoch()) {
        return reject(rejection::stale);
    } else if (!known->is_live()) {
        // Somebody still believes in a life that is over; if its owner does, it must hear of it.
        tell_dead(news.id);
        return reject(rejection::stale);
    } else if (news.incarnation <= known->incarnation()) {
        return;
    } else {
        kind = membership_event::what::alive_again;
        is_event = known->state() == member_state::suspect;
    }
    // Only what is new is looked into; mostly it is what we know.
    record_ptr what;
    if (known != nullptr && known->is_described() && std::ranges::equal(known->shared_record()->encoded(), news.encoded)) {
        what = known->shared_record();
    } else {
        try {
            what = decode_record(news.encoded);
        } catch (const error&) {
            return reject(rejection::malformed);
        }
    }
    if (what->what().role == member_role::observer) return;
    const peer_id tenant = m_table.at_address(what->what().address);
    const bool is_flap = known != nullptr && what == known->shared_record();
    std::uint32_t flaps = 0;
    if (is_flap && kind == membership_event::what::alive_again) flaps = std::min(news.incarnation - known->incarnation(), 8u);
    if (is_flap && kind == membership_event::what::rejoined && known->state() != member_state::left) flaps = 3;
    if (kind == membership_event::what::alive_again && is_event) hold_against_accuser(now, *known);
    if (kind == membership_event::what::alive_again && !is_event && what != known->shared_record()) {
        kind = membership_event::what::updated;
        is_event = true;
    }
    m_suspicions.erase(news.id);
    const member subject(news.id, news.epoch, news.incarnation, std::move(what), member_state::alive);
    m_table.put(now, subject, m_random);
    // Of a crowd that joins at once, gossip could carry a part only, and keep what matters more waiting: tables are compared for that.
    const bool is_crowd = kind == membership_event::what::joined && m_broadcasts.size() >= 2 * crowd;
    if (pass_on && !is_crowd) broadcast(news.id, {});
    if (is_event) {
        event(kind, *m_table.find(news.id));
        stir(now);
    }
    if (flaps != 0) mark_flap(now, news.id, flaps);
    if (kind == membership_event::what::rejoined && m_split) watch_for_split(now, true);
    // Two processes cannot listen at one address, and this one is the news.
    if (tenant && tenant != news.id) suspect_strongly(now, tenant);
}

COVEY_INLINE void machine::apply_suspect(time_point now, const claim& news, bool pass_on) {
    const table::row* known = m_table.find(news.id);
    if (known == nullptr || news.epoch != known->epoch() || !known->is_live()) return;
    if (news.incarnation < known->incarnation()) return;
    if (!is_believed(now, news.accuser)) {
        if (known->state() == member_state::alive) verify(now, *known);
        return;
    }
    suspect(now, now, news.id, news.accuser, news.incarnation, pass_on);
}

COVEY_INLINE void machine::apply_end(time_point now, const claim& news, source via, peer_id told_by, bool pass_on) {
    const table::row* known = m_table.find(news.id);
    const member subject(news.id, news.epoch, news.incarnation, known == nullptr ? nullptr : known->shared_record(), news.state);
    if (known == nullptr) {
        // Remembered without an event, so that late news of its life does not bring it back.
        if (m_config.tombstones_max == 0) return;
        if (m_table.tombstone_count() >= m_config.tombstones_max) m_table.bury_oldest();
        m_table.put(now, subject, m_random);
        return;
    }
    if (news.epoch < known->epoch()) return reject(rejection::stale);
    if (!known->is_live()) {
        const bool said_goodbye = news.epoch == known->epoch() && news.state == member_state::left && known->state() == member_state::dead;
        if (said_goodbye) m_table.give_up(news.id);
        if (news.epoch > known->epoch()) m_table.put(now, subject, m_random);
        return;
    }
    if (news.state == member_state::dead && news.epoch == known->epoch()) {
        // A table may be old: the subject gets a chance to answer to what it says (memberlist does the same).
        if (via == source::exchange && !is_observer())
            return suspect(now, now, news.id, told_by, std::max(news.incarnation, known->incarnation()), pass_on);
        // It has spoken since, or who says so says so of everybody.
        if (known->state() == member_state::alive && (news.incarnation < known->incarnation() || !is_believed(now, news.accuser)))
            return verify(now, *known);
    }
    declare(now, subject, news.accuser, pass_on);
}

COVEY_INLINE void machine::declare(time_point now, const member& subject, peer_id accuser, bool pass_on) {
    if (m_table.tombstone_count() >= std::max<std::size_t>(m_config.tombstones_max, 1)) m_table.bury_oldest();
    m_suspicions.erase(subject.id());
    m_table.put(now, subject, m_random);
    const bool is_death = subject.state() == member_state::dead;
    if (is_death) ++m_stats.deaths;
    if (pass_on) broadcast(subject.id(), accuser);
    event(is_death ? membership_event::what::dead : membership_event::what::left, subject);
    stir(now);
    if (is_death) watch_for_split(now, false);
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

COVEY_INLINE void machine::suspect(time_point now, time_point silent_since, peer_id id, peer_id accuser, std::uint32_t incarnation,
                                   bool pass_on) {
    const table::row* known = m_table.find(id);
    if (known == nullptr || !known->is_live()) return;
    const bool is_new = known->state() == member_state::alive;
    if (is_new || incarnation > known->incarnation()) {
        m_table.put(now, member(id, known->epoch(), incarnation, known->shared_record(), member_state::suspect), m_random);
    }
    if (is_new) {
        ++m_stats.suspicions;
        // An observer asks nobody: it cannot clear anybody either, and waits for what the next table says.
        if (!is_observer()) m_suspicions.start(silent_since, id, accuser, suspicion_terms());
        event(membership_event::what::suspected, *m_table.find(id));
        stir(now);
    } else if (!m_suspicions.confirm(id, accuser)) {
        return;
    }
    if (pass_on) broadcast(id, accuser);
}

/// A suspicion of one that has cleared itself since, or that lives again.
COVEY_INLINE bool machine::is_outdated(const claim& news) const {
    if (news.state != member_state::suspect) return false;
    const table::row* known = m_table.find(news.id);
    if (known == nullptr || known->state() != member_state::alive) return false;
    if (known->epoch() != news.epoch) return known->epoch() > news.epoch;
    return known->incarnation() > news.incarnation;
}

COVEY_INLINE void machine::suspect_strongly(time_point now, peer_id id) {
    if (!suspect_for_good_reason(now, id) || m_prober.asks(id)) return;
    // Asked at once and told at once: a live one clears itself with its answer.
    send_ping(now, open_ping::purpose::check, *m_table.find(id));
}

/// False: there is nobody to suspect.
COVEY_INLINE bool machine::suspect_for_good_reason(time_point now, peer_id id) {
    const table::row* known = m_table.find(id);
    if (known == nullptr || !known->is_live() || m_leaving || is_observer()) return false;
    suspect(now, now, id, m_self.id, known->incarnation(), true);
    m_suspicions.hurry(now, id, after(now, m_config.probe_interval));
    return true;
}

COVEY_INLINE void machine::report_connection_refused(time_point now, peer_id id) {
    if (m_started && !m_left) suspect_strongly(now, id);
}

COVEY_INLINE void machine::tell_dead(peer_id id) {
    const table::row* r = m_table.find(id);
    if (is_observer() || r == nullptr || !r->worth_retrying || m_tell.size() >= tell_max) return;
    if (m_table.at_address(r->address())) return;  // there lives another one by now
    if (std::find(m_tell.begin(), m_tell.end(), id) == m_tell.end()) m_tell.push_back(id);
}

COVEY_INLINE void machine::apply_about_self(time_point now, const claim& news, peer_id told_by) {
    if (m_leaving || is_observer() || news.epoch < m_self.epoch) return;
    const bool is_over = news.state == member_state::dead || news.state == member_state::left;
    // Who hears nobody buries everybody; we have spoken since, and the others heard it. But who says so in answer to a question of ours
    // hears us, and will not have us back in this life: so whoever is not believed is asked.
    if (is_over && news.epoch == m_self.epoch && news.incarnation < m_self.incarnation && told_by != m_answering &&
        !is_believed(now, news.accuser)) {
        const table::row* teller = m_table.find(told_by);
        if (teller != nullptr && teller->is_live() && !m_prober.asks(told_by)) send_ping(now, open_ping::purpose::check, *teller);
        return;
    }
    if (is_over || news.epoch > m_self.epoch) return begin_new_epoch(news.epoch, told_by);
    if (news.state == member_state::suspect) {
        if (news.incarnation < m_self.incarnation) return;
        m_refuted.add(now, news.accuser, 1);
        return refute(news.incarnation);
    }
    const bool is_ours = std::ranges::equal(m_self_record->encoded(), news.encoded);
    if (news.incarnation > m_self.incarnation) {
        refute(news.incarnation);
    } else if (!is_ours && news.incarnation == m_self.incarnation && !m_conflict_noted) {
        m_conflict_noted = true;
        std::string other = "unknown";
        try {
            const record_ptr what = decode_record(news.encoded);
            other = covey::detail::concat({"\"", what->what().name, "\" at ", to_string(what->what().address)});
        } catch (const error&) {
            reject(rejection::malformed);
        }
        say(log_level::error, covey::detail::concat({"peer ", to_string(told_by), " knows our id ", to_string(m_self.id), " as ", other,
                                                     ": two processes were given the same id; restart one of them"}));
    }
}

COVEY_INLINE void machine::refute(std::uint32_t incarnation) {
    m_self.incarnation = incarnation + 1;
    ++m_self_changes;
    ++m_stats.refutations;
    m_prober.missed();
    broadcast(m_self.id, {});
}

COVEY_INLINE void machine::begin_new_epoch(epoch_t over, peer_id told_by) {
    m_self.epoch = over + 1;
    m_self.incarnation = 0;
    ++m_self_changes;
    ++m_stats.rebirths;
    m_prober.missed();
    broadcast(m_self.id, {});
    say(log_level::warning, covey::detail::concat({"peer ", to_string(told_by),
                                                   " says that this peer was declared dead; it goes on under epoch ", m_self.epoch}));
    // It was us who were away: whom we took for dead meanwhile may live, and need not begin a new life for our sake.
    const table::row* teller = m_table.find(told_by);
    const std::optional<endpoint> where = teller != nullptr && teller->is_described() ? std::optional(teller->address()) : std::nullopt;
    m_table.forget_dead();
    m_split = false;
    event(membership_event::what::rejoined, self_member());
    // Whoever said so knows more.
    if (where) open_exchange(*where);
}

}  // namespace covey::mesh
