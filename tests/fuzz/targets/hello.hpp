// The handshake of a link.
#pragma once

#include <covey/net/hello.hpp>

#include <fuzz/targets/support.hpp>

namespace covey_fuzz {

inline void hello(bytes_view bytes) {
    const auto decode = [](bytes_view b) {
        const net::hello theirs = net::decode_hello(b);
        net::hello mine;
        mine.cluster = home;
        mine.id = peer_id{1};
        if (const auto refused = net::check(mine, theirs)) require(!refused->text.empty(), "a refusal without a text");
        require(net::printable(theirs.name, 64) == theirs.name, "a name that is not fit for a terminal");
        return theirs;
    };
    check_round_trip(bytes, decode, [](byte_buffer& out, const net::hello& h) { net::encode(h, out); });
}

}  // namespace covey_fuzz
