// async_mutex: a lock that coroutines wait for without holding a thread.
#pragma once

#include <covey/task/detail/waiters.hpp>

#include <cassert>
#include <coroutine>
#include <mutex>
#include <utility>

namespace covey {

/// One coroutine at a time:
///
///     async_mutex m;
///     auto guard = co_await m.lock();   // unlocks at the end of its scope, also across awaits
///
/// It belongs to no thread: it may be unlocked on another than it was locked on. Waiters get it in the order in which
/// they came, each from the one before, so nobody overtakes them. Thread-safe; never blocks a thread. Destroying it while
/// somebody waits ends the program with a message.
class async_mutex {
public:
    async_mutex() noexcept = default;
    async_mutex(const async_mutex&) = delete;
    async_mutex& operator=(const async_mutex&) = delete;

    /// Owns the lock and unlocks in its destructor. Movable. Not thread-safe itself.
    class [[nodiscard("dropping the guard unlocks at once")]] guard {
    public:
        guard() noexcept = default;
        /// Takes over a lock that the caller holds, from try_lock().
        guard(async_mutex& m, std::adopt_lock_t) noexcept : m_mutex(&m) {}
        guard(guard&& other) noexcept : m_mutex(std::exchange(other.m_mutex, nullptr)) {}
        guard& operator=(guard&& other) noexcept {
            guard(std::move(other)).swap(*this);
            return *this;
        }
        ~guard() { unlock(); }

        void swap(guard& other) noexcept { std::swap(m_mutex, other.m_mutex); }
        bool owns_lock() const noexcept { return m_mutex != nullptr; }
        explicit operator bool() const noexcept { return owns_lock(); }
        /// Unlocks now, if that has not happened yet.
        void unlock() noexcept {
            if (m_mutex != nullptr) std::exchange(m_mutex, nullptr)->unlock();
        }

    private:
        async_mutex* m_mutex = nullptr;
    };

    class [[nodiscard("it is locked only when this is awaited")]] lock_awaiter : detail::waiter {
    public:
        explicit lock_awaiter(async_mutex& m) noexcept : m_mutex(m) {}

        using waiter::await_ready;
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            const task_context& context = detail::context_of(self);
            if (!may_start(context)) return false;
            async_mutex& m = m_mutex;
            m.m_lock.lock();
            if (!std::exchange(m.m_locked, true)) {
                m.m_lock.unlock();
                return false;
            }
            return park(m.m_lock, m.m_waiters, self, context);
        }
        guard await_resume() {
            resumed();
            return guard(m_mutex, std::adopt_lock);
        }

    private:
        async_mutex& m_mutex;
    };

    /// `co_await m.lock()`: a guard. Throws `stopped`, and does not hold the lock, if its caller is asked to stop first.
    lock_awaiter lock() noexcept { return lock_awaiter(*this); }

    /// True if the lock was free and now belongs to the caller, who unlocks it or adopts it in a guard.
    [[nodiscard]] bool try_lock() noexcept {
        const std::lock_guard lock(m_lock);
        return !std::exchange(m_locked, true);
    }

    /// For who holds the lock without a guard. Hands it to the next waiter, who goes on on its own scheduler.
    void unlock() noexcept {
        m_lock.lock();
        assert(m_locked && "an async_mutex is unlocked by who has locked it");
        detail::waiter* const next = m_waiters.pop();
        if (next == nullptr) m_locked = false;
        m_lock.unlock();
        if (next != nullptr) next->wake();
    }

private:
    detail::spin_lock m_lock;
    bool m_locked = false;
    detail::waiter_list m_waiters{"an async_mutex"};
};

}  // namespace covey
