// The recursions of fork_join.cpp, each written for covey's ordinary tasks and for tbb::task_group, with no cut-off: every call is a
// task.
#pragma once

#include "uts.hpp"

#include <covey/task/task.hpp>
#include <covey/task/when_all.hpp>

#include <tbb/task_group.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

namespace recursions {

// ---- fib: nothing but forks

inline long serial_fib(int n) { return n < 2 ? n : serial_fib(n - 1) + serial_fib(n - 2); }

inline covey::task<long> covey_fib(int n) {
    if (n < 2) co_return n;
    const auto [a, b] = co_await covey::when_all(covey_fib(n - 1), covey_fib(n - 2));
    co_return a + b;
}

/// As covey does it: both calls are tasks.
inline long tbb_fib(int n) {
    if (n < 2) return n;
    long a = 0;
    long b = 0;
    tbb::task_group group;
    group.run([&a, n] { a = tbb_fib(n - 1); });
    group.run([&b, n] { b = tbb_fib(n - 2); });
    group.wait();
    return a + b;
}

/// Half as many tasks: one of the calls is an ordinary one.
inline long tbb_fib_half(int n) {
    if (n < 2) return n;
    long a = 0;
    tbb::task_group group;
    group.run([&a, n] { a = tbb_fib_half(n - 1); });
    const long b = tbb_fib_half(n - 2);
    group.wait();
    return a + b;
}

// ---- n-queens with bit masks: hardly anything but forks of a number known only at run time
// M. Richards, "Backtracking Algorithms in MCPL using Bit Patterns and Recursion", 1997.

/// What the queens above a row forbid there.
struct attacked {
    unsigned columns = 0;
    unsigned left = 0;
    unsigned right = 0;

    attacked below(unsigned queen) const noexcept { return {columns | queen, (left | queen) << 1, (right | queen) >> 1}; }
    unsigned free(unsigned all) const noexcept { return all & ~(columns | left | right); }
};

inline covey::task<int> covey_queens(attacked by, unsigned all) {
    if (by.columns == all) co_return 1;
    std::vector<covey::task<int>> next;
    next.reserve(static_cast<std::size_t>(std::popcount(by.free(all))));
    for (unsigned free = by.free(all); free != 0; free &= free - 1) next.push_back(covey_queens(by.below(free & (0 - free)), all));
    const std::vector<int> found = co_await covey::when_all(std::move(next));
    co_return std::accumulate(found.begin(), found.end(), 0);
}

inline int tbb_queens(attacked by, unsigned all) {
    if (by.columns == all) return 1;
    std::array<int, 32> found;
    std::size_t count = 0;
    tbb::task_group group;
    for (unsigned free = by.free(all); free != 0; free &= free - 1) {
        group.run([next = by.below(free & (0 - free)), all, &result = found[count++]] { result = tbb_queens(next, all); });
    }
    group.wait();
    return std::accumulate(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), 0);
}

// ---- n-queens with boards, as it is most often written: a task for each queen that can stand, with a copy of the board. Looking
// where a queen can stand takes longer here than a task does.

inline constexpr int queens_max = 16;
using board = std::array<signed char, queens_max>;

/// Whether a queen may stand in column `column` of row `row`.
inline bool may_stand(const board& b, int row, int column) {
    for (int i = 0; i < row; ++i) {
        const int other = b[static_cast<std::size_t>(i)];
        if (other == column || other - column == row - i || column - other == row - i) return false;
    }
    return true;
}

