// when_all: runs tasks beside each other and gives all their results.
#pragma once

#include <covey/task/detail/join.hpp>

#include <array>
#include <tuple>
#include <vector>

namespace covey {

namespace detail {

class all_join : public join {
public:
    void note(promise_base& child) noexcept final {
        if (!child.failure()) return;
        promise_base* none = nullptr;
        if (m_first_failed.compare_exchange_strong(none, &child, std::memory_order_acq_rel)) stop_children();
    }
    void rethrow_first() const {
        if (const promise_base* failed = m_first_failed.load(std::memory_order_acquire)) std::rethrow_exception(failed->failure());
    }

protected:
    ~all_join() = default;

private:
    std::atomic<promise_base*> m_first_failed{nullptr};
};

template <class... Ts>
class when_all_awaiter final : all_join {
public:
    explicit when_all_awaiter(std::tuple<task<Ts>...>&& tasks) noexcept : m_tasks(std::move(tasks)) {}

    bool await_ready() const noexcept { return sizeof...(Ts) == 0; }
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
    std::tuple<value_or_monostate<Ts>...> await_resume() {
        if constexpr (sizeof...(Ts) != 0) resumed();
        rethrow_first();
        return std::apply([](auto&... tasks) { return std::tuple<value_or_monostate<Ts>...>(take_result(tasks)...); }, m_tasks);
    }

private:
    std::tuple<task<Ts>...> m_tasks;
};

template <class T>
class when_all_vector_awaiter final : all_join {
public:
    explicit when_all_vector_awaiter(std::vector<task<T>>&& tasks) noexcept : m_tasks(std::move(tasks)) {}

    bool await_ready() const noexcept { return m_tasks.empty(); }
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
    std::vector<value_or_monostate<T>> await_resume() {
        std::vector<value_or_monostate<T>> results;
        if (m_tasks.empty()) return results;
        resumed();
        rethrow_first();
        results.reserve(m_tasks.size());
        for (task<T>& t : m_tasks) results.push_back(take_result(t));
        return results;
    }

private:
    std::vector<task<T>> m_tasks;
};

}  // namespace detail

/// `auto [a, b] = co_await when_all(f(), g())`: runs all, on as many threads as are free, and gives a tuple in order, with
/// std::monostate for void. The first exception stops the others, waits for them, and is rethrown.
template <class... Ts>
auto when_all(task<Ts>... tasks) noexcept {
    using tuple = std::tuple<task<Ts>...>;
    return detail::joining<detail::when_all_awaiter<Ts...>, tuple>(tuple(std::move(tasks)...));
}

/// The same for any number of tasks of one type: a vector of results, in order.
template <class T>
auto when_all(std::vector<task<T>> tasks) noexcept {
    return detail::joining<detail::when_all_vector_awaiter<T>, std::vector<task<T>>>(std::move(tasks));
}

}  // namespace covey
