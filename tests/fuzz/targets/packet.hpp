// A datagram of the mesh, straight from the network: refused, or what its own encoding says.
#pragma once

#include <covey/mesh/message.hpp>

#include <fuzz/targets/support.hpp>

#include <vector>

namespace covey_fuzz {

inline void require_same_claims(const std::vector<mesh::claim>& a, const std::vector<mesh::claim>& b) {
    require(a.size() == b.size(), "claims were lost");
    for (std::size_t i = 0; i < a.size(); ++i) {
        require(a[i].state == b[i].state && a[i].id == b[i].id, "a claim changed its subject");
        require(a[i].epoch == b[i].epoch && a[i].incarnation == b[i].incarnation, "a claim is about another life");
        require(a[i].accuser == b[i].accuser, "a claim changed its accuser");
        require(same(a[i].encoded, b[i].encoded), "a description changed");
    }
}

inline void check_packet(bytes_view bytes) {
    const mesh::packet_result decoded = mesh::decode_packet(bytes, home);
    if (decoded.why != mesh::rejection::count_) {
        require(!mesh::to_string(decoded.why).empty(), "a rejection without a text");
        return;
    }
    const mesh::packet& p = decoded.value;
    require(p.header.sender && p.header.epoch != 0, "accepted from nobody");
    require(p.claims.size() + p.loads.size() <= bytes.size(), "more claims than bytes");
    byte_buffer again;
    mesh::write_packet_front(again, p.header, p.request);
    byte_writer w(again);
    for (const mesh::claim& c : p.claims) {
        const std::size_t before = again.size();
        c.write(w);
        require(again.size() - before <= mesh::claim::encoded_bytes_max, "a claim longer than one can be");
    }
    for (const mesh::load_claim& l : p.loads) {
        const std::size_t before = again.size();
        mesh::write_load(w, l);
        require(again.size() - before == mesh::load_claim::encoded_bytes, "a load of another length");
    }
    const mesh::packet_result twice = mesh::decode_packet(again, home);
    require(twice.why == mesh::rejection::count_, "what was accepted and written again is refused");
    const mesh::control &a = p.request, &b = twice.value.request;
    require(a.kind == b.kind && a.sequence == b.sequence && a.target == b.target, "the question changed");
    require(a.view_digest == b.view_digest && a.view_members == b.view_members, "the sender's view changed");
    require(a.load_version == b.load_version && a.load == b.load, "the sender's load changed");
    require_same_claims(p.claims, twice.value.claims);
    require(p.loads.size() == twice.value.loads.size(), "loads were lost");
    for (std::size_t i = 0; i < p.loads.size(); ++i) {
        const mesh::load_claim &x = p.loads[i], &y = twice.value.loads[i];
        require(x.id == y.id && x.version == y.version && x.level == y.level, "a load changed");
    }
}

inline void packet(bytes_view bytes) { check_packet(bytes); }

}  // namespace covey_fuzz
