// skynet: a tree of ten children each; the leaves give their numbers, the others sums.
#include "recursions.hpp"

#include <covey/task/when_all.hpp>

#include <tbb/task_group.h>

#include <array>
#include <cstddef>
#include <numeric>
#include <tuple>
#include <utility>

namespace recursions {

namespace {

inline covey::task<std::int64_t> ours(std::int64_t first, std::int64_t size);

template <std::size_t... I>
auto parts(std::int64_t first, std::int64_t part, std::index_sequence<I...>) {
    return covey::when_all(ours(first + static_cast<std::int64_t>(I) * part, part)...);
}

inline covey::task<std::int64_t> ours(std::int64_t first, std::int64_t size) {
    if (size == 1) co_return first;
    const auto sums = co_await parts(first, size / 10, std::make_index_sequence<10>());
    co_return std::apply([](auto... sum) { return (sum + ...); }, sums);
}

inline std::int64_t theirs(std::int64_t first, std::int64_t size) {
    if (size == 1) return first;
    std::array<std::int64_t, 10> sums;
    const std::int64_t part = size / 10;
    tbb::task_group group;
    for (std::size_t i = 0; i < 10; ++i) {
        group.run([&sums, first, part, i] { sums[i] = theirs(first + static_cast<std::int64_t>(i) * part, part); });
    }
    group.wait();
    return std::accumulate(sums.begin(), sums.end(), std::int64_t{0});
}

}  // namespace

covey::task<std::int64_t> covey_skynet(std::int64_t first, std::int64_t size) { return ours(first, size); }
std::int64_t tbb_skynet(std::int64_t first, std::int64_t size) { return theirs(first, size); }

}  // namespace recursions
