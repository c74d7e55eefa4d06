// A hash index over the rows of a vector: four bytes a slot.
#pragma once

#include <covey/core/hash.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace covey::mesh::detail {

/// Open addressing with linear probing; holds row numbers, below rows_max, and ten bits of the hash beside each, so that the row
/// itself, where the key is, is seldom looked at in vain. At most three quarters full. Seeded, so that keys cannot be chosen to
/// collide; never walked, so that no order depends on the seed.
class row_index {
public:
    static constexpr std::uint32_t none = 0xffffffffu;
    static constexpr std::uint32_t rows_max = (1u << 22) - 1;

    explicit row_index(std::uint64_t seed) noexcept : m_seed(seed) {}

    std::uint64_t hash(std::uint64_t key) const noexcept { return mix64(key ^ m_seed); }

    /// The row for which `is_it(row)`, among those entered under this hash; or none.
    template <class IsIt>
    std::uint32_t find(std::uint64_t hash, IsIt&& is_it) const {
        if (m_slots.empty()) return none;
        for (std::size_t at = hash & mask();; at = (at + 1) & mask()) {
            const std::uint32_t slot = m_slots[at];
            if (slot == none || (slot >> 22 == tag(hash) && is_it(slot & rows_max))) return slot == none ? none : slot & rows_max;
        }
    }

    /// `hash_of(row)` gives the hash that a row was entered under. The row must not be in it.
    template <class HashOf>
    void insert(std::uint32_t row, HashOf&& hash_of) {
        if (4 * (m_used + 1) > 3 * m_slots.size()) grow(hash_of);
        place(row, hash_of(row));
        ++m_used;
    }

    template <class HashOf>
    void erase(std::uint32_t row, HashOf&& hash_of) {
        std::size_t hole = position(row, hash_of(row));
        // Closes the gap (Knuth, volume 3, algorithm 6.4 R).
        for (std::size_t at = (hole + 1) & mask(); m_slots[at] != none; at = (at + 1) & mask()) {
            const std::size_t home = hash_of(m_slots[at] & rows_max) & mask();
            if (((at - home) & mask()) < ((at - hole) & mask())) continue;
            m_slots[hole] = m_slots[at];
            hole = at;
        }
        m_slots[hole] = none;
        --m_used;
    }

    /// The row got another number.
    void renumber(std::uint32_t row, std::uint32_t now, std::uint64_t hash) { m_slots[position(row, hash)] = now | tag(hash) << 22; }

private:
    static std::uint32_t tag(std::uint64_t hash) noexcept { return static_cast<std::uint32_t>(hash >> 54); }
    std::size_t mask() const noexcept { return m_slots.size() - 1; }
    std::size_t position(std::uint32_t row, std::uint64_t hash) const noexcept {
        std::size_t at = hash & mask();
        while (m_slots[at] != (row | tag(hash) << 22)) at = (at + 1) & mask();
        return at;
    }
    void place(std::uint32_t row, std::uint64_t hash) noexcept {
        std::size_t at = hash & mask();
        while (m_slots[at] != none) at = (at + 1) & mask();
        m_slots[at] = row | tag(hash) << 22;
    }
    template <class HashOf>
    void grow(HashOf&& hash_of) {
        std::vector<std::uint32_t> old(m_slots.empty() ? 8 : 2 * m_slots.size(), none);
        old.swap(m_slots);
        for (const std::uint32_t slot : old) {
            if (slot != none) place(slot & rows_max, hash_of(slot & rows_max));
        }
    }

    std::uint64_t m_seed;
    std::size_t m_used = 0;
    std::vector<std::uint32_t> m_slots;  // a power of two, or empty
};

}  // namespace covey::mesh::detail
