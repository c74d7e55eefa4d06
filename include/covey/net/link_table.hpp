// All links of one peer: it listens, dials, shares what exists, and does not hammer on closed doors.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/core/function.hpp>
#include <covey/net/key.hpp>
#include <covey/net/link.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace covey::net {

/// What a link is wanted for. Those for calls stay; those for the membership, which talks to many and to each of them seldom, are
/// closed when they are quiet.
enum class link_use : bool { calls, membership };

/// Bounds of a link_table, and what happens at each.
struct link_limits {
    std::size_t links_max = 4096;      ///< links of all states; above: connections and dials are refused (errc::overloaded)
    std::size_t handshakes_max = 128;  ///< accepted connections that have not introduced themselves; above: the oldest is closed
    std::size_t waiting_max = 4096;    ///< callers of `connect` that wait; above: errc::overloaded
    std::size_t failures_max = 1024;   ///< endpoints whose last dial failed that are remembered; above: the oldest is forgotten
    duration backoff_min = std::chrono::milliseconds(50);  ///< an endpoint is not dialled again before this, doubled each time,
    duration backoff_max = std::chrono::seconds(2);        ///< at most this; jittered to between half and the whole
    duration retire_after = std::chrono::seconds(10);      ///< a second link to the same peer is closed when unused for so long,
                                                           ///< and one for the membership, unless it is the newest we made
};

/// What a link_table has counted since its start.
struct link_table_statistics {
    std::size_t links = 0;       ///< up now
    std::size_t handshakes = 0;  ///< accepted and not yet up or down
    std::uint64_t dials = 0;
    std::uint64_t dial_failures = 0;
    std::uint64_t accepted = 0;
    std::vector<std::pair<errc, std::uint64_t>> rejections;  ///< connections that never came up, by reason; either side's
};

/// Thread-safe. The environment and the events must outlive the table. The environment must also outlive the last link, that
/// is, the moment when its sockets have let go of their handlers: with an asio_environment, destroy the pool before it.
class link_table {
public:
    using connected = unique_function<void(std::shared_ptr<link>, std::error_code, std::string)>;

    /// `self` is what this peer says about itself; when its address has no port, `listen` fills it in. With a key every link
    /// is encrypted and both sides must hold it. Throws errc::bad_argument for a `self` that cannot be sent.
    link_table(environment& env, const link_config& config, hello self, const std::optional<cluster_key>& key, link_events& events,
               const link_limits& limits = {});
    link_table(const link_table&) = delete;
    link_table& operator=(const link_table&) = delete;
    /// As `close`.
    ~link_table();

    /// Listens and returns the bound address. Throws errc::insecure_bind for an address other than loopback without a key,
    /// errc::address_in_use, errc::bad_address.
    endpoint listen(const endpoint& local);

    /// Finds or makes a link to the peer that listens on `to`; `expected`: which one it must be, none: anybody. A live link is
    /// reused, a dial under way to the same endpoint is joined (and ends when that dial ends). `done` is called exactly once,
    /// perhaps inside this call, with no lock held: with a link that is up, or with an error and one line that says which
    /// endpoint, what happened and what to do. errc::unreachable: nobody there; nothing was sent. An endpoint that has just
    /// failed fails again at once until its backoff is over, or `heard_of` was called. A link that was made for the membership is not
    /// used for calls, though one for calls is for the membership.
    void connect(const endpoint& to, peer_id expected, duration timeout, connected done, link_use use = link_use::calls);

    /// The link to use for calls to a peer; nullptr: there is none. Both sides prefer the one that the lower peer id initiated.
    std::shared_ptr<link> find(peer_id peer) const;
    /// All links that are up, ordered by peer.
    std::vector<std::shared_ptr<link>> links() const;

    /// Whoever listens there lives, says the membership: that it could not be reached before is forgotten, and a dial under way,
    /// whose packets a cut may have swallowed, is made once more, with the same timeout, should it reach nobody.
    void heard_of(const endpoint& to);
    /// The membership declared `peer` dead: closes its links at once and fails the callers that wait for it.
    void drop(peer_id peer, errc why, const std::string& text);
    /// Links made from now on introduce this peer under this epoch.
    void set_epoch(epoch_t epoch);
    /// Links made from now on prove the first of these keys and accept any; those that are up stay. For a table made with a key;
    /// throws as tls_context's constructor, and then nothing has changed.
    void set_keys(std::span<const cluster_key> keys);
    /// Closes every link with a goodbye (errc::shut_down) and what waits to be sent before it. The table goes on working.
    void close_all(const std::string& text);
    /// Stops listening, fails whoever waits, reports every link down and closes it without waiting. Idempotent. No event comes
    /// afterwards: it waits for those under way on other threads, except when it is called from inside an event.
    void close();

    link_table_statistics statistics() const;

private:
    class core;

    std::shared_ptr<core> m_core;
};

}  // namespace covey::net

#ifndef COVEY_COMPILED
#include <covey/net/impl/link_table.ipp>
#include <covey/net/impl/link_table_dial.ipp>
#endif
