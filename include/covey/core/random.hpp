// Random numbers that replay: the same seed gives the same numbers with every compiler and library.
#pragma once

#include <covey/core/hash.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace covey {

namespace detail {
__extension__ typedef unsigned __int128 uint128;  // not ISO, but GCC and Clang have it on every 64-bit target
}

/// xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64. The distributions are our own because the standard's
/// differ between libraries. Not for keys. Not thread-safe.
class random_source {
public:
    explicit constexpr random_source(std::uint64_t seed) noexcept {
        for (auto& word : m_state) word = mix64(seed += 0x9e3779b97f4a7c15ull);
    }

    constexpr std::uint64_t next() noexcept {
        const std::uint64_t result = rotate(m_state[1] * 5, 7) * 9;
        const std::uint64_t t = m_state[1] << 17;
        m_state[2] ^= m_state[0];
        m_state[3] ^= m_state[1];
        m_state[1] ^= m_state[2];
        m_state[0] ^= m_state[3];
        m_state[2] ^= t;
        m_state[3] = rotate(m_state[3], 45);
        return result;
    }

    /// Uniform in [0, bound); 0 when bound is 0. (Lemire's multiply-shift; the bias is below 2^-32 for bounds below 2^32.)
    constexpr std::uint64_t below(std::uint64_t bound) noexcept {
        return static_cast<std::uint64_t>((static_cast<detail::uint128>(next()) * bound) >> 64);
    }

    /// Uniform in [0, 1).
    constexpr double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

    constexpr bool chance(double probability) noexcept { return uniform() < probability; }

    /// Fisher–Yates.
    template <class T>
    constexpr void shuffle(std::span<T> items) noexcept {
        for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
    }

private:
    static constexpr std::uint64_t rotate(std::uint64_t x, int k) noexcept { return (x << k) | (x >> (64 - k)); }

    std::uint64_t m_state[4]{};
};

}  // namespace covey
