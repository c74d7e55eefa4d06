#include <covey/task/when_all.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

namespace covey_test_task_when_all {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;

namespace {

task<int> number(int n, duration d = 0ns) {
    if (d != 0ns) co_await schedule_after(d);
    co_return n;
}
task<std::unique_ptr<int>> pointer(int n) { co_return std::make_unique<int>(n); }
task<int&> reference(int& r) { co_return r; }
task<void> nothing() { co_return; }
task<int> failing(const char* words, duration d) {
    if (d != 0ns) co_await schedule_after(d);
    throw std::runtime_error(words);
    co_return 0;
}
/// Sleeps until it is stopped, and takes its time to clean up.
task<int> stubborn(bool& cleaned) {
    try {
        co_await schedule_after(24h);
    } catch (const stopped&) {
        cleaned = true;
        throw;
    }
    co_return 0;
}
task<int> ignores_stop(duration d, int& steps) {
    scheduler& on = *(co_await get_context()).scheduler;
    const time_point end = on.now() + d;
    while (on.now() < end) {
        try {
            co_await schedule_after(end - on.now());
        } catch (const stopped&) {
            ++steps;
            break;
        }
    }
    co_return 1;
}

task<int> mixed() {
    int target = 5;
    auto results = co_await when_all(number(1, 3ms), pointer(2), nothing(), reference(target), number(4));
    static_assert(std::is_same_v<decltype(results), std::tuple<int, std::unique_ptr<int>, std::monostate, int&, int>>);
    std::get<3>(results) = 6;
    co_return std::get<0>(results) * 1000 + *std::get<1>(results) * 100 + target * 10 + std::get<4>(results);
}
task<std::vector<int>> many(int n) {
    std::vector<task<int>> all;
    for (int i = 0; i < n; ++i) all.push_back(number(i, std::chrono::milliseconds(n - i)));
    co_return co_await when_all(std::move(all));
}
task<std::size_t> many_of_void(std::size_t n) {
    std::vector<task<void>> all;
    for (std::size_t i = 0; i < n; ++i) all.push_back(nothing());
    const auto results = co_await when_all(std::move(all));
    co_return results.size();
}
task<std::size_t> none() {
    std::vector<task<int>> all;
    const auto results = co_await when_all(std::move(all));
    std::tuple<> empty = co_await when_all();
    static_cast<void>(empty);
    co_return results.size();
}
task<void> first_of_failures(bool& a, bool& b) {
    static_cast<void>(co_await when_all(stubborn(a), failing("second", 2ms), failing("first", 1ms), stubborn(b)));
}
task<void> vector_of_failures(std::vector<char>& cleaned) {
    struct one {
        static task<int> go(char& out) {
            bool was = false;
            try {
                static_cast<void>(co_await stubborn(was));
            } catch (const stopped&) {
                out = was;
                throw;
            }
            co_return 0;
        }
    };
    std::vector<task<int>> all;
    for (char& c : cleaned) all.push_back(one::go(c));
    all.push_back(failing("the last", 1ms));
    static_cast<void>(co_await when_all(std::move(all)));
}
task<void> waits_for_the_deaf(int& steps) { static_cast<void>(co_await when_all(failing("at once", 0ns), ignores_stop(5ms, steps))); }

task<long> fib(int n) {
    if (n < 2) co_return n;
    auto both = co_await when_all(fib(n - 1), fib(n - 2));
    co_return std::get<0>(both) + std::get<1>(both);
}
task<long> fib_that_fails(int n, std::atomic<int>& alive) {
    struct guard {
        std::atomic<int>& count;
        explicit guard(std::atomic<int>& c) : count(c) { ++count; }
        ~guard() { --count; }
    } here(alive);
    if (n < 2) {
        co_await schedule();
        if (n == 0) throw std::runtime_error("a leaf failed");
        co_return n;
    }
    auto both = co_await when_all(fib_that_fails(n - 1, alive), fib_that_fails(n - 2, alive));
    co_return std::get<0>(both) + std::get<1>(both);
}
task<bool> tokens_differ_from_the_parents() {
    struct child {
        static task<stop_token> go() { co_return co_await get_stop_token(); }
    };
    const stop_token mine = co_await get_stop_token();
    auto both = co_await when_all(child::go(), child::go());
    co_return std::get<0>(both) == std::get<1>(both) && !(std::get<0>(both) == mine) && !mine.stop_requested();
}
task<int> wide(std::size_t n) {
    std::vector<task<int>> all;
    for (std::size_t i = 0; i < n; ++i) all.push_back(number(1));
    int sum = 0;
    for (const int i : co_await when_all(std::move(all))) sum += i;
    co_return sum;
}
task<std::size_t> in_a_loop(std::size_t n) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        auto both = co_await when_all(number(1), number(2));
        sum += static_cast<std::size_t>(std::get<0>(both) + std::get<1>(both));
    }
    co_return sum;
}

}  // namespace

