// What a peer threw away of what came over the network, by reason.
#pragma once

#include <covey/mesh/message.hpp>
#include <covey/net/seal.hpp>

#include <array>
#include <cstdint>
#include <numeric>
#include <string>

namespace covey::mesh {

/// Counters since the start; a plain value. A datagram counts at most once: at the seal, or, when it was opened or there is none,
/// at the protocol; a message that was partly useful may count for its other parts.
struct rejection_counts {
    std::array<std::uint64_t, static_cast<std::size_t>(net::seal_rejection::count_)> seal{};
    std::array<std::uint64_t, static_cast<std::size_t>(rejection::count_)> protocol{};

    std::uint64_t& operator[](net::seal_rejection why) noexcept { return seal[static_cast<std::size_t>(why)]; }
    std::uint64_t& operator[](rejection why) noexcept { return protocol[static_cast<std::size_t>(why)]; }
    std::uint64_t operator[](net::seal_rejection why) const noexcept { return seal[static_cast<std::size_t>(why)]; }
    std::uint64_t operator[](rejection why) const noexcept { return protocol[static_cast<std::size_t>(why)]; }

    /// Datagrams that the seal did not open.
    std::uint64_t sealed() const noexcept { return std::accumulate(seal.begin(), seal.end(), std::uint64_t{0}); }
    std::uint64_t total() const noexcept { return std::accumulate(protocol.begin(), protocol.end(), sealed()); }

    friend bool operator==(const rejection_counts&, const rejection_counts&) = default;
};

/// For a log: "3 malformed; 1 oversized"; "none" when all are zero.
std::string to_string(const rejection_counts& counts);

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/rejections.ipp>
#endif
