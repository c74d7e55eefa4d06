// A callable owned by value that need not be copyable (std::move_only_function of C++23, which GCC 12 lacks).
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace covey {

template <class Signature>
class unique_function;

namespace detail {

/// The part of a unique_function that does not depend on what it is called with. By hand and without virtual functions: this
/// is instantiated for every callable there is, and std::unique_ptr and a class of its own for each take long to compile.
class owned_callable {
public:
    owned_callable() noexcept = default;
    owned_callable(void* target, void (*destroy)(void*) noexcept) noexcept : m_target(target), m_destroy(destroy) {}
    owned_callable(owned_callable&& from) noexcept : m_target(std::exchange(from.m_target, nullptr)), m_destroy(from.m_destroy) {}
    owned_callable& operator=(owned_callable&& from) noexcept {
        owned_callable taken(std::move(from));
        std::swap(m_target, taken.m_target);
        std::swap(m_destroy, taken.m_destroy);
        return *this;
    }
    ~owned_callable() {
        if (m_target != nullptr) m_destroy(m_target);
    }
    void* target() const noexcept { return m_target; }

private:
    void* m_target = nullptr;
    void (*m_destroy)(void*) noexcept = nullptr;
};

}  // namespace detail

/// Calling an empty one is undefined; test it with `if (f)`. Callables of any size are kept on the heap: it is meant for
/// what happens once a connection, not once a message.
template <class R, class... Args>
class unique_function<R(Args...)> {
public:
    unique_function() noexcept = default;
    unique_function(std::nullptr_t) noexcept {}

    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, unique_function> && std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
    unique_function(F&& f) : m_owned(new std::decay_t<F>(std::forward<F>(f)), &destroy<std::decay_t<F>>), m_call(&call<std::decay_t<F>>) {}

    explicit operator bool() const noexcept { return m_owned.target() != nullptr; }
    R operator()(Args... args) const { return m_call(m_owned.target(), std::forward<Args>(args)...); }

private:
    template <class F>
    static R call(void* target, Args&&... args) {
        return static_cast<R>((*static_cast<F*>(target))(std::forward<Args>(args)...));
    }
    template <class F>
    static void destroy(void* target) noexcept {
        delete static_cast<F*>(target);
    }

    detail::owned_callable m_owned;
    R (*m_call)(void*, Args&&...) = nullptr;
};

}  // namespace covey
