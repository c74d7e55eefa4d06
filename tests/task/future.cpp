#include <covey/task/future.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>

#include <memory>
#include <stdexcept>
#include <vector>

namespace covey_test_task_future {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;
using covey_test::throws_code;

namespace {

task<std::unique_ptr<int>> pointer(int n, duration d) {
    if (d != 0ns) co_await schedule_after(d);
    co_return std::make_unique<int>(n);
}
task<void> count(int& n, duration d) {
    co_await schedule_after(d);
    ++n;
}
task<int> endless(bool& was_stopped) {
    try {
        co_await schedule_after(24h);
    } catch (const stopped&) {
        was_stopped = true;
        throw;
    }
    co_return 0;
}
task<int> awaits(future<int> f) { co_return co_await std::move(f); }
task<int> empty_future() {
    future<int> none;
    co_return co_await std::move(none);
}
task<int> awaited_twice() {
    scope s;
    future<std::unique_ptr<int>> f = s.spawn_future(pointer(1, 0ns));
    static_cast<void>(co_await std::move(f));
    co_await s.join();
    static_cast<void>(co_await std::move(f));
    co_return 0;
}
task<int> all_kinds() {
    int counted = 0;
    scope s;
    future<void> nothing = s.spawn_future(count(counted, 2ms));
    future<std::unique_ptr<int>> p = s.spawn_future(pointer(10, 5ms));
    future<std::unique_ptr<int>> stored;
    stored = std::move(p);
    std::vector<future<std::unique_ptr<int>>> more;
    for (int i = 0; i < 3; ++i) more.push_back(s.spawn_future(pointer(100, 1ms)));
    int sum = 0;
    for (auto& f : more) sum += *co_await std::move(f);
    co_await std::move(nothing);
    sum += counted + *co_await std::move(stored);
    co_await s.join();
    co_return sum;
}
task<bool> replaced_is_dropped() {
    bool first_stopped = false;
    bool second_stopped = false;
    scope s;
    future<int> f = s.spawn_future(endless(first_stopped));
    co_await schedule_after(1ms);
    f = s.spawn_future(endless(second_stopped));
    co_await schedule_after(1ms);
    const bool only_first = first_stopped && !second_stopped;
    f.request_stop();
    bool threw = false;
    try {
        static_cast<void>(co_await std::move(f));
    } catch (const stopped&) {
        threw = true;
    }
    co_await s.join();
    co_return only_first&& second_stopped&& threw;
}
task<bool> limit_around_a_future() {
    bool was_stopped = false;
    bool limited = false;
    scope s;
    future<int> f = s.spawn_future(endless(was_stopped));
    try {
        static_cast<void>(co_await timeout(awaits(std::move(f)), 5ms));
    } catch (const error& e) {
        limited = e.code() == errc::timed_out;
    }
    co_await s.join();
    co_return limited&& was_stopped;
}
task<std::size_t> many(std::size_t n) {
    std::size_t sum = 0;
    scope s;
    for (std::size_t i = 0; i < n; ++i) {
        future<std::unique_ptr<int>> f = s.spawn_future(pointer(1, 0ns));
        if (i % 3 == 0) co_await schedule();
        sum += static_cast<std::size_t>(*co_await std::move(f));
    }
    co_await s.join();
    co_return sum;
}
task<void> dropped_at_any_time(std::size_t n) {
    scope s;
    for (std::size_t i = 0; i < n; ++i) {
        future<std::unique_ptr<int>> f = s.spawn_future(pointer(1, std::chrono::microseconds(i % 5)));
        for (std::size_t k = 0; k < i % 3; ++k) co_await schedule();
    }
    co_await s.join();
}

}  // namespace

TEST_CASE("futures of values, of nothing, stored and moved", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, all_kinds()) == 311);
    CHECK(scheduler.elapsed() == 5ms);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<future<int>>);
}

TEST_CASE("a future of a reference", "[task]") {
    struct body {
        static task<int&> inner(int& r) { co_return r; }
        static task<bool> same(int& r) {
            scope s;
            future<int&> f = s.spawn_future(inner(r));
            int& got = co_await std::move(f);
            co_await s.join();
            co_return &got == &r;
        }
    };
    step_scheduler scheduler;
    int target = 0;
    CHECK(run(scheduler, body::same(target)));
}

TEST_CASE("a future is awaited once, and an empty one not at all", "[task]") {
    step_scheduler scheduler;
    CHECK(throws_code(errc::bad_argument, [&] { return run(scheduler, empty_future()); }));
    CHECK(throws_code(errc::bad_argument, [&] { return run(scheduler, awaited_twice()); }));
    future<int> none;
    CHECK_FALSE(static_cast<bool>(none));
    CHECK_FALSE(none.is_ready());
    none.request_stop();
}

TEST_CASE("assigning over a future drops what it stood for", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, replaced_is_dropped()));
}

TEST_CASE("a limit around an awaited future stops the future's task", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, limit_around_a_future()));
    CHECK(scheduler.elapsed() == 5ms);
}

TEST_CASE("make_future without a scope", "[task]") {
    step_scheduler scheduler;
    const task_context context = scheduler.context();
    auto [value, delivery] = make_future<std::unique_ptr<int>>(context);
    CHECK_FALSE(value.is_ready());
    task<void> filling = std::move(delivery)(pointer(8, 1ms));
    CHECK_FALSE(value.is_ready());
    run(scheduler, context, std::move(filling));
    CHECK(value.is_ready());
    struct taking {
        static task<int> go(future<std::unique_ptr<int>> f) { co_return *co_await std::move(f); }
    };
    CHECK(run(scheduler, context, taking::go(std::move(value))) == 8);
}

TEST_CASE("futures on many threads", "[task]") {
    pool threads({.threads = 4});
    constexpr std::size_t n = repeats(50'000, 5'000);
    CHECK(sync_wait(threads, many(n)) == n);
    sync_wait(threads, dropped_at_any_time(repeats(20'000, 3'000)));
}

}  // namespace covey_test_task_future
