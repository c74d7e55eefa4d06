// A table exchange over a stream: refused, or what its own encoding says.
#pragma once

#include <covey/mesh/message.hpp>

#include <fuzz/targets/support.hpp>

namespace covey_fuzz {

inline void sync(bytes_view bytes) {
    constexpr std::size_t members_max = 100;
    const mesh::push_pull_result decoded = mesh::decode_push_pull(bytes, home, members_max);
    if (decoded.why != mesh::rejection::count_) return;
    const mesh::push_pull& p = decoded.value;
    require(p.members.size() <= members_max, "more members than allowed");
    require(p.self.id() == p.header.sender, "a table of somebody else");
    byte_buffer again;
    mesh::encode(again, p);
    const mesh::push_pull_result twice = mesh::decode_push_pull(again, home, members_max);
    require(twice.why == mesh::rejection::count_, "what was accepted and written again is refused");
    require(twice.value.self == p.self && twice.value.members == p.members, "the table changed");
    require(twice.value.nonce == p.nonce && twice.value.is_reply == p.is_reply, "the question changed");
}

}  // namespace covey_fuzz
