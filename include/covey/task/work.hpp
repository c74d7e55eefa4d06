// Resuming coroutines: the trampoline for compilers that do not jump, and work items that look like coroutine frames.
#pragma once

#include <covey/core/config.hpp>

#include <coroutine>
#include <utility>

namespace covey {

/// Something a scheduler can run that is no coroutine: laid out as the head of a coroutine frame is in the Itanium C++
/// ABI (resume pointer, destroy pointer), so that both fit in one queue of handles. `run` gets the item itself.
struct work_item {
    using function = void (*)(work_item*);

    explicit work_item(function run) noexcept : m_run(run) {}
    work_item(const work_item&) = delete;
    work_item& operator=(const work_item&) = delete;

    std::coroutine_handle<> handle() noexcept { return std::coroutine_handle<>::from_address(this); }

private:
    [[maybe_unused]] function m_run;  // read by coroutine_handle::resume
    [[maybe_unused]] function m_destroy = nullptr;
};

namespace detail {

/// What this thread runs at the moment.
struct thread_state {
    const void* context = nullptr;  ///< the task_context of the running coroutine, if it is known
    void* next = nullptr;           ///< trampoline: what to resume after the running coroutine has suspended
    bool running = false;           ///< a resume_work is on the stack
};

COVEY_NOINLINE inline thread_state& this_thread_state() noexcept {
    static thread_local thread_state state;
    return state;
}

}  // namespace detail

/// Resumes `work` on this thread and goes on with whatever it transfers to; returns when the last of them suspends.
/// All resumption by the library goes through here: it is the loop that the trampoline needs, in every build mode.
inline void resume_work(std::coroutine_handle<> work) {
    detail::thread_state& state = detail::this_thread_state();
    const detail::thread_state outer = std::exchange(state, {nullptr, nullptr, true});
    do {
        work.resume();
        work = std::coroutine_handle<>::from_address(std::exchange(state.next, nullptr));
    } while (work);
    state = outer;
}

/// What `await_suspend` returns to continue with `next`. A jump where the compiler makes one; elsewhere the handle is
/// left for the loop in resume_work, so that chains of any length use no stack.
inline std::coroutine_handle<> transfer(std::coroutine_handle<> next) noexcept {
#if COVEY_SYMMETRIC_TRANSFER
    return next;
#else
    detail::thread_state& state = detail::this_thread_state();
    if (state.running) {
        state.next = next.address();
    } else {
        resume_work(next);  // somebody else's code resumed us
    }
    return std::noop_coroutine();
#endif
}

}  // namespace covey
