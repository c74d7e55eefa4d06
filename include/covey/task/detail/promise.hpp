// How coroutines are linked: a promise knows what goes on after it, and a join counts children that run beside each other.
#pragma once

#include <covey/task/context.hpp>
#include <covey/task/frame_pool.hpp>
#include <covey/task/local_queue.hpp>
#include <covey/task/work.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <new>
#include <utility>

namespace covey::detail {

class join;

/// The part of a task's promise that does not depend on its type.
///
/// A task that ends destroys its frame itself and leaves what goes on after it to the loop of resume_work, which costs
/// less than to suspend once more and be destroyed by the awaiter. Where it must not (nobody's loop runs, or others may go on
/// before the frame is gone) it takes the long way: suspend, be destroyed, and only then let the others know.
class promise_base : public recycled_frame {
public:
    promise_base() noexcept {}  // whoever starts it fills everything in, and nobody asks before
    const task_context& context() const noexcept { return *m_context; }

    /// Whoever starts it enters its context for it.
    std::suspend_always initial_suspend() const noexcept { return {}; }

    /// Keeps nothing, for what it kept would be written to the frame at the end of each task.
    struct final_awaiter {
        [[gnu::always_inline]] bool await_ready() const noexcept { return !this_thread_state().ends_long; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
            this_thread_state().ends_long = false;
            return self.promise().end_long(self);
        }
        void await_resume() const noexcept {}
    };
    [[gnu::always_inline]] final_awaiter final_suspend() noexcept {
        if (!end_short()) [[unlikely]]
            this_thread_state().ends_long = true;
        return {};
    }

    /// For whoever awaits this task alone: `next` goes on at its end. It has left its value in the slot then, or the
    /// exception in `failure`.
    void bind(std::coroutine_handle<> next, const task_context& context, std::exception_ptr& failure, void* value,
              std::uint32_t flags = 0) noexcept {
        m_next = next.address();
        m_context = &context;
        m_failure = &failure;
        m_value = value;
        m_flags = flags;
    }
    /// Where a child of a join leaves its value; the join tells it the rest.
    void set_value_to(void* value) noexcept { m_value = value; }

    /// Resumed by code that expects to be returned to only afterwards: the loop of resume_work is below that on the stack.
    static constexpr std::uint32_t foreign_caller = 16;
    /// What goes from the coroutine that awaits to the one that is awaited.
    std::uint32_t inherited_flags() const noexcept { return m_flags & foreign_caller; }
    void unhandled_exception() noexcept;

private:
    friend class join;
    template <class T>
    friend class task_promise;
    // The way out that is taken most is that of an awaited task and of the last child in line, then that of children before it.
    static constexpr std::uint32_t in_join = 1;       // otherwise, somebody awaits it alone
    static constexpr std::uint32_t has_more = 2;      // it is in line, and others come after it
    static constexpr std::uint32_t on_its_own = 4;    // it was stolen
    static constexpr std::uint32_t noteworthy = 8;    // its end may decide about the others
    static constexpr std::uint32_t line_broken = 32;  // the child after this one was stolen; m_next is other work

    bool end_short() noexcept;
    std::coroutine_handle<> end_long(std::coroutine_handle<> self) noexcept;

    // In an order in which compilers do not store neighbours as one vector, which takes more instructions than it saves.
    void* m_next;  // the coroutine that awaits, or the next child in line
    std::uint32_t m_flags;
    std::uint32_t m_index;  // in a join
    const task_context* m_context;
    void* m_value;  // the slot for it
    union {
        join* m_join;
        std::exception_ptr* m_failure;
    };
};

/// The context and the manner of the coroutine that awaits.
template <class Promise>
inline constexpr bool is_ours = requires(const Promise& p) { p.inherited_flags(); };
template <class Promise>
std::uint32_t inherited_flags(std::coroutine_handle<Promise> awaiting) noexcept {
    if constexpr (is_ours<Promise>) {
        return awaiting.promise().inherited_flags();
    } else {
        return promise_base::foreign_caller;
    }
}

/// What `await_suspend` of a coroutine returns to continue with `next`. Whoever resumed a coroutine of another library may
/// wait until that has done what it can, so a handle that is left to a loop must not be left to one below that on the stack.
template <class Promise>
std::coroutine_handle<> transfer_from(std::coroutine_handle<Promise>, std::coroutine_handle<> next) noexcept {
#if !COVEY_ALWAYS_JUMPS
    if constexpr (!is_ours<Promise>) {
        resume_work(next, this_thread_state().context);
        return std::noop_coroutine();
    }
#endif
    return transfer(next);
}

/// Children that run beside each other, and the parent that goes on after the last of them. Lives in the parent's frame
/// from the await on.
///
/// The parent goes on into the first child, and for each of the others it pushes a ticket to its worker's queue. All tickets
/// are alike: the join itself, which looks like a coroutine. At the end of a child the worker takes a ticket back if nobody
/// stole it, and goes on with the next child, which is then "in line" as the first is. Who steals a ticket takes the last child
/// that has not begun: there are as many children between the two ends as there are tickets, so they never meet. Exactly
/// one child in line is at work at any moment, so nothing about the line is atomic, and a join that loses no ticket costs no
/// atomic operation. Stolen children arrive at an atomic counter, and where the line breaks, it arrives there for all its children
/// at once. (To pay for a join only after a steal is the idea of the split counter in C. Williams and J. Elliott, "Libfork:
/// portable continuation-stealing with stackless coroutines", 2024; here it is the children that are stolen, so ordinary
/// lazy tasks can be joined.)
class join : work_item {
public:
    /// Of tasks that have not started, with their values' places set. `children` are the addresses of their frames, and belong to
    /// the join as soon as it starts. `arrivals`: the children, and whoever else arrives.
    join(void* const* children, std::uint32_t count, std::uint32_t arrivals, std::coroutine_handle<> parent, const task_context& context,
         std::uint32_t flags) noexcept
        : work_item(&run_stolen),
          m_count(count),
          m_left(arrivals),
          m_children(children),
          m_flags(flags | promise_base::in_join),
          m_parent(parent),
          m_parent_context(&context),
          m_stop(context.stop),
          m_child_context{context.scheduler, m_stop.get_token(), context.deadline, context.peer, context.trace} {}
    ~join() {}  // the failure is gone by then

