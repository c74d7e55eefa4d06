// n-queens with boards, as it is most often written: a task for each queen that can stand, with a copy of the board. Looking
// where a queen can stand takes longer here than a task does.
#include "recursions.hpp"

#include <covey/task/when_all.hpp>

#include <tbb/task_group.h>

#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace recursions {

namespace {

/// Whether a queen may stand in column `column` of row `row`.
bool may_stand(const board& b, int row, int column) {
    for (int i = 0; i < row; ++i) {
        const int other = b[static_cast<std::size_t>(i)];
        if (other == column || other - column == row - i || column - other == row - i) return false;
    }
    return true;
}

inline covey::task<int> ours(board b, int row, int size) {
    if (row == size) co_return 1;
    std::vector<covey::task<int>> next;
    next.reserve(static_cast<std::size_t>(size));
    for (int column = 0; column < size; ++column) {
        if (!may_stand(b, row, column)) continue;
        b[static_cast<std::size_t>(row)] = static_cast<signed char>(column);
        next.push_back(ours(b, row + 1, size));
    }
    const std::vector<int> found = co_await covey::when_all(std::move(next));
    co_return std::accumulate(found.begin(), found.end(), 0);
}

inline int theirs(board b, int row, int size) {
    if (row == size) return 1;
    std::array<int, queens_max> found{};
    tbb::task_group group;
    for (int column = 0; column < size; ++column) {
        if (!may_stand(b, row, column)) continue;
        b[static_cast<std::size_t>(row)] = static_cast<signed char>(column);
        group.run([b, row, size, &result = found[static_cast<std::size_t>(column)]] { result = theirs(b, row + 1, size); });
    }
    group.wait();
    return std::accumulate(found.begin(), found.end(), 0);
}

}  // namespace

std::int64_t count_boards(const board& b, int row, int size) {
    std::int64_t result = 1;
    if (row == size) return result;
    for (int column = 0; column < size; ++column) {
        if (!may_stand(b, row, column)) continue;
        board next = b;
        next[static_cast<std::size_t>(row)] = static_cast<signed char>(column);
        result += count_boards(next, row + 1, size);
    }
    return result;
}

covey::task<int> covey_boards(board b, int row, int size) { return ours(b, row, size); }
int tbb_boards(board b, int row, int size) { return theirs(b, row, size); }

}  // namespace recursions
