#include <covey/task/scope.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

namespace covey_test_task_scope {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::run_in_a_child;
using covey_test::step_scheduler;
using covey_test::throws_code;

namespace {

task<int> add(std::atomic<int>& sum, int n, duration d = 0ns) {
    if (d != 0ns) co_await schedule_after(d);
    sum += n;
    co_return n;
}
task<void> failing(const char* words, duration d) {
    co_await schedule_after(d);
    throw std::runtime_error(words);
}
task<void> until_stopped(std::atomic<int>& stops) {
    try {
        co_await schedule_after(24h);
    } catch (const stopped&) {
        ++stops;
        throw;
    }
}
task<int> value_after(int n, duration d) {
    co_await schedule_after(d);
    co_return n;
}
task<int> failing_value(duration d) {
    co_await schedule_after(d);
    throw std::runtime_error("for the future");
    co_return 0;
}

task<int> spawns_and_joins() {
    std::atomic<int> sum{0};
    scope s;
    s.spawn(add(sum, 1));
    s.spawn(add(sum, 10, 5ms));
    s.spawn(add(sum, 100, 1ms));
    const int before = sum;
    co_await s.join();
    co_return before * 1000 + sum;
}
task<int> joins_without_tasks() {
    scope s;
    co_await s.join();
    co_await s.join();
    co_return 1;
}
task<int> used_again() {
    std::atomic<int> sum{0};
    scope s;
    for (int round = 0; round < 5; ++round) {
        s.spawn(add(sum, 1, 1ms));
        s.spawn(add(sum, 1));
        co_await s.join();
        if (sum != 2 * (round + 1)) co_return -1;
    }
    co_return sum;
}
task<std::string> used_again_after_a_failure() {
    std::string words;
    scope s;
    s.spawn(failing("once", 1ms));
    try {
        co_await s.join();
    } catch (const std::runtime_error& e) {
        words = e.what();
    }
    co_await s.join();
    co_return words;
}
task<int> asks_to_stop() {
    std::atomic<int> stops{0};
    scope s;
    s.spawn(until_stopped(stops));
    s.spawn(until_stopped(stops));
    co_await schedule_after(1ms);
    s.request_stop();
    s.spawn(until_stopped(stops));
    co_await s.join();
    co_return stops;
}
task<void> first_failure(std::atomic<int>& stops) {
    scope s;
    s.spawn(until_stopped(stops));
    s.spawn(failing("second", 2ms));
    s.spawn(failing("first", 1ms));
    co_await s.join();
}
task<void> tree(scope& s, std::atomic<int>& count, int depth) {
    ++count;
    if (depth > 0) {
        s.spawn(tree(s, count, depth - 1));
        s.spawn(tree(s, count, depth - 1));
    }
    co_await schedule();
}
task<int> spawns_from_within(int depth) {
    std::atomic<int> count{0};
    scope s;
    s.spawn(tree(s, count, depth));
    co_await s.join();
    co_return count;
}
task<bool> follows_its_spawner() {
    std::atomic<int> stops{0};
    bool limited = false;
    struct inner {
        static task<void> go(std::atomic<int>& out) {
            scope s;
            s.spawn(until_stopped(out));
            co_await s.join();
            co_await schedule();  // throws, for we were asked to stop
        }
    };
    try {
        co_await timeout(inner::go(stops), 5ms);
    } catch (const error& e) {
        limited = e.code() == errc::timed_out;
    }
    co_return limited&& stops == 1;
}

task<int> a_future() {
    scope s;
    future<int> f = s.spawn_future(value_after(5, 3ms));
    const bool early = f.is_ready();
    const int value = co_await std::move(f);
    const bool empty = !f;
    co_await s.join();
    co_return value + (early ? 100 : 0) + (empty ? 0 : 1000);
}
task<std::string> a_failed_future() {
    std::string words;
    scope s;
    future<int> f = s.spawn_future(failing_value(1ms));
    try {
        static_cast<void>(co_await std::move(f));
    } catch (const std::runtime_error& e) {
        words = e.what();
    }
    co_await s.join();  // the future's exception is not the scope's
    co_return words;
}
task<int> a_dropped_future() {
    std::atomic<int> stops{0};
    scope s;
    {
        future<void> dropped = s.spawn_future(until_stopped(stops));
        co_await schedule_after(1ms);
    }
    co_await s.join();
    co_return stops;
}
task<int> a_future_outlives_its_scope() {
    future<int> f;
    {
        scope s;
        f = s.spawn_future(value_after(5, 3ms));
        co_await s.join();
    }
    if (!f.is_ready()) co_return -1;
    co_return co_await std::move(f);
}
task<bool> a_ready_future_is_dropped_after_its_scope() {
    std::optional<future<int>> f;
    auto s = std::make_unique<scope>();  // on the heap, where AddressSanitizer sees what is used after it
    f.emplace(s->spawn_future(value_after(5, 3ms)));
    co_await s->join();
    s.reset();
    const bool ready = f->is_ready();
    f->request_stop();
    f.reset();
    co_return ready;
}

task<std::size_t> spawns_many(std::size_t n) {
    std::atomic<std::size_t> count{0};
    struct one {
        static task<void> go(std::atomic<std::size_t>& c) {
            ++c;
            co_return;
        }
    };
    scope s;
    for (std::size_t i = 0; i < n; ++i) s.spawn(one::go(count));
    co_await s.join();
    co_return count;
}
task<std::size_t> joins_in_a_loop(std::size_t n) {
    std::atomic<int> sum{0};
    for (std::size_t i = 0; i < n; ++i) {
        scope s;
        s.spawn(add(sum, 1));
        s.spawn(add(sum, 1));
        co_await s.join();
    }
    co_return static_cast<std::size_t>(sum.load());
}
task<bool> joined_from_another_scheduler(scheduler& other) {
    std::atomic<int> sum{0};
    scope s{other};
    s.spawn(add(sum, 1, 1ms));
    co_await s.join();
    co_return sum == 1;
}
task<bool> stays_on_its_pool(pool& mine, pool& other) {
    static_cast<void>(co_await joined_from_another_scheduler(other));
    co_return mine.on_worker() && !other.on_worker();
}

}  // namespace

TEST_CASE("a scope runs tasks beside its coroutine and awaits them", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, spawns_and_joins()) == 111);
    CHECK(run(scheduler, joins_without_tasks()) == 1);
    CHECK(run(scheduler, used_again()) == 10);
    CHECK(run(scheduler, used_again_after_a_failure()) == "once");
}

