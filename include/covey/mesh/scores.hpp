// Marks that are forgotten with time.
#pragma once

#include <covey/core/id.hpp>
#include <covey/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <map>

namespace covey::mesh {

/// How often something was held against a peer lately: each mark counts half after every half life. Whole numbers, so that it
/// replays everywhere. At most `entries_max` peers; beyond, the one with the oldest mark is forgotten. Not thread-safe.
class scores {
public:
    static constexpr std::size_t entries_max = 4096;

    explicit scores(duration half_life) noexcept : m_half_life(half_life) {}

    /// Returns the score, in marks, rounded down.
    std::uint32_t add(time_point now, peer_id id, std::uint32_t marks);
    std::uint32_t of(time_point now, peer_id id) const noexcept;
    bool empty() const noexcept { return m_entries.empty(); }

private:
    static constexpr unsigned fraction_bits = 8;
    struct entry {
        std::uint32_t value = 0;  // in 1/256 marks
        time_point since{};       // halved at this moment, or first marked
    };
    std::uint32_t faded(const entry& e, time_point now) const noexcept;

    duration m_half_life;
    std::map<peer_id, entry> m_entries;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/scores.ipp>
#endif
