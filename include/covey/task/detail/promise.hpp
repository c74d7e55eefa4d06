// How coroutines are linked: a promise knows what goes on after it, and a join counts children that run beside each other.
#pragma once

#include <covey/task/context.hpp>
#include <covey/task/detail/outcome.hpp>
#include <covey/task/frame_pool.hpp>
#include <covey/task/local_queue.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <type_traits>

namespace covey::detail {

class join;

/// The part of a task's promise that does not depend on its type.
///
/// A task that ends destroys its frame itself and leaves what goes on after it to the loop of resume_work, which costs
/// less than to suspend once more and be destroyed by the awaiter. Where it must not (nobody's loop runs, or others may go on
/// before the frame is gone) it takes the long way: suspend, be destroyed, and only then let the others know.
class promise_base : public recycled_frame {
public:
    const task_context& context() const noexcept { return *m_context; }

    struct initial_awaiter {
        promise_base* m_promise;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<>) const noexcept {}
        void await_resume() const noexcept { m_promise->m_context->enter(); }
    };
    initial_awaiter initial_suspend() noexcept { return {this}; }

    struct final_awaiter {
        promise_base* m_promise;
        [[gnu::always_inline]] bool await_ready() const noexcept { return m_promise->end_short(); }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) const noexcept { return m_promise->end_long(self); }
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() noexcept { return {this}; }

    /// For whoever awaits this task alone: `next` goes on at its end, which leaves its outcome there.
    void bind(std::coroutine_handle<> next, const task_context& context, outcome_base& result, std::uint32_t flags = 0) noexcept {
        m_next = next;
        m_context = &context;
        m_result = &result;
        m_flags = flags | in_line;
    }
    /// Resumed by code that expects to be returned to only afterwards: the loop of resume_work is below that on the stack.
    static constexpr std::uint32_t foreign_caller = 8;
    /// What goes from the coroutine that awaits to the one that is awaited.
    std::uint32_t inherited_flags() const noexcept { return m_flags & foreign_caller; }
    void unhandled_exception() noexcept {
        m_result->failure = std::current_exception();
        m_flags |= noteworthy;
    }

protected:
    outcome_base* m_result = nullptr;

private:
    friend class join;
    // The way out that is taken most is that of an awaited task, of the last child in line, and of children before it.
    static constexpr std::uint32_t in_line = 1;       // what goes on next goes on on this thread, and it alone
    static constexpr std::uint32_t has_sibling = 2;   // that is another child, which may have been stolen
    static constexpr std::uint32_t noteworthy = 4;    // its end may decide about the others
    static constexpr std::uint32_t line_broken = 16;  // the child after this one was stolen; m_next is other work

    bool end_short() noexcept;
    std::coroutine_handle<> end_long(std::coroutine_handle<> self) noexcept;

    std::coroutine_handle<> m_next;  // who awaits; or the child after this one, in a join
    const task_context* m_context = nullptr;
    join* m_join = nullptr;
    promise_base* m_sibling = nullptr;  // the promise of m_next, if that is a child
    std::uint32_t m_flags = 0;
    std::uint32_t m_place = 0;  // in a join: how many children are in line up to this one
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
        resume_work(next);
        return std::noop_coroutine();
    }
#endif
    return transfer(next);
}

/// Children that run beside each other, and the parent that goes on after the last of them. Lives in the parent's frame
/// from the await on.
///
/// The parent pushes all children but the first to its worker's queue and goes on into the first. At the end of a child
/// the worker takes the next one back if nobody stole it; that one is then "in line" as the first is. Exactly one child in
/// line is at work at any moment, so nothing about the line is atomic, and a join that loses no child costs no atomic
/// operation. Children that were stolen, or taken from the queue by other code, arrive at an atomic counter, and where
/// the line breaks, it arrives there for all its children at once. (To pay for a join only after a steal is the idea
/// of the split counter in C. Williams and J. Elliott, "Libfork: portable continuation-stealing with stackless
/// coroutines", 2024; here it is the children that are stolen, so ordinary lazy tasks can be joined.)
class join {
public:
    /// What a child is told of those after it, who are bound before it.
    struct position {
        std::coroutine_handle<> next;  // the child after this one; for the last, the parent
        promise_base* sibling;         // its promise; for the last, null
        std::uint32_t place;           // how many children there are up to this one
    };

    /// Then come `queue_child` for each child from the last to the second, and `start_first` for the first.
    join(std::coroutine_handle<> parent, const task_context& context, std::uint32_t count, std::uint32_t flags) noexcept
        : m_parent(parent),
          m_parent_context(&context),
          m_left(count),
          m_flags(flags),
          m_stop(context.stop),
          m_child_context{context.scheduler, m_stop.get_token(), context.deadline, context.peer} {}
    join(const join&) = delete;
    join& operator=(const join&) = delete;

    /// The flags for a join whose first end stops the other children.
    static constexpr std::uint32_t stop_at_first = promise_base::noteworthy;

    /// The queue to use, if this thread has one of the scheduler's.
    local_queue* queue() const noexcept {
        local_queue* const mine = this_thread_state().queue;
        return mine != nullptr && mine->owner == m_child_context.scheduler ? mine : nullptr;
    }
    void queue_child(local_queue& queue, promise_base& child, std::coroutine_handle<> handle, outcome_base& result,
                     const position& at) noexcept {
        bind(child, result, at, at.sibling != nullptr ? m_flags | promise_base::has_sibling : m_flags);
        queue.deque.push(handle);
    }
    /// Returns what to transfer into. As the first child has not started, the join cannot end before.
    std::coroutine_handle<> start_first(local_queue& queue, promise_base& child, std::coroutine_handle<> handle, outcome_base& result,
                                        const position& at) noexcept {
        m_queue = &queue;
        queue.offer_if_wanted();
        const std::uint32_t flags = m_flags | promise_base::in_line;
        bind(child, result, at, at.sibling != nullptr ? flags | promise_base::has_sibling : flags);
        return handle;
    }

