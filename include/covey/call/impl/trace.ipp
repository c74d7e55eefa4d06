#pragma once

#include <covey/call/trace.hpp>

#include <array>

namespace covey {

namespace detail {

inline void append_hex(std::string& to, std::uint64_t bits, int digits) {
    for (int i = digits - 1; i >= 0; --i) to += "0123456789abcdef"[(bits >> (4 * i)) & 15];
}

/// Lower case only, as the standard has it.
inline bool read_hex(std::string_view text, std::uint64_t& bits) noexcept {
    bits = 0;
    for (const char c : text) {
        const bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f')) return false;
        bits = bits << 4 | static_cast<std::uint64_t>(is_digit ? c - '0' : c - 'a' + 10);
    }
    return true;
}

}  // namespace detail

namespace detail {

COVEY_INLINE void append(byte_buffer& to, const trace_context& t) {
    byte_writer writer(to);
    writer.number(t.trace_high);
    writer.number(t.trace_low);
    writer.number(t.span);
    writer.number(t.flags);
}

COVEY_INLINE trace_context take_trace_context(bytes_view& from) {
    byte_reader reader(from);
    trace_context t;
    t.trace_high = reader.number<std::uint64_t>();
    t.trace_low = reader.number<std::uint64_t>();
    t.span = reader.number<std::uint64_t>();
    t.flags = reader.number<std::uint8_t>();
    from = from.subspan(25);
    return t;
}

}  // namespace detail

COVEY_INLINE std::string trace_context::traceparent() const {
    std::string text = "00-";
    detail::append_hex(text, trace_high, 16);
    detail::append_hex(text, trace_low, 16);
    text += '-';
    detail::append_hex(text, span, 16);
    text += '-';
    detail::append_hex(text, flags, 2);
    return text;
}

COVEY_INLINE std::optional<trace_context> trace_context::parse(std::string_view text) noexcept {
    constexpr std::size_t size = 55;
    if (text.size() < size || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
    std::uint64_t version = 0, low_bits = 0;
    trace_context t;
    const bool is_hex = detail::read_hex(text.substr(0, 2), version) && detail::read_hex(text.substr(3, 16), t.trace_high) &&
                        detail::read_hex(text.substr(19, 16), t.trace_low) && detail::read_hex(text.substr(36, 16), t.span) &&
                        detail::read_hex(text.substr(53, 2), low_bits);
    if (!is_hex || version == 0xff || (version == 0 && text.size() != size) || (text.size() > size && text[size] != '-'))
        return std::nullopt;
    t.flags = static_cast<std::uint8_t>(low_bits);
    if (!t) return std::nullopt;
    return t;
}

COVEY_INLINE trace_context trace_context::child(scheduler& random) const noexcept {
    trace_context t = *this;
    while ((t.trace_high | t.trace_low) == 0) {
        t.trace_high = random.random();
        t.trace_low = random.random();
    }
    do {
        t.span = random.random();
    } while (t.span == 0);
    return t;
}

}  // namespace covey
