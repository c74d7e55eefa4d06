// matrix multiplication: four quarters of the result, each the sum of two products.
#include "recursions.hpp"

#include <covey/task/when_all.hpp>

#include <tbb/task_group.h>

#include <cstddef>

namespace recursions {

namespace {

/// c += a * b, the same code for both sides.
[[gnu::noinline]] void multiply_leaf(square a, square b, square c) noexcept {
    for (std::size_t i = 0; i < c.size; ++i) {
        for (std::size_t k = 0; k < c.size; ++k) {
            const double left = a.first[i * a.row + k];
            const double* const right = b.first + k * b.row;
            double* const out = c.first + i * c.row;
            for (std::size_t j = 0; j < c.size; ++j) out[j] += left * right[j];
        }
    }
}

inline covey::task<void> ours(square a, square b, square c, std::size_t leaf) {
    if (c.size <= leaf) {
        multiply_leaf(a, b, c);
        co_return;
    }
    for (std::size_t k = 0; k < 2; ++k) {
        co_await covey::when_all(
            ours(a.quarter(0, k), b.quarter(k, 0), c.quarter(0, 0), leaf), ours(a.quarter(0, k), b.quarter(k, 1), c.quarter(0, 1), leaf),
            ours(a.quarter(1, k), b.quarter(k, 0), c.quarter(1, 0), leaf), ours(a.quarter(1, k), b.quarter(k, 1), c.quarter(1, 1), leaf));
    }
}

inline void theirs(square a, square b, square c, std::size_t leaf) {
    if (c.size <= leaf) return multiply_leaf(a, b, c);
    for (std::size_t k = 0; k < 2; ++k) {
        tbb::task_group group;
        group.run([=] { theirs(a.quarter(0, k), b.quarter(k, 0), c.quarter(0, 0), leaf); });
        group.run([=] { theirs(a.quarter(0, k), b.quarter(k, 1), c.quarter(0, 1), leaf); });
        group.run([=] { theirs(a.quarter(1, k), b.quarter(k, 0), c.quarter(1, 0), leaf); });
        group.run([=] { theirs(a.quarter(1, k), b.quarter(k, 1), c.quarter(1, 1), leaf); });
        group.wait();
    }
}

}  // namespace

covey::task<void> covey_multiply(square a, square b, square c, std::size_t leaf) { return ours(a, b, c, leaf); }
void tbb_multiply(square a, square b, square c, std::size_t leaf) { return theirs(a, b, c, leaf); }

}  // namespace recursions
