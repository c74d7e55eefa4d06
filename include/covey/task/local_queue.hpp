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
    /// How many of the scheduler's workers sleep and could be woken.
    const std::atomic<unsigned>* sleepers = nullptr;
    /// Whether those who go to sleep make everybody else pass a fence (see pool.ipp), so that a push needs none.
    bool sleepers_fence = false;
    unsigned pops_left = pops_between_looks;

    /// Adds work, newest first, and wakes a sleeper if there is one.
    void push(std::coroutine_handle<> work) noexcept {
        deque.push(work);
        wake_a_sleeper();
    }
    void wake_a_sleeper() noexcept {
        // The push must be visible before the look at the sleepers: otherwise the last to fall asleep misses it.
        if (sleepers_fence) {
            asm volatile("" ::: "memory");
        } else {
            full_fence();
        }
        if (sleepers->load(std::memory_order_relaxed) != 0) [[unlikely]]
            wake();
    }
    /// The newest work; null when there is none, and now and then when the worker should go back to its loop first,
    /// because sockets, timers or work from elsewhere wait for it.
    [[gnu::always_inline]] std::coroutine_handle<> pop() noexcept {
        if (--pops_left == 0) [[unlikely]] {
            pops_left = pops_between_looks;
            if (wanted_elsewhere()) return nullptr;
        }
        return deque.pop();
    }

    virtual void wake() noexcept = 0;
    virtual bool wanted_elsewhere() noexcept = 0;

protected:
    local_queue() = default;
    ~local_queue() = default;
};

}  // namespace covey::detail