    /// The flag for a join whose first end stops the other children.
    static constexpr std::uint32_t stop_at_first = promise_base::noteworthy;

    /// Returns what to transfer into: the first child. As that has not started, the join cannot end before. `count` is that of the
    /// children, once more, for compilers to see where it is a constant.
    [[gnu::always_inline]] std::coroutine_handle<> start(std::uint32_t count) noexcept {
        local_queue* const mine = queue();
        if (mine == nullptr) [[unlikely]]
            return start_without_queue();
        m_queue = mine;
        const std::coroutine_handle<> first = begin_in_line(0);
        mine->push_copies(handle(), count - 1);
        return first;
    }

    /// For a fork, which is a join of two: starts the only child; its parent comes later.
    void fork() noexcept {
        m_queue = queue();
        if (m_queue == nullptr) return offer_elsewhere();
        m_queue->push(handle());
    }
    /// The parent is there. Returns what it transfers to: the child if nobody has stolen it, itself if that has ended.
    std::coroutine_handle<> await_child(std::coroutine_handle<> parent) noexcept {
        m_parent = parent;
        if (m_queue == nullptr || m_queue != this_thread_state().queue) return arrive(1);
        const std::coroutine_handle<> popped = m_queue->pop();
        if (is_ticket(popped)) return begin_in_line(0);
        if (popped) m_queue->push(popped);
        return arrive(1);
    }

    /// For the parent, when it goes on.
    void resumed() const noexcept { m_parent_context->enter(); }
    /// The child that ended first, or that failed first where the others are not stopped at the first end. There is one.
    std::uint32_t first() const noexcept { return (m_first.load(std::memory_order_relaxed) >> 1) - 1; }
    /// Once, when the parent goes on.
    void rethrow_first() {
        if ((m_first.load(std::memory_order_relaxed) & failed) != 0) [[unlikely]]
            rethrow_failure();
    }

private:
    friend class promise_base;
    static constexpr std::uint32_t failed = 1;

    /// The queue to use, if this thread has one of the scheduler's.
    local_queue* queue() const noexcept {
        local_queue* const mine = this_thread_state().queue;
        return mine != nullptr && mine->owner == m_child_context.scheduler ? mine : nullptr;
    }
    bool is_ticket(std::coroutine_handle<> popped) noexcept { return popped == handle(); }

    [[gnu::always_inline]] std::coroutine_handle<promise_base> begin(std::coroutine_handle<> child, std::uint32_t i,
                                                                     std::uint32_t flags) noexcept {
        // Promises of all types have the same place in their frames, and are of no other type than this but for their functions.
        const auto handle = std::coroutine_handle<promise_base>::from_address(child.address());
        promise_base& promise = handle.promise();
        promise.m_context = &m_child_context;
        m_child_context.enter();
        promise.m_join = this;
        promise.m_flags = flags;
        promise.m_index = i;
        return handle;
    }
    std::coroutine_handle<> child(std::uint32_t i) const noexcept { return std::coroutine_handle<>::from_address(m_children[i]); }
    [[gnu::always_inline]] std::coroutine_handle<> begin_in_line(std::coroutine_handle<> child_i, std::uint32_t i) noexcept {
        if (i + 1 != m_count) {
            begin(child_i, i, m_flags | promise_base::has_more).promise().m_next = m_children[i + 1];
        } else {
            begin(child_i, i, m_flags).promise().m_next = m_parent.address();
        }
        return child_i;
    }
    std::coroutine_handle<> begin_in_line(std::uint32_t i) noexcept { return begin_in_line(child(i), i); }
    std::coroutine_handle<> begin_on_its_own(std::uint32_t i) noexcept { return begin(child(i), i, m_flags | promise_base::on_its_own); }

