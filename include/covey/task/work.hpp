// Resuming coroutines: the trampoline for compilers that do not jump, and work items that look like coroutine frames.
#pragma once

#include <covey/core/config.hpp>

#include <coroutine>
#include <cstdint>
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

struct local_queue;

/// What this thread runs at the moment.
struct thread_state {
    static constexpr std::uintptr_t no_loop = 0;  // somebody else's code resumed the running coroutine
    static constexpr std::uintptr_t nothing = 1;

    const void* context = nullptr;  ///< the task_context of the running coroutine, if it is known
    /// What the loop of the innermost resume_work on this stack resumes next: an address, or one of the above.
    std::uintptr_t next = no_loop;
    local_queue* queue = nullptr;  ///< on the worker threads of a scheduler that has queues for each of them

    bool running() const noexcept { return next != no_loop; }
    void leave_to_loop(std::coroutine_handle<> work) noexcept { next = reinterpret_cast<std::uintptr_t>(work.address()); }
};

inline constinit thread_local thread_state this_thread;

// Clang up to 16 keeps the address of a thread-local across a suspension point (llvm 47179, 63022). GCC splits a coroutine
// before it optimises, so that nothing but the frame outlives a suspension.
#if defined(__clang__) && __clang_major__ < 17
COVEY_NOINLINE
#endif
inline thread_state& this_thread_state() noexcept { return this_thread; }

}  // namespace detail

/// Resumes `work` on this thread and goes on with whatever it transfers to; returns when the last of them suspends.
/// All resumption by the library goes through here: it is the loop that tasks return to when they end.
inline void resume_work(std::coroutine_handle<> work) {
    detail::thread_state& state = detail::this_thread_state();
    const void* const outer_context = std::exchange(state.context, nullptr);
    const std::uintptr_t outer_next = std::exchange(state.next, state.nothing);
    for (;;) {
        work.resume();
        const std::uintptr_t next = std::exchange(state.next, state.nothing);
        if (next == state.nothing) break;
        work = std::coroutine_handle<>::from_address(reinterpret_cast<void*>(next));
    }
    state.context = outer_context;
    state.next = outer_next;
}

/// What `await_suspend` returns to continue with `next`. A jump where the compiler makes one; elsewhere the handle is
/// left for the loop in resume_work, so that chains of any length use no stack.
inline std::coroutine_handle<> transfer(std::coroutine_handle<> next) noexcept {
#if COVEY_SYMMETRIC_TRANSFER
    return next;
#else
    detail::thread_state& state = detail::this_thread_state();
    if (state.next == state.nothing) {
        state.leave_to_loop(next);
    } else {
        resume_work(next);
    }
    return std::noop_coroutine();
#endif
}

}  // namespace covey
