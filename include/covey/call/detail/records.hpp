// What a peer keeps about its calls.
#pragma once

#include <covey/call/detail/counters.hpp>
#include <covey/call/detail/once_table.hpp>
#include <covey/call/detail/serving_count.hpp>
#include <covey/call/detail/span_log.hpp>

#include <memory>

namespace covey::detail {

/// Shared by the peer's channels, so that a call that ends last may still touch it. Thread-safe.
struct call_records {
    serving_count serving;
    call_counters counters;
    once_table once;
    std::unique_ptr<span_log> spans;  ///< null: none are kept; set before the first call

    /// The span of a call within another; without one, the first of a trace if spans are kept, else none.
    trace_context span_within(const trace_context* parent, scheduler& random) const noexcept {
        if (parent != nullptr) return parent->child(random);
        return spans != nullptr ? trace_context{.flags = trace_context::sampled}.child(random) : trace_context{};
    }
    bool keeps(const trace_context& span) const noexcept { return spans != nullptr && span.is_sampled(); }
};

}  // namespace covey::detail
