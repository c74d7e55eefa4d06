#pragma once

#include <covey/core/hash.hpp>
#include <covey/mesh/exchange.hpp>
#include <covey/mesh/impl/message.ipp>

#include <algorithm>
#include <utility>

namespace covey::mesh {

COVEY_INLINE unsigned exchange::bits_for(std::size_t members) noexcept {
    unsigned bits = bucket_bits_min;
    while (bits < bucket_bits_max && (std::size_t{32} << bits) < members) ++bits;
    return bits;
}

COVEY_INLINE std::size_t exchange::bucket_of(peer_id id, unsigned bits) noexcept {
    return static_cast<std::size_t>(mix64(id.value) >> (64 - bits));
}

COVEY_INLINE bool exchange::covers(peer_id id) const noexcept {
    const std::size_t bucket = bucket_of(id, bucket_bits);
    return bucket >= first_bucket && bucket - first_bucket < covered.size() && covered[bucket - first_bucket];
}

COVEY_INLINE std::uint32_t exchange::hash_of(peer_id id, epoch_t epoch, std::uint32_t incarnation) noexcept {
    return static_cast<std::uint32_t>(hash_combine(id.value, (std::uint64_t{epoch} << 32) | incarnation));
}

namespace detail {

inline void write_bits(byte_writer& w, const std::vector<bool>& bits) {
    std::uint8_t byte = 0;
    for (std::size_t i = 0; i < bits.size(); ++i) {
        byte = static_cast<std::uint8_t>(byte | (bits[i] ? 1u << (i % 8) : 0u));
        if (i % 8 == 7 || i + 1 == bits.size()) w.number(std::exchange(byte, std::uint8_t{0}));
    }
}

inline std::vector<bool> read_bits(byte_reader& in, std::size_t count) {
    const bytes_view raw = in.raw((count + 7) / 8);
    std::vector<bool> bits(count);
    for (std::size_t i = 0; i < count; ++i) bits[i] = (static_cast<unsigned>(raw[i / 8]) >> (i % 8) & 1u) != 0;
    return bits;
}

}  // namespace detail

COVEY_INLINE void encode(byte_buffer& out, const exchange& message) {
    byte_writer w(out);
    detail::write_front(w, static_cast<std::uint8_t>(message.step), message.header);
    w.number(message.nonce);
    if (message.step == exchange_step::ping) w.number(message.target.value);
    if (message.step == exchange_step::ping || message.step == exchange_step::pong) return;
    w.number(message.forms);
    if (message.step != exchange_step::close) {
        w.number(message.lineage);
        w.number(message.view_members);
        w.number(message.bucket_bits);
        w.number(message.first_bucket);
        w.number(static_cast<std::uint16_t>(message.step == exchange_step::open ? message.hashes.size() : message.covered.size()));
    }
    if (message.step == exchange_step::open) {
        // Of buckets that hold nobody only that: a newcomer has little else.
        std::vector<bool> is_used(message.hashes.size());
        for (std::size_t i = 0; i < is_used.size(); ++i) is_used[i] = message.hashes[i] != 0;
        detail::write_bits(w, is_used);
        for (const std::uint32_t hash : message.hashes) {
            if (hash != 0) w.number(hash);
        }
    }
    if (message.step == exchange_step::reply) {
        detail::write_bits(w, message.covered);
        detail::write_bits(w, message.missing);
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
        m.forms = in.number<bool>();
        std::size_t count = 0;
        if (m.step != exchange_step::close) {
            m.lineage = in.number<std::uint64_t>();
            m.view_members = in.number<std::uint32_t>();
            m.bucket_bits = in.number<std::uint8_t>();
            if (m.bucket_bits < exchange::bucket_bits_min || m.bucket_bits > exchange::bucket_bits_max) return result;
            m.first_bucket = in.number<std::uint16_t>();
            count = in.number<std::uint16_t>();
            if (count == 0 || m.first_bucket + count > std::size_t{1} << m.bucket_bits) return result;
        }
        if (m.step == exchange_step::open) {
            const std::vector<bool> is_used = detail::read_bits(in, count);
            m.hashes.resize(count);
            for (std::size_t i = 0; i < count; ++i) {
                if (is_used[i]) m.hashes[i] = in.number<std::uint32_t>();
            }
        }
        if (m.step == exchange_step::reply) {
            m.covered = detail::read_bits(in, count);
            m.missing = detail::read_bits(in, count);
        }
        while (!in.empty()) m.claims.push_back(claim::read(in));
        // Who speaks says who it is; an observer does so too. Who asks for the rest has said so.
        if (m.claims.empty() && m.step == exchange_step::open && count < std::size_t{1} << m.bucket_bits) {
            result.why = rejection::count_;
            return result;
        }
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
