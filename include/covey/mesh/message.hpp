// What the mesh sends in datagrams: one question or answer, and news. Comparisons of tables: exchange.hpp.
#pragma once

#include <covey/mesh/member.hpp>

#include <cstdint>
#include <vector>

namespace covey::mesh {

/// Who speaks; at the front of everything.
struct message_header {
    cluster_id cluster;
    peer_id sender;
    epoch_t epoch = 1;
};

/// The part of a packet that asks or answers; at most one in each, so that one packet never causes several.
/// Values are part of the wire format: never renumber.
enum class control_kind : std::uint8_t {
    none = 0,      ///< only claims
    ping = 1,      ///< are you `target`, and there?
    ping_req = 2,  ///< please ping `target` for me
    ack = 3,       ///< yes; with a digest of the sender's view. Also from a helper, when its ping was answered
    nack = 4,      ///< from a helper: I am here, but my ping was not answered
    not_me = 5,    ///< whoever `target` is, it is no longer at this address
};

struct control {
    control_kind kind = control_kind::none;
    std::uint32_t sequence = 0;      ///< chosen by who asks, repeated by who answers
    peer_id target;                  ///< ping, ping_req, not_me
    std::uint64_t view_digest = 0;   ///< ack
    std::uint32_t view_members = 0;  ///< ack
    std::uint16_t load_version = 0;  ///< ping, ack: of `load`; 0: the sender has said nothing about its load
    mesh::load load;                 ///< ping, ack: the sender's
};

/// One piece of news. Alive: with the whole description. Others: id, epoch and incarnation.
struct claim {
    member_state state = member_state::alive;
    peer_id id;
    epoch_t epoch = 1;
    std::uint32_t incarnation = 0;
    peer_id accuser;     ///< suspect and dead: who says so
    bytes_view encoded;  ///< alive: the description, not looked into yet; lives as long as the packet, or the record, it is part of

    static claim about(const member& m, peer_id accuser) noexcept {
        const bytes_view described = m.state() == member_state::alive && m.is_described() ? m.shared_record()->encoded() : bytes_view{};
        return {m.state(), m.id(), m.epoch(), m.incarnation(), accuser, described};
    }
    /// A claim's encoded form has at most this many bytes.
    static constexpr std::size_t encoded_bytes_max = description::encoded_bytes_max + 1 + 8 + 5 + 5 + 8 + 2;
    void write(byte_writer& out) const;
    /// Throws `error{errc::bad_message}` for bytes that are no claim; a description is not looked into.
    static claim read(byte_reader& in);
};

/// How busy somebody is, passed on.
struct load_claim {
    peer_id id;
    std::uint16_t version = 0;
    mesh::load level;

    static constexpr std::size_t encoded_bytes = 1 + 8 + 2 + 2;
};

struct packet {
    message_header header;
    control request;
    std::vector<claim> claims;
    std::vector<load_claim> loads;
};

/// Why something that arrived was thrown away. Counted in statistics.
enum class rejection : std::uint8_t {
    malformed,      ///< does not decode
    oversized,      ///< longer than a packet may be
    wrong_version,  ///< not of this protocol, or of another version of it
    wrong_cluster,  ///< of another cluster
    own_echo,       ///< sent by ourselves
    unexpected,     ///< an answer to no question of ours
    full,           ///< a bound was reached
    stale,          ///< news about an epoch that is over
    count_          ///< not a reason
};

std::string_view to_string(rejection why) noexcept;

/// The first bytes of everything: which protocol, which version.
inline constexpr std::uint16_t message_magic = 0x5643;
inline constexpr std::uint8_t message_version = 2;
/// Bytes of a packet before its control part.
inline constexpr std::size_t packet_header_bytes = 2 + 1 + 1 + 16 + 8 + 4;
/// Bytes of the longest control part.
inline constexpr std::size_t control_bytes_max = 4 + 8 + 4 + 4;

/// Writes header and control; claims are appended behind it, each as `claim::write` does.
void write_packet_front(byte_buffer& out, const message_header& header, const control& request);
void write_load(byte_writer& out, const load_claim& c);
/// What `decode` found: either `why` is `rejection::count_` and the value is complete, or nothing of it may be used.
struct packet_result {
    rejection why = rejection::count_;
    packet value;
};
/// Reads a packet of our cluster; its claims point into `bytes`. Never throws for bad bytes; what it allocates is at most
/// proportional to their number.
packet_result decode_packet(bytes_view bytes, const cluster_id& ours);

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/message.ipp>
#endif
