// Armed timers, earliest first.
#pragma once

#include <covey/core/environment.hpp>

#include <vector>

namespace covey {

/// A binary heap of timers that live in their owners; each knows its place, so cancelling costs O(log n) and no search.
/// Timers of the same moment fire in the order they were armed. Not thread-safe.
class timer_queue {
public:
    bool empty() const noexcept { return m_heap.empty(); }
    std::size_t size() const noexcept { return m_heap.size(); }
    time_point earliest() const noexcept { return m_heap.empty() ? never : m_heap.front()->slot.when; }

    /// Precondition: t is in no queue.
    void push(timer& t, time_point when) {
        m_heap.push_back(&t);
        t.slot.when = when;
        t.slot.order = m_order++;
        t.slot.index = m_heap.size();
        sift_up(m_heap.size() - 1);
    }

    /// False if t is not in the queue.
    bool remove(timer& t) noexcept {
        if (t.slot.index == 0) return false;
        const std::size_t hole = t.slot.index - 1;
        t.slot.index = 0;
        timer* const last = m_heap.back();
        m_heap.pop_back();
        if (last == &t) return true;
        place(hole, last);
        sift_down(hole);
        sift_up(last->slot.index - 1);
        return true;
    }

    /// Takes the earliest timer if it is due, else null.
    timer* pop_due(time_point now) noexcept {
        if (m_heap.empty() || m_heap.front()->slot.when > now) return nullptr;
        timer* const t = m_heap.front();
        remove(*t);
        return t;
    }

private:
    static bool before(const timer& a, const timer& b) noexcept {
        return a.slot.when != b.slot.when ? a.slot.when < b.slot.when : a.slot.order < b.slot.order;
    }
    void place(std::size_t i, timer* t) noexcept {
        m_heap[i] = t;
        t->slot.index = i + 1;
    }
    void sift_up(std::size_t i) noexcept {
        timer* const t = m_heap[i];
        for (; i > 0 && before(*t, *m_heap[(i - 1) / 2]); i = (i - 1) / 2) place(i, m_heap[(i - 1) / 2]);
        place(i, t);
    }
    void sift_down(std::size_t i) noexcept {
        timer* const t = m_heap[i];
        for (std::size_t child; (child = 2 * i + 1) < m_heap.size(); i = child) {
            if (child + 1 < m_heap.size() && before(*m_heap[child + 1], *m_heap[child])) ++child;
            if (!before(*m_heap[child], *t)) break;
            place(i, m_heap[child]);
        }
        place(i, t);
    }

    std::vector<timer*> m_heap;
    std::uint64_t m_order = 0;
};

}  // namespace covey
