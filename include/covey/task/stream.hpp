// stream<T>: a coroutine that gives many values, one each time it is asked.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/context.hpp>
#include <covey/task/detail/promise.hpp>
#include <covey/task/frame_pool.hpp>

#include <concepts>
#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace covey {

template <class T>
class stream;

namespace detail {

template <class T>
class stream_promise : public recycled_frame {
public:
    stream<T> get_return_object() noexcept;
    const task_context& context() const noexcept { return *m_context; }

    struct initial_awaiter {
        stream_promise* m_promise;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<>) const noexcept {}
        void await_resume() const noexcept { m_promise->m_context->enter(); }
    };
    initial_awaiter initial_suspend() noexcept { return {this}; }

    /// Back to who awaits next(): from a co_yield, and for the last time from the end.
    struct to_consumer {
        stream_promise* m_promise;
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept {
            return transfer(std::exchange(m_promise->m_consumer, nullptr));
        }
        void await_resume() const noexcept { m_promise->m_context->enter(); }
    };
    to_consumer final_suspend() noexcept {
        m_ended = true;
        return {this};
    }
    template <class U = T>
        requires std::constructible_from<T, U&&>
    to_consumer yield_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U&&>) {
        m_value.emplace(std::forward<U>(value));
        return {this};
    }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { m_failure = std::current_exception(); }

    bool ended() const noexcept { return m_ended; }
    bool running() const noexcept { return m_consumer != nullptr; }
    std::uint32_t inherited_flags() const noexcept { return m_flags; }
    void bind(std::coroutine_handle<> consumer, const task_context& context, std::uint32_t flags) noexcept {
        m_flags = flags;
        m_consumer = consumer;
        m_context = &context;
    }
    std::optional<T> take() {
        if (m_failure) [[unlikely]]
            std::rethrow_exception(std::exchange(m_failure, nullptr));
        std::optional<T> value = std::move(m_value);
        m_value.reset();
        return value;
    }

private:
    std::coroutine_handle<> m_consumer;  // null: suspended at a co_yield, before the first line, or at the end
    const task_context* m_context = &empty_context;
    std::optional<T> m_value;
    std::exception_ptr m_failure;
    bool m_ended = false;
    std::uint32_t m_flags = 0;  // as a task's: of who awaits
};

[[noreturn]] COVEY_NOINLINE inline void stream_destroyed_while_running() noexcept {
    std::fputs("covey: a stream was destroyed while somebody awaits its next(); end that await first\n", stderr);
    std::abort();
}

}  // namespace detail

/// Values that a coroutine makes as fast as they are asked for, and no faster:
///
///     stream<int> numbers() { for (int i = 0;; ++i) co_yield i; }
///     while (auto n = co_await s.next()) use(*n);
///
/// Nothing runs before the first next(). The body may await whatever a task may; it runs under the context (scheduler,
/// stop token, deadline) of the coroutine that awaits next(), each time anew. So what it starts or borrows from that context
/// (a scope, a stop token) must not outlive the co_yield that follows, while locks and values of its own may.
///
/// Movable; used by one coroutine at a time. Destroying it destroys the body with its locals, wherever it is suspended;
/// only while a next() is awaited it must stay, which is checked. An empty one, moved from or default-constructed, has ended.
template <class T>
class [[nodiscard("a stream does nothing until its next() is awaited")]] stream {
    static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>, "a stream carries objects: no references, no const");

public:
    using promise_type = detail::stream_promise<T>;
    using value_type = T;
    using handle_type = std::coroutine_handle<promise_type>;

    stream() noexcept = default;
    explicit stream(handle_type handle) noexcept : m_handle(handle) {}
    stream(stream&& other) noexcept : m_handle(std::exchange(other.m_handle, nullptr)) {}
    stream& operator=(stream&& other) noexcept {
        stream(std::move(other)).swap(*this);
        return *this;
    }
    ~stream() {
        if (!m_handle) return;
        if (m_handle.promise().running()) [[unlikely]]
            detail::stream_destroyed_while_running();
        m_handle.destroy();
    }
    void swap(stream& other) noexcept { std::swap(m_handle, other.m_handle); }

    class [[nodiscard("next() does nothing until it is awaited")]] next_awaiter {
    public:
        explicit next_awaiter(handle_type body) noexcept : m_body(body) {}

        bool await_ready() const {
            if (!m_body) return true;
            if (m_body.promise().running()) throw error(errc::bad_argument, "next() of a stream whose last next() is still awaited");
            return m_body.promise().ended();
        }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> consumer) noexcept {
            const task_context& context = detail::context_of(consumer);
            if (context.stop.stop_requested()) {
                m_stopped = true;
                return detail::transfer_from(consumer, std::coroutine_handle<>(consumer));
            }
            m_body.promise().bind(consumer, context, detail::inherited_flags(consumer));
            return detail::transfer_from(consumer, std::coroutine_handle<>(m_body));
        }
        std::optional<T> await_resume() {
            if (m_stopped) throw stopped{};
            if (!m_body) return std::nullopt;
            return m_body.promise().take();
        }

    private:
        handle_type m_body;
        bool m_stopped = false;
    };

    /// `co_await s.next()`: runs the body to its next co_yield and gives that value. std::nullopt once it has ended, then
    /// and ever after. Rethrows the exception that ended it, once. Throws `stopped` if its caller is asked to stop: before the body
    /// goes on, which then stays where it is, or from an await in the body.
    next_awaiter next() noexcept { return next_awaiter(m_handle); }

private:
    handle_type m_handle;
};

namespace detail {

template <class T>
stream<T> stream_promise<T>::get_return_object() noexcept {
    return stream<T>(std::coroutine_handle<stream_promise>::from_promise(*this));
}

template <class T>
inline constexpr bool is_stream = false;
template <class T>
inline constexpr bool is_stream<stream<T>> = true;

}  // namespace detail

}  // namespace covey
