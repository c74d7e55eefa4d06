#pragma once

#include <covey/core/config.hpp>
#include <covey/core/detail/concat.hpp>

namespace covey::detail {

COVEY_INLINE void text_piece::append_to(std::string& out) const {
    if (m_kind == kind::text) {
        out += m_text;
        return;
    }
    std::uint64_t rest = m_kind == kind::negative ? 0 - m_number : m_number;
    char digits[21];
    char* first = digits + sizeof digits;
    do {
        *--first = static_cast<char>('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (m_kind == kind::negative) *--first = '-';
    out.append(first, static_cast<std::size_t>(digits + sizeof digits - first));
}

COVEY_INLINE std::string concat(std::initializer_list<text_piece> pieces) {
    std::string text;
    for (const text_piece& piece : pieces) piece.append_to(text);
    return text;
}

}  // namespace covey::detail
