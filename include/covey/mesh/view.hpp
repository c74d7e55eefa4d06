// A snapshot of the members.
#pragma once

#include <covey/mesh/member.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace covey::mesh {

/// Who was a member at one moment. Immutable; of two views of one peer, the one with the higher number is newer.
struct view {
    std::uint64_t number = 0;
    /// Of the ids and epochs of the members (observers excepted): equal on all peers once they agree.
    std::uint64_t digest = 0;
    /// The peer itself first, then the alive and suspect ones by id.
    std::vector<member> members;

    /// Null: no such member.
    const member* find(peer_id id) const noexcept {
        if (members.empty()) return nullptr;
        if (members.front().id() == id) return &members.front();
        const auto at = std::lower_bound(members.begin() + 1, members.end(), id, [](const member& m, peer_id x) { return m.id() < x; });
        return at != members.end() && at->id() == id ? &*at : nullptr;
    }
};

}  // namespace covey::mesh
