#pragma once

#include <covey/call/detail/once_table.hpp>

#include <algorithm>

namespace covey::detail {

COVEY_INLINE once_table::attempt once_table::begin(peer_id from, once_number number, time_point now) {
    const std::lock_guard lock(m_mutex);
    if (m_is_closed) return {.refusal = errc::shut_down, .why = "this peer is shutting down"};
    forget_old(now);
    if (m_callers.size() >= callers_max && m_callers.count(from) == 0) {
        return {.refusal = errc::overloaded, .why = "calls that may run only once are remembered of too many peers already"};
    }
    caller& c = m_callers[from];
    c.last = now;
    if (number.floor > c.floor) {
        c.floor = number.floor;
        forget_below(c);
    }
    if (number.sequence < c.floor) return {.refusal = errc::link_lost, .why = "the caller of this call has given it up before it came"};
    const auto at = c.calls.find(number.sequence);
    if (at != c.calls.end()) return {.entry = at->second};
    if (c.calls.size() >= calls_max) {
        return {.refusal = errc::overloaded, .why = "too many calls of this peer that may run only once are remembered already"};
    }
    if (m_remembered >= remembered_max) {
        return {.refusal = errc::overloaded, .why = "too many calls that may run only once are remembered already"};
    }
    const auto entry = std::make_shared<once_entry>();
    c.calls.emplace(number.sequence, entry);
    ++m_remembered;
    return {.entry = entry, .is_first = true};
}

COVEY_INLINE void once_table::end(once_entry& entry, wire::frame_kind kind, bytes_view body) {
    {
        const std::lock_guard lock(m_mutex);
        if (entry.has_ended) return;
        if (m_answers_bytes + body.size() <= answers_bytes_max) {
            entry.body.append(body);
            entry.is_kept = true;
            m_answers_bytes += body.size();
        }
        entry.kind = kind;
        entry.has_ended = true;  // last: without memory for the answer, that is what the next one says
    }
    entry.ended.set();
}

/// What still runs stays, so that it can be stopped.
COVEY_INLINE void once_table::forget_below(caller& c) {
    for (auto at = c.calls.begin(); at != c.calls.end() && at->first < c.floor;) {
        if (is_running(*at->second)) {
            ++at;
        } else {
            m_answers_bytes -= at->second->body.size();
            --m_remembered;
            at = c.calls.erase(at);
        }
    }
}

COVEY_INLINE void once_table::forget_old(time_point now) {
    if (now < m_look_next) return;
    m_look_next = after(now, remembered / 10);
    for (auto at = m_callers.begin(); at != m_callers.end();) {
        caller& c = at->second;
        const bool is_old = after(c.last, remembered) <= now;
        if (is_old) {
            c.floor = c.calls.empty() ? c.floor : std::prev(c.calls.end())->first + 1;
            forget_below(c);
        }
        at = is_old && c.calls.empty() ? m_callers.erase(at) : std::next(at);
    }
}

COVEY_INLINE void once_table::add_running(const caller& c, entries& to) {
    for (const auto& [sequence, entry] : c.calls) {
        if (is_running(*entry)) to.push_back(entry);
    }
}

COVEY_INLINE void once_table::stop(peer_id from) {
    entries running;
    {
        const std::lock_guard lock(m_mutex);
        const auto at = m_callers.find(from);
        if (at != m_callers.end()) add_running(at->second, running);
    }
    // Without the mutex: what is stopped may end at once.
    for (const auto& entry : running) entry->stop.request_stop();
}

COVEY_INLINE void once_table::close() {
    entries running;
    {
        const std::lock_guard lock(m_mutex);
        m_is_closed = true;
        for (const auto& [id, c] : m_callers) add_running(c, running);
    }
    for (const auto& entry : running) entry->stop.request_stop();
}

}  // namespace covey::detail
