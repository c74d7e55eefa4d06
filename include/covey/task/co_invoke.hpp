// co_invoke: calls a function object that is a coroutine, and keeps it alive until that coroutine has ended.
#pragma once

#include <covey/task/stream.hpp>
#include <covey/task/task.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace covey {

namespace detail {

template <class F, class... Args>
using co_invoke_result = decltype(std::declval<std::decay_t<F>&>()(std::declval<std::decay_t<Args>>()...));

template <class T>
struct invoked;

template <class T>
struct invoked<task<T>> {
    template <class F, class... Args>
    static task<T> run(F f, Args... args) {
        co_return co_await f(std::move(args)...);
    }
};
template <class T>
struct invoked<stream<T>> {
    template <class F, class... Args>
    static stream<T> run(F f, Args... args) {
        stream<T> inner = f(std::move(args)...);
        while (std::optional<T> value = co_await inner.next()) co_yield std::move(*value);
    }
};

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
template <class F>
inline constexpr bool closure_survives = std::is_lvalue_reference_v<F> || std::is_trivially_copyable_v<std::remove_cvref_t<F>>;
#else
template <class F>
inline constexpr bool closure_survives = true;
#endif

}  // namespace detail

/// A capturing lambda that is a coroutine keeps its captures in the closure, not in the frame; when the closure is a
/// temporary they are gone before the coroutine has ended. co_invoke moves (or copies) the closure and the arguments into
/// a frame of its own, and gives a task or stream like that of `f`:
///
///     auto fetch = [&cache, name](int n) -> task<int> { … co_await …; };
///     s.spawn(co_invoke(fetch, 5));       // `fetch` may end before the task does
///
/// Arguments are kept by value, as by std::thread, and passed on as rvalues; std::ref passes a reference. Nothing runs before the
/// result is awaited.
template <class F, class... Args>
auto co_invoke(F&& f, Args&&... args) -> detail::co_invoke_result<F, Args...> {
    using result = detail::co_invoke_result<F, Args...>;
    static_assert(detail::is_task<result> || detail::is_stream<result>,
                  "co_invoke calls coroutines: functions that return a task or a stream");
    static_assert(detail::closure_survives<F>, "name this closure first: GCC 12 destroys it twice");
    return detail::invoked<result>::template run<std::decay_t<F>, std::decay_t<Args>...>(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace covey
