// A work-stealing deque of coroutine handles whose owner needs no atomic read-modify-write and no fence to push and to pop.
#pragma once

#include <covey/core/config.hpp>

#include <algorithm>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <thread>
#include <utility>
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

/// One owner thread pushes and pops at the bottom (newest first); any thread steals from the top (oldest first). Grows without
/// bound, by doubling.
///
/// What lies between the top and the split is public, the rest is the owner's own, as in T. van Dijk and J. van de Pol, "Lace:
/// Non-blocking Split Deque for Work-Stealing", Euro-Par 2014. A thief that finds nothing public asks for more, and the owner
/// moves the split at its next push or pop; everything that touches the split or the top does so under a lock, which the owner
/// meets only there. An owner that computes for long neither pushes nor pops: for that a thief may take a private handle by
/// `force`, which is dear.
///
/// The owner looks at one word after a push, `m_limit`: it says when the ring is full, and is lowered when somebody wants work.
///
/// The proof of pop. The owner lowers the bottom to b and then reads the split; if b is not below it, it takes b. Only a forcing
/// thief raises the split without the owner's knowing: it raises it to s + 1, makes the owner's processor pass a full fence, and
/// then reads the bottom. Either the owner's read of the split comes after that fence, and it sees s + 1; or its write of the bottom
/// comes before, and the thief sees that. So never do both take s.
class work_deque {
public:
    work_deque() { grow(); }
    work_deque(const work_deque&) = delete;
    work_deque& operator=(const work_deque&) = delete;

    /// Owner only.
    void push(std::coroutine_handle<> work) {
        if (put(work)) [[unlikely]]
            make_room();
    }
    /// Owner only: push for who looks at what others want anyway. True: `make_room` is to be called before the next push, or
    /// somebody wants work.
    [[nodiscard, gnu::always_inline]] bool put(std::coroutine_handle<> work) noexcept {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed);
        slot(bottom) = work.address();
        // What the handle points to is visible to whoever sees the new bottom.
        m_bottom.store(bottom + 1, std::memory_order_release);
        return bottom + 1 >= m_limit.load(std::memory_order_relaxed);
    }
    /// Owner only: as `put` of the same `n` times. False: nothing was done, for the ring may have no room, or somebody wants work.
    [[nodiscard]] bool put_copies(std::coroutine_handle<> work, std::uint32_t n) noexcept {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed);
        if (bottom + n >= m_limit.load(std::memory_order_relaxed)) return false;
        const std::int64_t first = bottom & m_mask;
        if (first + n <= m_mask) {
            std::fill_n(m_slots + first, n, work.address());
        } else {
            for (std::uint32_t i = 0; i < n; ++i) slot(bottom + i) = work.address();
        }
        m_bottom.store(bottom + n, std::memory_order_release);
        return true;
    }
    /// Owner only: room for the next push, if there is none.
    COVEY_NOINLINE void make_room() {
        if (m_bottom.load(std::memory_order_relaxed) < m_full) return;
        const locked guard(*this);
        grow();
    }

    /// Owner only; a null handle when empty.
    [[gnu::always_inline]] std::coroutine_handle<> pop() noexcept {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed) - 1;
        m_bottom.store(bottom, std::memory_order_release);
        asm volatile("" ::: "memory");
        if (bottom < m_split.load(std::memory_order_relaxed)) [[unlikely]]
            return pop_public(bottom);
        return std::coroutine_handle<>::from_address(slot(bottom));
    }

    /// Owner only: the oldest, for fairness.
    std::coroutine_handle<> pop_oldest() noexcept {
        if (empty()) return nullptr;
        const locked guard(*this);
        const std::int64_t top = m_top.load(std::memory_order_relaxed);
        if (top >= m_bottom.load(std::memory_order_relaxed)) return nullptr;
        return take_top(top);
    }

    /// Owner only: makes half of what is private public. True: something is public now.
    COVEY_NOINLINE bool share() noexcept {
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed);
        if (m_split.load(std::memory_order_relaxed) < bottom) {
            const locked guard(*this);
            const std::int64_t split = m_split.load(std::memory_order_relaxed);
            if (split < bottom) m_split.store(split + (bottom - split + 1) / 2, std::memory_order_relaxed);
        }
        return has_public();
    }
    /// Any thread: asks for more. It and the owner's `forget` are sequentially consistent.
    void want() noexcept {
        if (m_limit.load(std::memory_order_seq_cst) != asked) m_limit.store(asked, std::memory_order_seq_cst);
    }
    /// Owner only: nobody has asked for more, from here on.
    void forget() noexcept { m_limit.exchange(m_full, std::memory_order_seq_cst); }
    /// Whether somebody has asked for more.
    bool wanted() const noexcept { return m_limit.load(std::memory_order_relaxed) == asked; }

    /// Any thread; a null handle when nothing is public, or somebody else is at it. Asks for more if there is something private.
    std::coroutine_handle<> steal() noexcept {
        if (!has_public()) {
            if (!empty()) want();
            return nullptr;
        }
        const locked guard(*this);
        return has_public() ? take_top(m_top.load(std::memory_order_relaxed)) : nullptr;
    }

    /// Any thread but the owner: the oldest, private or not. `fence_owner()` makes the owner's processor pass a full fence; it is
    /// not called where nothing is private.
    template <class FenceOwner>
    std::coroutine_handle<> force(FenceOwner fence_owner) noexcept {
        const locked guard(*this);
        const std::int64_t top = m_top.load(std::memory_order_relaxed);
        const std::int64_t split = m_split.load(std::memory_order_relaxed);
        if (top < split) return has_public() ? take_top(top) : nullptr;
        m_split.store(split + 1, std::memory_order_seq_cst);
        fence_owner();
        if (m_bottom.load(std::memory_order_acquire) > split) return take_top(top);
        m_split.store(split, std::memory_order_relaxed);
        return nullptr;
    }
    /// Before it is used, where thieves cannot make others pass a fence: nothing is private, and each pop takes the lock.
    void keep_public() noexcept { m_split.store(everything, std::memory_order_relaxed); }

    /// Any thread; guesses unless nobody else is at work.
    bool empty() const noexcept { return m_top.load(std::memory_order_acquire) >= m_bottom.load(std::memory_order_acquire); }
    bool has_public() const noexcept { return m_top.load(std::memory_order_acquire) < m_split.load(std::memory_order_acquire) && !empty(); }

