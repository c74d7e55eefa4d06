// Members of plain structs, without a line of user code: how many there are, their types, and references to them.
#pragma once

#include <covey/wire/layout.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace covey::wire {

/// More members than this are refused: nest structs, or write a cereal serialize().
inline constexpr std::size_t members_max = 16;

namespace detail {

/// Converts to the bases of T only, so `T{any_base_of<T>{}}` compiles exactly when T has one (as Boost.PFR does).
template <class T>
struct any_base_of {
    template <class Base>
        requires(std::is_base_of_v<Base, T> && !std::same_as<Base, T>)
    operator Base() const;
};

template <class T>
concept has_base = requires { T{any_base_of<T>{}}; };

/// The members of T, by probing how many `{}` its braces take; members_max + 1 stands for "too many". A `{}` fills a
/// whole member, so that arrays count once and braces are never elided. Members must be default constructible.
template <class T>
consteval std::size_t count_members() {
    if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 17;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 16;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 15;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 14;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 13;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 12;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 11;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 10;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}}; })
        return 9;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}}; })
        return 8;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}}; })
        return 7;
    else if constexpr (requires { T{{}, {}, {}, {}, {}, {}}; })
        return 6;
    else if constexpr (requires { T{{}, {}, {}, {}, {}}; })
        return 5;
    else if constexpr (requires { T{{}, {}, {}, {}}; })
        return 4;
    else if constexpr (requires { T{{}, {}, {}}; })
        return 3;
    else if constexpr (requires { T{{}, {}}; })
        return 2;
    else if constexpr (requires { T{{}}; })
        return 1;
    else
        return 0;
}

}  // namespace detail

template <class T>
inline constexpr std::size_t member_count = detail::count_members<T>();

/// A struct that can be taken apart: public members only, no bases, at most members_max members, each of which can be
/// made without arguments. Says nothing about whether the members themselves can travel (see serializable.hpp).
template <class T>
concept plain_aggregate = std::is_class_v<T> && std::is_aggregate_v<T> && std::is_default_constructible_v<T> && !detail::has_base<T> &&
                          member_count<T> <= members_max;

/// Calls `f(member...)` with references to all members of `value`, in the order of declaration.
template <class T, class F>
constexpr decltype(auto) with_members(T& value, F&& f) {
    constexpr std::size_t n = member_count<std::remove_const_t<T>>;
    if constexpr (n == 0) {
        return f();
    } else if constexpr (n == 1) {
        auto& [a] = value;
        return f(a);
    } else if constexpr (n == 2) {
        auto& [a, b] = value;
        return f(a, b);
    } else if constexpr (n == 3) {
        auto& [a, b, c] = value;
        return f(a, b, c);
    } else if constexpr (n == 4) {
        auto& [a, b, c, d] = value;
        return f(a, b, c, d);
    } else if constexpr (n == 5) {
        auto& [a, b, c, d, e] = value;
        return f(a, b, c, d, e);
    } else if constexpr (n == 6) {
        auto& [a, b, c, d, e, g] = value;
        return f(a, b, c, d, e, g);
    } else if constexpr (n == 7) {
        auto& [a, b, c, d, e, g, h] = value;
        return f(a, b, c, d, e, g, h);
    } else if constexpr (n == 8) {
        auto& [a, b, c, d, e, g, h, i] = value;
        return f(a, b, c, d, e, g, h, i);
    } else if constexpr (n == 9) {
        auto& [a, b, c, d, e, g, h, i, j] = value;
        return f(a, b, c, d, e, g, h, i, j);
    } else if constexpr (n == 10) {
        auto& [a, b, c, d, e, g, h, i, j, k] = value;
        return f(a, b, c, d, e, g, h, i, j, k);
    } else if constexpr (n == 11) {
        auto& [a, b, c, d, e, g, h, i, j, k, l] = value;
        return f(a, b, c, d, e, g, h, i, j, k, l);
    } else if constexpr (n == 12) {
        auto& [a, b, c, d, e, g, h, i, j, k, l, m] = value;
        return f(a, b, c, d, e, g, h, i, j, k, l, m);
    } else if constexpr (n == 13) {
        auto& [a, b, c, d, e, g, h, i, j, k, l, m, o] = value;
        return f(a, b, c, d, e, g, h, i, j, k, l, m, o);
    } else if constexpr (n == 14) {
        auto& [a, b, c, d, e, g, h, i, j, k, l, m, o, p] = value;
        return f(a, b, c, d, e, g, h, i, j, k, l, m, o, p);
    } else if constexpr (n == 15) {
        auto& [a, b, c, d, e, g, h, i, j, k, l, m, o, p, q] = value;
        return f(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q);
    } else {
        static_assert(n == 16, "covey: a struct of more than 16 members needs a cereal serialize(), or to be split into nested structs");
        auto& [a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r] = value;
        return f(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r);
    }
}

namespace detail {

struct list_members {
    template <class... Ms>
    constexpr type_list<Ms...> operator()(Ms&...) const {
        return {};
    }
};

}  // namespace detail

/// The types of the members, as a type_list. A const member shows as const.
template <plain_aggregate T>
using member_types = decltype(with_members(std::declval<T&>(), detail::list_members{}));

}  // namespace covey::wire
