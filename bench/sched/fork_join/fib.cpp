// fib: nothing but forks
#include "recursions.hpp"

#include <covey/task/when_all.hpp>

#include <tbb/task_group.h>

namespace recursions {

namespace {

inline covey::task<long> ours(int n) {
    if (n < 2) co_return n;
    const auto [a, b] = co_await covey::when_all(ours(n - 1), ours(n - 2));
    co_return a + b;
}

inline long theirs(int n) {
    if (n < 2) return n;
    long a = 0;
    long b = 0;
    tbb::task_group group;
    group.run([&a, n] { a = theirs(n - 1); });
    group.run([&b, n] { b = theirs(n - 2); });
    group.wait();
    return a + b;
}

inline long theirs_half_inline(int n) {
    if (n < 2) return n;
    long a = 0;
    tbb::task_group group;
    group.run([&a, n] { a = theirs_half_inline(n - 1); });
    const long b = theirs_half_inline(n - 2);
    group.wait();
    return a + b;
}

}  // namespace

covey::task<long> covey_fib(int n) { return ours(n); }
long tbb_fib(int n) { return theirs(n); }
long tbb_fib_half(int n) { return theirs_half_inline(n); }

}  // namespace recursions
