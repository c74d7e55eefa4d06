// Limits and times of a link, and what it counts.
#pragma once

#include <covey/core/time.hpp>

#include <cstddef>
#include <cstdint>

namespace covey::net {

/// Every member has a default that suits a cluster in one room.
struct link_config {
    duration handshake_timeout = std::chrono::seconds(2);   ///< from the connection to both hellos
    duration ping_after = std::chrono::seconds(5);          ///< nothing received for so long: ask whether it is alive
    duration silence_max = std::chrono::seconds(20);        ///< nothing received for so long: the link is lost
    unsigned membership_patience = 12;                      ///< times both on a link for the membership, which has its own probes
    duration goodbye_timeout = std::chrono::seconds(1);     ///< how long a goodbye may wait behind what is still to be sent
    std::uint32_t body_bytes_max = 64u * 1024u * 1024u;     ///< the largest body that this side takes
    std::size_t handshake_bytes_max = 4096;                 ///< bytes read from a side that has not introduced itself
    std::size_t read_bytes = std::size_t{16} * 1024;        ///< bytes asked of the socket at a time
    std::size_t send_high = std::size_t{8} * 1024 * 1024;   ///< above so many waiting bytes the link is congested
    std::size_t send_low = std::size_t{2} * 1024 * 1024;    ///< at so many it no longer is
    std::size_t send_max = std::size_t{256} * 1024 * 1024;  ///< above so many waiting bytes calls are refused (errc::overloaded)
};

/// A moment's reading of a link's counters. Bytes are those on the network, encryption included.
struct link_statistics {
    std::uint64_t frames_in = 0;
    std::uint64_t frames_out = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::size_t bytes_waiting = 0;  ///< not yet taken by the socket
    std::int64_t calls_in = 0;      ///< received and not yet answered
    std::int64_t calls_out = 0;     ///< sent and not yet answered
    std::uint64_t work_frames = 0;  ///< both ways, without hello, goodbye, ping and pong
};

}  // namespace covey::net
