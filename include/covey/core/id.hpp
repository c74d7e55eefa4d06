// Identities: of peers, of their lives (epochs), of clusters.
#pragma once

#include <covey/core/config.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace covey {

/// A peer, chosen at random when its process starts; zero means "none". 64 random bits: at 10,000 peers the chance of
/// any two being equal is 3e-12.
struct peer_id {
    std::uint64_t value = 0;

    explicit constexpr operator bool() const noexcept { return value != 0; }
    friend constexpr auto operator<=>(peer_id, peer_id) noexcept = default;
};

/// One life of a peer. A peer that was declared dead comes back under the next epoch; dead epochs never return.
using epoch_t = std::uint32_t;

/// A cluster. Peers of different clusters refuse each other at the first packet.
struct cluster_id {
    std::uint64_t high = 0;
    std::uint64_t low = 0;

    friend constexpr auto operator<=>(const cluster_id&, const cluster_id&) noexcept = default;
    /// The id that a cluster's name stands for: the same name gives the same id everywhere.
    static cluster_id from_name(std::string_view name) noexcept;
};

/// 16 hex digits.
std::string to_string(peer_id id);
/// 32 hex digits.
std::string to_string(const cluster_id& id);
/// Reads what to_string wrote; nothing otherwise.
std::optional<peer_id> parse_peer_id(std::string_view text) noexcept;

}  // namespace covey

template <>
struct std::hash<covey::peer_id> {
    std::size_t operator()(covey::peer_id id) const noexcept { return static_cast<std::size_t>(id.value); }
};

#ifndef COVEY_COMPILED
#include <covey/core/impl/id.ipp>
#endif
