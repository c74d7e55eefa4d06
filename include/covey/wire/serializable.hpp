// Which types can travel: the question as a concept, and the answer as words.
#pragma once

#include <covey/wire/archive.hpp>

#include <concepts>
#include <type_traits>

namespace covey::wire {

namespace detail {

/// How a type travels. The greater the more it needs; `no` wins over all.
enum class way { native, cereal, no };

constexpr way worse(way a, way b) { return a < b ? b : a; }

template <class T, class... Seen>
consteval way find_way();

/// All of a list. A type that contains itself (a tree) is met again below itself: it is as good as its other parts.
template <class... Seen, class... Ts>
consteval way way_of_all(type_list<Ts...>) {
    way result = way::native;
    ((result = worse(result, find_way<Ts, Seen...>())), ...);
    return result;
}

template <class T, class... Seen>
consteval way find_way() {
    if constexpr ((std::same_as<T, Seen> || ...)) {
        return way::native;
    } else if constexpr (number<T>) {
        return way::native;
    } else if constexpr (std::is_bounded_array_v<T>) {
        return find_way<std::remove_extent_t<T>, Seen...>();
    } else if constexpr (!std::same_as<T, std::remove_cvref_t<T>> || !std::is_class_v<T>) {
        return way::no;
    } else if constexpr (!std::default_initializable<T> || !std::move_constructible<T> || is_a<T, std::shared_ptr> ||
                         is_a<T, std::weak_ptr> || is_a<T, cereal::DeferredData> || (is_a<T, std::unique_ptr> && !has_layout<T>)) {
        return way::no;
    } else if constexpr (has_layout<T>) {
        return way_of_all<T, Seen...>(typename layout<T>::parts{});
    } else if constexpr (has_cereal<T>) {
        return way::cereal;
    } else if constexpr (mentions_cereal<T>) {
        return way::no;
    } else if constexpr (plain_aggregate<T>) {
        return way_of_all<T, Seen...>(member_types<T>{});
    } else {
        return way::no;
    }
}

template <class T>
inline constexpr way way_of = find_way<T>();

}  // namespace detail

/// True for the types that `encode` takes and `decode` returns: objects (not references, not const) that can be made
/// without arguments and moved, and whose parts all can travel. What happens inside a cereal serialize() is not looked
/// into: a pointer met there is an error when the archive is compiled.
template <class T>
concept serializable = std::is_object_v<T> && !std::is_array_v<T> && detail::way_of<T> != detail::way::no;

/// Does not compile, and says why, unless T is serializable.
template <class T>
consteval void require_serializable() {
    static_assert(!std::is_reference_v<T> && !std::is_const_v<T>, "covey: only whole values travel between peers: no reference, no const");
    static_assert(!std::is_array_v<T>, "covey: an array cannot be passed by value: use std::array, or std::string for a literal");
    detail::refuse_what_cannot_travel<T>();
    static_assert(serializable<T>,
                  "covey: this type cannot be sent to another peer: give it a cereal serialize() or make it an "
                  "aggregate of types that can");
}

}  // namespace covey::wire
