// timeout: a limit on how long a task may take.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/task.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <type_traits>

namespace covey {

namespace detail {

/// Requests a stop at a moment. `join()` is awaited before it is destroyed, because the timer may be firing meanwhile.
class stop_timer : timer {
public:
    stop_timer(scheduler& on, stop_source& source) noexcept : timer(&fired), m_scheduler(on), m_source(source) {}

    void arm(time_point when) { m_scheduler.arm(*this, when); }
    bool has_fired() const noexcept { return m_fired; }

    struct join_awaiter {
        stop_timer* m_timer;
        const task_context* m_context = nullptr;

        bool await_ready() const noexcept { return m_timer->m_scheduler.cancel(*m_timer); }
        template <class Promise>
        COVEY_NOINLINE bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
            m_context = &context_of(self);
            m_timer->m_waiter = self;
            // Not cancelled: it has fired or is firing. Whoever comes second goes on.
            if (m_timer->m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                m_timer->m_fired = true;
                return false;
            }
            return true;
        }
        void await_resume() const noexcept {
            if (m_context == nullptr) return;
            m_timer->m_fired = true;
            m_context->enter();
        }
    };
    /// Cancels the timer, or waits for the end of its firing; `has_fired` is right afterwards.
    join_awaiter join() noexcept { return {this}; }

private:
    static void fired(timer& t) noexcept {
        auto& self = static_cast<stop_timer&>(t);
        self.m_source.request_stop();
        scheduler& on = self.m_scheduler;
        if (self.m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) on.post(self.m_waiter);
    }

    scheduler& m_scheduler;
    stop_source& m_source;
    std::coroutine_handle<> m_waiter;
    std::atomic<int> m_gate{2};
    bool m_fired = false;
};

/// `stopped` means that the limit was reached if it was the timer that asked for the stop.
[[noreturn]] inline void rethrow_as_timeout(const std::exception_ptr& failure, bool timer_asked, duration limit) {
    try {
        std::rethrow_exception(failure);
    } catch (const stopped&) {
        if (!timer_asked) throw;
        throw error(errc::timed_out,
                    "no result within " + std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count()) + " ms");
    }
}

}  // namespace detail

/// `co_await timeout(f(), 50ms)`: the value of f, or `error{errc::timed_out}` when that much time has passed. f is then
/// asked to stop and awaited, so it must honour its stop token (all awaits of this library do). Its deadline, which
/// remote calls carry along, is set to the limit. A value that f gives in spite of the request is returned.
template <class T>
task<T> timeout(task<T> inner, duration limit) {
    const task_context& outer = co_await get_context();
    if (outer.scheduler == nullptr)
        throw error(errc::no_peer, "timeout() needs a scheduler: run the coroutine with sync_wait(...) or on a peer");
    stop_source source(outer.stop);
    detail::stop_timer watchdog(*outer.scheduler, source);
    task_context context = outer;
    context.stop = source.get_token();
    const time_point end = after(outer.scheduler->now(), limit);
    context.deadline = std::min(outer.deadline, end);
    watchdog.arm(end);
    detail::outcome<T> ended;
    try {
        if constexpr (std::is_void_v<T>) {
            co_await detail::with_context(inner, context);
        } else {
            ended.set(co_await detail::with_context(inner, context));
        }
    } catch (...) {
        ended.failure = std::current_exception();
    }
    co_await watchdog.join();
    if (ended.failure) detail::rethrow_as_timeout(ended.failure, watchdog.has_fired() && !outer.stop.stop_requested(), limit);
    co_return take(ended);
}

}  // namespace covey
