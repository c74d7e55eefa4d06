#pragma once

#include <covey/mesh/impl/record.ipp>
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

/// The least bytes that a claim needs.
inline constexpr std::size_t claim_bytes_min = 1 + 8 + 1 + 1;
/// Where claims have their state, a load has this.
inline constexpr std::uint8_t load_code = 0x10;

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

inline bool has_target(control_kind kind) noexcept {
    return kind == control_kind::ping || kind == control_kind::ping_req || kind == control_kind::not_me;
}
inline bool has_load(control_kind kind) noexcept { return kind == control_kind::ping || kind == control_kind::ack; }

}  // namespace detail

COVEY_INLINE void claim::write(byte_writer& out) const {
    out.number(state);
    out.number(id.value);
    out.varint(epoch);
    out.varint(incarnation);
    if (state == member_state::alive) {
        out.varint(encoded.size());
        out.raw(encoded);
    } else if (state != member_state::left) {
        out.number(accuser.value);
    }
}

COVEY_INLINE claim claim::read(byte_reader& in) {
    claim c;
    c.state = in.number<member_state>();
    if (c.state > member_state::left) throw error(errc::bad_message, "a claim of unknown kind");
    c.id.value = in.number<std::uint64_t>();
    c.epoch = detail::read_varint<std::uint32_t>(in);
    c.incarnation = detail::read_varint<std::uint32_t>(in);
    if (!c.id || c.epoch == 0) throw error(errc::bad_message, "a claim about nobody");
    if (c.state == member_state::alive) {
        c.encoded = as_bytes_view(in.text(description::encoded_bytes_max));
        if (c.encoded.empty()) throw error(errc::bad_message, "a live member without a description");
    } else if (c.state != member_state::left) {
        c.accuser.value = in.number<std::uint64_t>();
    }
    return c;
}

COVEY_INLINE void write_load(byte_writer& out, const load_claim& c) {
    out.number(detail::load_code);
    out.number(c.id.value);
    out.number(c.version);
    out.number(c.level.packed());
}

COVEY_INLINE void write_packet_front(byte_buffer& out, const message_header& header, const control& request) {
    byte_writer w(out);
    detail::write_front(w, static_cast<std::uint8_t>(request.kind), header);
    if (request.kind == control_kind::none) return;
    w.number(request.sequence);
    if (detail::has_target(request.kind)) w.number(request.target.value);
    if (request.kind == control_kind::ack) {
        w.number(request.view_digest);
        w.number(request.view_members);
    }
    if (detail::has_load(request.kind)) {
        w.number(request.load_version);
        w.number(request.load.packed());
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
        control& c = p.request;
        c.kind = static_cast<control_kind>(kind);
        if (c.kind != control_kind::none) c.sequence = in.number<std::uint32_t>();
        if (detail::has_target(c.kind)) {
            c.target.value = in.number<std::uint64_t>();
            if (!c.target) return result;
        }
        if (c.kind == control_kind::ack) {
            c.view_digest = in.number<std::uint64_t>();
            c.view_members = in.number<std::uint32_t>();
        }
        if (detail::has_load(c.kind)) {
            c.load_version = in.number<std::uint16_t>();
            c.load = load::unpack(in.number<std::uint16_t>());
        }
        while (!in.empty()) {
            byte_reader ahead = in;
            if (ahead.number<std::uint8_t>() != detail::load_code) {
                p.claims.push_back(claim::read(in));
                continue;
            }
            load_claim l;
            l.id.value = ahead.number<std::uint64_t>();
            l.version = ahead.number<std::uint16_t>();
            l.level = load::unpack(ahead.number<std::uint16_t>());
            if (!l.id) return result;
            p.loads.push_back(l);
            in = ahead;
        }
        result.why = rejection::count_;
    } catch (const error&) {
        result.why = rejection::malformed;
    }
    return result;
}

}  // namespace covey::mesh
