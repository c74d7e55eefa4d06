#pragma once

#include <covey/mesh/view_message.hpp>

namespace covey::mesh {

namespace detail {

/// Part of the wire format: never renumber.
inline constexpr std::uint16_t view_message_magic = 0x5756;
inline constexpr std::uint8_t view_message_version = 1;
inline constexpr std::uint8_t kind_view_request = 1;
inline constexpr std::uint8_t kind_view_reply = 2;
inline constexpr std::uint8_t view_is_last = 1, view_is_split = 2;
inline constexpr std::uint8_t seen_flaky = 1, seen_unreachable = 2;

inline void write_view_front(byte_writer& out, std::uint8_t kind, std::uint64_t number) {
    out.number(view_message_magic);
    out.number(view_message_version);
    out.number(kind);
    out.number(number);
}

inline std::uint64_t read_view_front(byte_reader& in, std::uint8_t kind) {
    const bool known = in.number<std::uint16_t>() == view_message_magic && in.number<std::uint8_t>() == view_message_version;
    if (!known || in.number<std::uint8_t>() != kind)
        throw error(errc::bad_message, "a message about views of another version or kind; run the same covey on all peers");
    return in.number<std::uint64_t>();
}

inline void write_seen(byte_writer& out, const member& m) {
    out.number(m.id().value);
    out.varint(m.epoch());
    out.varint(m.incarnation());
    out.number(m.state());
    out.number(static_cast<std::uint8_t>((m.is_flaky() ? seen_flaky : 0) | (m.is_unreachable() ? seen_unreachable : 0)));
    out.number(m.load().packed());
    out.text(as_text(m.shared_record()->encoded()));
}

inline member read_seen(byte_reader& in) {
    const peer_id id{in.number<std::uint64_t>()};
    const auto epoch = read_varint<epoch_t>(in);
    const auto incarnation = read_varint<std::uint32_t>(in);
    const auto state = in.number<member_state>();
    const auto flags = in.number<std::uint8_t>();
    const auto load = mesh::load::unpack(in.number<std::uint16_t>());
    if (!id || epoch == 0 || state > member_state::left || flags > (seen_flaky | seen_unreachable))
        throw error(errc::bad_message, "a member that cannot be in a view");
    record_ptr what = record::decode(as_bytes_view(in.text(description::encoded_bytes_max)));
    return {id, epoch, incarnation, std::move(what), state, load, (flags & seen_flaky) != 0, (flags & seen_unreachable) != 0};
}

}  // namespace detail

COVEY_INLINE bool is_view_message(bytes_view bytes) noexcept {
    std::uint16_t magic = 0;
    if (bytes.size() < 4) return false;
    std::memcpy(&magic, bytes.data(), sizeof magic);
    return magic == detail::view_message_magic;
}

COVEY_INLINE bool is_view_request(bytes_view bytes) noexcept {
    return is_view_message(bytes) && bytes[3] == std::byte{detail::kind_view_request};
}

COVEY_INLINE void encode(byte_buffer& out, const view_request& message) {
    byte_writer w(out);
    detail::write_view_front(w, detail::kind_view_request, message.number);
    w.number(message.after.value);
}

COVEY_INLINE view_request decode_view_request(bytes_view bytes) {
    byte_reader in(bytes);
    view_request message;
    message.number = detail::read_view_front(in, detail::kind_view_request);
    message.after.value = in.number<std::uint64_t>();
    if (!in.empty()) throw error(errc::bad_message, "bytes behind a message about views");
    return message;
}

COVEY_INLINE void encode_reply(byte_buffer& out, const view_request& asked, const view& now) {
    const std::size_t begin = out.size();
    byte_writer w(out);
    detail::write_view_front(w, detail::kind_view_reply, asked.number);
    w.number(now.number);
    w.number(now.digest);
    w.number(now.lineage);
    w.varint(now.members_at_most);
    // The flags stand behind the members, of which the last one that fits is not known before.
    std::size_t next = 0;
    if (asked.after) {
        const auto by_id = [](peer_id id, const member& m) { return id < m.id(); };
        next = static_cast<std::size_t>(std::upper_bound(now.members.begin() + 1, now.members.end(), asked.after, by_id) -
                                        now.members.begin());
    }
    for (; next < now.members.size() && out.size() - begin < view_reply::piece_bytes; ++next) {
        w.number(true);
        detail::write_seen(w, now.members[next]);
    }
    w.number(false);
    const bool is_last = next == now.members.size();
    w.number(static_cast<std::uint8_t>((is_last ? detail::view_is_last : 0) | (now.is_split_suspected ? detail::view_is_split : 0)));
}

COVEY_INLINE view_reply decode_view_reply(bytes_view bytes) {
    byte_reader in(bytes);
    view_reply message;
    message.number = detail::read_view_front(in, detail::kind_view_reply);
    message.what.number = in.number<std::uint64_t>();
    message.what.digest = in.number<std::uint64_t>();
    message.what.lineage = in.number<std::uint64_t>();
    message.what.members_at_most = detail::read_varint<std::uint32_t>(in);
    while (in.number<bool>()) message.what.members.push_back(detail::read_seen(in));
    const auto flags = in.number<std::uint8_t>();
    if (flags > (detail::view_is_last | detail::view_is_split) || !in.empty())
        throw error(errc::bad_message, "bytes behind a message about views");
    message.is_last = (flags & detail::view_is_last) != 0;
    message.what.is_split_suspected = (flags & detail::view_is_split) != 0;
    return message;
}

}  // namespace covey::mesh
