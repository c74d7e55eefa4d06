// The handshake of a link, and the messages about keys that may follow it.
#pragma once

#include <covey/core/error.hpp>
#include <covey/mesh/key_message.hpp>
#include <covey/net/hello.hpp>

#include <fuzz/targets/support.hpp>

namespace covey_fuzz {

inline void encode_one(byte_buffer& out, const net::hello& h) { net::encode(h, out); }
inline void encode_one(byte_buffer& out, const mesh::key_request& r) { mesh::encode(out, r); }
inline void encode_one(byte_buffer& out, const mesh::key_reply& r) { mesh::encode(out, r); }

template <class Decode>
void check_round_trip(bytes_view bytes, Decode decode) {
    try {
        const auto message = decode(bytes);
        byte_buffer once, twice;
        encode_one(once, message);
        encode_one(twice, decode(once));
        require(same(once, twice), "a message changes when it is written again");
    } catch (const error& e) {
        require(e.code() == errc::bad_message, "bytes from the network are nobody's mistake but the sender's");
    }
}

inline void hello(bytes_view bytes) {
    check_round_trip(bytes, [](bytes_view b) {
        const net::hello theirs = net::decode_hello(b);
        net::hello mine;
        mine.cluster = home;
        mine.id = peer_id{1};
        if (const auto refused = net::check(mine, theirs)) require(!refused->text.empty(), "a refusal without a text");
        require(net::printable(theirs.name, 64) == theirs.name, "a name that is not fit for a terminal");
        return theirs;
    });
    if (!mesh::is_key_message(bytes)) return;
    check_round_trip(bytes, [](bytes_view b) { return mesh::decode_key_request(b); });
    check_round_trip(bytes, [](bytes_view b) { return mesh::decode_key_reply(b); });
}

}  // namespace covey_fuzz
