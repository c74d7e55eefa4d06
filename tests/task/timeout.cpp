#include <covey/task/timeout.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/when_all.hpp>

#include <memory>
#include <stdexcept>

namespace covey_test_task_timeout {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;
using covey_test::throws_code;

namespace {

task<int> number(int n, duration d) {
    if (d != 0ns) co_await schedule_after(d);
    co_return n;
}
task<std::unique_ptr<int>> pointer() { co_return std::make_unique<int>(7); }
task<void> pause(duration d) { co_await schedule_after(d); }
task<int> failing(duration d) {
    co_await schedule_after(d);
    throw std::logic_error("its own");
    co_return 0;
}
task<void> gives_up() {
    throw stopped{};
    co_return;
}
task<time_point> deadline() { co_return (co_await get_context()).deadline; }

/// Goes on for `d`, whoever asks it to stop.
task<int> deaf(duration d) {
    task_context own = co_await get_context();
    own.stop = {};
    task<void> sleep = pause(d);
    co_await detail::with_context(sleep, own);
    co_return 3;
}
task<bool> deadlines_narrow() {
    scheduler& on = *(co_await get_context()).scheduler;
    const time_point begin = on.now();
    struct inner {
        static task<std::pair<time_point, time_point>> go() {
            const time_point longer = co_await timeout(deadline(), 10s);
            const time_point shorter = co_await timeout(deadline(), 1s);
            co_return {longer, shorter};
        }
    };
    const auto [longer, shorter] = co_await timeout(inner::go(), 5s);
    const time_point outside = co_await deadline();
    co_return longer == begin + 5s && shorter == begin + 1s && outside == never;
}
task<int> nested(duration outer, duration inner, duration work) { co_return co_await timeout(timeout(number(1, work), inner), outer); }
task<int> recovers() {
    int result = 0;
    try {
        result = co_await timeout(number(1, 1h), 2ms);
    } catch (const error& e) {
        result = e.code() == errc::timed_out ? 100 : 0;
    }
    const stop_token token = co_await get_stop_token();
    co_await schedule_after(1ms);
    co_return result + (token.stop_requested() ? 0 : 10);
}
task<void> asks(stop_source& stop, duration d) {
    co_await schedule_after(d);
    stop.request_stop();
}
task<int> beside_an_asker(stop_source& stop, const task_context& context, duration ask, duration limit) {
    task<int> limited = timeout(number(1, 1h), limit);
    struct under {
        static task<int> go(task<int> t, const task_context& other) { co_return co_await detail::with_context(t, other); }
    };
    auto both = co_await when_all(under::go(std::move(limited), context), asks(stop, ask));
    co_return std::get<0>(both);
}

/// 1: the value came; 2: the time was over.
task<int> race(duration work, duration limit) {
    try {
        co_return co_await timeout(number(1, work), limit);
    } catch (const error& e) {
        if (e.code() == errc::timed_out) co_return 2;
    }
    co_return 0;
}
task<std::size_t> many_short(std::size_t n) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<std::size_t>(co_await timeout(number(1, 0ns), 1h));
    co_return sum;
}

}  // namespace

TEST_CASE("a value that comes in time is given, and no timer stays", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, timeout(number(5, 3ms), 10ms)) == 5);
    CHECK(scheduler.elapsed() == 3ms);
    CHECK(*run(scheduler, timeout(pointer(), 1ms)) == 7);
    run(scheduler, timeout(pause(1ms), duration::max()));
    CHECK(scheduler.timers() == 0);
    CHECK(scheduler.elapsed() == 4ms);
}

TEST_CASE("after the limit the task is stopped and the error is timed_out", "[task]") {
    step_scheduler scheduler;
    CHECK(throws_code(errc::timed_out, [&] { return run(scheduler, timeout(number(5, 1h), 10ms)); }));
    CHECK(scheduler.elapsed() == 10ms);
    CHECK_THROWS_WITH(run(scheduler, timeout(pause(1h), 20ms)), Catch::Contains("20 ms"));
    CHECK(scheduler.elapsed() == 30ms);
    CHECK(throws_code(errc::timed_out, [&] { return run(scheduler, timeout(number(5, 1h), 0ns)); }));
    CHECK(throws_code(errc::timed_out, [&] { return run(scheduler, timeout(number(5, 1h), -1s)); }));
    CHECK(scheduler.elapsed() == 30ms);
    CHECK(scheduler.timers() == 0);
    CHECK(run(scheduler, recovers()) == 110);
}

TEST_CASE("a task's own exception is not touched", "[task]") {
    step_scheduler scheduler;
    CHECK_THROWS_WITH(run(scheduler, timeout(failing(1ms), 10ms)), "its own");
    CHECK_THROWS_AS(run(scheduler, timeout(gives_up(), 10ms)), stopped);
    CHECK(scheduler.elapsed() == 1ms);
}

TEST_CASE("a task that ignores the request is awaited, and its value given", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, timeout(deaf(40ms), 10ms)) == 3);
    CHECK(scheduler.elapsed() == 40ms);
}

TEST_CASE("the deadline in the context is the nearest of all limits", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, deadlines_narrow()));
}

TEST_CASE("limits within limits: the shorter one tells", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, nested(10ms, 10ms, 1ms)) == 1);
    CHECK(throws_code(errc::timed_out, [&] { return run(scheduler, nested(10ms, 5ms, 1h)); }));
    CHECK(scheduler.elapsed() == 6ms);
    CHECK(throws_code(errc::timed_out, [&] { return run(scheduler, nested(5ms, 10ms, 1h)); }));
    CHECK(scheduler.elapsed() == 11ms);
}

TEST_CASE("the value of a limited task may be a reference", "[task]") {
    struct body {
        static task<int&> inner(int& r) { co_return r; }
        static task<int*> limited(int& r) { co_return &co_await timeout(inner(r), 1s); }
    };
    step_scheduler scheduler;
    int target = 0;
    CHECK(run(scheduler, body::limited(target)) == &target);
}

TEST_CASE("a stop from outside is a stop, no timeout", "[task]") {
    step_scheduler scheduler;
    stop_source stop;
    task_context context = scheduler.context();
    context.stop = stop.get_token();
    CHECK_THROWS_AS(run(scheduler, beside_an_asker(stop, context, 2ms, 10ms)), stopped);
    CHECK(scheduler.elapsed() == 2ms);
    CHECK(scheduler.timers() == 0);
}

TEST_CASE("without a scheduler the error says what to do, for timeout too", "[task]") {
    task<int> t = timeout(number(1, 0ns), 1s);
    covey_test::end_flag end;
    detail::root_task root(std::move(t));
    resume_work(root.bind(end.handle(), detail::empty_context));
    REQUIRE(end.ended);
    CHECK(throws_code(errc::no_peer, [&] { return root.result(); }));
}

TEST_CASE("an end at about the moment of the limit is one of the two", "[task]") {
    pool threads({.threads = 3});
    std::size_t values = 0;
    std::size_t limits = 0;
    for (std::size_t round = 0; round < repeats(3'000, 400); ++round) {
        const int got = sync_wait(threads, race(std::chrono::microseconds(40 + round % 7), std::chrono::microseconds(43)));
        values += got == 1;
        limits += got == 2;
    }
    CHECK(values + limits == repeats(3'000, 400));
}

TEST_CASE("many limits that are not reached", "[task]") {
    pool threads({.threads = 2});
    constexpr std::size_t n = repeats(100'000, 10'000);
    CHECK(sync_wait(threads, many_short(n)) == n);
}

}  // namespace covey_test_task_timeout
