#include <covey/task/co_invoke.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace covey_test_task_co_invoke {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::run;
using covey_test::stage;
using covey_test::step_scheduler;

namespace {

task<std::string> from_a_closure_that_ends() {
    task<std::string> made;
    {
        const std::string captured(40, 'c');
        auto closure = [captured](std::string tail) -> task<std::string> {
            co_await schedule();
            co_return captured.substr(0, 2) + tail;
        };
        made = co_invoke(closure, std::string("tail"));
    }
    co_return co_await std::move(made);
}
stream<std::string> stream_from_a_closure_that_ends() {
    const std::string captured(40, 's');
    auto closure = [captured](int n) -> stream<std::string> {
        for (int i = 0; i < n; ++i) {
            co_await schedule();
            co_yield captured + std::to_string(i);
        }
    };
    return co_invoke(closure, 3);
}
task<std::size_t> lengths(stream<std::string> s) {
    std::size_t sum = 0;
    while (auto w = co_await s.next()) sum += w->size();
    co_return sum;
}
struct counting {
    task<int> operator()(int n) {
        calls += n;
        co_await schedule();
        co_return calls;
    }
    int calls = 0;
};
struct by_reference {
    task<void> operator()(std::string& s) const {
        co_await schedule();
        s += "x";
    }
};
task<void> spawn_many(std::atomic<std::size_t>& sum, std::size_t n) {
    scope s;
    for (std::size_t i = 0; i < n; ++i) {
        const auto shared = std::make_shared<std::size_t>(i);
        auto closure = [shared, &sum](std::unique_ptr<int> one) -> task<void> {
            co_await schedule();
            sum += *shared + static_cast<std::size_t>(*one);
        };
        s.spawn(co_invoke(closure, std::make_unique<int>(1)));
    }
    co_await s.join();
}
task<int> sleeping(std::shared_ptr<int> held) {
    auto closure = [held]() -> task<int> {
        co_await schedule_after(24h);
        co_return *held;
    };
    return co_invoke(closure);
}

}  // namespace

TEST_CASE("co_invoke keeps a closure until its coroutine has ended", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, from_a_closure_that_ends()) == "cctail");
    CHECK(run(scheduler, lengths(stream_from_a_closure_that_ends())) == 3 * 41);
}

TEST_CASE("co_invoke copies what it is given, and calls when it is awaited", "[task]") {
    step_scheduler scheduler;
    counting f;
    task<int> twice = co_invoke(f, 2);
    f.calls = 100;
    CHECK(run(scheduler, std::move(twice)) == 2);
    CHECK(run(scheduler, co_invoke(counting{5}, 1)) == 6);
    std::string s;
    run(scheduler, co_invoke(by_reference{}, std::ref(s)));
    CHECK(s == "x");
    int n = 3;
    CHECK(run(scheduler, co_invoke([&n]() -> task<int> { co_return n; })) == 3);  // trivially copyable: a temporary is fine
}

TEST_CASE("co_invoke frees the closure when the task ends, stops, or never starts", "[task]") {
    const auto held = std::make_shared<int>(4);
    {
        const task<int> never = sleeping(held);
        CHECK(held.use_count() == 2);
    }
    CHECK(held.use_count() == 1);
    stage s;
    stop_source stop;
    stop.request_stop();
    CHECK(s.start(sleeping(held), stop.get_token())->stopped);
    s.settle();
    CHECK(held.use_count() == 1);
    CHECK(s.start(sleeping(held))->value == 4);
}

TEST_CASE("co_invoke for tasks on many threads", "[task]") {
    pool threads({.threads = 4});
    std::atomic<std::size_t> sum{0};
    const std::size_t n = repeats(20'000, 2'000);
    sync_wait(threads, spawn_many(sum, n));
    CHECK(sum == n * (n - 1) / 2 + n);
}

}  // namespace covey_test_task_co_invoke
