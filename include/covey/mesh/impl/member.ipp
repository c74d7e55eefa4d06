#pragma once

#include <covey/mesh/member.hpp>

namespace covey::mesh {

COVEY_INLINE std::string_view to_string(member_state state) noexcept {
    switch (state) {
        case member_state::alive: return "alive";
        case member_state::suspect: return "suspect";
        case member_state::dead: return "dead";
        case member_state::left: return "left";
    }
    return "?";
}

COVEY_INLINE std::string_view to_string(member_role role) noexcept {
    switch (role) {
        case member_role::main: return "main";
        case member_role::serve: return "serve";
        case member_role::observer: return "observer";
    }
    return "?";
}

COVEY_INLINE std::string_view to_string(membership_event::what kind) noexcept {
    switch (kind) {
        case membership_event::what::joined: return "joined";
        case membership_event::what::suspected: return "suspected";
        case membership_event::what::alive_again: return "alive again";
        case membership_event::what::dead: return "dead";
        case membership_event::what::left: return "left";
        case membership_event::what::rejoined: return "rejoined";
    }
    return "?";
}

COVEY_INLINE const char* fault(const member_info& info) noexcept {
    if (!info.id) return "a member without an id";
    if (info.epoch == 0) return "epoch 0 (they start at 1)";
    if (info.address.port == 0 || info.address.is_unspecified()) return "an address that nobody can send to";
    if (info.name.size() > member_info::name_bytes_max) return "a name of more than 64 bytes";
    for (const char c : info.name) {
        // Names are printed on terminals.
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "a control character in a name";
    }
    if (info.role > member_role::observer) return "an unknown role";
    return nullptr;
}

COVEY_INLINE void member::write(byte_writer& out) const {
    out.number(m_state);
    out.number(m_info.id.value);
    out.varint(m_info.epoch);
    out.varint(m_info.incarnation);
    m_info.address.write(out);
    out.text(m_info.name);
    out.number(m_info.role);
    out.number(m_info.build_hash);
    out.number(m_info.table_digest);
    out.number(m_info.threads);
}

namespace detail {

/// A variable-length number that must fit 32 bits.
inline std::uint32_t read_varint32(byte_reader& in) {
    const std::uint64_t value = in.varint();
    if (value > 0xffffffffu) throw error(errc::bad_message, "a number over 32 bits in a message of the mesh");
    return static_cast<std::uint32_t>(value);
}

}  // namespace detail

COVEY_INLINE member member::read(byte_reader& in) {
    member m;
    m.m_state = in.number<member_state>();
    if (m.m_state > member_state::left) throw error(errc::bad_message, "unknown state of a member");
    m.m_info.id.value = in.number<std::uint64_t>();
    m.m_info.epoch = detail::read_varint32(in);
    m.m_info.incarnation = detail::read_varint32(in);
    m.m_info.address = endpoint::read(in);
    m.m_info.name = in.text(member_info::name_bytes_max);
    m.m_info.role = in.number<member_role>();
    m.m_info.build_hash = in.number<std::uint64_t>();
    m.m_info.table_digest = in.number<std::uint64_t>();
    m.m_info.threads = in.number<std::uint16_t>();
    if (const char* why = fault(m.m_info)) throw error(errc::bad_message, why, m.m_info.id);
    return m;
}

}  // namespace covey::mesh
