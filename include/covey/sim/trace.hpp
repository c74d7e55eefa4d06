// What happened in a simulation: a hash over everything, and the last events in words for the report of a failure.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/hash.hpp>
#include <covey/core/time.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace covey::sim {

/// A host of a simulation: 0 is the one that was added first.
using host_index = std::uint32_t;

/// "No host": an event of the network or of the test itself.
inline constexpr host_index no_host = ~host_index{0};

/// What a traced event was.
enum class trace_kind : std::uint8_t {
    work,              ///< a coroutine was resumed
    timer,             ///< a timer fired
    action,            ///< a `call_after` ran
    datagram,          ///< delivered; value: bytes
    datagram_lost,     ///< lost on the way, cut off, or nobody listened; value: bytes
    stream_read,       ///< a stream handler got bytes; value: how many
    stream_writable,   ///< a stream handler was told of room
    stream_closed,     ///< a stream handler got its last call; value: the error
    stream_connected,  ///< a connect succeeded
    stream_refused,    ///< a connect failed; value: the error
    stream_accepted,   ///< a listener got a connection
    host_added,
    host_killed,
    host_restarted,
    host_paused,  ///< value: nanoseconds
    log,          ///< a line that a host logged
};

std::string_view to_string(trace_kind kind) noexcept;

/// Hash of a message's contents: eight bytes a step, because every datagram of a simulation passes here.
std::uint64_t content_hash(bytes_view bytes) noexcept;

/// Hash and ring. Two runs with the same seed must end with equal hashes; where they do not, something in the program
/// depends on an address, on an unordered container, or on the machine's clock. One thread.
class event_trace {
public:
    /// Keeps the last `kept_max` events in words; 0 keeps none.
    explicit event_trace(std::size_t kept_max = 256) : m_kept_max(kept_max) {}

    void add(time_point when, host_index host, trace_kind kind, std::uint64_t value = 0, std::uint64_t contents = 0,
             std::string_view text = {});

    std::uint64_t hash() const noexcept { return m_hash; }
    /// How many events were added so far.
    std::uint64_t count() const noexcept { return m_count; }
    /// The last `lines` events that are kept, oldest first, one a line.
    std::string tail(std::size_t lines = 64) const;

private:
    struct entry {
        time_point when;
        std::uint64_t value = 0;
        host_index host = no_host;
        trace_kind kind{};
        std::string text;
    };

    std::size_t m_kept_max;
    std::vector<entry> m_kept;  // a ring once it is full: the next one overwrites m_count % m_kept_max
    std::uint64_t m_hash = 0;
    std::uint64_t m_count = 0;
};

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/trace.ipp>
#endif
