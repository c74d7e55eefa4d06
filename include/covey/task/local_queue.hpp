// The queue of a worker thread's own work, as the joins of fork-join code see it.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/task/deque.hpp>

#include <atomic>
#include <coroutine>

namespace covey::detail {

/// A scheduler with worker threads installs one a thread (`thread_state::queue`). What runs on that thread then pushes and
/// pops here without a virtual call; who else looks for work steals from it.
struct local_queue {
    /// How many pops a chain of coroutines makes before it looks whether the worker is wanted elsewhere.
    static constexpr unsigned pops_between_looks = 32;

    work_deque deque;
    scheduler* owner = nullptr;
    /// How many of the scheduler's workers have no work: they look for some, or sleep. They want some of every deque.
    const std::atomic<unsigned>* hungry = nullptr;
    unsigned pops_left = pops_between_looks;
    /// How many offers are made before it looks whether anybody is hungry still: workers are again and again for moments.
    static constexpr unsigned offers_between_looks = 16;
    unsigned offers_left = offers_between_looks;

    /// Adds work, newest first, and lets others have of it if they want some.
    void push(std::coroutine_handle<> work) noexcept {
        if (deque.put(work)) [[unlikely]]
            attend();
    }
    /// The same `n` times.
    void push_copies(std::coroutine_handle<> work, std::uint32_t n) noexcept {
        if (n > 1 && deque.put_copies(work, n)) return;
        for (; n != 0; --n) push(work);
    }
    /// After pushes to `deque`. No fence stands between a push and the look at what others want: see pool_idle.ipp.
    void offer_if_wanted() noexcept {
        if (deque.wanted()) [[unlikely]]
            offer();
    }
    /// The newest work; null when there is none, and now and then when the worker should go back to its loop first,
    /// because sockets, timers or work from elsewhere wait for it.
    [[gnu::always_inline]] std::coroutine_handle<> pop() noexcept {
        if (--pops_left == 0) [[unlikely]] {
            if (look_around()) return nullptr;
        }
        return deque.pop();
    }
    COVEY_NOINLINE void attend() noexcept {
        deque.make_room();
        offer_if_wanted();
    }
    /// Whoever begins to be hungry counts itself and then asks every deque; here what they ask is forgotten first, and then they
    /// are counted again. So a deque stays asked as long as somebody is hungry.
    COVEY_NOINLINE void offer() noexcept {
        if (deque.has_public() || deque.share()) wake();
        if (--offers_left != 0) return;
        offers_left = offers_between_looks;
        if (hungry->load(std::memory_order_relaxed) != 0) return;
        deque.forget();
        if (hungry->load(std::memory_order_seq_cst) != 0) deque.want();
    }
    COVEY_NOINLINE bool look_around() noexcept {
        pops_left = pops_between_looks;
        offer_if_wanted();
        return wanted_elsewhere();
    }

    /// Wakes a worker that sleeps, if one does.
    virtual void wake() noexcept = 0;
    virtual bool wanted_elsewhere() noexcept = 0;

protected:
    local_queue() = default;
    ~local_queue() = default;
};

}  // namespace covey::detail
