// task<T>: a lazy coroutine. It starts when it is awaited and resumes its awaiter when it ends.
#pragma once

#include <covey/task/detail/outcome.hpp>
#include <covey/task/detail/promise.hpp>

#include <coroutine>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace covey {

template <class T>
class task;

namespace detail {

template <class T>
class task_promise final : public promise_base {
public:
    task_promise() noexcept {}
    task<T> get_return_object() noexcept;

    template <class U = T>
        requires std::is_constructible_v<T, U&&>
    void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U&&>) {
        if constexpr (stands_for_its_slot<T>) {
            ::new (m_value) T(std::forward<U>(value));
        } else {
            static_cast<slot<T>*>(m_value)->set(std::forward<U>(value));
        }
    }
};

template <class T>
class task_promise<T&> final : public promise_base {
public:
    task_promise() noexcept {}
    task<T&> get_return_object() noexcept;
    void return_value(T& value) noexcept { static_cast<slot<T&>*>(m_value)->set(value); }
};

template <>
class task_promise<void> final : public promise_base {
public:
    task_promise() noexcept {}
    task<void> get_return_object() noexcept;
    void return_void() noexcept {}
};

/// Awaits a task, under the awaiter's context or another one.
template <class T>
class task_awaiter {
public:
    explicit task_awaiter(task<T>& t) noexcept : m_task(t) {}

    bool await_ready() const noexcept { return false; }
    // Nobody can resume the parent meanwhile, so it may become a part of it: see COVEY_NOINLINE elsewhere.
    template <class Promise>
    [[gnu::always_inline]] std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
        return transfer_from(parent, start(parent, context_of(parent), inherited_flags(parent)));
    }
    T await_resume() { return take(m_outcome); }

protected:
    std::coroutine_handle<> start(std::coroutine_handle<> parent, const task_context& context, std::uint32_t flags) noexcept;

    task<T>& m_task;
    outcome<T> m_outcome;
};

}  // namespace detail

/// A computation that has not started. `co_await std::move(t)` (or of the temporary) runs it under the awaiter's context
/// and gives its value or throws its exception. Movable; destroying one that was never awaited runs nothing of it. One
/// that runs owns itself, is empty here, and ends before its awaiter goes on.
template <class T>
class [[nodiscard("a task does nothing until it is awaited")]] task {
public:
    using promise_type = detail::task_promise<T>;
    using value_type = T;
    using handle_type = std::coroutine_handle<promise_type>;

    task() noexcept = default;
    explicit task(handle_type handle) noexcept : m_handle(handle) {}
    task(task&& other) noexcept : m_handle(other.release()) {}
    task& operator=(task&& other) noexcept {
        task(std::move(other)).swap(*this);
        return *this;
    }
    ~task() {
        if (m_handle) m_handle.destroy();
    }
    void swap(task& other) noexcept { std::swap(m_handle, other.m_handle); }

    explicit operator bool() const noexcept { return static_cast<bool>(m_handle); }

    detail::task_awaiter<T> operator co_await() && noexcept { return detail::task_awaiter<T>(*this); }

    /// For the library's joins, which start it: from then on it owns itself.
    handle_type release() noexcept { return handle_type::from_address(detail::alone(std::exchange(m_handle, nullptr).address())); }

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

template <class T>
std::coroutine_handle<> task_awaiter<T>::start(std::coroutine_handle<> parent, const task_context& context, std::uint32_t flags) noexcept {
    const auto child = m_task.release();
    child.promise().bind(parent, context, m_outcome.failure, static_cast<slot<T>*>(&m_outcome), flags);
    context.enter();
    return child;
}

/// Awaits a task under another context than the awaiter's. The context must outlive the task.
template <class T>
class with_context : task_awaiter<T> {
public:
    with_context(task<T>& t, const task_context& context) noexcept : task_awaiter<T>(t), m_child_context(context) {}

    using task_awaiter<T>::await_ready;
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
        m_parent_context = &context_of(parent);
        return transfer_from(parent, this->start(parent, m_child_context, inherited_flags(parent)));
    }
    T await_resume() {
        m_parent_context->enter();
        return task_awaiter<T>::await_resume();
    }

private:
    const task_context& m_child_context;
    const task_context* m_parent_context = nullptr;
};

/// A task that code which is no coroutine starts, and the place of its outcome. Lives until the task has ended. To be resumed
/// as if it were the coroutine.
template <class T>
class root_task : work_item {
public:
    explicit root_task(task<T>&& t) noexcept : work_item(&start), m_task(std::move(t)) {}

    /// Call once, and resume or post what it returns. `next` goes on at the end of the task.
    std::coroutine_handle<> bind(std::coroutine_handle<> next, const task_context& context) noexcept {
        m_next = next;
        m_context = &context;
        return handle();
    }
    /// After the end, once: the value, or the exception thrown.
    T result() { return take(m_outcome); }

private:
    static void start(work_item* item) {
        root_task& self = *static_cast<root_task*>(item);
        const auto coroutine = self.m_task.release();
        coroutine.promise().bind(self.m_next, *self.m_context, self.m_outcome.failure, static_cast<slot<T>*>(&self.m_outcome));
        self.m_context->enter();
        coroutine.resume();
    }

    task<T> m_task;
    outcome<T> m_outcome;
    std::coroutine_handle<> m_next;
    const task_context* m_context = nullptr;
};

/// The promise in the frame at an address: of a task<T>.
template <class T>
task_promise<T>& promise_of(void* frame) noexcept {
    static_assert(sizeof(task_promise<T>) == sizeof(promise_base) && alignof(task_promise<T>) == alignof(promise_base));
    return std::coroutine_handle<task_promise<T>>::from_address(frame).promise();
}

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

}  // namespace detail

}  // namespace covey
