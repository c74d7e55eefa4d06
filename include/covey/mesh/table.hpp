// The table of members: everybody that this peer knows, itself excepted, with the orders in which they are asked.
#pragma once

#include <covey/core/random.hpp>
#include <covey/core/time.hpp>
#include <covey/mesh/member.hpp>

#include <cstddef>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace covey::mesh {

/// Deterministic: the same calls with the same random numbers give the same orders. Its bounds (members, tombstones)
/// are kept by who calls `put` and `bury_oldest`. Not thread-safe.
class table {
public:
    struct entry {
        member record;
        time_point changed{};         ///< when its state last changed
        bool has_address = false;     ///< false for a tombstone known by hearsay only
        bool worth_retrying = false;  ///< dead, and perhaps only cut off
    };

    const member* find(peer_id id) const noexcept;
    /// The live member at this address; null id: none.
    peer_id at_address(const endpoint& address) const noexcept;
    /// Sorted by id, dead ones included.
    const std::map<peer_id, entry>& entries() const noexcept { return m_entries; }

    std::size_t live_count() const noexcept { return m_order.size(); }
    std::size_t tombstone_count() const noexcept { return m_tombstones.size(); }
    /// Of the ids and epochs of the live members, whatever the order in which they came.
    std::uint64_t digest() const noexcept { return m_digest; }
    /// Grows with every change of any entry.
    std::uint64_t number() const noexcept { return m_number; }

    /// Enters or replaces. A live newcomer gets a random place in the probe order. `record` may lack an address only
    /// when it is dead or left; an entry keeps the address it has.
    void put(time_point now, const member& record, random_source& random);
    /// Same record, other state.
    void set_state(time_point now, peer_id id, member_state state, random_source& random);
    /// No more retries of a dead one: somebody else lives at its address.
    void give_up(peer_id id);
    /// Forgets the tombstone that is oldest.
    void bury_oldest();
    /// Forgets tombstones from before `limit`.
    void bury_before(time_point limit);

    /// Round robin over live members, shuffled anew each round (SWIM, section 4.3: bounds the time to the first probe).
    peer_id next_to_probe(random_source& random);
    /// Up to `count` different live members chosen at random, none of them `except`.
    std::vector<peer_id> pick(std::size_t count, peer_id except, random_source& random) const;
    /// A dead member worth retrying, at random; null id: none.
    peer_id pick_dead(random_source& random) const;
    /// One that died after `since`, at random among the newest few.
    peer_id pick_recently_dead(time_point since, random_source& random) const;

    /// What a member contributes to the digest.
    static std::uint64_t digest_of(const member& m) noexcept;

private:
    void unlink(peer_id id, const entry& e);
    void link(peer_id id, const entry& e, random_source& random);

    std::map<peer_id, entry> m_entries;
    std::map<endpoint, peer_id> m_addresses;  // of live members; the newest owner
    std::vector<peer_id> m_order;             // live members, in probe order
    std::size_t m_cursor = 0;
    std::vector<peer_id> m_retry;  // dead members worth retrying, in order of death
    std::set<std::pair<time_point, peer_id>> m_tombstones;
    std::uint64_t m_digest = 0;
    std::uint64_t m_number = 0;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/table.ipp>
#endif
