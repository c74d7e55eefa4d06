#pragma once

#include <covey/mesh/impl/member.ipp>
#include <covey/mesh/message.hpp>

namespace covey::mesh {

COVEY_INLINE std::string_view to_string(rejection why) noexcept {
    switch (why) {
        case rejection::malformed: return "malformed";
        case rejection::oversized: return "oversized";
        case rejection::wrong_version: return "another protocol or version";
        case rejection::wrong_cluster: return "another cluster";
        case rejection::own_echo: return "our own";
        case rejection::unexpected: return "an answer to no question";
        case rejection::full: return "a bound was reached";
        case rejection::stale: return "about an epoch that is over";
        case rejection::count_: break;
    }
    return "accepted";
}

namespace detail {

/// The least bytes that a claim and a member need: what a count on the wire is checked against.
inline constexpr std::size_t claim_bytes_min = 1 + 8 + 1 + 1;
inline constexpr std::size_t member_bytes_min = 1 + 8 + 1 + 1 + 18 + 1 + 1 + 8 + 8 + 2;

inline void write_front(byte_writer& out, std::uint8_t kind, const message_header& h) {
    out.number(message_magic);
    out.number(message_version);
    out.number(kind);
    out.number(h.cluster.high);
    out.number(h.cluster.low);
    out.number(h.sender.value);
    out.number(h.epoch);
}

/// Reads what write_front wrote; what cannot be ours is told apart before anything else is looked at.
inline rejection read_front(byte_reader& in, std::uint8_t& kind, message_header& h, const cluster_id& ours) {
    if (in.left() < packet_header_bytes) return rejection::malformed;
    if (in.number<std::uint16_t>() != message_magic || in.number<std::uint8_t>() != message_version) return rejection::wrong_version;
    kind = in.number<std::uint8_t>();
    h.cluster.high = in.number<std::uint64_t>();
    h.cluster.low = in.number<std::uint64_t>();
    h.sender.value = in.number<std::uint64_t>();
    h.epoch = in.number<epoch_t>();
    if (h.cluster != ours) return rejection::wrong_cluster;
    if (!h.sender || h.epoch == 0) return rejection::malformed;
    return rejection::count_;
}

inline constexpr std::uint8_t kind_push_pull_request = 0x41;
inline constexpr std::uint8_t kind_push_pull_reply = 0x42;

}  // namespace detail

COVEY_INLINE void claim::write(byte_writer& out) const {
    if (subject.state() == member_state::alive) {
        subject.write(out);
        return;
    }
    out.number(subject.state());
    out.number(subject.id().value);
    out.varint(subject.epoch());
    out.varint(subject.incarnation());
    if (subject.state() != member_state::left) out.number(accuser.value);
}

COVEY_INLINE claim claim::read(byte_reader& in) {
    claim c;
    byte_reader ahead = in;
    const auto state = ahead.number<member_state>();
    if (state == member_state::alive) {
        c.subject = member::read(in);
        return c;
    }
    if (state > member_state::left) throw error(errc::bad_message, "a claim of unknown kind");
    in = ahead;
    member_info info;
    info.id.value = in.number<std::uint64_t>();
    info.epoch = detail::read_varint32(in);
    info.incarnation = detail::read_varint32(in);
    if (state != member_state::left) c.accuser.value = in.number<std::uint64_t>();
    if (!info.id || info.epoch == 0) throw error(errc::bad_message, "a claim about nobody");
    c.subject = member(std::move(info), state);
    return c;
}

COVEY_INLINE void write_packet_front(byte_buffer& out, const message_header& header, const control& request) {
    byte_writer w(out);
    detail::write_front(w, static_cast<std::uint8_t>(request.kind), header);
    if (request.kind == control_kind::none) return;
    w.number(request.sequence);
    switch (request.kind) {
        case control_kind::ping:
        case control_kind::ping_req:
        case control_kind::not_me: w.number(request.target.value); break;
        case control_kind::ack:
            w.number(request.view_digest);
            w.number(request.view_members);
            break;
        case control_kind::none:
        case control_kind::nack: break;
    }
}

COVEY_INLINE packet_result decode_packet(bytes_view bytes, const cluster_id& ours) {
    packet_result result;
    packet& p = result.value;
    try {
        byte_reader in(bytes);
        std::uint8_t kind = 0;
        result.why = detail::read_front(in, kind, p.header, ours);
        if (result.why != rejection::count_) return result;
        result.why = rejection::malformed;
        if (kind > static_cast<std::uint8_t>(control_kind::not_me)) return result;
        p.request.kind = static_cast<control_kind>(kind);
        if (p.request.kind != control_kind::none) p.request.sequence = in.number<std::uint32_t>();
        if (p.request.kind == control_kind::ping || p.request.kind == control_kind::ping_req || p.request.kind == control_kind::not_me) {
            p.request.target.value = in.number<std::uint64_t>();
            if (!p.request.target) return result;
        }
        if (p.request.kind == control_kind::ack) {
            p.request.view_digest = in.number<std::uint64_t>();
            p.request.view_members = in.number<std::uint32_t>();
        }
        while (!in.empty()) {
            if (in.left() < detail::claim_bytes_min) return result;
            p.claims.push_back(claim::read(in));
        }
        result.why = rejection::count_;
    } catch (const error&) {
        result.why = rejection::malformed;
    }
    return result;
}

COVEY_INLINE void encode(byte_buffer& out, const push_pull& message) {
    byte_writer w(out);
    detail::write_front(w, message.is_reply ? detail::kind_push_pull_reply : detail::kind_push_pull_request, message.header);
    w.number(message.nonce);
    message.self.write(w);
    w.varint(message.members.size());
    for (const member& m : message.members) m.write(w);
}

COVEY_INLINE push_pull_result decode_push_pull(bytes_view bytes, const cluster_id& ours, std::size_t members_max) {
    push_pull_result result;
    push_pull& p = result.value;
    if (bytes.size() > push_pull_bytes_max) {
        result.why = rejection::oversized;
        return result;
    }
    try {
        byte_reader in(bytes);
        std::uint8_t kind = 0;
        result.why = detail::read_front(in, kind, p.header, ours);
        if (result.why != rejection::count_) return result;
        result.why = rejection::malformed;
        if (kind != detail::kind_push_pull_request && kind != detail::kind_push_pull_reply) return result;
        p.is_reply = kind == detail::kind_push_pull_reply;
        p.nonce = in.number<std::uint64_t>();
        p.self = member::read(in);
        if (p.self.id() != p.header.sender || p.self.epoch() != p.header.epoch) return result;
        const std::uint64_t count = in.varint();
        if (count > members_max || count > in.left() / detail::member_bytes_min) return result;
        p.members.reserve(static_cast<std::size_t>(count));
        for (std::uint64_t i = 0; i < count; ++i) p.members.push_back(member::read(in));
        result.why = in.empty() ? rejection::count_ : rejection::malformed;
    } catch (const error&) {
        result.why = rejection::malformed;
    }
    return result;
}

}  // namespace covey::mesh
