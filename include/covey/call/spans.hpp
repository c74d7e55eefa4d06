// What a peer remembers of traced calls, one span for each side of a call.
#pragma once

#include <covey/call/trace.hpp>
#include <covey/core/id.hpp>
#include <covey/core/time.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace covey {

/// Which side of a call a span is.
enum class span_kind : std::uint8_t {
    made = 1,    ///< from the await until the answer was read
    served = 2,  ///< from the read until the answer was handed to the link
    local = 3,   ///< a call of a peer to itself
};

/// One piece of a trace.
struct call_span {
    trace_context context;
    std::uint64_t parent = 0;  ///< 0: none that is known
    span_kind kind{};
    std::uint8_t how = 0;       ///< it ended: a place of call_counts::ends
    std::uint8_t worker = 0;    ///< number of the thread that made it or read it
    peer_id other;              ///< who served it, or who called
    std::int64_t begin_ns = 0;  ///< on the clock of the peer's environment
    std::int64_t end_ns = 0;
    std::string function;
};

/// What one peer has kept.
struct span_list {
    peer_id peer;
    std::string name;
    std::vector<call_span> spans;
    std::uint64_t dropped = 0;  ///< for which there was no room
};

}  // namespace covey
