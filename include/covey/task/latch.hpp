// latch: coroutines wait until a number of things have happened.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/detail/waiters.hpp>

#include <coroutine>
#include <cstddef>
#include <mutex>
#include <string>

namespace covey {

/// Counts down to zero once, as std::latch does, and then lets everybody pass:
///
///     latch ready{3};
///     ready.count_down();        // from three places, on any thread
///     co_await ready.wait();
///
/// Thread-safe. Destroying it while somebody waits ends the program with a message.
class latch {
public:
    explicit latch(std::size_t expected) noexcept : m_left(expected) {}
    latch(const latch&) = delete;
    latch& operator=(const latch&) = delete;

    class [[nodiscard("nobody waits until this is awaited")]] wait_awaiter : detail::waiter {
    public:
        wait_awaiter(latch& l, std::size_t arrive) noexcept : m_latch(l), m_arrive(arrive) {}

        using waiter::await_ready;
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            const task_context& context = detail::context_of(self);
            if (m_arrive != 0) m_latch.count_down(m_arrive);
            if (!may_start(context)) return false;
            latch& l = m_latch;
            l.m_lock.lock();
            if (l.m_left == 0) {
                l.m_lock.unlock();
                return false;
            }
            return park(l.m_lock, l.m_waiters, self, context);
        }
        void await_resume() { resumed(); }

    private:
        latch& m_latch;
        const std::size_t m_arrive;
    };

    /// Counts n down; at zero all who wait go on. Throws errc::bad_argument, and counts nothing, if fewer are left.
    void count_down(std::size_t n = 1) {
        detail::woken_list woken;
        m_lock.lock();
        const std::size_t left = m_left;
        if (n <= left) m_left -= n;
        if (m_left == 0) woken.add_all(m_waiters);
        m_lock.unlock();
        woken.wake();
        if (n > left) refuse(n, left);
    }

    /// Whether the count has reached zero.
    bool try_wait() const noexcept {
        const std::lock_guard lock(m_lock);
        return m_left == 0;
    }

    /// `co_await l.wait()`: goes on once the count is zero. Throws `stopped` if its caller is asked to stop first.
    wait_awaiter wait() noexcept { return wait_awaiter(*this, 0); }

    /// `co_await l.arrive_and_wait(n)`: counts n down and waits. It has counted also where it throws `stopped`, so the
    /// others do not wait in vain.
    wait_awaiter arrive_and_wait(std::size_t n = 1) noexcept { return wait_awaiter(*this, n); }

private:
    [[noreturn]] COVEY_NOINLINE static void refuse(std::size_t n, std::size_t left) {
        throw error(errc::bad_argument,
                    "a latch was counted down by " + std::to_string(n) + " with only " + std::to_string(left) + " left");
    }

    mutable detail::spin_lock m_lock;
    std::size_t m_left;
    detail::waiter_list m_waiters{"a latch"};
};

}  // namespace covey
