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

COVEY_INLINE std::string_view to_string(membership_event::what kind) noexcept {
    switch (kind) {
        case membership_event::what::joined: return "joined";
        case membership_event::what::suspected: return "suspected";
        case membership_event::what::alive_again: return "alive again";
        case membership_event::what::dead: return "dead";
        case membership_event::what::left: return "left";
        case membership_event::what::rejoined: return "rejoined";
        case membership_event::what::unreachable: return "unreachable by datagrams";
        case membership_event::what::flaky: return "flaky";
        case membership_event::what::steady: return "steady again";
        case membership_event::what::partition_suspected: return "sees a partition";
        case membership_event::what::healed: return "sees the partition healed";
    }
    return "?";
}

COVEY_INLINE const description& member::what() const noexcept {
    static const description nothing;
    return m_record == nullptr ? nothing : m_record->what();
}

}  // namespace covey::mesh
