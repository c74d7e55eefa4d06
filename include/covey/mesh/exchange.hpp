// Comparing tables over a stream, and asking over a stream whether somebody is there.
#pragma once

#include <covey/mesh/message.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace covey::mesh {

/// Values are part of the wire format: never renumber.
enum class exchange_step : std::uint8_t {
    open = 0x41,   ///< what I have, as a hash for each bucket of ids
    reply = 0x42,  ///< all I have in these buckets, where we differ
    close = 0x43,  ///< and what I have there that you have not
    ping = 0x44,   ///< are you there? For where datagrams do not pass
    pong = 0x45,
};

/// Demers and others, "Epidemic algorithms for replicated database maintenance" (1987), section 1.3, with hashes of buckets
/// instead of one checksum. Two tables of which one lacks a member differ in one bucket; what is sent is that bucket.
struct exchange {
    message_header header;
    exchange_step step{};
    std::uint64_t nonce = 0;            ///< chosen by who opens or pings, repeated by all that follows
    peer_id target;                     ///< ping: who is meant
    bool forms = false;                 ///< open, reply, close: the mesh grows, as far as the sender sees
    std::uint64_t lineage = 0;          ///< open, reply; see view::lineage
    std::uint32_t view_members = 0;     ///< open, reply: how many the sender sees
    std::uint8_t bucket_bits = 0;       ///< open, reply: there are 2 to the power of this many buckets
    std::uint16_t first_bucket = 0;     ///< open, reply: what follows is about the buckets from here on
    std::vector<std::uint32_t> hashes;  ///< open: one a bucket
    std::vector<bool> covered;          ///< reply, for each bucket asked about: `claims` tells everything of it;
    std::vector<bool> missing;          ///< reply: or it differs too and did not fit
    std::vector<claim> claims;          ///< the sender's own first, then the others'; open: only that, or about some buckets none

    static constexpr unsigned bucket_bits_min = 8, bucket_bits_max = 12;

    /// 256 buckets up to eight thousand members, then about one for 32.
    static unsigned bits_for(std::size_t members) noexcept;
    static std::size_t bucket_of(peer_id id, unsigned bits) noexcept;
    /// reply: whether that member would be among `claims` if the sender knew it.
    bool covers(peer_id id) const noexcept;
    /// What a live member adds (by exclusive or) to the hash of its bucket.
    static std::uint32_t hash_of(peer_id id, epoch_t epoch, std::uint32_t incarnation) noexcept;
};

/// Longer ones are refused unread.
inline constexpr std::size_t exchange_bytes_max = std::size_t{1} << 20;

void encode(byte_buffer& out, const exchange& message);
struct exchange_result {
    rejection why = rejection::count_;
    exchange value;
};
/// The claims point into `bytes`. Never throws for bad bytes; what it allocates is at most proportional to their number.
exchange_result decode_exchange(bytes_view bytes, const cluster_id& ours);

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/exchange.ipp>
#endif
