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
    const bool is_part = m.step == mesh::exchange_step::open && m.hashes.size() < std::size_t{1} << m.bucket_bits;
    require(is_about_presence || is_part || !m.claims.empty(), "a table from nobody");
    require(!is_about_presence || m.claims.empty(), "a table with a ping");
    if (!m.claims.empty()) {
        require(m.claims.front().id == m.header.sender && m.claims.front().epoch == m.header.epoch, "a table of somebody else");
    }
    require(m.claims.size() + m.hashes.size() / 8 + (m.covered.size() + m.missing.size()) / 8 <= bytes.size(),
            "more in it than there are bytes");
    const std::size_t buckets = std::size_t{1} << m.bucket_bits;
    require(m.first_bucket + std::max(m.hashes.size(), m.covered.size()) <= buckets, "buckets that are none");
    require((m.step == mesh::exchange_step::open) == !m.hashes.empty(), "a comparison of nothing");
    require((m.step == mesh::exchange_step::reply) == !m.covered.empty() && m.covered.size() == m.missing.size(), "an answer to nothing");
    byte_buffer again;
    mesh::encode(again, m);
    const mesh::exchange_result twice = mesh::decode_exchange(again, home);
    require(twice.why == mesh::rejection::count_, "what was accepted and written again is refused");
    const mesh::exchange& t = twice.value;
    require(t.step == m.step && t.nonce == m.nonce && t.target == m.target && t.bucket_bits == m.bucket_bits, "the question changed");
    require(t.lineage == m.lineage && t.forms == m.forms && t.view_members == m.view_members && t.first_bucket == m.first_bucket,
            "the sender's view changed");
    require(t.hashes == m.hashes && t.covered == m.covered && t.missing == m.missing, "the buckets changed");
    require_same_claims(t.claims, m.claims);
}

inline void exchange(bytes_view bytes) { check_exchange(bytes); }

}  // namespace covey_fuzz