TEST_CASE("a scope asks its tasks to stop, those spawned later included", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, asks_to_stop()) == 3);
    CHECK(scheduler.elapsed() == 1ms);
}

TEST_CASE("the first exception in a scope stops the others and is rethrown by join", "[task]") {
    step_scheduler scheduler;
    std::atomic<int> stops{0};
    CHECK_THROWS_WITH(run(scheduler, first_failure(stops)), "first");
    CHECK(stops == 1);
    CHECK(scheduler.elapsed() == 1ms);
}

TEST_CASE("tasks of a scope may spawn into it", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, spawns_from_within(6)) == 127);
    pool threads({.threads = 4});
    CHECK(sync_wait(threads, spawns_from_within(12)) == 8191);
}

TEST_CASE("a scope follows the stop of the coroutine it was bound in", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, follows_its_spawner()));
    CHECK(scheduler.elapsed() == 5ms);
}

TEST_CASE("outside of a coroutine a scope needs a scheduler", "[task]") {
    std::atomic<int> sum{0};
    scope homeless;
    CHECK(throws_code(errc::no_peer, [&] { return homeless.spawn(add(sum, 1)), 0; }));
    CHECK_FALSE(homeless.get_stop_token().stop_possible());
    homeless.request_stop();

    step_scheduler scheduler;
    scope s{scheduler};
    s.spawn(add(sum, 2));
    CHECK(s.get_stop_token().stop_possible());
    scheduler.run();
    CHECK(sum == 2);

    stop_source stop;
    task_context context = scheduler.context();
    context.stop = stop.get_token();
    scope stopped_from_outside{context};
    std::atomic<int> stops{0};
    stopped_from_outside.spawn(until_stopped(stops));
    while (scheduler.timers() == 0) REQUIRE(scheduler.step());
    stop.request_stop();
    scheduler.run();
    CHECK(stops == 1);
}

TEST_CASE("a future gives the value or the exception of its task", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, a_future()) == 5);
    CHECK(run(scheduler, a_failed_future()) == "for the future");
}

TEST_CASE("a future that is dropped stops its task", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, a_dropped_future()) == 1);
    CHECK(scheduler.elapsed() == 1ms);
}

TEST_CASE("a future may outlive its scope", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, a_future_outlives_its_scope()) == 5);
    CHECK(run(scheduler, a_ready_future_is_dropped_after_its_scope()));
}

TEST_CASE("destroying a scope whose tasks still run ends the program and says why", "[task]") {
    const auto [status, output] = run_in_a_child([] {
        step_scheduler scheduler;
        std::atomic<int> stops{0};
        scope s{scheduler};
        s.spawn(until_stopped(stops));
    });
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
    CHECK_THAT(output, Catch::Contains("covey: a scope was destroyed while its tasks were running") && Catch::Contains("join()"));
}

TEST_CASE("destroying a scope whose tasks have ended is fine without join", "[task]") {
    const auto [status, output] = run_in_a_child([] {
        step_scheduler scheduler;
        std::atomic<int> sum{0};
        scope s{scheduler};
        s.spawn(add(sum, 1, 1ms));
        scheduler.run();
    });
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(output.empty());
}

TEST_CASE("many tasks and many scopes on many threads", "[task]") {
    pool threads({.threads = 4});
    constexpr std::size_t n = repeats(200'000, 20'000);
    CHECK(sync_wait(threads, spawns_many(n)) == n);
    CHECK(sync_wait(threads, joins_in_a_loop(n / 4)) == n / 2);
}

TEST_CASE("a coroutine that joins tasks of another pool goes on in its own", "[task]") {
    pool mine({.threads = 2, .name = "mine"});
    pool other({.threads = 2, .name = "other"});
    for (int round = 0; round < 50; ++round) REQUIRE(sync_wait(mine, stays_on_its_pool(mine, other)));
}

}  // namespace covey_test_task_scope
