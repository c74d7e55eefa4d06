// A comparison of tables over a stream: refused, or what its own encoding says.
#pragma once

#include <covey/mesh/exchange.hpp>

#include <fuzz/targets/packet.hpp>

namespace covey_fuzz {

inline void check_exchange(bytes_view bytes) {
    const mesh::exchange_result decoded = mesh::decode_exchange(bytes, home);
    if (decoded.why != mesh::rejection::count_) {
        require(!mesh::to_string(decoded.why).empty(), "a rejection without a text");
        return;
    }
    const mesh::exchange& m = decoded.value;
    require(m.header.sender && m.header.epoch != 0, "accepted from nobody");
    const bool is_about_presence = m.step == mesh::exchange_step::ping || m.step == mesh::exchange_step::pong;
    require(is_about_presence == m.claims.empty(), "a table from nobody, or with a ping");
    if (!m.claims.empty()) {
        require(m.claims.front().id == m.header.sender && m.claims.front().epoch == m.header.epoch, "a table of somebody else");
    }
    require(m.claims.size() + 4 * m.hashes.size() + m.covered.size() / 8 <= bytes.size(), "more in it than there are bytes");
    const std::size_t buckets = std::size_t{1} << m.bucket_bits;
    if (m.step == mesh::exchange_step::open) require(m.hashes.size() == buckets, "not one hash a bucket");
    if (m.step == mesh::exchange_step::reply) require(m.covered.size() == buckets, "buckets neither covered nor not");
    byte_buffer again;
    mesh::encode(again, m);
    const mesh::exchange_result twice = mesh::decode_exchange(again, home);
    require(twice.why == mesh::rejection::count_, "what was accepted and written again is refused");
    const mesh::exchange& t = twice.value;
    require(t.step == m.step && t.nonce == m.nonce && t.target == m.target && t.bucket_bits == m.bucket_bits, "the question changed");
    require(t.lineage == m.lineage && t.view_members == m.view_members && t.is_cut_short == m.is_cut_short, "the sender's view changed");
    require(t.hashes == m.hashes && t.covered == m.covered, "the buckets changed");
    require_same_claims(t.claims, m.claims);
}

inline void exchange(bytes_view bytes) { check_exchange(bytes); }

}  // namespace covey_fuzz
