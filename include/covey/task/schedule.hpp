// Giving way and sleeping: schedule(), schedule_after(), schedule_at().
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/context.hpp>

#include <atomic>
#include <optional>

namespace covey {

namespace detail {

[[noreturn]] inline void throw_no_scheduler(const char* what) {
    throw error(errc::no_peer, std::string(what) + " needs a scheduler: run the coroutine with sync_wait(...) or on a peer");
}

struct schedule_awaiter {
    bool m_give_way = true;  // false: only to get off this thread's stack
    const task_context* m_context = nullptr;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    COVEY_NOINLINE void await_suspend(std::coroutine_handle<Promise> self) {
        m_context = &context_of(self);
        if (m_context->scheduler == nullptr) throw_no_scheduler("schedule()");
        if (m_give_way) {
            m_context->scheduler->post_last(self);
        } else {
            m_context->scheduler->post(self);
        }
    }
    void await_resume() const {
        m_context->enter();
        if (m_context->stop.stop_requested()) throw stopped{};
    }
};

/// Sleeps until a moment or a stop, whichever is first. Two arrivals open the gate: the end of await_suspend, and the
/// timer or the stop. Exactly one of timer and stop arrives, for `cancel` tells which.
class sleep_awaiter : timer {
public:
    sleep_awaiter(duration d) noexcept : timer(&fired), m_duration(d) {}
    sleep_awaiter(time_point t) noexcept : timer(&fired), m_when(t) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> self) {
        return suspend(self, context_of(self));
    }
    void await_resume() {
        m_on_stop.reset();
        m_context->enter();
        if (m_stopped) throw stopped{};
    }

private:
    struct on_stop {
        sleep_awaiter* self;
        void operator()() const noexcept {
            if (self->m_context->scheduler->cancel(*self)) {
                self->m_stopped = true;
                self->arrive();
            }
        }
    };

    // Not inlined into the coroutine: Clang before 19 would keep its locals in the frame, which may be gone (llvm 56301).
    COVEY_NOINLINE bool suspend(std::coroutine_handle<> self, const task_context& context) {
        if (context.scheduler == nullptr) throw_no_scheduler("schedule_after()");
        m_waiter = self;
        m_context = &context;
        if (context.stop.stop_requested()) {
            m_stopped = true;
            return false;
        }
        if (m_when == never) m_when = after(context.scheduler->now(), m_duration);
        context.scheduler->arm(*this, m_when);
        if (context.stop.stop_possible()) m_on_stop.emplace(context.stop, on_stop{this});
        return m_gate.fetch_sub(1, std::memory_order_acq_rel) != 1;
    }
    static void fired(timer& t) noexcept { static_cast<sleep_awaiter&>(t).arrive(); }
    void arrive() noexcept {
        scheduler* const on = m_context->scheduler;
        const std::coroutine_handle<> waiter = m_waiter;
        if (m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) on->post(waiter);
    }

    duration m_duration{duration::max()};
    time_point m_when = never;
    const task_context* m_context = nullptr;
    std::coroutine_handle<> m_waiter;
    std::atomic<int> m_gate{2};
    bool m_stopped = false;
    std::optional<stop_callback<on_stop>> m_on_stop;
};

}  // namespace detail

/// `co_await schedule()`: goes to the end of the queue, and lets others run. Throws `stopped` after a stop request.
inline detail::schedule_awaiter schedule() noexcept { return {}; }

/// `co_await schedule_after(10ms)`: sleeps without holding a thread. Throws `stopped` as soon as a stop is requested.
inline detail::sleep_awaiter schedule_after(duration d) noexcept { return {d}; }

/// As schedule_after, until a moment on the scheduler's clock.
inline detail::sleep_awaiter schedule_at(time_point t) noexcept { return {t}; }

}  // namespace covey
