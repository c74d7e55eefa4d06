#pragma once

#include <covey/core/hash.hpp>
#include <covey/mesh/record.hpp>

#include <algorithm>
#include <cstring>

namespace covey::mesh {

namespace detail {

/// A variable-length number that must fit `Number`.
template <class Number>
Number read_varint(byte_reader& in) {
    const std::uint64_t value = in.varint();
    if (value > static_cast<Number>(~Number{0})) throw error(errc::bad_message, "a number in a message of the mesh is too large");
    return static_cast<Number>(value);
}

inline constexpr std::uint8_t flag_v6 = 0x04, flag_bulk = 0x08, flag_bulk_v6 = 0x10, flag_fabric = 0x20;
inline constexpr std::uint8_t mask_role = 0x03;

/// IPv4 addresses, the usual ones, take 6 bytes.
inline void write_address(byte_writer& out, const endpoint& e) {
    out.raw(std::as_bytes(std::span(e.address)).subspan(e.is_v4() ? 12 : 0));
    out.number(e.port);
}

inline endpoint read_address(byte_reader& in, bool is_v6) {
    endpoint e = endpoint::v4(0, 0, 0, 0, 0);
    const std::size_t skip = is_v6 ? 0 : 12;
    std::memcpy(e.address.data() + skip, in.raw(16 - skip).data(), 16 - skip);
    // One address, one form: or equal records would have different bytes.
    if (is_v6 && e.is_v4()) throw error(errc::bad_message, "an IPv4 address in its long form");
    e.port = in.number<std::uint16_t>();
    return e;
}

}  // namespace detail

COVEY_INLINE record::record(description what) : m_what(std::move(what)) {
    if (const char* why = fault(m_what)) throw error(errc::bad_argument, why);
    byte_buffer bytes;
    byte_writer out(bytes);
    const bool has_bulk = m_what.bulk.port != 0;
    auto flags = static_cast<std::uint8_t>(m_what.role);
    if (!m_what.address.is_v4()) flags |= detail::flag_v6;
    if (has_bulk) flags |= detail::flag_bulk;
    if (has_bulk && !m_what.bulk.is_v4()) flags |= detail::flag_bulk_v6;
    if (m_what.has_fabric) flags |= detail::flag_fabric;
    out.number(flags);
    detail::write_address(out, m_what.address);
    if (has_bulk) detail::write_address(out, m_what.bulk);
    out.text(m_what.name);
    out.number(m_what.build_hash);
    out.number(m_what.table_digest);
    out.varint(m_what.threads);
    out.varint(m_what.memory_mib);
    out.varint(m_what.gpus);
    out.varint(m_what.resources.size());
    for (const auto& [key, count] : m_what.resources) {
        out.text(key);
        out.varint(count);
    }
    out.varint(m_what.labels.size());
    for (const auto& [key, value] : m_what.labels) {
        out.text(key);
        out.text(value);
    }
    m_encoded.assign(bytes.data(), bytes.data() + bytes.size());
}

COVEY_INLINE record_ptr record::decode(bytes_view encoded) {
    if (encoded.size() > description::encoded_bytes_max) throw error(errc::bad_message, "the description of a member is too long");
    byte_reader in(encoded);
    std::shared_ptr<record> r(new record);
    description& d = r->m_what;
    const auto flags = in.number<std::uint8_t>();
    if ((flags & 0xc0) != 0) throw error(errc::bad_message, "unknown flags in the description of a member");
    d.role = static_cast<member_role>(flags & detail::mask_role);
    d.has_fabric = (flags & detail::flag_fabric) != 0;
    d.address = detail::read_address(in, (flags & detail::flag_v6) != 0);
    if ((flags & detail::flag_bulk) != 0) {
        d.bulk = detail::read_address(in, (flags & detail::flag_bulk_v6) != 0);
        if (d.bulk.port == 0) throw error(errc::bad_message, "a bulk address without a port");
    }
    d.name = in.text(description::name_bytes_max);
    d.build_hash = in.number<std::uint64_t>();
    d.table_digest = in.number<std::uint64_t>();
    d.threads = detail::read_varint<std::uint16_t>(in);
    d.memory_mib = detail::read_varint<std::uint32_t>(in);
    d.gpus = detail::read_varint<std::uint16_t>(in);
    const auto entries = [&in] {
        const std::uint64_t n = in.varint();
        if (n > description::entries_max) throw error(errc::bad_message, "too many entries in the description of a member");
        return static_cast<std::size_t>(n);
    };
    for (std::size_t n = entries(); n > 0; --n) {
        const std::string_view key = in.text(description::name_bytes_max);
        d.resources.emplace_back(key, detail::read_varint<std::uint32_t>(in));
    }
    for (std::size_t n = entries(); n > 0; --n) {
        const std::string_view key = in.text(description::name_bytes_max);
        d.labels.emplace_back(key, in.text(description::name_bytes_max));
    }
    if (!in.empty()) throw error(errc::bad_message, "bytes behind the description of a member");
    if (const char* why = fault(d)) throw error(errc::bad_message, why);
    r->m_encoded.assign(encoded.begin(), encoded.end());
    return r;
}

namespace detail {

inline std::uint64_t hash_of(bytes_view bytes) noexcept {
    std::uint64_t hash = bytes.size();
    for (; !bytes.empty(); bytes = bytes.subspan(std::min<std::size_t>(8, bytes.size()))) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), std::min<std::size_t>(8, bytes.size()));
        hash = mix64(hash ^ word);
    }
    return hash;
}

}  // namespace detail

COVEY_INLINE void record_pool::enter(slot s) {
    std::size_t at = s.hash & (m_slots.size() - 1);
    while (m_slots[at].what != nullptr) at = (at + 1) & (m_slots.size() - 1);
    m_slots[at] = std::move(s);
}

COVEY_INLINE record_ptr record_pool::decode(bytes_view encoded) {
    const std::uint64_t hash = detail::hash_of(encoded);
    if (!m_slots.empty()) {
        for (std::size_t at = hash & (m_slots.size() - 1); m_slots[at].what != nullptr; at = (at + 1) & (m_slots.size() - 1)) {
            const slot& s = m_slots[at];
            if (s.hash == hash && std::ranges::equal(s.what->encoded(), encoded)) return s.what;
        }
    }
    record_ptr fresh = record::decode(encoded);
    if (m_size >= records_max) return fresh;
    if (2 * (m_size + 1) > m_slots.size()) {
        std::vector<slot> old(std::max<std::size_t>(16, 2 * m_slots.size()));
        old.swap(m_slots);
        for (slot& s : old) {
            if (s.what != nullptr) enter(std::move(s));
        }
    }
    enter({hash, fresh});
    ++m_size;
    return fresh;
}

}  // namespace covey::mesh
