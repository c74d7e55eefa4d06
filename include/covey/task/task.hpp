// task<T>: a lazy coroutine. It starts when it is awaited and resumes its awaiter when it ends.
#pragma once

#include <covey/task/context.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>

namespace covey {

template <class T>
class task;

namespace detail {

class promise_base;

/// Told when a child ends, instead of a single continuation: the join of when_all, when_any and scope.
class completion {
public:
    /// Called once, at the final suspension of `child`; returns what runs next on this thread. The child may be
    /// destroyed inside.
    virtual std::coroutine_handle<> child_done(promise_base& child) noexcept = 0;

protected:
    ~completion() = default;
};

class promise_base {
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
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
            promise_base& promise = self.promise();
            if (promise.m_completion != nullptr) return transfer(promise.m_completion->child_done(promise));
            return transfer(promise.m_continuation);
        }
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }

    void bind(std::coroutine_handle<> continuation, const task_context& context) noexcept {
        m_continuation = continuation;
        m_context = &context;
    }
    void bind(completion& when_done, const task_context& context) noexcept {
        m_completion = &when_done;
        m_context = &context;
    }
    /// Null unless the coroutine ended with an exception.
    const std::exception_ptr& failure() const noexcept { return m_failure; }
    void unhandled_exception() noexcept { m_failure = std::current_exception(); }

private:
    std::coroutine_handle<> m_continuation = std::noop_coroutine();
    const task_context* m_context = &empty_context;
    completion* m_completion = nullptr;
    std::exception_ptr m_failure;
};

template <class T>
class task_promise final : public promise_base {
public:
    task<T> get_return_object() noexcept;

    template <class U = T>
        requires std::is_constructible_v<T, U&&>
    void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U&&>) {
        ::new (static_cast<void*>(std::addressof(m_value))) T(std::forward<U>(value));
        m_has_value = true;
    }
    /// Rethrows the failure. Call once, after the end.
    T result() {
        if (failure()) std::rethrow_exception(failure());
        return std::move(m_value);
    }

    task_promise() noexcept {}
    ~task_promise() {
        if (m_has_value) m_value.~T();
    }

private:
    union {
        T m_value;
    };
    bool m_has_value = false;
};

template <class T>
class task_promise<T&> final : public promise_base {
public:
    task<T&> get_return_object() noexcept;
    void return_value(T& value) noexcept { m_value = std::addressof(value); }
    T& result() {
        if (failure()) std::rethrow_exception(failure());
        return *m_value;
    }

private:
    T* m_value = nullptr;
};

template <>
class task_promise<void> final : public promise_base {
public:
    task<void> get_return_object() noexcept;
    void return_void() noexcept {}
    void result() {
        if (failure()) std::rethrow_exception(failure());
    }
};

}  // namespace detail

/// A computation that has not started. `co_await std::move(t)` (or of the temporary) runs it under the awaiter's context
/// and gives its value or throws its exception. Movable; destroying one that was never awaited runs nothing of it. Must
/// not be destroyed while it runs: the awaiting coroutine owns it meanwhile.
template <class T>
class [[nodiscard("a task does nothing until it is awaited")]] task {
public:
    using promise_type = detail::task_promise<T>;
    using value_type = T;
    using handle_type = std::coroutine_handle<promise_type>;

    task() noexcept = default;
    explicit task(handle_type handle) noexcept : m_handle(handle) {}
    task(task&& other) noexcept : m_handle(std::exchange(other.m_handle, nullptr)) {}
    task& operator=(task&& other) noexcept {
        task(std::move(other)).swap(*this);
        return *this;
    }
    ~task() {
        if (m_handle) m_handle.destroy();
    }
    void swap(task& other) noexcept { std::swap(m_handle, other.m_handle); }

    explicit operator bool() const noexcept { return static_cast<bool>(m_handle); }

    struct awaiter {
        handle_type m_child;

        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
            m_child.promise().bind(parent, detail::context_of(parent));
            return transfer(m_child);
        }
        T await_resume() { return m_child.promise().result(); }
    };
    awaiter operator co_await() && noexcept { return {m_handle}; }

    /// For the library's joins: the coroutine itself, still owned by this task.
    handle_type handle() const noexcept { return m_handle; }

private:
    handle_type m_handle;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
template <class T>
task<T&> task_promise<T&>::get_return_object() noexcept {
    return task<T&>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

/// Awaits a task under another context than the awaiter's. The context must outlive the task.
template <class T>
struct with_context {
    task<T>* m_task;
    const task_context* m_child_context;
    const task_context* m_parent_context = nullptr;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
        m_parent_context = &context_of(parent);
        m_task->handle().promise().bind(parent, *m_child_context);
        m_child_context->enter();
        return transfer(m_task->handle());
    }
    T await_resume() {
        m_parent_context->enter();
        return m_task->handle().promise().result();
    }
};
template <class T>
with_context(task<T>*, const task_context*) -> with_context<T>;

/// void as a value: std::monostate, as in a variant.
template <class T>
using value_or_monostate = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
value_or_monostate<T> take_result(task<T>& t) {
    if constexpr (std::is_void_v<T>) {
        t.handle().promise().result();
        return {};
    } else {
        return t.handle().promise().result();
    }
}

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

}  // namespace detail

}  // namespace covey
