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
    /// How many of the scheduler's workers have no work: they look for some, or sleep.
    const std::atomic<unsigned>* hungry = nullptr;
    unsigned pops_left = pops_between_looks;

    /// Adds work, newest first, and lets others have of it if they want some.
    void push(std::coroutine_handle<> work) noexcept {
        deque.push(work);
        offer_if_wanted();
    }
    /// After pushes to `deque`. No fence stands between a push and the look at the others: see pool_idle.ipp.
    void offer_if_wanted() noexcept {
        if (hungry->load(std::memory_order_relaxed) != 0 || deque.wanted()) [[unlikely]]
            offer();
    }
    /// The newest work; null when there is none, and now and then when the worker should go back to its loop first,
    /// because sockets, timers or work from elsewhere wait for it.
    [[gnu::always_inline]] std::coroutine_handle<> pop() noexcept {
        if (deque.wanted()) [[unlikely]]
            offer();
        if (--pops_left == 0) [[unlikely]] {
            pops_left = pops_between_looks;
            if (wanted_elsewhere()) return nullptr;
        }
        return deque.pop();
    }
    COVEY_NOINLINE void offer() noexcept {
        if (deque.share()) wake();
    }

    /// Wakes a worker that sleeps, if one does.
    virtual void wake() noexcept = 0;
    virtual bool wanted_elsewhere() noexcept = 0;

protected:
    local_queue() = default;
    ~local_queue() = default;
};

}  // namespace covey::detail
