// Joins of tasks: of a fixed number of any types, or of any number of one type.
#pragma once

#include <covey/task/task.hpp>

#include <cstdint>
#include <memory>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

namespace covey::detail {

/// A join in place, made when its tasks are awaited; until then, the awaiter can be moved.
class late_join {
public:
    late_join() noexcept {}
    late_join(const late_join&) = delete;
    late_join& operator=(const late_join&) = delete;
    ~late_join() {}  // whoever made the join ends it

    template <class... Args>
    join& make(Args&&... args) noexcept {
        return *::new (static_cast<void*>(&m_join)) join(std::forward<Args>(args)...);
    }
    join* operator->() noexcept { return &m_join; }
    void end() noexcept { m_join.~join(); }

private:
    union {
        join m_join;
    };
};

template <class... Ts>
class tuple_join {
public:
    explicit tuple_join(task<Ts>&&... tasks) noexcept : m_tasks(std::move(tasks)...) {}
    tuple_join(tuple_join&& other) noexcept : m_tasks(std::move(other.m_tasks)) {}

    bool await_ready() const noexcept { return false; }

protected:
    ~tuple_join() = default;

    template <std::uint32_t Flags, class Promise>
    std::coroutine_handle<> run(std::coroutine_handle<Promise> parent) noexcept {
        return transfer_from(parent, run(parent, context_of(parent), Flags | inherited_flags(parent)));
    }

    std::tuple<task<Ts>...> m_tasks;
    std::tuple<outcome<Ts>...> m_outcomes;
    late_join m_join;

private:
    static constexpr std::size_t last = sizeof...(Ts) - 1;

    // One function for all awaits of the same types, so that coroutines stay small.
    COVEY_NOINLINE std::coroutine_handle<> run(std::coroutine_handle<> parent, const task_context& context, std::uint32_t flags) noexcept {
        join& children = m_join.make(parent, context, std::uint32_t{sizeof...(Ts)}, flags);
        if (local_queue* const queue = children.queue()) [[likely]]
            return start<last>(children, *queue, {parent, nullptr, last + 1});
        return post<last>(children);
    }
    template <std::size_t I>
    [[gnu::always_inline]] std::coroutine_handle<> start(join& children, local_queue& queue, join::position at) noexcept {
        const auto handle = std::get<I>(m_tasks).release();
        if constexpr (I == 0) {
            return children.start_first(queue, handle.promise(), handle, std::get<I>(m_outcomes), at);
        } else {
            children.queue_child(queue, handle.promise(), handle, std::get<I>(m_outcomes), at);
            return start<I - 1>(children, queue, {handle, &handle.promise(), I});
        }
    }
    template <std::size_t I>
    std::coroutine_handle<> post(join& children) noexcept {
        const auto handle = std::get<I>(m_tasks).release();
        if constexpr (I == 0) {
            return children.start_alone(handle.promise(), handle, std::get<I>(m_outcomes));
        } else {
            children.post_child(handle.promise(), handle, std::get<I>(m_outcomes));
            return post<I - 1>(children);
        }
    }
};

/// The memory of the outcomes comes from where frames come from.
template <class T>
class outcome_array {
public:
    outcome_array() noexcept = default;
    outcome_array(const outcome_array&) = delete;
    outcome_array& operator=(const outcome_array&) = delete;
    ~outcome_array() {
        if (m_first == nullptr) return;
        std::destroy_n(m_first, m_size);
        free_frame(m_first, m_size * sizeof(outcome<T>));
    }
    void resize(std::size_t n) {
        m_first = static_cast<outcome<T>*>(allocate_frame(n * sizeof(outcome<T>)));
        m_size = n;
        std::uninitialized_default_construct_n(m_first, n);
    }
    outcome<T>& operator[](std::size_t i) noexcept { return m_first[i]; }

private:
    static_assert(alignof(outcome<T>) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__, "results of over-aligned types cannot be kept in a vector");
    outcome<T>* m_first = nullptr;
    std::size_t m_size = 0;
};

template <class T>
class vector_join {
public:
    explicit vector_join(std::vector<task<T>>&& tasks) noexcept : m_tasks(std::move(tasks)) {}
    vector_join(vector_join&& other) noexcept : m_tasks(std::move(other.m_tasks)) {}

    bool await_ready() const noexcept { return m_tasks.empty(); }

protected:
    ~vector_join() = default;

    template <std::uint32_t Flags, class Promise>
    std::coroutine_handle<> run(std::coroutine_handle<Promise> parent) {
        m_outcomes.resize(m_tasks.size());
        const auto count = static_cast<std::uint32_t>(m_tasks.size());
        join& children = m_join.make(parent, context_of(parent), count, Flags | inherited_flags(parent));
        local_queue* const queue = children.queue();
        join::position at{parent, nullptr, count};
        for (std::size_t i = count - 1; i != 0; --i) {
            const auto handle = m_tasks[i].release();
            if (queue != nullptr) {
                children.queue_child(*queue, handle.promise(), handle, m_outcomes[i], at);
            } else {
                children.post_child(handle.promise(), handle, m_outcomes[i]);
            }
            at = {handle, &handle.promise(), at.place - 1};
        }
        const auto handle = m_tasks[0].release();
        if (queue == nullptr) return transfer_from(parent, children.start_alone(handle.promise(), handle, m_outcomes[0]));
        return transfer_from(parent, children.start_first(*queue, handle.promise(), handle, m_outcomes[0], at));
    }

    std::vector<task<T>> m_tasks;
    outcome_array<T> m_outcomes;
    late_join m_join;
};

/// Ends the join when the parent goes on, whichever way: with results or with an exception.
class join_end {
public:
    explicit join_end(late_join& j) noexcept : m_join(j) { m_join->resumed(); }
    join_end(const join_end&) = delete;
    join_end& operator=(const join_end&) = delete;
    ~join_end() { m_join.end(); }

private:
    late_join& m_join;
};

}  // namespace covey::detail
