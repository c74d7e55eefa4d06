// Spans of one or more peers as a trace that people can look at.
#pragma once

#include <covey/call/spans.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace covey {

/// What to add to the times of each list so that they are on the clock of the first one, in nanoseconds. Of each two peers that
/// called each other the call that spent the least time on its way counts, as in NTP (RFC 5905, section 8): half of that time is
/// what the result may be wrong by. A list that no call connects with the first one gets zero.
std::vector<std::int64_t> clock_offsets(std::span<const span_list> peers);

/// A JSON array in the Trace Event Format, which Perfetto (https://ui.perfetto.dev) and chrome://tracing open: a process for each
/// list, threads for each of its workers, as many as have spans at the same time, a slice for each span, an arrow for each call to
/// another peer. Times are in microseconds on the clock of the first list.
std::string chrome_trace(std::span<const span_list> peers);

/// The same into a file. If there is one it is added to, so that the processes of one machine, whose clocks are one, can share a
/// file; a lock keeps them apart. Throws errc::bad_argument for a file that cannot be written or is no such trace.
void append_chrome_trace(const std::string& path, std::span<const span_list> peers);

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/call/impl/chrome_trace.ipp>
#endif
