// semaphore: a number of permits that coroutines take and give back.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/detail/waiters.hpp>

#include <coroutine>
#include <cstddef>
#include <limits>
#include <mutex>
#include <string>

namespace covey {

/// Counts permits, as std::counting_semaphore does:
///
///     semaphore at_once{8};
///     co_await at_once.acquire();   // waits while all 8 are taken
///     at_once.release();
///
/// Several permits can be taken at once. Waiters are served strictly in the order in which they came: one that wants many
/// holds up those behind it, so it is not starved. Thread-safe. Destroying it while somebody waits ends the program with a
/// message.
class semaphore {
public:
    /// Starts with `permits`; there will never be more than `max`. Throws errc::bad_argument if permits > max.
    explicit semaphore(std::size_t permits, std::size_t max = std::numeric_limits<std::size_t>::max()) : m_permits(permits), m_max(max) {
        if (permits > max) refuse(permits, "permits at the start are");
    }
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;

    class [[nodiscard("nothing is acquired until this is awaited")]] acquire_awaiter : detail::waiter {
    public:
        acquire_awaiter(semaphore& s, std::size_t n) noexcept : m_semaphore(s), m_wanted(n) {}

        using waiter::await_ready;
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            const task_context& context = detail::context_of(self);
            if (!may_start(context)) return false;
            semaphore& s = m_semaphore;
            s.m_lock.lock();
            if (s.take(m_wanted)) {
                s.m_lock.unlock();
                return false;
            }
            return park(s.m_lock, s.m_waiters, self, context);
        }
        void await_resume() {
            // Who wanted many, and gives up, no longer holds up those behind it.
            if (stopped_in_line()) m_semaphore.serve(0);
            resumed();
        }

    private:
        friend class semaphore;
        semaphore& m_semaphore;
        const std::size_t m_wanted;
    };

    /// `co_await s.acquire(n)`: waits until n permits are free and takes them, all or none. Throws errc::bad_argument if n is
    /// more than `max()`, and `stopped`, with none taken, if its caller is asked to stop first.
    acquire_awaiter acquire(std::size_t n = 1) {
        if (n > m_max) refuse(n, "permits were asked for, which is");
        return acquire_awaiter(*this, n);
    }

    /// Takes n permits if they are free and nobody waits for any.
    [[nodiscard]] bool try_acquire(std::size_t n = 1) noexcept {
        const std::lock_guard lock(m_lock);
        return take(n);
    }

    /// Gives n permits back, or adds them. Throws errc::bad_argument, and adds none, if there would be more than `max()` free.
    void release(std::size_t n = 1) {
        if (!serve(n)) refuse(n, "permits were released, and with those that are free they are");
    }

    /// The free permits. Others may change that at any time.
    std::size_t available() const noexcept {
        const std::lock_guard lock(m_lock);
        return m_permits;
    }
    std::size_t max() const noexcept { return m_max; }

private:
    bool take(std::size_t n) noexcept {
        if (!m_waiters.empty() || m_permits < n) return false;
        m_permits -= n;
        return true;
    }
    /// Adds permits and gives them to those who wait. False: they would be too many.
    bool serve(std::size_t n) noexcept {
        detail::woken_list woken;
        m_lock.lock();
        const bool fits = n <= m_max - m_permits;
        if (fits) {
            m_permits += n;
            while (auto* const first = static_cast<acquire_awaiter*>(m_waiters.first())) {
                if (m_permits < first->m_wanted) break;
                m_permits -= first->m_wanted;
                woken.add(*m_waiters.pop());
            }
        }
        m_lock.unlock();
        woken.wake();
        return fits;
    }
    [[noreturn]] COVEY_NOINLINE void refuse(std::size_t n, const char* what) const {
        throw error(errc::bad_argument, std::to_string(n) + " " + what + " more than this semaphore's maximum of " + std::to_string(m_max));
    }

    mutable detail::spin_lock m_lock;
    std::size_t m_permits;
    const std::size_t m_max;
    detail::waiter_list m_waiters{"a semaphore"};
};

}  // namespace covey
