// when_any: runs tasks beside each other and gives the result of the first that ends.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/detail/join.hpp>

#include <array>
#include <cstdint>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace covey {

namespace detail {

class any_join : public join {
public:
    void note(promise_base& child) noexcept final {
        promise_base* none = nullptr;
        if (m_first.compare_exchange_strong(none, &child, std::memory_order_acq_rel)) stop_children();
    }
    bool is_first(const promise_base& child) const noexcept { return m_first.load(std::memory_order_acquire) == &child; }

protected:
    ~any_join() = default;

private:
    std::atomic<promise_base*> m_first{nullptr};
};

template <class... Ts>
class when_any_awaiter final : any_join {
public:
    using result_type = std::variant<value_or_monostate<Ts>...>;

    explicit when_any_awaiter(std::tuple<task<Ts>...>&& tasks) noexcept : m_tasks(std::move(tasks)) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) {
        open(parent, context_of(parent), sizeof...(Ts));
        const auto handles = std::apply(
            [this](auto&... tasks) {
                (tasks.handle().promise().bind(*this, child_context()), ...);
                return std::array<std::coroutine_handle<>, sizeof...(Ts)>{tasks.handle()...};
            },
            m_tasks);
        return start(handles);
    }
    result_type await_resume() {
        resumed();
        return pick<0>();
    }

private:
    template <std::size_t I>
    result_type pick() {
        if constexpr (I + 1 < sizeof...(Ts)) {
            if (!is_first(std::get<I>(m_tasks).handle().promise())) return pick<I + 1>();
        }
        return result_type(std::in_place_index<I>, take_result(std::get<I>(m_tasks)));
    }

    std::tuple<task<Ts>...> m_tasks;
};

template <class T>
class when_any_vector_awaiter final : any_join {
public:
    explicit when_any_vector_awaiter(std::vector<task<T>>&& tasks) : m_tasks(std::move(tasks)) {
        if (m_tasks.empty()) throw error(errc::bad_argument, "when_any of no tasks would never end");
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) {
        open(parent, context_of(parent), m_tasks.size());
        std::vector<std::coroutine_handle<>> handles;
        handles.reserve(m_tasks.size());
        for (task<T>& t : m_tasks) {
            t.handle().promise().bind(*this, child_context());
            handles.push_back(t.handle());
        }
        return start(handles);
    }
    std::pair<std::size_t, value_or_monostate<T>> await_resume() {
        resumed();
        std::size_t i = 0;
        while (!is_first(m_tasks[i].handle().promise())) ++i;
        return {i, take_result(m_tasks[i])};
    }

private:
    std::vector<task<T>> m_tasks;
};

}  // namespace detail

/// `auto r = co_await when_any(f(), g())`: a variant whose `index()` tells which task ended first and which holds its
/// value (std::monostate for void). If it ended with an exception, that is rethrown. The others are stopped and awaited.
template <class... Ts>
    requires(sizeof...(Ts) != 0)
auto when_any(task<Ts>... tasks) noexcept {
    using tuple = std::tuple<task<Ts>...>;
    return detail::joining<detail::when_any_awaiter<Ts...>, tuple>(tuple(std::move(tasks)...));
}

/// The same for any number of tasks of one type: {index, value}. Throws errc::bad_argument for none.
template <class T>
auto when_any(std::vector<task<T>> tasks) {
    return detail::joining<detail::when_any_vector_awaiter<T>, std::vector<task<T>>>(std::move(tasks));
}

}  // namespace covey