/// How many boards there are with 0, 1, … rows: the number of tasks.
inline std::int64_t count_boards(const board& b, int row, int size) {
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

inline covey::task<int> covey_boards(board b, int row, int size) {
    if (row == size) co_return 1;
    std::vector<covey::task<int>> next;
    next.reserve(static_cast<std::size_t>(size));
    for (int column = 0; column < size; ++column) {
        if (!may_stand(b, row, column)) continue;
        b[static_cast<std::size_t>(row)] = static_cast<signed char>(column);
        next.push_back(covey_boards(b, row + 1, size));
    }
    const std::vector<int> found = co_await covey::when_all(std::move(next));
    co_return std::accumulate(found.begin(), found.end(), 0);
}

inline int tbb_boards(board b, int row, int size) {
    if (row == size) return 1;
    std::array<int, queens_max> found{};
    tbb::task_group group;
    for (int column = 0; column < size; ++column) {
        if (!may_stand(b, row, column)) continue;
        b[static_cast<std::size_t>(row)] = static_cast<signed char>(column);
        group.run([b, row, size, &result = found[static_cast<std::size_t>(column)]] { result = tbb_boards(b, row + 1, size); });
    }
    group.wait();
    return std::accumulate(found.begin(), found.end(), 0);
}

// ---- skynet: a tree of ten children each; the leaves give their numbers, the others sums

inline covey::task<std::int64_t> covey_skynet(std::int64_t first, std::int64_t size);

template <std::size_t... I>
auto covey_skynet_parts(std::int64_t first, std::int64_t part, std::index_sequence<I...>) {
    return covey::when_all(covey_skynet(first + static_cast<std::int64_t>(I) * part, part)...);
}

inline covey::task<std::int64_t> covey_skynet(std::int64_t first, std::int64_t size) {
    if (size == 1) co_return first;
    const auto sums = co_await covey_skynet_parts(first, size / 10, std::make_index_sequence<10>());
    co_return std::apply([](auto... sum) { return (sum + ...); }, sums);
}

inline std::int64_t tbb_skynet(std::int64_t first, std::int64_t size) {
    if (size == 1) return first;
    std::array<std::int64_t, 10> sums;
    const std::int64_t part = size / 10;
    tbb::task_group group;
    for (std::size_t i = 0; i < 10; ++i) {
        group.run([&sums, first, part, i] { sums[i] = tbb_skynet(first + static_cast<std::int64_t>(i) * part, part); });
    }
    group.wait();
    return std::accumulate(sums.begin(), sums.end(), std::int64_t{0});
}

// ---- UTS: a task for each node

inline uts::counts with_children(const uts::node& n, const std::vector<uts::counts>& below) {
    uts::counts result{1, below.empty() ? 1 : 0, n.height};
    for (const uts::counts& c : below) result.add(c);
    return result;
}

inline covey::task<uts::counts> covey_walk(const uts::tree& t, uts::node n) {
    const int children = uts::children_of(t, n);
    if (children == 0) co_return uts::counts{1, 1, n.height};
    std::vector<covey::task<uts::counts>> walks;
    walks.reserve(static_cast<std::size_t>(children));
    for (int i = 0; i < children; ++i) walks.push_back(covey_walk(t, uts::child_of(n, i)));
    const std::vector<uts::counts> below = co_await covey::when_all(std::move(walks));
    co_return with_children(n, below);
}

inline uts::counts tbb_walk(const uts::tree& t, uts::node n) {
    const int children = uts::children_of(t, n);
    if (children == 0) return {1, 1, n.height};
    std::vector<uts::counts> below(static_cast<std::size_t>(children));
    tbb::task_group group;
    for (int i = 0; i < children; ++i) {
        group.run([&t, child = uts::child_of(n, i), &result = below[static_cast<std::size_t>(i)]] { result = tbb_walk(t, child); });
    }
    group.wait();
    return with_children(n, below);
}

// ---- matrix multiplication: four quarters of the result, each the sum of two products

/// A square part of a larger matrix.
struct square {
    double* first;
    std::size_t size;
    std::size_t row;  // elements from one row to the next

    square quarter(std::size_t down, std::size_t right) const noexcept {
        return {first + (down * row + right) * (size / 2), size / 2, row};
    }
};

/// c += a * b, the same code for both sides.
[[gnu::noinline]] inline void multiply_leaf(square a, square b, square c) noexcept {
    for (std::size_t i = 0; i < c.size; ++i) {
        for (std::size_t k = 0; k < c.size; ++k) {
            const double left = a.first[i * a.row + k];
            const double* const right = b.first + k * b.row;
            double* const out = c.first + i * c.row;
            for (std::size_t j = 0; j < c.size; ++j) out[j] += left * right[j];
        }
    }
}

inline covey::task<void> covey_multiply(square a, square b, square c, std::size_t leaf) {
    if (c.size <= leaf) {
        multiply_leaf(a, b, c);
        co_return;
    }
    for (std::size_t k = 0; k < 2; ++k) {
        co_await covey::when_all(covey_multiply(a.quarter(0, k), b.quarter(k, 0), c.quarter(0, 0), leaf),
                                 covey_multiply(a.quarter(0, k), b.quarter(k, 1), c.quarter(0, 1), leaf),
                                 covey_multiply(a.quarter(1, k), b.quarter(k, 0), c.quarter(1, 0), leaf),
                                 covey_multiply(a.quarter(1, k), b.quarter(k, 1), c.quarter(1, 1), leaf));
    }
}

inline void tbb_multiply(square a, square b, square c, std::size_t leaf) {
    if (c.size <= leaf) return multiply_leaf(a, b, c);
    for (std::size_t k = 0; k < 2; ++k) {
        tbb::task_group group;
        group.run([=] { tbb_multiply(a.quarter(0, k), b.quarter(k, 0), c.quarter(0, 0), leaf); });
        group.run([=] { tbb_multiply(a.quarter(0, k), b.quarter(k, 1), c.quarter(0, 1), leaf); });
        group.run([=] { tbb_multiply(a.quarter(1, k), b.quarter(k, 0), c.quarter(1, 0), leaf); });
        group.run([=] { tbb_multiply(a.quarter(1, k), b.quarter(k, 1), c.quarter(1, 1), leaf); });
        group.wait();
    }
}

}  // namespace recursions
