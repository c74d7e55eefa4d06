// How a call is made: deadline, retries, target.
#pragma once

#include <covey/core/id.hpp>
#include <covey/core/time.hpp>

#include <type_traits>

namespace covey {

/// Options of one call: `remote({.deadline = 2s, .retries = 3}, f, args...)`. Members that are left out keep their
/// defaults. Trivially destructible on purpose: GCC 12 destroys other braced temporaries in a co_await expression twice.
struct call_options {
    /// For the whole call, retries included; zero: none of its own. A deadline of the calling coroutine counts as well.
    duration deadline{};
    /// How often the call is made again after unreachable, unknown_peer, peer_lost, link_lost or overloaded, on another peer unless one
    /// was named. The function may then run more than once. A call that surely did not run (`unreachable`, no target named)
    /// is always tried again elsewhere, up to 3 times.
    int retries = 0;
    /// The peer to run on; none: the library chooses.
    peer_id target{};
    /// The function runs at most once, however often the call is made again: attempts that may have run are repeated on the same peer
    /// only, which gives the answer of the first. Not repeated later than 5 minutes after the first.
    bool at_most_once = false;
};
static_assert(std::is_trivially_destructible_v<call_options>);

/// `remote(on(id), f, args...)`: run on that peer.
constexpr call_options on(peer_id id) noexcept {
    call_options options;
    options.target = id;
    return options;
}

/// `remote(on(id, {.deadline = 2s}), f, args...)`.
constexpr call_options on(peer_id id, call_options options) noexcept {
    options.target = id;
    return options;
}

}  // namespace covey
