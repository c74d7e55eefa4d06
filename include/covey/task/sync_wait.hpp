// sync_wait: the way from an ordinary thread into a coroutine and back.
#pragma once

#include <covey/task/task.hpp>

#include <condition_variable>
#include <mutex>

namespace covey {

namespace detail {

/// What the end of the task that a thread waits for continues with.
class sync_wait_event : public work_item {
public:
    sync_wait_event() noexcept : work_item([](work_item* self) { static_cast<sync_wait_event*>(self)->notify(); }) {}
    void wait() {
        std::unique_lock lock(m_mutex);
        m_condition.wait(lock, [this] { return m_done; });
    }

private:
    void notify() noexcept {
        // Under the lock: the waiter destroys this object as soon as it can take it.
        const std::lock_guard lock(m_mutex);
        m_done = true;
        m_condition.notify_all();
    }

    std::mutex m_mutex;
    std::condition_variable m_condition;
    bool m_done = false;
};

template <class Awaitable>
decltype(auto) awaiter_of(Awaitable&& awaitable) {
    if constexpr (requires { std::forward<Awaitable>(awaitable).operator co_await(); }) {
        return std::forward<Awaitable>(awaitable).operator co_await();
    } else {
        return std::forward<Awaitable>(awaitable);
    }
}
template <class Awaitable>
using await_result = decltype(awaiter_of(std::declval<Awaitable>()).await_resume());

template <class Awaitable>
task<await_result<Awaitable>> as_task(Awaitable awaitable) {
    co_return co_await std::move(awaitable);
}

}  // namespace detail

/// Runs a task under `context` (its scheduler must not be null and must outlive the call) and blocks this thread until it
/// has ended; gives its value or throws its exception, `stopped` included. Not for threads of that scheduler, which
/// would wait for themselves.
template <class T>
T sync_wait(const task_context& context, task<T> t) {
    detail::sync_wait_event done;
    detail::root_task<T> root(std::move(t));
    context.scheduler->post(root.bind(done.handle(), context));
    done.wait();
    return root.result();
}

/// The same on a scheduler, with no stop token, deadline or peer.
template <class T>
T sync_wait(scheduler& on, task<T> t) {
    task_context context;
    context.scheduler = &on;
    return sync_wait(context, std::move(t));
}

/// For awaitables that are no tasks, such as when_all(...).
template <class Awaitable>
    requires(!detail::is_task<std::remove_cvref_t<Awaitable>>)
auto sync_wait(scheduler& on, Awaitable&& awaitable) {
    return sync_wait(on, detail::as_task(std::forward<Awaitable>(awaitable)));
}

}  // namespace covey
