// How a type lies on the wire: the small vocabulary that the archives, the standard types and the schemas share.
#pragma once

#include <covey/core/bytes.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace covey::wire {

template <class... Ts>
struct type_list {};

/// The layout of a class that the archives know by themselves. A specialisation has
///   `using parts = type_list<...>;`                          the types of the values it consists of
///   `template <class Out> static void save(Out&, const T&);` writes them
///   `template <class In> static void load(In&, T&);`         reads them over a default-constructed or used value
/// The primary template has none: such a type needs a cereal serialize(), or must be an aggregate. A layout takes
/// precedence over cereal. Written for the standard types in standard.hpp; other rooms may add their own types.
template <class T>
struct layout {};

template <class T>
concept has_layout = requires { typename layout<T>::parts; };

/// An enumeration whose underlying type is written down (`enum class` always, `enum e : int`): every value of that type
/// is a value of the enumeration, so bytes from the network cannot make an invalid one.
template <class T>
concept fixed_enum = std::is_enum_v<T> && requires { T{std::underlying_type_t<T>{}}; };

/// A value that is written as its little-endian bytes. Not `long double`: its layout differs between machines.
template <class T>
concept number = std::same_as<T, std::remove_cv_t<T>> && ((std::is_arithmetic_v<T> && !std::same_as<T, long double>) || fixed_enum<T>);

namespace detail {

template <class T>
constexpr bool is_boolean() {
    if constexpr (std::is_enum_v<T>) {
        return std::same_as<std::underlying_type_t<T>, bool>;
    } else {
        return std::same_as<T, bool>;
    }
}

}  // namespace detail

/// True when any bytes make a valid T, so that a contiguous range of T is one copy. bool is not: only 0 and 1 are valid.
template <class T>
inline constexpr bool bulk = number<T> && !detail::is_boolean<T>();

/// The bounds of a decode. The encoder keeps to the same, so what it accepts can be read back.
struct bounds {
    /// How deep values may lie inside one another. Each container, struct, optional... is one level.
    static constexpr unsigned depth_max = 128;
    /// What decoding may allocate: this many bytes for each byte received, ...
    static constexpr std::size_t memory_factor = 128;
    /// ... and this many besides. A vector of optionals that are mostly empty is what comes near to it.
    static constexpr std::size_t memory_base = 256 * 1024;
    /// What a node of a list, tree or hash table is taken to cost besides its value.
    static constexpr std::size_t node_overhead = 48;
};

}  // namespace covey::wire
