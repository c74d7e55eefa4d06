// What one peer sees, told to another that asks, over a link and in pieces.
#pragma once

#include <covey/mesh/view.hpp>

#include <cstddef>
#include <cstdint>

namespace covey::mesh {

struct view_request {
    std::uint64_t number = 0;  ///< chosen by who asks, repeated by who answers
    peer_id after;             ///< the piece with the members behind this one; null: the first, which begins with the peer itself
};

struct view_reply {
    std::uint64_t number = 0;
    view what;  ///< `members` is the piece
    bool is_last = true;

    /// No more members once a piece has so many bytes.
    static constexpr std::size_t piece_bytes = std::size_t{64} << 10;
};

/// Does it begin as a message about views does? What the membership sends never does.
bool is_view_message(bytes_view bytes) noexcept;
bool is_view_request(bytes_view bytes) noexcept;

void encode(byte_buffer& out, const view_request& message);
/// The piece of `now` that was asked for.
void encode_reply(byte_buffer& out, const view_request& asked, const view& now);
/// Both throw errc::bad_message for what the above would not have written.
view_request decode_view_request(bytes_view bytes);
view_reply decode_view_reply(bytes_view bytes);

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/view_message.ipp>
#endif
