#include <covey/task/fork.hpp>

#include <task/stage.hpp>

#include <covey/sched/default_pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/when_all.hpp>

#include <memory>
#include <stdexcept>
#include <string>

namespace covey_test_task_fork {

using namespace covey;
using namespace std::chrono_literals;

task<long> fib(int n) {
    if (n < 2) co_return n;
    auto a = co_await fork(fib(n - 1));
    const long b = co_await fib(n - 2);
    co_return co_await a.join() + b;
}

TEST_CASE("fork and join compute what calls would, on one thread and on several", "[task]") {
    for (const unsigned threads : {1u, 2u, 4u}) {
        pool on({.threads = threads});
        CHECK(sync_wait(on, fib(18)) == 2584);
    }
}

task<std::string> text(std::string s) { co_return s + "!"; }
task<int> failing() {
    throw std::runtime_error("no");
    co_return 1;
}
task<int> slow(std::chrono::microseconds d) {
    co_await schedule_after(d);
    co_return 7;
}

TEST_CASE("a forked child's value and exception come at its join", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<int> {
        auto words = co_await fork(text("some words that do not fit into a short string"));
        auto wrong = co_await fork(failing());
        int caught = 0;
        try {
            static_cast<void>(co_await wrong.join());
        } catch (const std::runtime_error& e) {
            caught = std::string(e.what()) == "no";
        }
        co_return co_await words.join() == "some words that do not fit into a short string!" ? caught : -1;
    };
    CHECK(sync_wait(on, body()) == 1);
}

TEST_CASE("a forked child that suspends is joined before, during and after its end", "[task]") {
    pool on({.threads = 3});
    const auto body = [](int round) -> task<int> {
        auto a = co_await fork(slow(std::chrono::microseconds(round % 40)));
        auto b = co_await fork(slow(std::chrono::microseconds(40 - round % 40)));
        if (round % 3 == 0) co_await schedule_after(20us);
        if (round % 5 == 0) co_await schedule();
        const int x = co_await a.join();
        co_return x + co_await b.join();
    };
    for (int round = 0; round < 500; ++round) REQUIRE(sync_wait(on, body(round)) == 14);
}

TEST_CASE("forks are joined in any order", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<long> {
        auto a = co_await fork(fib(10));
        auto b = co_await fork(fib(11));
        auto c = co_await fork(fib(12));
        const long y = co_await b.join();
        const long x = co_await a.join();
        const long z = co_await c.join();
        co_return x * 1'000'000 + y * 1'000 + z;
    };
    for (int i = 0; i < 200; ++i) REQUIRE(sync_wait(on, body()) == 55'089'144);
}

TEST_CASE("fork works on a scheduler without queues for each worker", "[task]") {
    covey_test::step_scheduler steps;
    CHECK(covey_test::run(steps, fib(9)) == 34);
}

TEST_CASE("a forked child sees its parent's stop request", "[task]") {
    covey_test::step_scheduler steps;
    stop_source stop;
    task_context context = steps.context();
    context.stop = stop.get_token();
    const auto body = []() -> task<bool> {
        auto child = co_await fork(slow(1h));
        bool was_stopped = false;
        try {
            static_cast<void>(co_await child.join());
        } catch (const stopped&) {
            was_stopped = true;
        }
        co_return was_stopped;
    };
    covey_test::end_flag end;
    detail::root_task root(body());
    steps.post(root.bind(end.handle(), context));
    while (steps.timers() == 0) REQUIRE(steps.step());
    stop.request_stop();
    steps.run();
    REQUIRE(end.ended);
    CHECK(root.result());
}

TEST_CASE("a forked child that nobody joins ends the program, and it says why", "[task]") {
    const std::string said = covey_test::last_words([] {
        covey_test::step_scheduler steps;
        const auto forgets = []() -> task<void> {
            auto child = co_await fork(fib(3));
            static_cast<void>(child);
        };
        covey_test::run(steps, forgets());
    });
    CHECK_THAT(said, Catch::Contains("covey: a forked task was left alone") && Catch::Contains("join()"));
}

}  // namespace covey_test_task_fork
