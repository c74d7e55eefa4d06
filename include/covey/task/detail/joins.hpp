// Joins of tasks: of a fixed number of any types, or of any number of one type.
#pragma once

#include <covey/task/task.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
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
    explicit tuple_join(task<Ts>&&... tasks) noexcept : m_children{tasks.release().address()...} {}
    tuple_join(tuple_join&& other) noexcept : m_children(std::exchange(other.m_children, {})) {}

    bool await_ready() const noexcept { return false; }

protected:
    ~tuple_join() {
        if (m_children[0] != nullptr) [[unlikely]]
            destroy();
    }

    template <std::uint32_t Flags, class Promise>
    [[gnu::always_inline]] std::coroutine_handle<> run(std::coroutine_handle<Promise> parent) noexcept {
        return transfer_from(parent, run(parent, context_of(parent), Flags | inherited_flags(parent)));
    }

    std::tuple<slot<Ts>...> m_values;
    late_join m_join;

private:
    static constexpr std::uint32_t count = sizeof...(Ts);

    // Part of the coroutine, where all it writes to lies at constant distances from the frame.
    [[gnu::always_inline]] std::coroutine_handle<> run(std::coroutine_handle<> parent, const task_context& context,
                                                       std::uint32_t flags) noexcept {
        place_values(std::index_sequence_for<Ts...>());
        const std::coroutine_handle<> first = m_join.make(m_children.data(), count, count, parent, context, flags).start(count);
        m_children[0] = nullptr;  // they own themselves now, and the first has begun
        return first;
    }
    template <std::size_t... I>
    void place_values(std::index_sequence<I...>) noexcept {
        (promise_of<Ts>(m_children[I]).set_value_to(&std::get<I>(m_values)), ...);
    }
    COVEY_NOINLINE void destroy() noexcept {
        for (void* child : m_children) std::coroutine_handle<>::from_address(child).destroy();
    }

    std::array<void*, count> m_children;  // frames; the first is null once they have been awaited
};

/// Where the children of a vector leave their values. The memory comes from where frames come from.
template <class T>
class slot_array {
public:
    slot_array() noexcept = default;
    slot_array(const slot_array&) = delete;
    slot_array& operator=(const slot_array&) = delete;
    ~slot_array() {
        if (m_first == nullptr) return;
        std::destroy_n(m_first, m_size);
        free_frame(m_first, m_size * sizeof(slot<T>));
    }
    void resize(std::size_t n) {
        m_first = static_cast<slot<T>*>(allocate_frame(n * sizeof(slot<T>)));
        m_size = n;
        std::uninitialized_default_construct_n(m_first, n);
    }
    void* place(std::size_t i) noexcept { return &m_first[i]; }
    value_or_monostate<T> take(std::size_t i) { return value_of(m_first[i]); }
    std::vector<value_or_monostate<T>> take_all() {
        std::vector<value_or_monostate<T>> all;
        all.reserve(m_size);
        for (std::size_t i = 0; i < m_size; ++i) all.push_back(take(i));
        return all;
    }

private:
    static_assert(alignof(slot<T>) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__, "results of over-aligned types cannot be kept in a vector");
    slot<T>* m_first = nullptr;
    std::size_t m_size = 0;
};

/// The same in the vector that is given to the awaiter, for values that can be there before they are set.
template <class T>
class value_array {
public:
    void resize(std::size_t n) { m_values.resize(n); }
    void* place(std::size_t i) noexcept { return &m_values[i]; }
    T take(std::size_t i) noexcept { return std::move(m_values[i]); }
    std::vector<T> take_all() noexcept { return std::move(m_values); }

private:
    std::vector<T> m_values;
};

template <class T>
using values_of = std::conditional_t<stands_for_its_slot<T> && !std::is_same_v<T, bool>, value_array<T>, slot_array<T>>;

template <class T>
class vector_join {
    static_assert(!std::is_reference_v<T>, "covey: a vector holds no references: let the tasks give pointers");

public:
    explicit vector_join(std::vector<task<T>>&& tasks) noexcept : m_tasks(std::move(tasks)) {}
    vector_join(vector_join&& other) noexcept : m_tasks(std::move(other.m_tasks)) {}

    bool await_ready() const noexcept { return m_tasks.empty(); }

protected:
    ~vector_join() = default;

    /// When the parent goes on: the tasks have run, and owned themselves.
    void forget_tasks() noexcept {
        for (task<T>& t : m_tasks) static_cast<void>(t.release());
    }

    template <std::uint32_t Flags, class Promise>
    std::coroutine_handle<> run(std::coroutine_handle<Promise> parent) {
        return transfer_from(parent, run(parent, context_of(parent), Flags | inherited_flags(parent)));
    }

    std::vector<task<T>> m_tasks;
    values_of<T> m_values;
    late_join m_join;

private:
    COVEY_NOINLINE std::coroutine_handle<> run(std::coroutine_handle<> parent, const task_context& context, std::uint32_t flags) {
        // A task is the address of a frame and nothing else.
        static_assert(sizeof(task<T>) == sizeof(void*) && std::is_standard_layout_v<task<T>>);
        void* const* const children = reinterpret_cast<void* const*>(m_tasks.data());
        const auto count = static_cast<std::uint32_t>(m_tasks.size());
        m_values.resize(count);
        for (std::uint32_t i = 0; i < count; ++i) promise_of<T>(children[i]).set_value_to(m_values.place(i));
        return m_join.make(children, count, count, parent, context, flags).start(count);
    }
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
