// The table of members: everybody that this peer knows, itself excepted, with the orders in which they are asked.
#pragma once

#include <covey/core/random.hpp>
#include <covey/core/time.hpp>
#include <covey/mesh/detail/row_index.hpp>
#include <covey/mesh/member.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace covey::mesh {

/// Deterministic: the same calls with the same random numbers give the same orders. Its bounds (members, tombstones)
/// are kept by who calls `put` and `bury_oldest`. A row takes about 75 bytes, indices included, descriptions apart: a
/// simulation holds ten thousand tables of ten thousand rows. Not thread-safe.
class table {
public:
    struct row : member {
        time_point changed{};            ///< when its state last changed
        std::uint32_t place = 0;         ///< in the order of probes if live, else among those worth retrying
        std::uint16_t load_version = 0;  ///< of its load; see machine
        bool worth_retrying = false;     ///< dead, and perhaps only cut off
    };

    /// `self`: whose table it is; it starts the ring. `seed` keeps others from choosing ids that collide.
    explicit table(peer_id self = {}, std::uint64_t seed = 0) noexcept : m_self(self), m_by_id(seed), m_by_address(seed) {}

    /// Good until the next change of the table.
    const row* find(peer_id id) const noexcept;
    /// The live member at this address; null id: none.
    peer_id at_address(const endpoint& address) const noexcept;
    /// In no order that means anything, dead ones included.
    std::span<const row> rows() const noexcept { return m_rows; }
    /// Live members, sorted by id.
    std::vector<member> live_members() const;

    std::size_t live_count() const noexcept { return m_order.size(); }
    std::size_t tombstone_count() const noexcept { return m_tombstones.size(); }
    /// Of the ids and epochs of the live members, whatever the order in which they came.
    std::uint64_t digest() const noexcept { return m_digest; }
    /// Grows with every change of any entry, its load excepted.
    std::uint64_t number() const noexcept { return m_number; }

    /// Enters or replaces. A live newcomer gets a random place in the probe order. `m` may be without description only
    /// when it is dead or left; an entry keeps the description, the load and the marks it has.
    void put(time_point now, const member& m, random_source& random);
    /// Same record, other state.
    void set_state(time_point now, peer_id id, member_state state, random_source& random);
    /// No more retries of a dead one: somebody else lives at its address, or it said goodbye after all.
    void give_up(peer_id id);
    /// Forgets the tombstone that is oldest.
    void bury_oldest();
    /// Forgets tombstones from before `limit`.
    void bury_before(time_point limit);
    /// Forgets all that died, as if they had never been; who left stays so.
    void forget_dead();
    /// False: it was marked so already, or is unknown.
    bool mark_flaky(peer_id id, bool on) { return mark(id, member::flaky_flag, on); }
    bool mark_unreachable(peer_id id, bool on) { return mark(id, member::unreachable_flag, on); }
    /// False: unknown, or not newer than what is known. Versions count up and wrap round. Does not count as a change.
    bool set_load(peer_id id, load now, std::uint16_t version);

    /// Round robin over live members, shuffled anew each round (SWIM, section 4.3: bounds the time to the first probe).
    peer_id next_to_probe(random_source& random);
    /// The live member that follows this peer on the ring of ids: each member is some other's, so each is probed regularly,
    /// not only when chance has it (Rapid's monitoring edges, with one ring). Null id: nobody is there.
    peer_id successor() const noexcept;
    /// Up to `count` different live members chosen at random, none of them `except`.
    std::vector<peer_id> pick(std::size_t count, peer_id except, random_source& random) const;
    /// A dead member worth retrying, at random; null id: none.
    peer_id pick_dead(random_source& random) const;
    /// One that died after `since`, at random among the newest few.
    peer_id pick_recently_dead(time_point since, random_source& random) const;
    std::size_t retry_count() const noexcept { return m_retry.size(); }
    /// How many of them died after `since`.
    std::size_t died_since(time_point since) const noexcept;

    /// What a member contributes to the digest.
    static std::uint64_t digest_of(const member& m) noexcept;

private:
    static constexpr std::uint32_t none = detail::row_index::none;

    std::uint32_t slot_of(peer_id id) const noexcept;
    std::uint32_t slot_at(const endpoint& address) const noexcept;
    void set_address_owner(std::uint32_t slot);
    void drop_address(std::uint32_t slot);
    bool mark(peer_id id, std::uint8_t flag, bool on);
    void enter(std::uint32_t slot, random_source& random);
    void take_out(std::uint32_t slot);
    void erase(std::uint32_t slot);
    void swap_in_order(std::size_t a, std::size_t b);

    peer_id m_self;
    std::vector<row> m_rows;
    detail::row_index m_by_id;
    detail::row_index m_by_address;      // of live members; the newest owner
    std::vector<std::uint32_t> m_order;  // slots of live members, in probe order
    std::size_t m_cursor = 0;
    std::vector<std::uint32_t> m_retry;  // slots of dead members worth retrying
    std::set<std::pair<time_point, peer_id>> m_tombstones;
    mutable peer_id m_successor;  // null: to be looked for
    std::uint64_t m_digest = 0;
    std::uint64_t m_number = 0;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/table.ipp>
#endif
