// Which numbers of a counter have been seen: the newest ones exactly, older ones not at all.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace covey::net {

/// A sliding window over a counter that its sender only raises: each of the last `size` numbers passes once, in any order;
/// what is older has no chance. A ring of words, so nothing is shifted (RFC 6479). Not thread-safe.
class replay_window {
public:
    static constexpr std::uint64_t size = 256;

    /// Seen nothing; the first number, whatever it is, begins the window.
    replay_window() noexcept = default;

    bool is_new(std::uint64_t number) const noexcept {
        if (!m_begun || number > m_highest) return true;
        return m_highest - number < size && (m_words[word_of(number)] & bit_of(number)) == 0;
    }
    /// Precondition: is_new(number).
    void mark(std::uint64_t number) noexcept {
        if (!m_begun) {
            m_begun = true;
            m_highest = number;
        } else if (number > m_highest) {
            // The words between the old front and the new one are those of numbers that have become too old.
            const std::uint64_t ahead = std::min<std::uint64_t>(number / bits - m_highest / bits, m_words.size());
            for (std::uint64_t i = 1; i <= ahead; ++i) m_words[(m_highest / bits + i) % m_words.size()] = 0;
            m_highest = number;
        }
        m_words[word_of(number)] |= bit_of(number);
    }

private:
    static constexpr std::uint64_t bits = 64;
    static constexpr std::size_t word_of(std::uint64_t number) noexcept { return number / bits % (size / bits + 1); }
    static constexpr std::uint64_t bit_of(std::uint64_t number) noexcept { return std::uint64_t{1} << (number % bits); }

    // One word more than the window: the front word is filled while the one that leaves is still valid.
    std::array<std::uint64_t, size / bits + 1> m_words{};
    std::uint64_t m_highest = 0;
    bool m_begun = false;
};

}  // namespace covey::net
