// How busy a peer says it is.
#pragma once

#include <compare>
#include <cstdint>

namespace covey::mesh {

/// Each part from 0 (idle, free) to 15 (nothing left): four bits travel. Written by its owner alone.
struct load {
    std::uint8_t cores = 0;   ///< of the workers
    std::uint8_t queue = 0;   ///< work waiting for them
    std::uint8_t memory = 0;  ///< of what the peer offers
    std::uint8_t gpus = 0;    ///< the busiest

    friend constexpr auto operator<=>(const load&, const load&) noexcept = default;

    /// Of a fraction from 0 to 1; others are clamped.
    static constexpr std::uint8_t level(double fraction) noexcept {
        if (!(fraction > 0)) return 0;
        return fraction >= 1 ? std::uint8_t{15} : static_cast<std::uint8_t>(fraction * 16);
    }
    constexpr std::uint16_t packed() const noexcept {
        return static_cast<std::uint16_t>((cores & 15u) | (queue & 15u) << 4 | (memory & 15u) << 8 | (gpus & 15u) << 12);
    }
    static constexpr load unpack(std::uint16_t bits) noexcept {
        const auto part = [bits](int shift) { return static_cast<std::uint8_t>((bits >> shift) & 15); };
        return {part(0), part(4), part(8), part(12)};
    }
};

}  // namespace covey::mesh
