// A datagram of the mesh, straight from the network: refused, or what its own encoding says.
#pragma once

#include <covey/mesh/message.hpp>

#include <fuzz/targets/support.hpp>

namespace covey_fuzz {

inline void check_packet(bytes_view bytes) {
    const mesh::packet_result decoded = mesh::decode_packet(bytes, home);
    if (decoded.why != mesh::rejection::count_) {
        require(!mesh::to_string(decoded.why).empty(), "a rejection without a text");
        return;
    }
    const mesh::packet& p = decoded.value;
    require(p.header.sender && p.header.epoch != 0, "accepted from nobody");
    require(p.claims.size() <= bytes.size(), "more claims than bytes");
    byte_buffer again;
    mesh::write_packet_front(again, p.header, p.request);
    byte_writer w(again);
    for (const mesh::claim& c : p.claims) {
        const std::size_t before = again.size();
        c.write(w);
        require(again.size() - before <= mesh::claim::encoded_bytes_max, "a claim longer than one can be");
    }
    const mesh::packet_result twice = mesh::decode_packet(again, home);
    require(twice.why == mesh::rejection::count_, "what was accepted and written again is refused");
    require(twice.value.claims.size() == p.claims.size(), "claims were lost");
    for (std::size_t i = 0; i < p.claims.size(); ++i) {
        require(twice.value.claims[i].subject == p.claims[i].subject, "a claim changed its subject");
        require(twice.value.claims[i].accuser == p.claims[i].accuser, "a claim changed its accuser");
    }
}

inline void packet(bytes_view bytes) { check_packet(bytes); }

}  // namespace covey_fuzz
