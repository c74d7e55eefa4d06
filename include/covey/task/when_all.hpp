// when_all: runs tasks beside each other and gives all their results.
#pragma once

#include <covey/task/detail/joins.hpp>

#include <tuple>
#include <vector>

namespace covey {

namespace detail {

template <class... Ts>
class [[nodiscard("it does nothing until it is awaited")]] when_all_awaiter : public tuple_join<Ts...> {
public:
    using tuple_join<Ts...>::tuple_join;

    // Nobody can resume the parent meanwhile, so it may become a part of it: see COVEY_NOINLINE elsewhere.
    template <class Promise>
    [[gnu::always_inline]] std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
        return this->template run<0>(parent);
    }
    std::tuple<value_or_monostate<Ts>...> await_resume() {
        const join_end end(this->m_join);
        this->m_join->rethrow_first();
        return std::apply([](auto&... values) { return std::tuple<value_or_monostate<Ts>...>(value_of(values)...); }, this->m_values);
    }
};

template <class T>
class [[nodiscard("it does nothing until it is awaited")]] when_all_vector_awaiter : public vector_join<T> {
public:
    using vector_join<T>::vector_join;

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) {
        return this->template run<0>(parent);
    }
    std::vector<value_or_monostate<T>> await_resume() {
        if (this->m_tasks.empty()) return {};
        const join_end end(this->m_join);
        this->forget_tasks();
        this->m_join->rethrow_first();
        return this->m_values.take_all();
    }
};

struct when_all_nothing {
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    std::tuple<> await_resume() const noexcept { return {}; }
};

}  // namespace detail

/// `auto [a, b] = co_await when_all(f(), g())`: runs all, on as many threads as are free, and gives a tuple in order, with
/// std::monostate for void. The first exception stops the others, waits for them, and is rethrown.
template <class... Ts>
    requires(sizeof...(Ts) != 0)
detail::when_all_awaiter<Ts...> when_all(task<Ts>... tasks) noexcept {
    return detail::when_all_awaiter<Ts...>(std::move(tasks)...);
}

/// Of no tasks: an empty tuple, at once.
inline detail::when_all_nothing when_all() noexcept { return {}; }

/// The same for any number of tasks of one type: a vector of results, in order.
template <class T>
detail::when_all_vector_awaiter<T> when_all(std::vector<task<T>> tasks) noexcept {
    return detail::when_all_vector_awaiter<T>(std::move(tasks));
}

}  // namespace covey
