// A callable owned by value that need not be copyable (std::move_only_function of C++23, which GCC 12 lacks).
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace covey {

template <class Signature>
class unique_function;

/// Calling an empty one is undefined; test it with `if (f)`. Callables of any size are kept on the heap: it is meant for
/// what happens once a connection, not once a message.
template <class R, class... Args>
class unique_function<R(Args...)> {
public:
    unique_function() noexcept = default;
    unique_function(std::nullptr_t) noexcept {}

    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, unique_function> && std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
    unique_function(F&& f) : m_target(std::make_unique<holder<std::decay_t<F>>>(std::forward<F>(f))) {}

    explicit operator bool() const noexcept { return m_target != nullptr; }
    R operator()(Args... args) const { return m_target->call(std::forward<Args>(args)...); }

private:
    struct target {
        virtual ~target() = default;
        virtual R call(Args... args) = 0;
    };
    template <class F>
    struct holder final : target {
        template <class G>
        explicit holder(G&& g) : f(std::forward<G>(g)) {}
        R call(Args... args) override { return static_cast<R>(f(std::forward<Args>(args)...)); }
        F f;
    };
    std::unique_ptr<target> m_target;
};

}  // namespace covey
