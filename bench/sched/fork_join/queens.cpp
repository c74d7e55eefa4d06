// n-queens with bit masks: hardly anything but forks of a number known only at run time.
// M. Richards, "Backtracking Algorithms in MCPL using Bit Patterns and Recursion", 1997.
#include "recursions.hpp"

#include <covey/task/when_all.hpp>

#include <tbb/task_group.h>

#include <array>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace recursions {

namespace {

inline covey::task<int> ours(attacked by, unsigned all) {
    if (by.columns == all) co_return 1;
    std::vector<covey::task<int>> next;
    next.reserve(queens_max);
    for (unsigned free = by.free(all); free != 0; free &= free - 1) next.push_back(ours(by.below(free & (0 - free)), all));
    const std::vector<int> found = co_await covey::when_all(std::move(next));
    co_return std::accumulate(found.begin(), found.end(), 0);
}

inline int theirs(attacked by, unsigned all) {
    if (by.columns == all) return 1;
    std::array<int, 32> found;
    std::size_t count = 0;
    tbb::task_group group;
    for (unsigned free = by.free(all); free != 0; free &= free - 1) {
        group.run([next = by.below(free & (0 - free)), all, &result = found[count++]] { result = theirs(next, all); });
    }
    group.wait();
    return std::accumulate(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), 0);
}

}  // namespace

covey::task<int> covey_queens(attacked by, unsigned all) { return ours(by, all); }
int tbb_queens(attacked by, unsigned all) { return theirs(by, all); }

}  // namespace recursions
