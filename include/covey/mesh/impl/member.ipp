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
        case membership_event::what::updated: return "says something new of itself";
        case membership_event::what::missed: return "missed";
    }
    return "?";
}

COVEY_INLINE std::optional<std::string_view> member::label(std::string_view name) const noexcept {
    for (const auto& [key, value] : labels()) {
        if (key == name) return value;
    }
    return std::nullopt;
}

COVEY_INLINE std::uint32_t member::resource(std::string_view name) const noexcept {
    for (const auto& [key, count] : resources()) {
        if (key == name) return count;
    }
    return 0;
}

COVEY_INLINE const description& member::what() const noexcept {
    static const description nothing;
    return m_record == nullptr ? nothing : m_record->what();
}

}  // namespace covey::mesh
