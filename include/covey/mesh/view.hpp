// A snapshot of the members.
#pragma once

#include <covey/mesh/member.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace covey::mesh {

/// Who was a member at one moment. Immutable; of two views of one peer, the one with the higher number is newer. Loads are those
/// of the moment it was made; a load that changes makes no new view.
struct view {
    std::uint64_t number = 0;
    /// Of the ids and epochs of the members (observers excepted): equal on all peers once they agree.
    std::uint64_t digest = 0;
    /// The peer itself first, then the alive and suspect ones by id.
    std::vector<member> members;
    /// The members now and those that died lately without a word, who may be the other side of a cut: with `members.size()`
    /// it says how much of the mesh this peer sees.
    std::size_t members_at_most = 0;
    /// Between the events partition_suspected and healed.
    bool is_split_suspected = false;
    /// Of which mesh this one is the continuation: given by its first member, taken over by who joins. Two meshes of one name
    /// that were founded apart differ until they meet; then the larger one's stays.
    std::uint64_t lineage = 0;

    /// Null: no such member.
    const member* find(peer_id id) const noexcept {
        if (members.empty()) return nullptr;
        if (members.front().id() == id) return &members.front();
        const auto at = std::lower_bound(members.begin() + 1, members.end(), id, [](const member& m, peer_id x) { return m.id() < x; });
        return at != members.end() && at->id() == id ? &*at : nullptr;
    }
};

}  // namespace covey::mesh
