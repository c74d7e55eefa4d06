// What a peer keeps about its calls.
#pragma once

#include <covey/call/detail/counters.hpp>
#include <covey/call/detail/serving_count.hpp>

namespace covey::detail {

/// Shared by the peer's channels, so that a call that ends last may still touch it. Thread-safe.
struct call_records {
    serving_count serving;
    call_counters counters;
};

}  // namespace covey::detail
