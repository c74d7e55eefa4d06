// What the fuzz targets share. A target is a function of bytes that throws when something does not hold which must.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/error.hpp>
#include <covey/core/id.hpp>

#include <algorithm>
#include <cstdint>
#include <stdexcept>

namespace covey_fuzz {

using namespace covey;

inline const cluster_id home{0x0123456789abcdef, 0xfedcba9876543210};

inline void require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
}

/// The input as a sequence of choices; zeros when it is used up.
class choices {
public:
    explicit choices(bytes_view in) noexcept : m_in(in) {}

    bool empty() const noexcept { return m_in.empty(); }
    template <class T>
    T number() noexcept {
        T value{};
        const std::size_t n = std::min(sizeof value, m_in.size());
        if (n != 0) std::memcpy(&value, m_in.data(), n);
        m_in = m_in.subspan(n);
        return value;
    }
    std::uint8_t byte() noexcept { return number<std::uint8_t>(); }
    bytes_view take(std::size_t n) noexcept {
        const bytes_view taken = m_in.first(std::min(n, m_in.size()));
        m_in = m_in.subspan(taken.size());
        return taken;
    }
    bytes_view rest() noexcept { return take(m_in.size()); }

private:
    bytes_view m_in;
};

inline bool same(bytes_view a, bytes_view b) noexcept { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

/// What `decode` takes must be what `encode` writes of it, and what it does not take is bad_message.
template <class Decode, class Encode>
void check_round_trip(bytes_view bytes, Decode decode, Encode encode) {
    try {
        const auto message = decode(bytes);
        byte_buffer once, twice;
        encode(once, message);
        encode(twice, decode(once));
        require(same(once, twice), "a message changes when it is written again");
    } catch (const error& e) {
        require(e.code() == errc::bad_message, "bytes from the network are nobody's mistake but the sender's");
    }
}

}  // namespace covey_fuzz