private:
    static constexpr std::int64_t asked = -1;                                             // a limit that every bottom is above
    static constexpr std::int64_t everything = std::numeric_limits<std::int64_t>::max();  // a split that no bottom is above

    class locked {
    public:
        explicit locked(work_deque& d) noexcept : m_deque(d) {
            for (unsigned i = 0; d.m_lock.exchange(true, std::memory_order_acquire); ++i) {
                // A few instructions long as a rule, but its holder may have been preempted.
                if (i % 64 == 63) std::this_thread::yield();
            }
        }
        locked(const locked&) = delete;
        locked& operator=(const locked&) = delete;
        ~locked() { m_deque.m_lock.store(false, std::memory_order_release); }

    private:
        work_deque& m_deque;
    };

    void*& slot(std::int64_t i) noexcept { return m_slots[i & m_mask]; }

    /// With the lock held.
    std::coroutine_handle<> take_top(std::int64_t top) noexcept {
        void* const work = slot(top);
        m_top.store(top + 1, std::memory_order_release);
        if (m_split.load(std::memory_order_relaxed) <= top) m_split.store(top + 1, std::memory_order_relaxed);
        return std::coroutine_handle<>::from_address(work);
    }

    /// The bottom was lowered into the public part, or below it.
    COVEY_NOINLINE std::coroutine_handle<> pop_public(std::int64_t bottom) noexcept {
        if (m_top.load(std::memory_order_relaxed) > bottom) {
            m_bottom.store(bottom + 1, std::memory_order_release);  // nothing there, and nobody else raises the bottom
            return nullptr;
        }
        const locked guard(*this);
        const std::int64_t top = m_top.load(std::memory_order_relaxed);
        if (top > bottom) {
            m_bottom.store(bottom + 1, std::memory_order_release);
            return nullptr;
        }
        // The newer half of what nobody has stolen is private again.
        if (m_split.load(std::memory_order_relaxed) != everything) m_split.store(top + (bottom - top) / 2, std::memory_order_relaxed);
        return std::coroutine_handle<>::from_address(slot(bottom));
    }

    /// With the lock held, so that no thief looks at the array.
    void grow() {
        const std::int64_t top = m_top.load(std::memory_order_relaxed);
        const std::int64_t bottom = m_bottom.load(std::memory_order_relaxed);
        if (m_mask < 0 || bottom - top > m_mask) {
            const std::int64_t size = m_mask < 0 ? 256 : 2 * (m_mask + 1);
            std::vector<void*> larger(static_cast<std::size_t>(size));
            for (std::int64_t i = top; i < bottom; ++i) larger[static_cast<std::size_t>(i & (size - 1))] = slot(i);
            m_array.swap(larger);
            m_slots = m_array.data();
            m_mask = size - 1;
        }
        std::int64_t limit = std::exchange(m_full, top + m_mask + 1);
        m_limit.compare_exchange_strong(limit, m_full, std::memory_order_relaxed);  // unless somebody has asked for work
    }

    // What the owner reads, and on another cache line what it writes. Thieves look at that line often, and a steal needs no other.
    alignas(64) std::atomic<std::int64_t> m_limit{0};  // m_full, or `asked`
    std::int64_t m_mask = -1;
    void** m_slots = nullptr;
    std::int64_t m_full = 0;  // the bottom at which the top must be looked at
    std::vector<void*> m_array;
    alignas(64) std::atomic<std::int64_t> m_bottom{0};
    std::atomic<std::int64_t> m_split{0};
    std::atomic<std::int64_t> m_top{0};
    std::atomic<bool> m_lock{false};
};

}  // namespace covey
