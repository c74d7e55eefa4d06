#pragma once

#include <covey/mesh/suspicion.hpp>

#include <algorithm>
#include <cmath>

namespace covey::mesh {

COVEY_INLINE void suspicions::set_deadline(peer_id subject, entry& e, time_point deadline) {
    m_deadlines.erase({e.due, subject});
    e.deadline = deadline;
    e.due = deadline - e.how.last_word * e.questions_left / questions;
    m_deadlines.insert({e.due, subject});
}

COVEY_INLINE void suspicions::start(time_point since, peer_id subject, peer_id accuser, const terms& how) {
    erase(subject);
    entry& e = m_open[subject];
    e.how = how;
    e.start = since;
    e.questions_left = how.last_word == duration{} ? 0 : questions;
    e.accusers.push_back(accuser);
    set_deadline(subject, e, after(since, how.confirmations == 0 ? how.shortest : how.longest));
}

COVEY_INLINE peer_id suspicions::first_accuser(peer_id subject) const noexcept {
    const auto it = m_open.find(subject);
    return it == m_open.end() ? peer_id{} : it->second.accusers.front();
}

COVEY_INLINE bool suspicions::confirm(peer_id subject, peer_id accuser) {
    const auto it = m_open.find(subject);
    if (it == m_open.end()) return false;
    entry& e = it->second;
    if (e.accusers.size() > e.how.confirmations) return false;
    if (std::find(e.accusers.begin(), e.accusers.end(), accuser) != e.accusers.end()) return false;
    e.accusers.push_back(accuser);
    const double confirmed = static_cast<double>(e.accusers.size() - 1);
    const double part = std::log(confirmed + 1) / std::log(static_cast<double>(e.how.confirmations) + 1);
    const double span = static_cast<double>((e.how.longest - e.how.shortest).count());
    // Whole milliseconds: the logarithms of two libraries may differ in their last bit.
    const auto shrunk_ms = static_cast<std::int64_t>(span * part / 1e6);
    const duration left = std::max(e.how.shortest, e.how.longest - std::chrono::milliseconds(shrunk_ms));
    set_deadline(subject, e, std::min(e.deadline, after(e.start, left)));
    return true;
}

COVEY_INLINE void suspicions::hurry(time_point now, peer_id subject, time_point deadline) {
    const auto it = m_open.find(subject);
    if (it == m_open.end() || deadline >= it->second.deadline) return;
    entry& e = it->second;
    if (e.how.last_word != duration{}) {
        // The questions fill all the time that is left.
        e.how.last_word = std::max(deadline - now, duration{});
        e.questions_left = questions - 1;
    }
    set_deadline(subject, e, deadline);
}

COVEY_INLINE void suspicions::erase(peer_id subject) {
    const auto it = m_open.find(subject);
    if (it == m_open.end()) return;
    m_deadlines.erase({it->second.due, subject});
    m_open.erase(it);
}

COVEY_INLINE std::optional<suspicions::verdict> suspicions::take_due(time_point now) {
    if (m_deadlines.empty() || m_deadlines.begin()->first > now) return std::nullopt;
    const peer_id subject = m_deadlines.begin()->second;
    entry& e = m_open.at(subject);
    const verdict v{subject, e.accusers.front(), e.questions_left == 0};
    if (v.is_final) {
        erase(subject);
    } else {
        // We may be late, or a confirmation moved the end to before now: this answer, and those to come, still get their time.
        const time_point soonest = after(now, e.how.last_word * e.questions_left / questions);
        --e.questions_left;
        set_deadline(subject, e, std::max(e.deadline, soonest));
    }
    return v;
}

COVEY_INLINE void suspicions::shift(duration by) {
    m_deadlines.clear();
    for (auto& [subject, e] : m_open) {
        e.start = after(e.start, by);
        e.deadline = after(e.deadline, by);
        e.due = after(e.due, by);
        m_deadlines.insert({e.due, subject});
    }
}

}  // namespace covey::mesh
