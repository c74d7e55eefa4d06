// Texts put together from pieces, for messages.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace covey::detail {

/// A piece of a message: a text, which must outlive the piece, or a number, which is written in decimal.
class text_piece {
public:
    text_piece(const char* text) noexcept : m_text(text) {}
    text_piece(std::string_view text) noexcept : m_text(text) {}
    text_piece(const std::string& text) noexcept : m_text(text) {}
    template <std::integral T>
    text_piece(T number) noexcept : m_kind(number < T{} ? kind::negative : kind::positive), m_number(static_cast<std::uint64_t>(number)) {}

    void append_to(std::string& out) const;

private:
    enum class kind : std::uint8_t { text, positive, negative };

    std::string_view m_text;
    kind m_kind = kind::text;
    std::uint64_t m_number = 0;  // of a negative one: its two's complement
};

/// The pieces one after the other. Not `a + b + c`, which is compiled to some hundred bytes at each place.
std::string concat(std::initializer_list<text_piece> pieces);

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/core/impl/concat.ipp>
#endif
