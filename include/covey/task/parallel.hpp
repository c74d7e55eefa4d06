// parallel_for, parallel_reduce, parallel_invoke: loops and calls on as many threads as are free.
#pragma once

#include <covey/task/detail/loops.hpp>
#include <covey/task/when_all.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <utility>

namespace covey {

namespace detail {

template <class R, class F>
task<R> call_as_task(F f) {
    const stop_token stop = co_await get_stop_token();
    if (stop.stop_requested()) throw stopped{};
    if constexpr (is_task<std::remove_cvref_t<std::invoke_result_t<F&>>>) {
        co_return co_await f();
    } else if constexpr (std::is_void_v<R>) {
        f();
    } else {
        co_return f();
    }
}
/// A reference stays one; what f returns by value or as an rvalue is kept by value.
template <class F>
struct invoke_value {
    using result = std::invoke_result_t<F&>;
    using type = std::conditional_t<std::is_lvalue_reference_v<result>, result, std::remove_cvref_t<result>>;
};
template <class F>
    requires is_task<std::remove_cvref_t<std::invoke_result_t<F&>>>
struct invoke_value<F> {
    using type = loop_result<F>;
};

}  // namespace detail

/// `co_await parallel_for(0, n, [&](std::size_t i) { … })`: calls f(i) once for each i from `first` up to, not including,
/// `last`, on as many of the scheduler's threads as are free, in no particular order. Nothing happens when last <= first.
///
/// How the loop is cut up follows from how long iterations take: a few microseconds of them run as a plain loop, and between
/// such chunks the loop is halved when other workers may be hungry. Loops of less than some ten microseconds stay on
/// one thread. If f returns a task, each is awaited before the next of the same piece starts: that is for iterations that
/// are parallel themselves; to wait for many things at once use when_all or a scope.
///
/// The first exception stops the loop between chunks, waits for those that run, and is rethrown. So does a stop request, with
/// `stopped`, unless all had run. A long loop gives way to sockets, timers and other work four times a
/// millisecond, between chunks.
///
/// A named f is used where it is, by all threads at once, and must outlive the await; a temporary is kept. It is called as
/// an lvalue, or through copies if it is trivially copyable and can be called when const. Throws errc::bad_argument at the
/// call if one bound is negative and the type of the other is unsigned.
template <detail::loop_index A, detail::loop_index B, class F>
    requires std::invocable<F&, std::common_type_t<A, B>>
task<void> parallel_for(A first, B last, F&& f) {
    static_assert(detail::closure_survives<F>, "name this closure first: GCC 12 destroys it twice");
    using index = std::common_type_t<A, B>;
    using body = detail::for_body<detail::index_source<index>, F>;
    const std::uint64_t count = detail::loop_count<index>(first, last);
    return detail::run_for<body>(body{{static_cast<index>(first)}, std::forward<F>(f)}, count);
}

/// The same for each element of a range with random access, which stays as it is until the end: f(element).
template <detail::loop_range R, class F>
    requires std::invocable<F&, std::iter_reference_t<detail::iterator_of<R>>>
task<void> parallel_for(R&& range, F&& f) {
    static_assert(detail::closure_survives<F>, "name this closure first: GCC 12 destroys it twice");
    using body = detail::for_body<decltype(detail::source_of(range)), F>;
    return detail::run_for<body>(body{detail::source_of(range), std::forward<F>(f)}, static_cast<std::uint64_t>(std::size(range)));
}

/// `double sum = co_await parallel_reduce(v, 0.0, std::plus{})`: `init` and the elements of a range with random access,
/// combined by `op`, on as many threads as are free; `init` for an empty range. The result has init's type.
///
/// Operands keep their order, `init` being the first, so `op` need not be commutative; but it must be associative, for where
/// the range is divided differs from run to run: a sum of floating-point numbers may differ in its last digits. Chunks,
/// exceptions, stop requests and lifetimes are as in parallel_for.
template <detail::loop_range R, class T, class Op>
task<T> parallel_reduce(R&& range, T init, Op&& op) {
    return detail::make_reduce<T>(detail::source_of(range), static_cast<std::uint64_t>(std::size(range)), std::move(init),
                                  std::forward<Op>(op), detail::as_it_is{});
}

/// The same of f(element), which may be a task.
template <detail::loop_range R, class T, class Op, class F>
    requires std::invocable<F&, std::iter_reference_t<detail::iterator_of<R>>>
task<T> parallel_reduce(R&& range, T init, Op&& op, F&& f) {
    return detail::make_reduce<T>(detail::source_of(range), static_cast<std::uint64_t>(std::size(range)), std::move(init),
                                  std::forward<Op>(op), std::forward<F>(f));
}

/// The same of f(i), for each i from `first` up to, not including, `last`.
template <detail::loop_index A, detail::loop_index B, class T, class Op, class F>
    requires std::invocable<F&, std::common_type_t<A, B>>
task<T> parallel_reduce(A first, B last, T init, Op&& op, F&& f) {
    using index = std::common_type_t<A, B>;
    const std::uint64_t count = detail::loop_count<index>(first, last);
    return detail::make_reduce<T>(detail::index_source<index>{static_cast<index>(first)}, count, std::move(init), std::forward<Op>(op),
                                  std::forward<F>(f));
}

/// `auto results = co_await parallel_invoke(f, g, h)`: calls them all, on as many threads as are free, and gives a tuple of
/// what they return, in order, with std::monostate for void. They are functions without arguments; those that return tasks
/// are awaited. The first exception stops those that have not started, and the tasks, and is rethrown when all have ended. A stop
/// request, too, stops only these. Lifetimes are as in parallel_for.
template <class... Fs>
    requires(std::invocable<Fs&> && ...)
auto parallel_invoke(Fs&&... fs) {
    static_assert((detail::closure_survives<Fs> && ...), "name this closure first: GCC 12 destroys it twice");
    return when_all(detail::call_as_task<typename detail::invoke_value<Fs>::type, Fs>(std::forward<Fs>(fs))...);
}

}  // namespace covey
