// when_any: runs tasks beside each other and gives the result of the first that ends.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/detail/joins.hpp>

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace covey {

namespace detail {

template <class... Ts>
class [[nodiscard("it does nothing until it is awaited")]] when_any_awaiter : public tuple_join<Ts...> {
    static_assert((!std::is_reference_v<Ts> && ...), "covey: when_any gives no references: let the tasks give pointers");

public:
    using tuple_join<Ts...>::tuple_join;
    using result_type = std::variant<value_or_monostate<Ts>...>;

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
        return this->template run<join::stop_at_first>(parent);
    }
    result_type await_resume() {
        const join_end end(this->m_join);
        this->m_join->rethrow_first();
        return pick<0>(this->m_join->first());
    }

private:
    template <std::size_t I>
    result_type pick(std::size_t first) {
        if constexpr (I + 1 < sizeof...(Ts)) {
            if (first != I) return pick<I + 1>(first);
        }
        return result_type(std::in_place_index<I>, value_of(std::get<I>(this->m_values)));
    }
};

template <class T>
class [[nodiscard("it does nothing until it is awaited")]] when_any_vector_awaiter : public vector_join<T> {
public:
    using vector_join<T>::vector_join;

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) {
        return this->template run<join::stop_at_first>(parent);
    }
    std::pair<std::size_t, value_or_monostate<T>> await_resume() {
        const join_end end(this->m_join);
        this->forget_tasks();
        this->m_join->rethrow_first();
        const std::size_t first = this->m_join->first();
        return {first, this->m_values.take(first)};
    }
};

}  // namespace detail

/// `auto r = co_await when_any(f(), g())`: a variant whose `index()` tells which task ended first and which holds its
/// value (std::monostate for void). If it ended with an exception, that is rethrown. The others are stopped and awaited.
template <class... Ts>
    requires(sizeof...(Ts) != 0)
detail::when_any_awaiter<Ts...> when_any(task<Ts>... tasks) noexcept {
    return detail::when_any_awaiter<Ts...>(std::move(tasks)...);
}

/// The same for any number of tasks of one type: {index, value}. Throws errc::bad_argument for none.
template <class T>
detail::when_any_vector_awaiter<T> when_any(std::vector<task<T>> tasks) {
    if (tasks.empty()) throw error(errc::bad_argument, "when_any of no tasks would never end");
    return detail::when_any_vector_awaiter<T>(std::move(tasks));
}

}  // namespace covey
