#pragma once

#include <covey/mesh/prober.hpp>

#include <algorithm>

namespace covey::mesh {

COVEY_INLINE open_ping* prober::begin(open_ping::purpose why, peer_id target, time_point due, time_point give_up) {
    if (m_open.size() >= open_max) return nullptr;
    open_ping& p = m_open.emplace_back();
    p.why = why;
    p.sequence = ++m_sequence;
    p.target = target;
    p.due = due;
    p.give_up = give_up;
    return &p;
}

COVEY_INLINE open_ping* prober::find(std::uint32_t sequence) noexcept {
    const auto it = std::find_if(m_open.begin(), m_open.end(), [&](const open_ping& p) { return p.sequence == sequence; });
    return it == m_open.end() ? nullptr : &*it;
}

COVEY_INLINE bool prober::asks(peer_id target) const noexcept {
    return std::any_of(m_open.begin(), m_open.end(), [&](const open_ping& p) {
        return (p.why == open_ping::purpose::probe || p.why == open_ping::purpose::confirm) && p.target == target;
    });
}

COVEY_INLINE std::optional<open_ping> prober::take(std::uint32_t sequence) {
    open_ping* p = find(sequence);
    if (p == nullptr) return std::nullopt;
    std::optional<open_ping> taken(std::move(*p));
    m_open.erase(m_open.begin() + (p - m_open.data()));
    return taken;
}

COVEY_INLINE time_point prober::next() const noexcept {
    time_point first = never;
    for (const open_ping& p : m_open) first = std::min(first, p.due);
    return first;
}

COVEY_INLINE open_ping* prober::due(time_point now) noexcept {
    open_ping* first = nullptr;
    for (open_ping& p : m_open) {
        if (p.due <= now && (first == nullptr || p.due < first->due)) first = &p;
    }
    return first;
}

COVEY_INLINE void prober::shift(duration by) {
    for (open_ping& p : m_open) {
        p.sent = after(p.sent, by);
        p.due = after(p.due, by);
        p.give_up = after(p.give_up, by);
    }
}

}  // namespace covey::mesh