    /// The same on threads that have no queue of the scheduler's, or where there is no scheduler at all. Nobody is in line.
    COVEY_NOINLINE void post_child(promise_base& child, std::coroutine_handle<> handle, outcome_base& result) noexcept {
        bind(child, result, {}, m_flags);
        if (m_child_context.scheduler != nullptr) {
            m_child_context.scheduler->post(handle);
        } else {
            resume_work(handle);
        }
    }
    COVEY_NOINLINE std::coroutine_handle<> start_alone(promise_base& child, std::coroutine_handle<> handle, outcome_base& result) noexcept {
        bind(child, result, {}, m_flags);
        return handle;
    }

    /// For a fork, which is a join of two: starts the child; its parent comes later.
    void fork(promise_base& child, std::coroutine_handle<> handle, outcome_base& result) noexcept {
        m_queue = queue();
        if (m_queue == nullptr) return post_child(child, handle, result);
        bind(child, result, {}, m_flags);
        m_queue->push(handle);
    }
    /// The parent is there. Returns what it transfers to: the child if nobody has stolen it, itself if that has ended.
    std::coroutine_handle<> await_child(promise_base& child, std::coroutine_handle<> handle, std::coroutine_handle<> parent) noexcept {
        m_parent = parent;
        if (m_queue == nullptr || m_queue != this_thread_state().queue) return arrive(1);
        const std::coroutine_handle<> popped = m_queue->pop();
        if (popped == handle && is_mine(child)) {
            child.m_next = parent;
            child.m_flags |= promise_base::in_line;
            return handle;
        }
        if (popped) m_queue->push(popped);
        return arrive(1);
    }

    /// For the parent, when it goes on.
    void resumed() const noexcept { m_parent_context->enter(); }
    /// Of the first child that ended, or that failed where the others are not stopped at the first end.
    const outcome_base* first() const noexcept { return m_first.load(std::memory_order_acquire); }
    void rethrow_first() const {
        if (const outcome_base* failed = first()) [[unlikely]]
            rethrow(*failed);
    }

private:
    friend class promise_base;

    void bind(promise_base& child, outcome_base& result, const position& at, std::uint32_t flags) noexcept {
        child.m_next = at.next;
        child.m_context = &m_child_context;
        child.m_join = this;
        child.m_sibling = at.sibling;
        child.m_result = &result;
        child.m_flags = flags;
        child.m_place = at.place;
    }

    /// A handle is an address, and a child that was stolen may have ended and left its own to another coroutine's frame, which
    /// this worker may have queued. That one belongs to no join or to another one, and a child that leaves this join says so
    /// before it frees its frame. (That it has arrived would say less, for it arrives after that.)
    bool is_mine(const promise_base& popped) const noexcept { return popped.m_join == this; }
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
    void note(outcome_base& ended) noexcept {
        outcome_base* none = nullptr;
        if (m_first.compare_exchange_strong(none, &ended, std::memory_order_acq_rel)) m_stop.request_stop();
    }

    std::coroutine_handle<> m_parent;
    const task_context* m_parent_context;
    local_queue* m_queue = nullptr;     // where the children were pushed
    std::atomic<std::uint32_t> m_left;  // children that have not arrived, and not ended in line
    std::atomic<outcome_base*> m_first{nullptr};
    std::uint32_t m_flags;
    stop_source m_stop;
    task_context m_child_context;
};

[[gnu::always_inline]] inline bool promise_base::end_short() noexcept {
    thread_state& thread = this_thread_state();
    if (thread.next != thread.nothing) [[unlikely]]
        return false;
    if (m_flags != in_line) {
        // A child that suspended may end on another thread, whose queue does not hold its siblings.
        if (m_flags != (in_line | has_sibling) || thread.queue != m_join->m_queue) [[unlikely]]
            return false;
        const std::coroutine_handle<> popped = thread.queue->pop();
        if (popped != m_next || !m_join->is_mine(*m_sibling)) [[unlikely]] {
            m_flags = line_broken;
            m_next = popped;
            return false;
        }
        m_sibling->m_flags |= in_line;
    }
    thread.leave_to_loop(m_next);
    return true;
}

COVEY_NOINLINE inline std::coroutine_handle<> promise_base::end_long(std::coroutine_handle<> self) noexcept {
    join* const parent = m_join;
    promise_base* const sibling = m_sibling;
    const std::coroutine_handle<> next = m_next;
    const std::uint32_t flags = m_flags;
    const std::uint32_t place = m_place;
    if (parent != nullptr && (flags & noteworthy) != 0) parent->note(*m_result);
    m_join = nullptr;  // see join::is_mine
    self.destroy();
    if (parent == nullptr || (flags & (in_line | has_sibling | line_broken)) == in_line) return transfer(next);
    if ((flags & line_broken) != 0) return transfer(parent->leave(place, next));
    if ((flags & in_line) == 0) return transfer(parent->arrive(1));
    if (parent->m_queue != this_thread_state().queue) return transfer(parent->arrive(place));
    const std::coroutine_handle<> popped = parent->m_queue->pop();
    if (popped != next || !parent->is_mine(*sibling)) return transfer(parent->leave(place, popped));
    sibling->m_flags |= in_line;
    return transfer(next);
}

}  // namespace covey::detail
