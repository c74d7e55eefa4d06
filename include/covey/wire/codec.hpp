// Values to bytes and back.
#pragma once

#include <covey/wire/serializable.hpp>

#include <cstddef>
#include <tuple>
#include <typeinfo>

namespace covey::wire {

namespace detail {

template <class... Ts>
inline constexpr bool all_native = ((way_of<Ts> == way::native) && ...);

/// Rethrows the exception being handled as `error{code}`, with the value at fault in front: "value 2 of 3 (std::string)".
[[noreturn]] void rethrow_for_value(errc code, std::size_t index, std::size_t count, const char* mangled_type);

[[noreturn]] void throw_left_over(std::size_t bytes);

}  // namespace detail

/// Appends the values to `out`. Convert arguments to the parameter types first: "x" is no std::string here. Throws
/// errc::bad_argument, naming the value, for one that nobody could read back (nested deeper than bounds::depth_max, a
/// variant without a value, ...); `out` is then as before. Thread-safe as far as the arguments are.
template <class... Ts>
void encode(byte_buffer& out, const Ts&... values) {
    (require_serializable<Ts>(), ...);
    if constexpr (sizeof...(Ts) != 0 && (serializable<Ts> && ...)) {
        using archive_type = std::conditional_t<detail::all_native<Ts...>, detail::native_output, output_archive>;
        const std::size_t before = out.size();
        std::size_t index = 0;
        const char* type = nullptr;
        try {
            archive_type archive(out);
            ((++index, type = typeid(Ts).name(), archive(values)), ...);
            archive.check();
        } catch (...) {
            out.truncate(before);
            detail::rethrow_for_value(errc::bad_argument, index, sizeof...(Ts), type);
        }
    }
}

/// Reads the values that `encode` wrote, all of `in`. Throws errc::bad_message, naming the value, for bytes that are
/// truncated, too many, or no such values, whatever they are; see `bounds` for what it may allocate meanwhile. An
/// exception that user code throws while it loads is reported the same way.
template <class... Ts>
void decode_into(bytes_view in, Ts&... values) {
    (require_serializable<Ts>(), ...);
    if constexpr ((serializable<Ts> && ...)) {
        using archive_type = std::conditional_t<detail::all_native<Ts...>, detail::native_input, input_archive>;
        std::size_t left = in.size();
        if constexpr (sizeof...(Ts) != 0) {
            std::size_t index = 0;
            const char* type = nullptr;
            try {
                archive_type archive(in);
                ((++index, type = typeid(Ts).name(), archive(values)), ...);
                left = archive.left();
            } catch (...) {
                detail::rethrow_for_value(errc::bad_message, index, sizeof...(Ts), type);
            }
        }
        if (left != 0) detail::throw_left_over(left);
    }
}

/// As decode_into, returning the value.
template <class T>
[[nodiscard]] T decode(bytes_view in) {
    require_serializable<T>();
    if constexpr (serializable<T>) {
        T value{};
        decode_into(in, value);
        return value;
    }
}

/// As decode_into, returning the values.
template <class... Ts>
[[nodiscard]] std::tuple<Ts...> decode_tuple(bytes_view in) {
    (require_serializable<Ts>(), ...);
    if constexpr ((serializable<Ts> && ...)) {
        std::tuple<Ts...> values;
        std::apply([in](Ts&... each) { decode_into(in, each...); }, values);
        return values;
    }
}

}  // namespace covey::wire

#ifndef COVEY_COMPILED
#include <covey/wire/impl/codec.ipp>
#endif
