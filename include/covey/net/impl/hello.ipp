#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/hello.hpp>

#include <algorithm>

namespace covey::net {

namespace detail {

/// "covey" and three bytes that no text protocol sends: tells strangers apart from peers of another version.
inline constexpr std::uint64_t hello_magic = 0x0102ff7965766f63ull;
inline constexpr std::uint8_t hello_observer = 1;
inline constexpr std::uint8_t hello_for_membership = 2;

inline bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
inline bool is_hex(char c) noexcept { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/// What is wrong with a hello's values, or nullptr.
inline const char* hello_fault(const hello& h) noexcept {
    if (!h.id) return "the peer id is zero";
    if (h.version_min > h.version_max) return "the range of versions is empty";
    if (h.name.size() > hello::text_bytes_max) return "the name is longer than 64 bytes";
    if (std::any_of(h.name.begin(), h.name.end(), is_control)) return "the name has control characters";
    if (h.build_id.size() > hello::text_bytes_max) return "the build id is longer than 64 digits";
    if (!std::all_of(h.build_id.begin(), h.build_id.end(), is_hex)) return "the build id is not hexadecimal";
    if (h.body_bytes_max < hello::body_bytes_least) return "body_bytes_max is below 4 KiB";
    return nullptr;
}

}  // namespace detail

COVEY_INLINE void encode(const hello& h, byte_buffer& out) {
    if (const char* fault = detail::hello_fault(h)) throw error(errc::bad_argument, covey::detail::concat({"this peer's hello: ", fault}));
    byte_writer writer(out);
    writer.number(detail::hello_magic);
    writer.number(h.version_min);
    writer.number(h.version_max);
    writer.number(h.cluster.high);
    writer.number(h.cluster.low);
    writer.number(h.id.value);
    writer.number(h.epoch);
    h.address.write(writer);
    writer.text(h.name);
    writer.text(h.build_id);
    writer.number(h.table_digest);
    writer.number(
        static_cast<std::uint8_t>((h.observer ? detail::hello_observer : 0) | (h.for_membership ? detail::hello_for_membership : 0)));
    writer.number(h.call_credit);
    writer.number(h.body_bytes_max);
}

COVEY_INLINE hello decode_hello(bytes_view body) {
    if (body.size() > hello::bytes_max) throw error(errc::bad_message, covey::detail::concat({"a hello of ", body.size(), " bytes"}));
    byte_reader reader(body);
    if (reader.number<std::uint64_t>() != detail::hello_magic) throw error(errc::bad_message, "the first frame is no hello of covey");
    hello h;
    h.version_min = reader.number<std::uint16_t>();
    h.version_max = reader.number<std::uint16_t>();
    h.cluster.high = reader.number<std::uint64_t>();
    h.cluster.low = reader.number<std::uint64_t>();
    h.id.value = reader.number<std::uint64_t>();
    h.epoch = reader.number<epoch_t>();
    h.address = endpoint::read(reader);
    h.name = reader.text(hello::text_bytes_max);
    h.build_id = reader.text(hello::text_bytes_max);
    h.table_digest = reader.number<std::uint64_t>();
    const auto flags = reader.number<std::uint8_t>();
    h.observer = (flags & detail::hello_observer) != 0;
    h.for_membership = (flags & detail::hello_for_membership) != 0;
    h.call_credit = reader.number<std::uint32_t>();
    h.body_bytes_max = reader.number<std::uint32_t>();
    if (const char* fault = detail::hello_fault(h)) throw error(errc::bad_message, covey::detail::concat({"hello: ", fault}));
    return h;
}

COVEY_INLINE std::optional<refusal> check(const hello& mine, const hello& theirs, peer_id expected) {
    const auto range = [](const hello& h) { return covey::detail::concat({h.version_min, " to ", h.version_max}); };
    if (mine.version_min > theirs.version_max || theirs.version_min > mine.version_max) {
        return refusal{errc::protocol_error,
                       covey::detail::concat({"the versions of the protocol do not meet: this peer speaks ", range(mine), ", the other ",
                                              range(theirs), "; build both with the same covey"})};
    }
    if (mine.cluster != theirs.cluster) {
        return refusal{errc::wrong_cluster, covey::detail::concat({"the other side belongs to cluster ", to_string(theirs.cluster),
                                                                   ", this peer to ", to_string(mine.cluster)})};
    }
    if (mine.id == theirs.id) {
        return refusal{errc::bad_address, covey::detail::concat({"that is this peer itself (", to_string(mine.id),
                                                                 "): it was given its own address to connect to"})};
    }
    if (expected && theirs.id != expected) {
        return refusal{errc::unreachable, covey::detail::concat({"peer ", to_string(theirs.id), " answers there, not peer ",
                                                                 to_string(expected), ", which is gone or has moved"})};
    }
    return std::nullopt;
}

COVEY_INLINE std::string printable(std::string_view text, std::size_t limit) {
    std::string out(text.substr(0, limit));
    std::replace_if(out.begin(), out.end(), detail::is_control, '?');
    return out;
}

}  // namespace covey::net
