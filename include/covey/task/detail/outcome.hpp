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

/// The same value, but compilers do not load or store it together with its neighbours as one vector. They would where a result was
/// written a moment ago, and a processor cannot forward two writes to one read: it waits until both have reached its cache.
template <class T>
[[gnu::always_inline]] inline T alone(T value) noexcept {
    asm("" : "+r"(value));
    return value;
}

/// Room for the value of a task. It belongs to whoever awaits the task, so that the task's frame can go as soon as it has ended.
template <class T>
class slot {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__, "coroutine frames hold no over-aligned types: give a pointer to it");
    static_assert(!std::is_rvalue_reference_v<T> && !std::is_const_v<T>, "a task gives a value, a reference T&, or void");

public:
    slot() noexcept {}
    slot(const slot&) = delete;
    slot& operator=(const slot&) = delete;
    ~slot() {
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
        if constexpr (std::is_integral_v<T> || std::is_pointer_v<T>) {
            return alone(m_value);
        } else {
            return std::move(m_value);
        }
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
class slot<T&> {
public:
    void set(T& value) noexcept { m_value = std::addressof(value); }
    T& value() const noexcept { return *m_value; }

private:
    T* m_value = nullptr;
};

template <>
class slot<void> {
public:
    void value() const noexcept {}
};

/// Whether a value may be set where a T is already, as well as in a slot.
template <class T>
inline constexpr bool stands_for_its_slot =
    std::is_object_v<T> && std::is_trivially_destructible_v<T> && std::is_default_constructible_v<T>;

/// The value, void as a value too.
template <class T>
value_or_monostate<T> value_of(slot<T>& s) {
    if constexpr (std::is_void_v<T>) {
        return {};
    } else {
        return s.value();
    }
}

/// For who awaits one task: its value, or the exception that ended it.
template <class T>
struct outcome : slot<T> {
    std::exception_ptr failure;
};

// A function of its own, so that what calls it stays small.
[[noreturn]] COVEY_NOINLINE inline void rethrow(const std::exception_ptr& failure) { std::rethrow_exception(failure); }

/// The value, or the exception thrown.
template <class T>
T take(outcome<T>& o) {
    if (o.failure) [[unlikely]]
        rethrow(o.failure);
    return o.value();
}

}  // namespace covey::detail
