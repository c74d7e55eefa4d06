// What peers say to each other about keys, over links: a request and its reply.
#pragma once

#include <covey/mesh/key_ring.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace covey::mesh {

struct key_request {
    std::uint64_t number = 0;  ///< chosen by who asks, repeated by who answers
    key_change change;
};

struct key_reply {
    std::uint64_t number = 0;
    std::vector<net::key_fingerprint> keys;  ///< of the ring as it is now, the one in use first
    std::string failure;                     ///< why nothing was done; empty: it was. At most failure_bytes_max
    static constexpr std::size_t failure_bytes_max = 256;
};

/// Does it begin as a message about keys does? What the membership sends never does.
bool is_key_message(bytes_view bytes) noexcept;
bool is_key_request(bytes_view bytes) noexcept;

void encode(byte_buffer& out, const key_request& message);
void encode(byte_buffer& out, const key_reply& message);
/// Both throw errc::bad_message for anything that `encode` would not have written.
key_request decode_key_request(bytes_view bytes);
key_reply decode_key_reply(bytes_view bytes);

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/key_message.ipp>
#endif
