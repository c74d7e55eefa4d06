// fork: a child that runs beside the coroutine that started it, which goes on meanwhile and joins it later.
#pragma once

#include <covey/task/detail/joins.hpp>

#include <cstdio>
#include <cstdlib>

namespace covey {

/// What `co_await fork(f())` gives: the running child. It stays where it was made, and is joined before it is destroyed:
/// otherwise the program ends with a message, for nothing runs unseen. So nothing between fork and join may throw; where
/// something does, use when_all, or a scope. Not thread-safe: fork and join in one coroutine.
template <class T>
class [[nodiscard("it must be joined")]] forked {
public:
    /// For `fork`.
    forked(task<T>&& t, const task_context& context, std::uint32_t flags) noexcept {
        const auto child = t.release();
        child.promise().set_value_to(&m_value);
        m_child = child.address();
        m_join.make(&m_child, 1u, 2u, nullptr, context, flags).fork();
    }
    forked(const forked&) = delete;
    forked& operator=(const forked&) = delete;
    ~forked() {
        if (!m_joined) {
            std::fputs("covey: a forked task was left alone; co_await its join() before it is destroyed\n", stderr);
            std::abort();
        }
    }

    class join_awaiter {
    public:
        explicit join_awaiter(forked& f) noexcept : m_forked(f) {}
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
            return detail::transfer_from(parent, await_child(parent));
        }
        T await_resume() {
            m_forked.m_joined = true;
            const detail::join_end end(m_forked.m_join);
            m_forked.m_join->rethrow_first();
            return m_forked.m_value.value();
        }

    private:
        COVEY_NOINLINE std::coroutine_handle<> await_child(std::coroutine_handle<> parent) noexcept {
            return m_forked.m_join->await_child(parent);
        }
        forked& m_forked;
    };

    /// `co_await child.join()`, once: waits for the child and gives its value or throws its exception. If no other worker
    /// has taken the child meanwhile, it runs now, here.
    join_awaiter join() noexcept { return join_awaiter(*this); }

private:
    void* m_child;  // its frame; null when it has begun
    detail::slot<T> m_value;
    detail::late_join m_join;
    bool m_joined = false;
};

namespace detail {

template <class T>
class [[nodiscard("it does nothing until it is awaited")]] fork_awaiter {
public:
    explicit fork_awaiter(task<T>&& t) noexcept : m_task(std::move(t)) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
        m_context = &context_of(parent);
        m_flags = inherited_flags(parent);
        return false;
    }
    forked<T> await_resume() noexcept { return forked<T>(std::move(m_task), *m_context, m_flags); }

private:
    task<T> m_task;
    const task_context* m_context = nullptr;
    std::uint32_t m_flags = 0;
};

}  // namespace detail

/// `auto child = co_await fork(f()); …; int x = co_await child.join();` offers f to other workers and goes on at once. Several
/// forks are joined cheapest in the reverse order. The child inherits scheduler, stop token, deadline and peer.
template <class T>
detail::fork_awaiter<T> fork(task<T> t) noexcept {
    return detail::fork_awaiter<T>(std::move(t));
}

}  // namespace covey
