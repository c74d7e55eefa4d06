// What members ask each other over links: about keys, and about what they see.
#pragma once

#include <covey/mesh/key_message.hpp>
#include <covey/mesh/view_message.hpp>

#include <fuzz/targets/support.hpp>

namespace covey_fuzz {

inline void question(bytes_view bytes) {
    const auto encode = [](byte_buffer& out, const auto& message) { mesh::encode(out, message); };
    require(!mesh::is_key_message(bytes) || !mesh::is_view_message(bytes), "a message of two kinds");
    check_round_trip(bytes, [](bytes_view b) { return mesh::decode_key_request(b); }, encode);
    check_round_trip(bytes, [](bytes_view b) { return mesh::decode_key_reply(b); }, encode);
    check_round_trip(bytes, [](bytes_view b) { return mesh::decode_view_request(b); }, encode);
    // Only the first and only piece is a view that can be told again.
    const auto decode = [bytes](bytes_view b) {
        mesh::view_reply r = mesh::decode_view_reply(b);
        require(r.what.members.size() <= bytes.size(), "more members than bytes");
        r.is_last = true;
        return r;
    };
    check_round_trip(bytes, decode, [](byte_buffer& out, const mesh::view_reply& r) { mesh::encode_reply(out, {r.number, {}}, r.what); });
}

}  // namespace covey_fuzz
