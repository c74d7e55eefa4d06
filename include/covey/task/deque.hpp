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
///
/// The paper's fences are sequentially consistent accesses here, as in the original: of an owner who lowers the bottom and
/// then reads the top, and a thief who reads the top and then the bottom, one sees the other. That is one locked
/// instruction a pop and none a push.
class work_deque {
public:
    work_deque() { grow(0, 0); }
    work_deque(const work_deque&) = delete;
    work_deque& operator=(const work_deque&) = delete;

    /// Owner only.
    void push(std::coroutine_handle<> work) {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed);
        if (bottom >= m_limit) [[unlikely]]
            make_room(bottom);
        owners_slot(bottom).store(work.address(), std::memory_order_relaxed);
        // What the handle points to is visible to whoever sees the new bottom.
        m_bottom.store(bottom + 1, std::memory_order_release);
    }

    /// Owner only; a null handle when empty.
    [[gnu::always_inline]] std::coroutine_handle<> pop() noexcept {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed) - 1;
        m_bottom.store(bottom, std::memory_order_seq_cst);
        std::int64_t top = m_top.load(std::memory_order_seq_cst);
        if (top < bottom) [[likely]]
            return std::coroutine_handle<>::from_address(owners_slot(bottom).load(std::memory_order_relaxed));
        void* work = nullptr;
        if (top == bottom) {
            // The last one: race the thieves for it.
            work = owners_slot(bottom).load(std::memory_order_relaxed);
            if (!m_top.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) work = nullptr;
        }
        m_bottom.store(bottom + 1, std::memory_order_relaxed);
        return std::coroutine_handle<>::from_address(work);
    }

    /// Any thread; a null handle when empty or when somebody else was faster.
    std::coroutine_handle<> steal() noexcept {
        std::int64_t top = m_top.load(std::memory_order_seq_cst);
        const std::int64_t bottom = m_bottom.load(std::memory_order_seq_cst);
        if (top >= bottom) return nullptr;
        void* work = m_array.load(std::memory_order_acquire)->slot(top).load(std::memory_order_relaxed);
        if (!m_top.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return nullptr;
        return std::coroutine_handle<>::from_address(work);
    }

    /// Any thread; a guess unless nobody else is at work.
    bool empty() const noexcept { return m_top.load(std::memory_order_acquire) >= m_bottom.load(std::memory_order_acquire); }

private:
    struct ring {
        explicit ring(std::int64_t n) : size(n), slots(new std::atomic<void*>[static_cast<std::size_t>(n)]) {}
        std::atomic<void*>& slot(std::int64_t i) const noexcept { return slots[static_cast<std::size_t>(i & (size - 1))]; }
        std::int64_t size;
        std::unique_ptr<std::atomic<void*>[]> slots;
    };

    std::atomic<void*>& owners_slot(std::int64_t i) noexcept { return m_slots[static_cast<std::size_t>(i & m_mask)]; }

    /// The array looked full when the top was last read: perhaps thieves have made room meanwhile.
    COVEY_NOINLINE void make_room(std::int64_t bottom) {
        const std::int64_t top = m_top.load(std::memory_order_acquire);
        if (bottom - top > m_mask) grow(top, bottom);
        m_limit = top + m_mask + 1;
    }
    void grow(std::int64_t top, std::int64_t bottom) {
        m_rings.push_back(std::make_unique<ring>(m_rings.empty() ? 256 : m_rings.back()->size * 2));
        ring* const larger = m_rings.back().get();
        for (std::int64_t i = top; i < bottom; ++i) {
            larger->slot(i).store(owners_slot(i).load(std::memory_order_relaxed), std::memory_order_relaxed);
        }
        m_slots = larger->slots.get();
        m_mask = larger->size - 1;
        m_limit = top + larger->size;
        m_array.store(larger, std::memory_order_release);
    }

    // The owner's, then what thieves write, then what they read: each on a cache line of its own.
    alignas(64) std::int64_t m_limit = 0;  // the bottom at which the top must be looked at
    std::int64_t m_mask = -1;
    std::atomic<void*>* m_slots = nullptr;  // of the newest array
    std::vector<std::unique_ptr<ring>> m_rings;
    alignas(64) std::atomic<std::int64_t> m_top{0};
    alignas(64) std::atomic<std::int64_t> m_bottom{0};
    std::atomic<ring*> m_array{nullptr};
};

}  // namespace covey
