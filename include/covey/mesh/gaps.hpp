// What a comparison of tables could not tell for lack of room.
#pragma once

#include <covey/core/config.hpp>

#include <cstddef>
#include <vector>

namespace covey::mesh {

/// The buckets in which somebody is known to have more than we, and that nobody has told us yet. Not thread-safe.
class gaps {
public:
    /// Of 2 to the power of `bits` buckets some that lie side by side.
    struct window {
        unsigned bits = 0;
        std::size_t first = 0;
        std::size_t count = 0;
    };

    bool empty() const noexcept { return m_left == 0; }

    /// An answer about the buckets from `first` on, of 2 to the power of `bits`, left these out. An answer about all of them
    /// narrows what was found before: one that told a bucket is enough.
    void found(unsigned bits, std::size_t first, const std::vector<bool>& missing);
    /// The next to ask for, `most` of them at most; they count as told from now on. Nothing is left: a count of 0.
    window take(std::size_t most);

private:
    unsigned m_bits = 0;
    std::size_t m_left = 0;
    std::vector<bool> m_missing;  // 2 to the power of m_bits
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/gaps.ipp>
#endif
