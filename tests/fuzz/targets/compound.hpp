// A packet with a front that is right and anything behind it: many claims, half a claim, none.
#pragma once

#include <fuzz/targets/packet.hpp>

namespace covey_fuzz {

inline void compound(bytes_view bytes) {
    choices in(bytes);
    mesh::control request;
    request.kind = static_cast<mesh::control_kind>(in.byte() % 6);
    request.sequence = in.number<std::uint32_t>();
    request.target = peer_id{in.byte() + 1u};
    byte_buffer whole;
    mesh::write_packet_front(whole, {home, peer_id{in.byte() + 1u}, in.byte() + 1u}, request);
    whole.append(in.rest());
    check_packet(whole);
}

}  // namespace covey_fuzz
