#pragma once

#include <covey/mesh/key_message.hpp>

namespace covey::mesh {

namespace detail {

/// Part of the wire format: never renumber.
inline constexpr std::uint16_t key_message_magic = 0x4b43;
inline constexpr std::uint8_t key_message_version = 1;
inline constexpr std::uint8_t kind_key_request = 1;
inline constexpr std::uint8_t kind_key_reply = 2;

inline void write_key_front(byte_writer& out, std::uint8_t kind, std::uint64_t number) {
    out.number(key_message_magic);
    out.number(key_message_version);
    out.number(kind);
    out.number(number);
}

inline std::uint64_t read_key_front(byte_reader& in, std::uint8_t kind) {
    const bool known = in.number<std::uint16_t>() == key_message_magic && in.number<std::uint8_t>() == key_message_version;
    if (!known || in.number<std::uint8_t>() != kind)
        throw error(errc::bad_message, "a message about keys of another version or kind; run the same covey on all peers");
    return in.number<std::uint64_t>();
}

}  // namespace detail

COVEY_INLINE bool is_key_message(bytes_view bytes) noexcept {
    std::uint16_t magic = 0;
    if (bytes.size() < 4) return false;
    std::memcpy(&magic, bytes.data(), sizeof magic);
    return magic == detail::key_message_magic;
}

COVEY_INLINE bool is_key_request(bytes_view bytes) noexcept {
    return is_key_message(bytes) && bytes[3] == std::byte{detail::kind_key_request};
}

COVEY_INLINE void encode(byte_buffer& out, const key_request& message) {
    byte_writer w(out);
    detail::write_key_front(w, detail::kind_key_request, message.number);
    w.number(message.change.what);
    w.number(message.change.key.value);
    if (message.change.what != key_operation::install) return;
    if (!message.change.secret) throw error(errc::bad_argument, "install needs a key");
    std::string text = message.change.secret->to_text();
    w.text(text);
    net::wipe(std::as_writable_bytes(std::span(text)));
}

COVEY_INLINE key_request decode_key_request(bytes_view bytes) {
    byte_reader in(bytes);
    key_request message;
    message.number = detail::read_key_front(in, detail::kind_key_request);
    message.change.what = in.number<key_operation>();
    if (message.change.what > key_operation::remove) throw error(errc::bad_message, "unknown operation on keys");
    message.change.key.value = in.number<std::uint32_t>();
    if (message.change.what == key_operation::install) {
        try {
            message.change.secret = net::cluster_key::parse(in.text(2 * net::cluster_key::size + 1));
        } catch (const error& e) {
            throw error(errc::bad_message, e.what());
        }
        if (message.change.secret->fingerprint() != message.change.key)
            throw error(errc::bad_message, "the fingerprint of a key to install is not its own");
    }
    if (!in.empty()) throw error(errc::bad_message, "bytes behind a message about keys");
    return message;
}

COVEY_INLINE void encode(byte_buffer& out, const key_reply& message) {
    byte_writer w(out);
    detail::write_key_front(w, detail::kind_key_reply, message.number);
    w.varint(message.keys.size());
    for (const net::key_fingerprint key : message.keys) w.number(key.value);
    w.text(std::string_view(message.failure).substr(0, key_reply::failure_bytes_max));
}

COVEY_INLINE key_reply decode_key_reply(bytes_view bytes) {
    byte_reader in(bytes);
    key_reply message;
    message.number = detail::read_key_front(in, detail::kind_key_reply);
    const std::uint64_t count = in.varint();
    if (count > net::keys_max) throw error(errc::bad_message, "a ring of more keys than there can be");
    for (std::uint64_t i = 0; i < count; ++i) message.keys.push_back({in.number<std::uint32_t>()});
    message.failure = in.text(key_reply::failure_bytes_max);
    if (!in.empty()) throw error(errc::bad_message, "bytes behind a message about keys");
    return message;
}

}  // namespace covey::mesh
