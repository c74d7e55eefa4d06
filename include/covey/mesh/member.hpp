// What one peer tells the others about itself, and how the membership sees it.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/endpoint.hpp>
#include <covey/core/id.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace covey::mesh {

/// Values are part of the wire format: never renumber.
enum class member_state : std::uint8_t {
    alive = 0,
    suspect = 1,  ///< did not answer; it is still a member and may clear itself
    dead = 2,     ///< final for this epoch; a peer that was wrongly declared dead comes back under the next one
    left = 3,     ///< said goodbye; final for this epoch
};

/// Values are part of the wire format: never renumber.
enum class member_role : std::uint8_t {
    main = 0,      ///< runs the main coroutine of a job
    serve = 1,     ///< runs what others send
    observer = 2,  ///< only looks (a list command): never gossiped, in nobody's table
};

std::string_view to_string(member_state state) noexcept;
std::string_view to_string(member_role role) noexcept;

/// What a peer says about itself. Identity is (id, epoch); within an epoch the record with the higher incarnation wins,
/// and only the peer itself raises it.
struct member_info {
    peer_id id;
    epoch_t epoch = 1;
    std::uint32_t incarnation = 0;
    endpoint address;  ///< one port number serves UDP (gossip) and TCP (links)
    std::string name;  ///< for people: at most name_bytes_max bytes, no control characters; need not be unique
    member_role role = member_role::serve;
    std::uint64_t build_hash = 0;    ///< which program
    std::uint64_t table_digest = 0;  ///< which function table
    std::uint16_t threads = 1;

    static constexpr std::size_t name_bytes_max = 64;

    friend bool operator==(const member_info&, const member_info&) = default;
};

/// A peer as the membership knows it: a value, a copy of what was true when it was taken.
class member {
public:
    member() = default;
    explicit member(member_info info, member_state state = member_state::alive) : m_info(std::move(info)), m_state(state) {}

    peer_id id() const noexcept { return m_info.id; }
    epoch_t epoch() const noexcept { return m_info.epoch; }
    std::uint32_t incarnation() const noexcept { return m_info.incarnation; }
    const endpoint& address() const noexcept { return m_info.address; }
    const std::string& name() const noexcept { return m_info.name; }
    member_role role() const noexcept { return m_info.role; }
    std::uint64_t build_hash() const noexcept { return m_info.build_hash; }
    std::uint64_t table_digest() const noexcept { return m_info.table_digest; }
    std::uint16_t threads() const noexcept { return m_info.threads; }
    member_state state() const noexcept { return m_state; }
    const member_info& info() const noexcept { return m_info; }

    /// Alive or suspect: messages still go there.
    bool is_live() const noexcept { return m_state == member_state::alive || m_state == member_state::suspect; }

    /// An encoded member is at most this long.
    static constexpr std::size_t encoded_bytes_max = 512;
    void write(byte_writer& out) const;
    /// Throws `error{errc::bad_message}` for anything that `write` would not have written of a valid member.
    static member read(byte_reader& in);

    friend bool operator==(const member&, const member&) = default;

private:
    friend class table;
    member_info m_info;
    member_state m_state = member_state::alive;
};

/// Why a record cannot be a member's (null id, address without port, a name with control characters, ...), or nullptr.
const char* fault(const member_info& info) noexcept;

/// A change that the membership of this peer went through.
struct membership_event {
    enum class what : std::uint8_t {
        joined,       ///< a peer that was not a member
        suspected,    ///< it does not answer; it has the suspicion time to clear itself
        alive_again,  ///< it cleared itself
        dead,         ///< final for the epoch in `subject`: pending calls to it can end now
        left,         ///< it said goodbye; final for the epoch in `subject`
        rejoined,     ///< back under a higher epoch; what was sent to earlier ones is void. When `subject` is this peer
                      ///< itself: it learned that it had been declared dead, and goes on under the epoch in `subject`
    };
    what kind{};
    member subject;
};

std::string_view to_string(membership_event::what kind) noexcept;

}  // namespace covey::mesh

namespace covey {
using mesh::member;
using mesh::member_role;
using mesh::member_state;
using mesh::membership_event;
}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/member.ipp>
#endif
