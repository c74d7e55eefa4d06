// event: something that has happened, or not yet; coroutines wait for it.
#pragma once

#include <covey/task/detail/waiters.hpp>

#include <coroutine>
#include <mutex>

namespace covey {

/// A flag that stays set until it is reset (a manual reset event):
///
///     event ready;
///     co_await ready.wait();   // goes on at once if it is set
///     ready.set();             // from any thread: everybody who waits goes on
///
/// Thread-safe. Destroying it while somebody waits ends the program with a message.
class event {
public:
    explicit event(bool set = false) noexcept : m_set(set) {}
    event(const event&) = delete;
    event& operator=(const event&) = delete;

    class [[nodiscard("nobody waits until this is awaited")]] wait_awaiter : detail::waiter {
    public:
        explicit wait_awaiter(event& e) noexcept : m_event(e) {}

        using waiter::await_ready;
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            const task_context& context = detail::context_of(self);
            if (!may_start(context)) return false;
            event& e = m_event;
            e.m_lock.lock();
            if (e.m_set) {
                e.m_lock.unlock();
                return false;
            }
            return park(e.m_lock, e.m_waiters, self, context);
        }
        void await_resume() { resumed(); }

    private:
        event& m_event;
    };

    /// Lets all who wait go on, in the order in which they came, and all who will, until it is reset. Setting it again
    /// does nothing.
    void set() noexcept {
        detail::woken_list woken;
        m_lock.lock();
        m_set = true;
        woken.add_all(m_waiters);
        m_lock.unlock();
        woken.wake();
    }
    /// From now on waiting waits again. Who was let go on before goes on.
    void reset() noexcept {
        const std::lock_guard lock(m_lock);
        m_set = false;
    }
    bool is_set() const noexcept {
        const std::lock_guard lock(m_lock);
        return m_set;
    }

    /// `co_await e.wait()`: goes on once it is set. Throws `stopped` if its caller is asked to stop first.
    wait_awaiter wait() noexcept { return wait_awaiter(*this); }

private:
    mutable detail::spin_lock m_lock;
    bool m_set;
    detail::waiter_list m_waiters{"an event"};
};

}  // namespace covey
