// starts_on, continues_on: tasks and results on another scheduler than the awaiter's.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/task.hpp>

#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

namespace covey {

namespace detail {

/// Runs a task under a context with another scheduler, and brings its awaiter back to its own. The task's continuation is
/// this object, which looks like a coroutine: resuming it posts the awaiter.
template <class T>
class visit : work_item {
public:
    visit(task<T>&& t, const task_context& there) noexcept : work_item(&came_back), m_task(std::move(t)), m_there(there) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) {
        go(self, context_of(self));
    }
    T await_resume() {
        m_here->enter();
        return m_task.result();
    }

private:
    COVEY_NOINLINE void go(std::coroutine_handle<> self, const task_context& here) {
        if (here.scheduler == nullptr) throw_no_scheduler("starts_on()");
        m_awaiter = self;
        m_here = &here;
        m_there.scheduler->post(m_task.bind(handle(), m_there));
    }
    static void came_back(work_item* item) {
        auto& self = static_cast<visit&>(*item);
        self.m_here->scheduler->post(self.m_awaiter);
    }

    root_task<T> m_task;
    const task_context& m_there;
    const task_context* m_here = nullptr;
    std::coroutine_handle<> m_awaiter;
};

/// Goes on on a thread of another scheduler, under the same context. Not refused by a stop: a result is on its way.
struct move_to {
    scheduler* m_on;
    const task_context* m_context = nullptr;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    COVEY_NOINLINE void await_suspend(std::coroutine_handle<Promise> self) noexcept {
        m_context = &context_of(self);
        m_on->post(self);
    }
    void await_resume() const noexcept { m_context->enter(); }
};

}  // namespace detail

/// `co_await starts_on(other, f())`: runs f on `other`, with the awaiter's stop token, deadline and peer; the awaiter goes
/// on on its own scheduler, with f's value or exception. All that f awaits, it awaits on `other`, which must outlive it.
/// Throws errc::no_peer if the awaiter has no scheduler to come back to.
template <class T>
task<T> starts_on(scheduler& on, task<T> t) {
    task_context there = co_await get_context();
    there.scheduler = &on;
    co_return co_await detail::visit<T>(std::move(t), there);
}

/// `co_await continues_on(f(), other)`: runs f as an ordinary await would, and delivers its value or exception on a thread
/// of `other`. There the awaiter goes on until it next has to wait: its context, which it shares with its callers, still names
/// its own scheduler, to which every await that suspends it brings it back. What is to run on `other` as a whole
/// belongs in starts_on.
template <class T>
task<T> continues_on(task<T> t, scheduler& on) {
    detail::outcome<T> ended;
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(t);
        } else {
            ended.set(co_await std::move(t));
        }
    } catch (...) {
        ended.failure = std::current_exception();
    }
    co_await detail::move_to{&on};
    co_return take(ended);
}

}  // namespace covey