    /// What resuming a ticket does, wherever that is.
    static void run_stolen(work_item* item) {
        join& self = *static_cast<join*>(item);
        thread_state& thread = this_thread_state();
        if (thread.next != thread.nothing) return resume_work(self.handle());
        thread.leave_to_loop(self.begin_on_its_own(self.m_count - 1 - self.m_stolen.fetch_add(1, std::memory_order_relaxed)));
    }
    COVEY_NOINLINE std::coroutine_handle<> start_without_queue() noexcept {
        m_queue = nullptr;
        for (std::uint32_t i = 1; i < m_count; ++i) offer_elsewhere();
        return begin_on_its_own(0);
    }
    COVEY_NOINLINE void offer_elsewhere() noexcept {
        if (m_child_context.scheduler != nullptr) {
            m_child_context.scheduler->post(handle());
        } else {
            resume_work(handle());
        }
    }

    bool is_last_arrival(std::uint32_t count) noexcept { return m_left.fetch_sub(count, std::memory_order_acq_rel) == count; }
    std::coroutine_handle<> arrive(std::uint32_t count) noexcept {
        return is_last_arrival(count) ? m_parent : std::coroutine_handle<>(std::noop_coroutine());
    }
    /// The line ends after `count` children, for the next was stolen. `other` was in the queue instead, if anything was.
    std::coroutine_handle<> leave(std::uint32_t count, std::coroutine_handle<> other) noexcept {
        if (!other) return arrive(count);
        local_queue& queue = *m_queue;
        if (!is_last_arrival(count)) return other;
        queue.push(other);
        return m_parent;
    }

    /// A child ended, or failed, and it may be the first. Who is first stops the others.
    bool note(std::uint32_t i, std::uint32_t how) noexcept {
        std::uint32_t none = 0;
        return m_first.compare_exchange_strong(none, ((i + 1) << 1) | how, std::memory_order_relaxed);
    }
    void note_end(std::uint32_t i) noexcept {
        if (note(i, 0)) m_stop.request_stop();
    }
    void note_failure(std::uint32_t i) noexcept {
        if (!note(i, failed)) return;
        ::new (static_cast<void*>(&m_failure)) std::exception_ptr(std::current_exception());
        m_stop.request_stop();
    }
    [[noreturn]] COVEY_NOINLINE void rethrow_failure() {
        const std::exception_ptr failure = std::move(m_failure);
        m_failure.~exception_ptr();
        std::rethrow_exception(failure);
    }

    // Neighbours that begin with the same constant are one store.
    std::uint32_t m_count;
    std::atomic<std::uint32_t> m_left;       // arrivals that are still to come, but for those of children that ended in line
    std::atomic<std::uint32_t> m_stolen{0};  // children that were begun from the other end
    std::atomic<std::uint32_t> m_first{0};   // one more than the number of that child, and whether it failed; 0: none yet
    void* const* m_children;
    std::uint32_t m_flags;
    std::coroutine_handle<> m_parent;
    const task_context* m_parent_context;
    local_queue* m_queue;  // where the tickets were pushed
    union {
        std::exception_ptr m_failure;  // of that child
    };
    stop_source m_stop;
    task_context m_child_context;
};

inline void promise_base::unhandled_exception() noexcept {
    if ((m_flags & in_join) != 0) {
        m_join->note_failure(m_index);
    } else {
        *m_failure = std::current_exception();
    }
}

[[gnu::always_inline]] inline bool promise_base::end_short() noexcept {
    thread_state& thread = this_thread_state();
    if (thread.next != thread.nothing) [[unlikely]]
        return false;
    const auto next = std::coroutine_handle<>::from_address(m_next);
    if (m_flags > in_join) {
        // A child that suspended may end on another thread, whose queue does not hold its join's tickets.
        if (m_flags != (in_join | has_more) || thread.queue != m_join->m_queue) [[unlikely]]
            return false;
        const std::coroutine_handle<> popped = thread.queue->pop();
        if (!m_join->is_ticket(popped)) [[unlikely]] {
            m_flags = line_broken;
            m_next = popped.address();
            return false;
        }
        m_join->begin_in_line(next, m_index + 1);
    }
    thread.leave_to_loop(next);
    return true;
}

COVEY_NOINLINE inline std::coroutine_handle<> promise_base::end_long(std::coroutine_handle<> self) noexcept {
    const auto next = std::coroutine_handle<>::from_address(m_next);
    join* const parent = m_join;  // if it is in one
    const std::uint32_t flags = m_flags;
    const std::uint32_t index = m_index;
    if ((flags & noteworthy) != 0) parent->note_end(index);
    self.destroy();
    if ((flags & line_broken) != 0) return transfer(parent->leave(index + 1, next));
    if ((flags & on_its_own) != 0) return transfer(parent->arrive(1));
    if ((flags & has_more) == 0) return transfer(next);
    if (parent->m_queue != this_thread_state().queue) return transfer(parent->arrive(index + 1));
    const std::coroutine_handle<> popped = parent->m_queue->pop();
    if (!parent->is_ticket(popped)) return transfer(parent->leave(index + 1, popped));
    return transfer(parent->begin_in_line(index + 1));
}

}  // namespace covey::detail