TEST_CASE("when_all gives results in order, whoever ends first", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, mixed()) == 1264);
    const std::vector<int> results = run(scheduler, many(20));
    REQUIRE(results.size() == 20);
    for (int i = 0; i < 20; ++i) CHECK(results[static_cast<std::size_t>(i)] == i);
    CHECK(scheduler.elapsed() == 23ms);
    CHECK(run(scheduler, many_of_void(7)) == 7);
}

TEST_CASE("when_all of nothing ends at once", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, none()) == 0);
}

TEST_CASE("the first exception stops the siblings, waits for them and is rethrown", "[task]") {
    step_scheduler scheduler;
    bool a = false;
    bool b = false;
    CHECK_THROWS_WITH(run(scheduler, first_of_failures(a, b)), "first");
    CHECK(a);
    CHECK(b);
    CHECK(scheduler.elapsed() == 1ms);
    CHECK(scheduler.timers() == 0);

    std::vector<char> cleaned(5, 0);
    CHECK_THROWS_WITH(run(scheduler, vector_of_failures(cleaned)), "the last");
    CHECK(cleaned == std::vector<char>(5, 1));
}

TEST_CASE("a sibling that was not asked in time is awaited all the same", "[task]") {
    step_scheduler scheduler;
    int steps = 0;
    CHECK_THROWS_WITH(run(scheduler, waits_for_the_deaf(steps)), "at once");
    CHECK(steps == 1);
}

TEST_CASE("a stop of the parent reaches all children", "[task]") {
    step_scheduler scheduler;
    stop_source stop;
    task_context context = scheduler.context();
    context.stop = stop.get_token();
    bool a = false;
    bool b = false;
    task<void> both = [](bool& x, bool& y, stop_source& s) -> task<void> {
        struct asker {
            static task<void> go(stop_source& source) {
                co_await schedule_after(1ms);
                source.request_stop();
            }
        };
        static_cast<void>(co_await when_all(stubborn(x), stubborn(y), asker::go(s)));
    }(a, b, stop);
    CHECK_THROWS_AS(run(scheduler, context, std::move(both)), stopped);
    CHECK(a);
    CHECK(b);
}

TEST_CASE("children share a token of their own", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, tokens_differ_from_the_parents()));
}

TEST_CASE("without a scheduler children run one after the other", "[task]") {
    task<long> t = fib(12);
    covey_test::end_flag end;
    detail::root_task root(std::move(t));
    resume_work(root.bind(end.handle(), detail::empty_context));
    REQUIRE(end.ended);
    CHECK(root.result() == 144);
}

TEST_CASE("recursion on many threads", "[task]") {
    step_scheduler one;
    CHECK(run(one, fib(15)) == 610);
    for (unsigned n : {1u, 2u, 5u}) {
        pool threads({.threads = n});
        CHECK(sync_wait(threads, fib(static_cast<int>(repeats(24, 17)))) == (COVEY_SANITIZED ? 1597 : 46368));
    }
}

TEST_CASE("failures deep in a recursion leave nothing running", "[task]") {
    pool threads({.threads = 4});
    for (std::size_t round = 0; round < repeats(50, 10); ++round) {
        std::atomic<int> alive{0};
        bool failed = false;
        try {
            static_cast<void>(sync_wait(threads, fib_that_fails(10, alive)));
        } catch (const std::runtime_error&) {
            failed = true;
        } catch (const stopped&) {}
        REQUIRE(failed);
        REQUIRE(alive.load() == 0);
    }
}

TEST_CASE("a wide when_all and one after the other", "[task]") {
    pool threads({.threads = 3});
    constexpr std::size_t n = repeats(200'000, 20'000);
    CHECK(sync_wait(threads, wide(n)) == static_cast<int>(n));
    CHECK(sync_wait(threads, in_a_loop(n)) == 3 * n);
}

}  // namespace covey_test_task_when_all
