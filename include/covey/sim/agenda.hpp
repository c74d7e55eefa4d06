// What happens next in a fleet: a 4-ary heap of plain 24-byte entries.
#pragma once

#include <covey/core/time.hpp>
#include <covey/sim/trace.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace covey::sim {

/// Entries come out by time, and at equal times in the order in which they were added. Nothing can be taken out before its
/// turn: whoever adds an entry recognises a stale one when it comes. Adding and taking cost O(log n) and allocate only while
/// the heap is larger than ever before. One thread.
class agenda {
public:
    /// `kind` (below 128), `host` and `payload` mean what the owner says.
    struct entry {
        time_point when;
        std::uint8_t kind = 0;
        bool put_off = false;
        host_index host = 0;
        std::uint32_t payload = 0;
    };

    bool empty() const noexcept { return m_heap.empty(); }
    std::size_t size() const noexcept { return m_heap.size(); }
    time_point next_time() const noexcept { return m_heap.empty() ? never : m_heap.front().when; }

    void add(const entry& e) {
        const node n{e.when, (++m_order << 8) | std::uint64_t{e.put_off} << 7 | e.kind, e.host, e.payload};
        m_heap.push_back(n);
        std::size_t at = m_heap.size() - 1;
        for (; at > 0; at = (at - 1) / 4) {
            const node& parent = m_heap[(at - 1) / 4];
            if (!n.before(parent)) break;
            m_heap[at] = parent;
        }
        m_heap[at] = n;
    }

    /// Precondition: not empty.
    entry take() {
        assert(!m_heap.empty());
        const node first = m_heap.front();
        const node last = m_heap.back();
        m_heap.pop_back();
        if (!m_heap.empty()) sink(last);
        return {first.when, static_cast<std::uint8_t>(first.order & 0x7f), (first.order & 0x80) != 0, first.host, first.payload};
    }

private:
    struct node {
        time_point when;
        std::uint64_t order;  // the order of adding, then put_off and kind in the lowest byte
        host_index host;
        std::uint32_t payload;

        bool before(const node& other) const noexcept { return when != other.when ? when < other.when : order < other.order; }
    };
    static_assert(sizeof(node) == 24 && std::is_trivially_copyable_v<node>);

    void sink(const node& n) {
        const std::size_t size = m_heap.size();
        std::size_t at = 0;
        for (;;) {
            const std::size_t first = 4 * at + 1;
            if (first >= size) break;
            std::size_t least = first;
            const std::size_t end = first + 4 < size ? first + 4 : size;
            for (std::size_t child = first + 1; child < end; ++child) {
                if (m_heap[child].before(m_heap[least])) least = child;
            }
            if (!m_heap[least].before(n)) break;
            m_heap[at] = m_heap[least];
            at = least;
        }
        m_heap[at] = n;
    }

    std::vector<node> m_heap;
    std::uint64_t m_order = 0;
};

}  // namespace covey::sim
