#include <covey/task/when_any.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

namespace covey_test_task_when_any {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;

namespace {

task<int> number(int n, duration d) {
    co_await schedule_after(d);
    co_return n;
}
task<std::string> word(std::string s, duration d) {
    co_await schedule_after(d);
    co_return s;
}
task<void> pause(duration d) { co_await schedule_after(d); }
task<int> failing(duration d) {
    co_await schedule_after(d);
    throw std::runtime_error("the winner failed");
    co_return 0;
}
/// Cleans up for a while after the request to stop, on a context without it.
task<int> slow_to_stop(int& cleaned) {
    try {
        co_await schedule_after(24h);
    } catch (const stopped&) {
        ++cleaned;
    }
    task_context own = co_await get_context();
    own.stop = {};
    task<void> cleaning = pause(50ms);
    co_await detail::with_context(cleaning, own);
    ++cleaned;
    co_return 0;
}
task<std::unique_ptr<int>> pointer(int n) { co_return std::make_unique<int>(n); }

task<std::string> first_of_three(duration a, duration b, duration c) {
    auto r = co_await when_any(number(1, a), word("two", b), pause(c));
    static_assert(std::is_same_v<decltype(r), std::variant<int, std::string, std::monostate>>);
    if (r.index() == 0) co_return std::to_string(std::get<0>(r));
    if (r.index() == 1) co_return std::get<1>(r);
    co_return "void";
}
task<bool> move_only() {
    auto r = co_await when_any(pointer(3), pause(1h));
    co_return r.index() == 0 && *std::get<0>(r) == 3;
}
task<int> losers_are_awaited(int& cleaned) {
    auto r = co_await when_any(slow_to_stop(cleaned), number(2, 1ms), slow_to_stop(cleaned));
    co_return static_cast<int>(r.index());
}
task<void> winner_fails(int& cleaned) { static_cast<void>(co_await when_any(slow_to_stop(cleaned), failing(1ms), failing(2ms))); }
task<std::pair<std::size_t, int>> of_vector(std::size_t n, std::size_t winner) {
    std::vector<task<int>> all;
    for (std::size_t i = 0; i < n; ++i) all.push_back(number(static_cast<int>(i) * 10, i == winner ? 1ms : 1h));
    co_return co_await when_any(std::move(all));
}
task<std::pair<std::size_t, std::monostate>> of_void_vector() {
    std::vector<task<void>> all;
    all.push_back(pause(2h));
    all.push_back(pause(1h));
    co_return co_await when_any(std::move(all));
}
task<int> of_empty_vector() {
    std::vector<task<int>> all;
    const auto r = co_await when_any(std::move(all));
    co_return r.second;
}
task<int> single() {
    auto r = co_await when_any(number(9, 1ms));
    co_return std::get<0>(r);
}
task<int> nested() {
    struct inner {
        static task<int> go(int n) {
            auto r = co_await when_any(number(n, std::chrono::milliseconds(n)), number(n + 1, std::chrono::milliseconds(n + 1)));
            co_return std::get<0>(r);
        }
    };
    auto r = co_await when_any(inner::go(30), inner::go(10), inner::go(20));
    co_return std::get<1>(r);
}
task<int> race(duration d) {
    auto r = co_await when_any(number(0, d), number(1, d), number(2, d), number(3, 1h));
    co_return static_cast<int>(r.index());
}

}  // namespace

TEST_CASE("when_any gives the value of the first to end, and which that was", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, first_of_three(1ms, 2ms, 3ms)) == "1");
    CHECK(run(scheduler, first_of_three(3ms, 1ms, 2ms)) == "two");
    CHECK(run(scheduler, first_of_three(3ms, 2ms, 1ms)) == "void");
    CHECK(scheduler.elapsed() == 3ms);
    CHECK(scheduler.timers() == 0);
    CHECK(run(scheduler, move_only()));
    CHECK(run(scheduler, single()) == 9);
}

TEST_CASE("losers are stopped and awaited to their end", "[task]") {
    step_scheduler scheduler;
    int cleaned = 0;
    CHECK(run(scheduler, losers_are_awaited(cleaned)) == 1);
    CHECK(cleaned == 4);
    CHECK(scheduler.elapsed() == 51ms);
}

TEST_CASE("an exception of the first to end is rethrown, after the others have ended", "[task]") {
    step_scheduler scheduler;
    int cleaned = 0;
    CHECK_THROWS_WITH(run(scheduler, winner_fails(cleaned)), "the winner failed");
    CHECK(cleaned == 2);
    CHECK(scheduler.elapsed() == 51ms);
}

TEST_CASE("when_any of a vector", "[task]") {
    step_scheduler scheduler;
    for (const std::size_t winner : {std::size_t{0}, std::size_t{3}, std::size_t{9}}) {
        const auto [index, value] = run(scheduler, of_vector(10, winner));
        CHECK(index == winner);
        CHECK(value == static_cast<int>(winner) * 10);
    }
    CHECK(run(scheduler, of_void_vector()).first == 1);
    CHECK(covey_test::throws_code(errc::bad_argument, [&] { return run(scheduler, of_empty_vector()); }));
}

TEST_CASE("when_any within when_any", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, nested()) == 10);
    CHECK(scheduler.elapsed() == 10ms);
}

TEST_CASE("a stop from outside stops everybody", "[task]") {
    step_scheduler scheduler;
    stop_source stop;
    stop.request_stop();
    task_context context = scheduler.context();
    context.stop = stop.get_token();
    CHECK_THROWS_AS(run(scheduler, context, first_of_three(1h, 1h, 1h)), stopped);
    CHECK(scheduler.elapsed() == 0ns);
}

TEST_CASE("ends at the same moment on many threads: there is one winner", "[task]") {
    pool threads({.threads = 4});
    for (std::size_t round = 0; round < repeats(2'000, 300); ++round) {
        const int winner = sync_wait(threads, race(std::chrono::microseconds(round % 20)));
        REQUIRE(winner >= 0);
        REQUIRE(winner <= 2);
    }
}

}  // namespace covey_test_task_when_any
