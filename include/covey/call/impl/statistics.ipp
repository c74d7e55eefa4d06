#pragma once

#include <covey/call/statistics.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace covey {

namespace detail {

// 2^8 ns to 2^40 ns in steps of an eighth.
inline constexpr unsigned latency_first_bit = 8;
inline constexpr unsigned latency_doublings = 32;
static_assert(latency_histogram::size == 8 * latency_doublings + 2);

}  // namespace detail

COVEY_INLINE std::size_t latency_histogram::bucket_of(duration took) noexcept {
    if (took.count() < (std::int64_t{1} << detail::latency_first_bit)) return 0;
    const auto ns = static_cast<std::uint64_t>(took.count());
    const auto doubling = static_cast<unsigned>(std::bit_width(ns)) - 1 - detail::latency_first_bit;
    if (doubling >= detail::latency_doublings) return size - 1;
    const std::uint64_t eighth = (ns >> (doubling + detail::latency_first_bit - 3)) & 7;
    return 1 + std::size_t{8} * doubling + static_cast<std::size_t>(eighth);
}

COVEY_INLINE duration latency_histogram::end_of(std::size_t bucket) noexcept {
    if (bucket >= size - 1) return never.time_since_epoch();
    return duration((8 + static_cast<std::int64_t>(bucket % 8)) << (bucket / 8 + detail::latency_first_bit - 3));
}

COVEY_INLINE std::uint64_t latency_histogram::count() const noexcept {
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

COVEY_INLINE std::uint64_t call_counts::calls() const noexcept { return std::accumulate(ends.begin(), ends.end(), std::uint64_t{0}); }

COVEY_INLINE duration latency_histogram::quantile(double part) const noexcept {
    const auto wanted = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(count()))));
    std::uint64_t so_far = 0;
    for (std::size_t i = 0; i < size; ++i) {
        so_far += counts[i];
        if (so_far >= wanted) return std::min(end_of(i), longest());
    }
    return longest();
}

COVEY_INLINE const function_statistics* call_statistics::find(std::string_view name) const noexcept {
    const auto at = std::find_if(functions.begin(), functions.end(), [name](const function_statistics& f) { return f.name == name; });
    return at != functions.end() ? &*at : nullptr;
}

}  // namespace covey
