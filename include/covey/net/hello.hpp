// The hello: the first frame in each direction of a link, by which two peers find out whether they may talk.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/endpoint.hpp>
#include <covey/core/id.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace covey::net {

/// The versions of the link's protocol that this library speaks.
inline constexpr std::uint16_t protocol_version_min = 1;
inline constexpr std::uint16_t protocol_version_max = 1;

/// Who a peer is and what it accepts.
struct hello {
    static constexpr std::size_t text_bytes_max = 64;  ///< of `name` and of `build_id`
    static constexpr std::size_t bytes_max = 1024;     ///< of an encoded hello
    static constexpr std::uint32_t body_bytes_least = 4096;

    std::uint16_t version_min = protocol_version_min;
    std::uint16_t version_max = protocol_version_max;
    cluster_id cluster{};
    peer_id id{};
    epoch_t epoch = 0;
    endpoint address{};                ///< where it listens; 0.0.0.0 stands for the address that the connection comes from
    std::string name;                  ///< for people; at most 64 bytes without control characters
    std::string build_id;              ///< hex digits; equal for the same program file
    std::uint64_t table_digest = 0;    ///< of its function table
    bool observer = false;             ///< it runs nothing for others
    bool for_membership = false;       ///< of the side that dialled: the link is for the membership alone
    std::uint32_t call_credit = 1024;  ///< calls that the other side may have in flight towards it
    std::uint32_t body_bytes_max = 64u * 1024u * 1024u;  ///< the largest body of a frame that it takes; at least 4 KiB

    friend bool operator==(const hello&, const hello&) = default;
};

/// Appends `h`. Throws errc::bad_argument when a text is too long or the id is missing: the caller's own mistake.
void encode(const hello& h, byte_buffer& out);

/// Reads a hello. Throws errc::bad_message. What a later version may have appended is ignored.
hello decode_hello(bytes_view body);

/// Why two peers may not talk.
struct refusal {
    errc code{};
    std::string text;
};

/// Nothing: they may. `expected`: whom the dialling side wanted; none: anybody.
std::optional<refusal> check(const hello& mine, const hello& theirs, peer_id expected = {});

/// A text from another peer, made fit for a terminal: at most `limit` bytes, control characters replaced by '?'.
std::string printable(std::string_view text, std::size_t limit);

}  // namespace covey::net

#ifndef COVEY_COMPILED
#include <covey/net/impl/hello.ipp>
#endif
