#pragma once

#include <covey/core/hash.hpp>
#include <covey/core/id.hpp>

#include <charconv>

namespace covey {

namespace detail {

inline std::string hex16(std::uint64_t value) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text(16, '0');
    for (int i = 15; i >= 0; --i, value >>= 4) text[static_cast<std::size_t>(i)] = digits[value & 15];
    return text;
}

}  // namespace detail

COVEY_INLINE std::string to_string(peer_id id) { return detail::hex16(id.value); }

COVEY_INLINE std::string to_string(const cluster_id& id) { return detail::hex16(id.high) + detail::hex16(id.low); }

COVEY_INLINE std::optional<peer_id> parse_peer_id(std::string_view text) noexcept {
    peer_id id;
    if (text.size() != 16) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id.value, 16);
    if (error != std::errc{} || end != text.data() + text.size() || !id) return std::nullopt;
    return id;
}

COVEY_INLINE cluster_id cluster_id::from_name(std::string_view name) noexcept {
    const std::uint64_t h = fnv1a(name);
    return {mix64(h), mix64(fnv1a(name, h ^ 0x5bd1e9955bd1e995ull))};
}

}  // namespace covey
