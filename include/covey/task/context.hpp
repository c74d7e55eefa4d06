// What a coroutine carries and hands to what it awaits: scheduler, stop token, deadline, peer.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/task/stop.hpp>
#include <covey/task/work.hpp>

#include <concepts>
#include <coroutine>

namespace covey {

class peer;
struct trace_context;

/// The circumstances a coroutine runs under. Promises hold a pointer to one; whoever changes something for its children
/// (when_all, timeout, scope, the root) owns a copy that outlives them.
struct task_context {
    covey::scheduler* scheduler = nullptr;
    stop_token stop;
    time_point deadline = never;
    covey::peer* peer = nullptr;           ///< opaque here: the peer that `remote` calls start from
    const trace_context* trace = nullptr;  ///< opaque here: the span that calls from here are within; null: none

    /// Tells this thread that it runs under this context now. Awaiters that may resume on another thread or under
    /// another context than they suspended on call it when they resume.
    void enter() const noexcept { detail::this_thread_state().context = this; }
};

namespace detail {

inline constexpr task_context empty_context{};

/// The context of the coroutine that this thread is running; null outside of one, and where somebody else's code resumed
/// it, for then nobody takes the pointer back when it suspends. Valid until that coroutine suspends.
inline const task_context* running_context() noexcept {
    const thread_state& state = this_thread_state();
    return state.running() ? static_cast<const task_context*>(state.context) : nullptr;
}

/// The context behind a handle: that of its promise, or an empty one for other libraries' coroutines.
template <class Promise>
const task_context& context_of(std::coroutine_handle<Promise> handle) noexcept {
    if constexpr (requires {
                      { handle.promise().context() } -> std::convertible_to<const task_context&>;
                  }) {
        return handle.promise().context();
    } else {
        return empty_context;
    }
}

struct context_awaiter {
    const task_context* m_context = nullptr;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
        m_context = &context_of(self);
        return false;
    }
    const task_context& await_resume() const noexcept { return *m_context; }
};

struct stop_token_awaiter : context_awaiter {
    stop_token await_resume() const noexcept { return m_context->stop; }
};

}  // namespace detail

/// `co_await get_context()`: the context of the awaiting coroutine. Never suspends.
inline detail::context_awaiter get_context() noexcept { return {}; }

/// `co_await get_stop_token()`: asks whether this coroutine was requested to stop. Never suspends.
inline detail::stop_token_awaiter get_stop_token() noexcept { return {}; }

}  // namespace covey
