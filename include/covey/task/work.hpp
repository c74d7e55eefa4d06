// Resuming coroutines: the trampoline for compilers that do not jump, and work items that look like coroutine frames.
#pragma once

#include <covey/core/config.hpp>

#include <coroutine>
#include <cstdint>
#include <limits>
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
    [[maybe_unused]] function m_run;      // read by coroutine_handle::resume
    [[maybe_unused]] function m_destroy;  // nobody calls it
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

    /// Below this that loop's stack should not grow: what would go on there is left to it. Without one, anything is below.
    std::uintptr_t stack_limit = std::numeric_limits<std::uintptr_t>::max();
    bool ends_long = false;  ///< a task that ends has to suspend: from its final_suspend to the await of what that gives

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

inline constexpr std::uintptr_t most_stack = 8 * 1024;

/// About where this thread's stack ends.
[[gnu::always_inline]] inline std::uintptr_t stack_position() noexcept {
#if defined(__x86_64__)
    std::uintptr_t position;
    asm volatile("movq %%rsp, %0" : "=r"(position));  // __builtin_frame_address would cost the coroutine a frame pointer
    return position;
#else
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
#endif
}

}  // namespace detail

/// Resumes `work` on this thread and goes on with whatever it transfers to; returns when the last of them suspends.
/// All resumption by the library goes through here: it is the loop that tasks return to when they end. `context`: what it runs
/// under until it says so itself.
inline void resume_work(std::coroutine_handle<> work, const void* context = nullptr) {
    detail::thread_state& state = detail::this_thread_state();
    const void* const outer_context = std::exchange(state.context, context);
    const std::uintptr_t outer_next = std::exchange(state.next, state.nothing);
    const std::uintptr_t outer_limit = std::exchange(state.stack_limit, detail::stack_position() - detail::most_stack);
    for (;;) {
        work.resume();
        const std::uintptr_t next = std::exchange(state.next, state.nothing);
        if (next == state.nothing) break;
        work = std::coroutine_handle<>::from_address(reinterpret_cast<void*>(next));
    }
    state.context = outer_context;
    state.next = outer_next;
    state.stack_limit = outer_limit;
}

/// What `await_suspend` returns to continue with `next`: a jump where the compiler makes one. Where it makes a call, and nobody
/// can tell when this is compiled (GCC says no word about -foptimize-sibling-calls), the stack tells: what has grown by this
/// much since the loop in resume_work goes back there and leaves `next` to it, so that chains of any length fit.
inline std::coroutine_handle<> transfer(std::coroutine_handle<> next) noexcept {
#if !COVEY_ALWAYS_JUMPS
    detail::thread_state& state = detail::this_thread_state();
    if (detail::stack_position() <= state.stack_limit) [[unlikely]] {
        if (state.next == state.nothing) {
            state.leave_to_loop(next);
        } else {
            resume_work(next, state.context);
        }
        return std::noop_coroutine();
    }
#endif
    return next;
}

}  // namespace covey
