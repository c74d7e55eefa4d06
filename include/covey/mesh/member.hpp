// A peer as the membership sees it, and what happens to it.
#pragma once

#include <covey/mesh/load.hpp>
#include <covey/mesh/member_info.hpp>
#include <covey/mesh/record.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace covey::mesh {

/// Values are part of the wire format: never renumber.
enum class member_state : std::uint8_t {
    alive = 0,
    suspect = 1,  ///< did not answer; it is still a member and may clear itself
    dead = 2,     ///< final for this epoch; a peer that was wrongly declared dead comes back under the next one
    left = 3,     ///< said goodbye; final for this epoch
};

std::string_view to_string(member_state state) noexcept;

/// A peer as the membership knows it: a value of 40 bytes, a copy of what was true when it was taken. Copies share the description.
class member {
public:
    member() = default;
    /// Throws errc::bad_argument for a description that no member can have.
    explicit member(const member_info& info, member_state state = member_state::alive)
        : member(info.id, info.epoch, info.incarnation, std::make_shared<const record>(info), state) {}
    /// `what` may be null for one that is known by hearsay only.
    member(peer_id id, epoch_t epoch, std::uint32_t incarnation, record_ptr what, member_state state, mesh::load load = {},
           bool is_flaky = false, bool is_unreachable = false) noexcept
        : m_record(std::move(what)),
          m_id(id),
          m_epoch(epoch),
          m_incarnation(incarnation),
          m_load(load.packed()),
          m_state(state),
          m_flags(static_cast<std::uint8_t>((is_flaky ? flaky_flag : 0) | (is_unreachable ? unreachable_flag : 0))) {}

    peer_id id() const noexcept { return m_id; }
    epoch_t epoch() const noexcept { return m_epoch; }
    std::uint32_t incarnation() const noexcept { return m_incarnation; }
    member_state state() const noexcept { return m_state; }

    /// False for a dead or departed one of which no more is known: then what follows here is empty.
    bool is_described() const noexcept { return m_record != nullptr; }
    const endpoint& address() const noexcept { return what().address; }
    /// Where large transfers go.
    const endpoint& bulk_address() const noexcept { return what().bulk.port != 0 ? what().bulk : what().address; }
    bool has_fabric() const noexcept { return what().has_fabric; }
    const std::string& name() const noexcept { return what().name; }
    member_role role() const noexcept { return what().role; }
    std::uint64_t build_hash() const noexcept { return what().build_hash; }
    std::uint64_t table_digest() const noexcept { return what().table_digest; }
    std::uint16_t threads() const noexcept { return what().threads; }
    std::uint32_t memory_mib() const noexcept { return what().memory_mib; }
    std::uint16_t gpus() const noexcept { return what().gpus; }
    const std::vector<std::pair<std::string, std::uint32_t>>& resources() const noexcept { return what().resources; }
    const std::vector<std::pair<std::string, std::string>>& labels() const noexcept { return what().labels; }
    /// Its label of that name, or none; good as long as this member, or a copy of it.
    std::optional<std::string_view> label(std::string_view name) const noexcept;
    /// How many it has of a custom resource; 0 also when it has said nothing of it.
    std::uint32_t resource(std::string_view name) const noexcept;
    const description& what() const noexcept;
    const record_ptr& shared_record() const noexcept { return m_record; }

    /// Alive or suspect: messages still go there.
    bool is_live() const noexcept { return m_state == member_state::alive || m_state == member_state::suspect; }
    /// It keeps going away and coming back, as this peer sees it: no placement and no names for now.
    bool is_flaky() const noexcept { return (m_flags & flaky_flag) != 0; }
    /// It lives, others say, but datagrams between it and this peer do not pass.
    bool is_unreachable() const noexcept { return (m_flags & unreachable_flag) != 0; }
    /// What it last said about itself.
    mesh::load load() const noexcept { return mesh::load::unpack(m_load); }

    friend bool operator==(const member& a, const member& b) noexcept {
        return a.m_id == b.m_id && a.m_epoch == b.m_epoch && a.m_incarnation == b.m_incarnation && a.m_state == b.m_state &&
               (a.m_record == b.m_record || a.what() == b.what());
    }

private:
    friend class table;
    static constexpr std::uint8_t flaky_flag = 1, unreachable_flag = 2;

    record_ptr m_record;
    peer_id m_id;
    epoch_t m_epoch = 1;
    std::uint32_t m_incarnation = 0;
    std::uint16_t m_load = 0;
    member_state m_state = member_state::alive;
    std::uint8_t m_flags = 0;
};

/// A change that the membership of this peer went through.
struct membership_event {
    enum class what : std::uint8_t {
        joined,               ///< a peer that was not a member
        suspected,            ///< it does not answer; it has the suspicion time to clear itself
        alive_again,          ///< it cleared itself, or it can be reached again
        dead,                 ///< final for the epoch in `subject`: pending calls to it can end now
        left,                 ///< it said goodbye; final for the epoch in `subject`
        rejoined,             ///< back under a higher epoch; what was sent to earlier ones is void. When `subject` is this peer
                              ///< itself: it learned that it had been declared dead, and goes on under the epoch in `subject`;
                              ///< what it held dead in its former life is open again
        unreachable,          ///< a warning: it lives, but answers this peer on streams only
        flaky,                ///< it keeps going away and coming back: no placement and no names for now
        steady,               ///< it stopped that
        partition_suspected,  ///< many died in a short time, without a word: perhaps the network is cut. `subject` is this peer
        healed,               ///< they are back. `subject` is this peer
        updated,              ///< a live member says something else of itself: labels, resources, function table
        missed,               ///< of a stream of changes only (changes.hpp): some are missing here
    };
    what kind{};
    member subject;
    /// Of the first view that shows the change: a view shows exactly the changes up to its own number.
    std::uint64_t number = 0;
};

std::string_view to_string(membership_event::what kind) noexcept;

}  // namespace covey::mesh

namespace covey {
using mesh::member;
using mesh::member_state;
using mesh::membership_event;
}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/member.ipp>
#endif
