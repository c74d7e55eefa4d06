#include <covey/task/schedule.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/when_all.hpp>

#include <atomic>
#include <vector>

namespace covey_test_task_schedule {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;

namespace {

task<void> note_after(std::vector<int>& order, int name, duration d) {
    co_await schedule_after(d);
    order.push_back(name);
}
task<void> note_in_turns(std::vector<int>& order, int name) {
    for (int i = 0; i < 3; ++i) {
        order.push_back(name);
        co_await schedule();
    }
}
task<time_point> wake_at(time_point t) {
    co_await schedule_at(t);
    co_return (co_await get_context()).scheduler->now();
}
task<time_point> wake_after(duration d) {
    co_await schedule_after(d);
    co_return (co_await get_context()).scheduler->now();
}

/// 0: slept to the end; 1: stopped.
task<int> outcome(duration d) {
    try {
        co_await schedule_after(d);
    } catch (const stopped&) {
        co_return 1;
    }
    co_return 0;
}
task<int> outcome_of_yield() {
    try {
        co_await schedule();
    } catch (const stopped&) {
        co_return 1;
    }
    co_return 0;
}
task<void> ask_after(stop_source& stop, duration d) {
    co_await schedule_after(d);
    stop.request_stop();
}
task<int> sleep_beside(stop_source& stop, duration sleep, duration ask, const task_context& context) {
    task<int> sleeper = outcome(sleep);
    task<void> asker = ask_after(stop, ask);
    task_context own = co_await get_context();
    own.stop = {};
    scope beside(own);
    beside.spawn(std::move(asker));
    const int result = co_await detail::with_context(sleeper, context);
    co_await beside.join();
    co_return result;
}

task<bool> not_early(duration d) {
    scheduler& on = *(co_await get_context()).scheduler;
    const time_point begin = on.now();
    co_await schedule_after(d);
    co_return on.now() - begin >= d;
}
task<void> count_after(std::atomic<std::size_t>& count, duration d) {
    co_await schedule_after(d);
    ++count;
}
task<void> spawn_sleepers(std::atomic<std::size_t>& count, std::size_t n) {
    scope sleepers;
    for (std::size_t i = 0; i < n; ++i) sleepers.spawn(count_after(count, std::chrono::microseconds(i % 3'000)));
    co_await sleepers.join();
}
task<void> yields(std::atomic<std::size_t>& count, int n) {
    for (int i = 0; i < n; ++i) {
        co_await schedule();
        ++count;
    }
}

task<int> without_scheduler_sleep() { co_return (co_await schedule_after(1ms), 0); }
task<int> without_scheduler_yield() { co_return (co_await schedule(), 0); }

template <class T>
T run_without_scheduler(task<T> t) {
    covey_test::end_flag end;
    detail::root_task root(std::move(t));
    resume_work(root.bind(end.handle(), detail::empty_context));
    REQUIRE(end.ended);
    return root.result();
}

}  // namespace

TEST_CASE("sleepers wake in the order of their moments", "[task]") {
    step_scheduler scheduler;
    std::vector<int> order;
    task<std::tuple<std::monostate, std::monostate, std::monostate, std::monostate>> all = [](std::vector<int>& out) -> decltype(all) {
        co_return co_await when_all(note_after(out, 3, 30ms), note_after(out, 1, 10ms), note_after(out, 4, 30ms), note_after(out, 2, 20ms));
    }(order);
    static_cast<void>(run(scheduler, std::move(all)));
    CHECK(order == std::vector<int>{1, 2, 3, 4});
    CHECK(scheduler.elapsed() == 30ms);
}

TEST_CASE("schedule() lets others run", "[task]") {
    step_scheduler scheduler;
    std::vector<int> order;
    task<void> both = [](std::vector<int>& out) -> task<void> {
        static_cast<void>(co_await when_all(note_in_turns(out, 1), note_in_turns(out, 2)));
    }(order);
    run(scheduler, std::move(both));
    CHECK(order == std::vector<int>{1, 2, 1, 2, 1, 2});
}

TEST_CASE("sleeping for no time, into the past and until a moment", "[task]") {
    step_scheduler scheduler;
    const time_point begin = scheduler.now();
    CHECK(run(scheduler, wake_after(0ns)) == begin);
    CHECK(run(scheduler, wake_after(-5s)) == begin);
    CHECK(run(scheduler, wake_at(begin - 5s)) == begin);
    CHECK(run(scheduler, wake_at(begin + 7s)) == begin + 7s);
    CHECK(run(scheduler, wake_at(begin + 7s)) == begin + 7s);
}

TEST_CASE("a stop ends a sleep at once, also one without end", "[task]") {
    step_scheduler scheduler;
    stop_source stop;
    task_context context = scheduler.context();
    context.stop = stop.get_token();
    SECTION("before") {
        stop.request_stop();
        CHECK(run(scheduler, context, outcome(1h)) == 1);
        CHECK(run(scheduler, context, outcome(0ns)) == 1);
        CHECK(run(scheduler, context, outcome_of_yield()) == 1);
        CHECK(scheduler.elapsed() == 0ns);
    }
    SECTION("during") {
        CHECK(run(scheduler, sleep_beside(stop, duration::max(), 3ms, context)) == 1);
        CHECK(scheduler.elapsed() == 3ms);
    }
    SECTION("after") {
        CHECK(run(scheduler, sleep_beside(stop, 3ms, 4ms, context)) == 0);
        CHECK(scheduler.elapsed() == 4ms);
    }
    SECTION("at the same moment, but later") {
        CHECK(run(scheduler, sleep_beside(stop, 3ms, 3ms, context)) <= 1);
        CHECK(scheduler.elapsed() == 3ms);
    }
    CHECK(scheduler.timers() == 0);
}

TEST_CASE("without a scheduler the error says what to do", "[task]") {
    CHECK(covey_test::throws_code(errc::no_peer, [] { return run_without_scheduler(without_scheduler_sleep()); }));
    CHECK(covey_test::throws_code(errc::no_peer, [] { return run_without_scheduler(without_scheduler_yield()); }));
    CHECK_THROWS_WITH(run_without_scheduler(without_scheduler_sleep()),
                      Catch::Contains("schedule_after()") && Catch::Contains("sync_wait"));
}

TEST_CASE("ten thousand sleepers on a pool all wake, none early", "[task]") {
    pool threads({.threads = 3});
    constexpr std::size_t n = repeats(10'000, 3'000);
    std::atomic<std::size_t> count{0};
    sync_wait(threads, spawn_sleepers(count, n));
    CHECK(count.load() == n);
    CHECK(sync_wait(threads, not_early(2ms)));
    CHECK(sync_wait(threads, not_early(0ns)));
}

TEST_CASE("coroutines that give way go on, on more threads than one", "[task]") {
    pool threads({.threads = 3});
    std::atomic<std::size_t> count{0};
    std::vector<task<void>> all;
    for (int i = 0; i < 8; ++i) all.push_back(yields(count, 1'000));
    static_cast<void>(sync_wait(threads, when_all(std::move(all))));
    CHECK(count.load() == 8'000);
}

TEST_CASE("a stop at about the moment of waking: one of the two, never both, never none", "[task]") {
    pool threads({.threads = 3});
    std::size_t stops = 0;
    constexpr std::size_t rounds = repeats(3'000, 600);
    for (std::size_t round = 0; round < rounds; ++round) {
        stop_source stop;
        task_context context;
        context.scheduler = &threads;
        context.stop = stop.get_token();
        task<int> sleeper = outcome(std::chrono::microseconds(round % 60));
        covey_test::events ended;
        struct end : work_item {
            explicit end(covey_test::events& e) : work_item([](work_item* self) { static_cast<end*>(self)->to.add(); }), to(e) {}
            covey_test::events& to;
        } done(ended);
        detail::root_task root(std::move(sleeper));
        threads.post(root.bind(done.handle(), context));
        for (std::size_t i = 0; i < round % 17; ++i) std::this_thread::yield();
        stop.request_stop();
        REQUIRE(ended.wait_for(1));
        stops += static_cast<std::size_t>(root.result());
    }
    CHECK(stops <= rounds);
}

}  // namespace covey_test_task_schedule
