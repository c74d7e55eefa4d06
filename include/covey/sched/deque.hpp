// The Chase–Lev work-stealing deque of coroutine handles.
// D. Chase and Y. Lev, "Dynamic Circular Work-Stealing Deque", SPAA 2005, in the C11 form of N. M. Lê, A. Pop, A. Cohen
// and F. Zappa Nardelli, "Correct and Efficient Work-Stealing for Weak Memory Models", PPoPP 2013.
#pragma once

#include <covey/core/config.hpp>

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace covey {

/// A sequentially consistent fence. ThreadSanitizer ignores fences, so there it is a read-modify-write; so it is with
/// Clang on x86, which emits `mfence`, several times as slow as a locked instruction.
inline void full_fence() noexcept {
#if COVEY_TSAN
    static std::atomic<int> word{0};
    word.fetch_add(0, std::memory_order_seq_cst);
#elif defined(__clang__) && defined(__x86_64__)
    asm volatile("lock; orl $0, -8(%%rsp)" ::: "memory", "cc");
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

/// One owner thread pushes and pops at the bottom (newest first); any thread steals from the top (oldest first). Grows
/// without bound, by doubling; old arrays are kept until the end because a thief may still be reading one.
class work_deque {
public:
    work_deque() : m_array(new ring(256)) { m_rings.emplace_back(m_array.load(std::memory_order_relaxed)); }
    work_deque(const work_deque&) = delete;
    work_deque& operator=(const work_deque&) = delete;

    /// Owner only.
    void push(std::coroutine_handle<> work) {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed);
        const std::int64_t top = m_top.load(std::memory_order_acquire);
        ring* array = m_array.load(std::memory_order_relaxed);
        if (bottom - top >= array->size()) array = grow(array, top, bottom);
        array->put(bottom, work.address());
        // Release, not a fence and a relaxed store: the same on x86, and ThreadSanitizer sees it.
        m_bottom.store(bottom + 1, std::memory_order_release);
    }

    /// Owner only; a null handle when empty.
    std::coroutine_handle<> pop() noexcept {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed) - 1;
        ring* array = m_array.load(std::memory_order_relaxed);
        m_bottom.store(bottom, std::memory_order_relaxed);
        full_fence();  // a thief must see the new bottom, or we its new top
        std::int64_t top = m_top.load(std::memory_order_relaxed);
        void* work = nullptr;
        if (top <= bottom) {
            work = array->get(bottom);
            if (top == bottom) {
                // The last one: race the thieves for it.
                if (!m_top.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) work = nullptr;
                m_bottom.store(bottom + 1, std::memory_order_relaxed);
            }
        } else {
            m_bottom.store(bottom + 1, std::memory_order_relaxed);
        }
        return std::coroutine_handle<>::from_address(work);
    }

    /// Any thread; a null handle when empty or when somebody else was faster.
    std::coroutine_handle<> steal() noexcept {
        std::int64_t top = m_top.load(std::memory_order_acquire);
        full_fence();
        const std::int64_t bottom = m_bottom.load(std::memory_order_acquire);
        if (top >= bottom) return nullptr;
        void* work = m_array.load(std::memory_order_acquire)->get(top);
        if (!m_top.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return nullptr;
        return std::coroutine_handle<>::from_address(work);
    }

    /// Any thread; a guess unless nobody else is at work.
    bool empty() const noexcept { return m_top.load(std::memory_order_acquire) >= m_bottom.load(std::memory_order_acquire); }

private:
    class ring {
    public:
        explicit ring(std::int64_t size) : m_mask(size - 1), m_slots(new std::atomic<void*>[static_cast<std::size_t>(size)]) {}
        std::int64_t size() const noexcept { return m_mask + 1; }
        // Release and acquire where the paper has fences: what the handle points to was written before it was pushed.
        void put(std::int64_t i, void* work) noexcept {
            m_slots[static_cast<std::size_t>(i & m_mask)].store(work, std::memory_order_release);
        }
        void* get(std::int64_t i) const noexcept { return m_slots[static_cast<std::size_t>(i & m_mask)].load(std::memory_order_acquire); }

    private:
        std::int64_t m_mask;
        std::unique_ptr<std::atomic<void*>[]> m_slots;
    };

    ring* grow(ring* old, std::int64_t top, std::int64_t bottom) {
        m_rings.push_back(std::make_unique<ring>(old->size() * 2));
        ring* larger = m_rings.back().get();
        for (std::int64_t i = top; i < bottom; ++i) larger->put(i, old->get(i));
        m_array.store(larger, std::memory_order_release);
        return larger;
    }

    alignas(64) std::atomic<std::int64_t> m_top{0};
    alignas(64) std::atomic<std::int64_t> m_bottom{0};
    std::atomic<ring*> m_array;
    std::vector<std::unique_ptr<ring>> m_rings;
};

}  // namespace covey
