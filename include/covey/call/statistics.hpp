// What became of a peer's calls: how many, how they ended, how long they took.
#pragma once

#include <covey/core/error.hpp>
#include <covey/core/time.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace covey {

/// How often something took how long: eight buckets for each doubling from 256 ns to 2^40 ns (18 minutes), and one below and one
/// above.
struct latency_histogram {
    static constexpr std::size_t size = 258;

    std::array<std::uint64_t, size> counts{};
    std::int64_t longest_ns = 0;

    /// Where a time is counted.
    static std::size_t bucket_of(duration took) noexcept;
    /// The shortest time that is too long for a bucket; of the last one, `never`'s.
    static duration end_of(std::size_t bucket) noexcept;

    std::uint64_t count() const noexcept;
    /// So many of all took at most this long: 0.5 for the median, 0.99. At most an eighth too long; zero when nothing was counted.
    duration quantile(double part) const noexcept;
    duration longest() const noexcept { return duration(longest_ns); }
};

/// Calls of one function in one direction that have ended.
struct call_counts {
    /// Places of `ends`: a value, the errors by their errc, and the two ways that are none.
    static constexpr std::size_t value = 0;
    static constexpr std::size_t exception = static_cast<std::size_t>(errc::bad_argument) + 1;  ///< that the function threw
    static constexpr std::size_t stopped = exception + 1;                                       ///< asked to stop, and did
    static constexpr std::size_t ways_to_end = stopped + 1;

    std::array<std::uint64_t, ways_to_end> ends{};
    std::uint64_t bytes_out = 0;  ///< of their frames, written by this peer
    std::uint64_t bytes_in = 0;
    /// While eight or more calls are under way, every eighth is timed and counts eight times here.
    latency_histogram latency;

    std::uint64_t calls() const noexcept;
    std::uint64_t values() const noexcept { return ends[value]; }
    std::uint64_t exceptions() const noexcept { return ends[exception]; }
    std::uint64_t stops() const noexcept { return ends[stopped]; }
    std::uint64_t errors(errc code) const noexcept { return ends[static_cast<std::size_t>(code)]; }
};

/// Of one entry of the function table. See call/README.md for what counts when.
struct function_statistics {
    std::string name;  ///< as readable_name() of the entry
    call_counts made;
    call_counts served;
};

/// Of a peer since it began. Numbers of different functions need not be of the same moment.
struct call_statistics {
    /// Functions that were called or served, in the order of the table.
    std::vector<function_statistics> functions;
    /// Calls of others that named no function of this program, or one of other types; by errc.
    std::array<std::uint64_t, call_counts::exception> refused{};

    /// Null: no such function was called or served. The name as `functions` has it.
    const function_statistics* find(std::string_view name) const noexcept;
};

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/call/impl/statistics.ipp>
#endif
