// expect: discards qualifiers|no member named 'await_ready' in 'covey::task<int>'
#include <covey/task/task.hpp>

covey::task<int> one() { co_return 1; }

covey::task<int> twice() {
    auto t = one();
    const int a = co_await t;  // a task is awaited once: co_await std::move(t)
    co_return a;
}
