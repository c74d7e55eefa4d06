// Where a task leaves what it ended with.
#pragma once

#include <covey/core/config.hpp>

#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>

namespace covey::detail {

/// void as a value: std::monostate, as in a variant.
template <class T>
using value_or_monostate = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// The part that does not depend on the type.
struct outcome_base {
    std::exception_ptr failure;  // null unless the task ended with an exception
};

/// It belongs to whoever awaits the task, so that the task's frame can go as soon as it has ended.
template <class T>
class outcome : public outcome_base {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__, "coroutine frames hold no over-aligned types: give a pointer to it");
    static_assert(!std::is_rvalue_reference_v<T> && !std::is_const_v<T>, "a task gives a value, a reference T&, or void");

public:
    outcome() noexcept {}
    outcome(const outcome&) = delete;
    outcome& operator=(const outcome&) = delete;
    ~outcome() {
        if constexpr (!std::is_trivially_destructible_v<T>) {
            if (m_has_value) m_value.~T();
        }
    }

    template <class U>
    void set(U&& value) noexcept(std::is_nothrow_constructible_v<T, U&&>) {
        ::new (static_cast<void*>(std::addressof(m_value))) T(std::forward<U>(value));
        if constexpr (!std::is_trivially_destructible_v<T>) m_has_value = true;
    }
    /// Once, after the end, if there was no failure.
    T value() {
        // Compilers would read neighbours as one vector, right after they were written one by one: see task's constructor.
        T* v = std::addressof(m_value);
        asm("" : "+r"(v));
        return std::move(*v);
    }

private:
    struct nothing {
        nothing(bool) noexcept {}
    };
    union {
        T m_value;
    };
    [[no_unique_address]] std::conditional_t<std::is_trivially_destructible_v<T>, nothing, bool> m_has_value = false;
};

template <class T>
class outcome<T&> : public outcome_base {
public:
    void set(T& value) noexcept { m_value = std::addressof(value); }
    T& value() const noexcept { return *m_value; }

private:
    T* m_value = nullptr;
};

template <>
class outcome<void> : public outcome_base {
public:
    void value() const noexcept {}
};

// A function of its own, so that what calls it stays small.
[[noreturn]] COVEY_NOINLINE inline void rethrow(const outcome_base& o) { std::rethrow_exception(o.failure); }

/// The value, or the exception thrown.
template <class T>
T take(outcome<T>& o) {
    if (o.failure) [[unlikely]]
        rethrow(o);
    return o.value();
}

/// The value of a task that did not fail, void as a value too.
template <class T>
value_or_monostate<T> value_of(outcome<T>& o) {
    if constexpr (std::is_void_v<T>) {
        return {};
    } else {
        return o.value();
    }
}

}  // namespace covey::detail
