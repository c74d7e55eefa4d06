#pragma once

#include <covey/sim/event_queue.hpp>

#include <cassert>

namespace covey::sim {

COVEY_INLINE event_queue::ticket event_queue::add(time_point when, event what) {
    assert(what.kind != event_kind::none);
    std::size_t slot = m_slots.size();
    if (m_free.empty()) {
        m_slots.emplace_back();
        m_free.reserve(m_slots.capacity());  // so that removing never allocates
    } else {
        slot = m_free.back();
        m_free.pop_back();
    }
    m_slots[slot].what = std::move(what);
    m_slots[slot].order = ++m_order;
    m_heap.push_back({when, m_order, slot});
    m_slots[slot].position = m_heap.size() - 1;
    up(m_heap.size() - 1);
    return {slot + 1, m_slots[slot].order};
}

COVEY_INLINE event event_queue::take() {
    assert(!m_heap.empty());
    event what = std::move(m_slots[m_heap.front().slot].what);
    remove(0);
    return what;
}

COVEY_INLINE void event_queue::put_off(time_point when) {
    assert(!m_heap.empty() && when >= m_heap.front().when);
    place& p = m_slots[m_heap.front().slot];
    p.what.put_off = true;
    // The ticket stays valid: only the place in the line is new.
    m_heap.front().when = when;
    m_heap.front().order = ++m_order;
    down(0);
}

COVEY_INLINE bool event_queue::cancel(ticket t) noexcept {
    if (t.index == 0 || t.index > m_slots.size()) return false;
    place& p = m_slots[t.index - 1];
    if (p.what.kind == event_kind::none || p.order != t.order) return false;
    const event dropped = std::move(p.what);  // its destructor runs after the queue is whole again
    remove(p.position);
    return true;
}

COVEY_INLINE const event* event_queue::find(std::size_t index) const noexcept {
    if (index == 0 || index > m_slots.size() || m_slots[index - 1].what.kind == event_kind::none) return nullptr;
    return &m_slots[index - 1].what;
}

COVEY_INLINE void event_queue::remove(std::size_t position) noexcept {
    const std::size_t slot = m_heap[position].slot;
    m_slots[slot].what.kind = event_kind::none;
    m_free.push_back(slot);
    const node last = m_heap.back();
    m_heap.pop_back();
    if (position == m_heap.size()) return;
    set(position, last);
    up(position);
    down(m_slots[last.slot].position);
}

COVEY_INLINE void event_queue::up(std::size_t position) noexcept {
    const node moving = m_heap[position];
    while (position > 0) {
        const std::size_t parent = (position - 1) / 2;
        if (!moving.before(m_heap[parent])) break;
        set(position, m_heap[parent]);
        position = parent;
    }
    set(position, moving);
}

COVEY_INLINE void event_queue::down(std::size_t position) noexcept {
    const node moving = m_heap[position];
    for (;;) {
        std::size_t child = 2 * position + 1;
        if (child >= m_heap.size()) break;
        if (child + 1 < m_heap.size() && m_heap[child + 1].before(m_heap[child])) ++child;
        if (!m_heap[child].before(moving)) break;
        set(position, m_heap[child]);
        position = child;
    }
    set(position, moving);
}

}  // namespace covey::sim
