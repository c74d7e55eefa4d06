// The recursions, each written for covey's ordinary tasks and for tbb::task_group, with no cut-off: every call is a task. Each has a
// file of its own, so that none uses up what a compiler is ready to inline; on both sides the function is declared inline, as in a header.
#pragma once

#include "trees.hpp"

#include <covey/task/task.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace recursions {

// ---- fib.cpp

covey::task<long> covey_fib(int n);
/// As covey does it: both calls are tasks.
long tbb_fib(int n);
/// Half as many tasks: one of the calls is an ordinary one.
long tbb_fib_half(int n);

// ---- queens.cpp

/// What the queens above a row forbid there.
struct attacked {
    unsigned columns = 0;
    unsigned left = 0;
    unsigned right = 0;

    attacked below(unsigned queen) const noexcept { return {columns | queen, (left | queen) << 1, (right | queen) >> 1}; }
    unsigned free(unsigned all) const noexcept { return all & ~(columns | left | right); }
};

covey::task<int> covey_queens(attacked by, unsigned all);
int tbb_queens(attacked by, unsigned all);

// ---- boards.cpp

inline constexpr int queens_max = 16;
using board = std::array<signed char, queens_max>;

/// How many boards there are with 0, 1, … rows: the number of tasks.
std::int64_t count_boards(const board& b, int row, int size);
covey::task<int> covey_boards(board b, int row, int size);
int tbb_boards(board b, int row, int size);

// ---- skynet.cpp

covey::task<std::int64_t> covey_skynet(std::int64_t first, std::int64_t size);
std::int64_t tbb_skynet(std::int64_t first, std::int64_t size);

// ---- uts.cpp

covey::task<uts::counts> covey_walk(const uts::tree& t, uts::node n);
uts::counts tbb_walk(const uts::tree& t, uts::node n);

// ---- matmul.cpp

/// A square part of a larger matrix.
struct square {
    double* first;
    std::size_t size;
    std::size_t row;  // elements from one row to the next

    square quarter(std::size_t down, std::size_t right) const noexcept {
        return {first + (down * row + right) * (size / 2), size / 2, row};
    }
};

/// c += a * b, in parts down to `leaf` elements a side.
covey::task<void> covey_multiply(square a, square b, square c, std::size_t leaf);
void tbb_multiply(square a, square b, square c, std::size_t leaf);

}  // namespace recursions
