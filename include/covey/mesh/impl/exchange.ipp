#pragma once

#include <covey/core/hash.hpp>
#include <covey/mesh/exchange.hpp>
#include <covey/mesh/impl/message.ipp>

namespace covey::mesh {

COVEY_INLINE unsigned exchange::bits_for(std::size_t members) noexcept {
    unsigned bits = bucket_bits_min;
    while (bits < bucket_bits_max && (std::size_t{4} << bits) < members) ++bits;
    return bits;
}

COVEY_INLINE std::size_t exchange::bucket_of(peer_id id, unsigned bits) noexcept {
    return static_cast<std::size_t>(mix64(id.value) >> (64 - bits));
}

COVEY_INLINE std::uint32_t exchange::hash_of(peer_id id, epoch_t epoch, std::uint32_t incarnation) noexcept {
    return static_cast<std::uint32_t>(hash_combine(id.value, (std::uint64_t{epoch} << 32) | incarnation));
}

COVEY_INLINE void encode(byte_buffer& out, const exchange& message) {
    byte_writer w(out);
    detail::write_front(w, static_cast<std::uint8_t>(message.step), message.header);
    w.number(message.nonce);
    if (message.step == exchange_step::ping) w.number(message.target.value);
    if (message.step == exchange_step::ping || message.step == exchange_step::pong) return;
    if (message.step != exchange_step::close) {
        w.number(message.lineage);
        w.number(message.view_members);
        w.number(message.bucket_bits);
    }
    if (message.step == exchange_step::open) w.raw(std::as_bytes(std::span(message.hashes)));
    if (message.step == exchange_step::reply) {
        std::uint8_t bits = 0;
        for (std::size_t i = 0; i < message.covered.size(); ++i) {
            bits = static_cast<std::uint8_t>(bits | (message.covered[i] ? 1u << (i % 8) : 0u));
            if (i % 8 == 7) w.number(std::exchange(bits, std::uint8_t{0}));
        }
        w.number(message.is_cut_short);
    }
    for (const claim& c : message.claims) c.write(w);
}

COVEY_INLINE exchange_result decode_exchange(bytes_view bytes, const cluster_id& ours) {
    exchange_result result;
    exchange& m = result.value;
    if (bytes.size() > exchange_bytes_max) {
        result.why = rejection::oversized;
        return result;
    }
    try {
        byte_reader in(bytes);
        std::uint8_t kind = 0;
        result.why = detail::read_front(in, kind, m.header, ours);
        if (result.why != rejection::count_) return result;
        result.why = rejection::malformed;
        m.step = static_cast<exchange_step>(kind);
        if (m.step < exchange_step::open || m.step > exchange_step::pong) return result;
        m.nonce = in.number<std::uint64_t>();
        if (m.step == exchange_step::ping) m.target.value = in.number<std::uint64_t>();
        if (m.step == exchange_step::ping || m.step == exchange_step::pong) {
            if (in.empty()) result.why = rejection::count_;
            return result;
        }
        if (m.step != exchange_step::close) {
            m.lineage = in.number<std::uint64_t>();
            m.view_members = in.number<std::uint32_t>();
            m.bucket_bits = in.number<std::uint8_t>();
            if (m.bucket_bits < exchange::bucket_bits_min || m.bucket_bits > exchange::bucket_bits_max) return result;
        }
        const std::size_t buckets = std::size_t{1} << m.bucket_bits;
        if (m.step == exchange_step::open) {
            const bytes_view raw = in.raw(buckets * sizeof(std::uint32_t));
            m.hashes.resize(buckets);
            std::memcpy(m.hashes.data(), raw.data(), raw.size());
        }
        if (m.step == exchange_step::reply) {
            const bytes_view raw = in.raw(buckets / 8);
            m.covered.resize(buckets);
            for (std::size_t i = 0; i < buckets; ++i) m.covered[i] = (static_cast<unsigned>(raw[i / 8]) >> (i % 8) & 1u) != 0;
            m.is_cut_short = in.number<bool>();
        }
        while (!in.empty()) m.claims.push_back(claim::read(in));
        // Who speaks says who it is; an observer does so too.
        if (m.claims.empty()) return result;
        const claim& self = m.claims.front();
        if (self.id != m.header.sender || self.epoch != m.header.epoch) return result;
        result.why = rejection::count_;
    } catch (const error&) {
        result.why = rejection::malformed;
    }
    return result;
}

}  // namespace covey::mesh
