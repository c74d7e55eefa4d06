#include <covey/task/context.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>

namespace covey_test_task_context {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::step_scheduler;

namespace {

task<bool> inherits(const task_context* expected) {
    const task_context& mine = co_await get_context();
    co_return &mine == expected&& detail::running_context() == expected;
}

task<bool> seen_by_callee(const task_context* expected) {
    const task_context& mine = co_await get_context();
    const bool same = &mine == expected;
    const bool callee = co_await inherits(&mine);
    co_return same&& callee&& detail::running_context() == &mine;
}

task<stop_token> token() { co_return co_await get_stop_token(); }

/// Suspends in every way there is, and looks each time whether the thread knows the context afterwards.
task<int> wrong_after_suspension() {
    const task_context& mine = co_await get_context();
    int wrong = 0;
    const auto look = [&] { wrong += detail::running_context() != &mine; };
    look();
    co_await schedule();
    look();
    co_await schedule_after(1ns);
    look();
    co_await timeout(token(), 1h);
    look();
    static_cast<void>(co_await when_all(token(), token()));
    look();
    static_cast<void>(co_await token());
    look();
    co_return wrong;
}

task<int> nested(int depth) {
    int wrong = co_await wrong_after_suspension();
    if (depth > 0) {
        auto both = co_await when_all(nested(depth - 1), nested(depth - 1));
        wrong += std::get<0>(both) + std::get<1>(both);
        wrong += co_await timeout(nested(depth - 1), 1h);
    }
    co_return wrong;
}

/// Another library's coroutine.
struct foreign {
    struct promise_type {
        foreign get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

foreign ask(const task_context** out) { *out = &co_await get_context(); }

}  // namespace

TEST_CASE("a context is handed from caller to callee by pointer", "[task]") {
    step_scheduler scheduler;
    stop_source stop;
    task_context context = scheduler.context();
    context.stop = stop.get_token();
    context.deadline = scheduler.now() + 5s;
    CHECK(covey_test::run(scheduler, context, seen_by_callee(&context)));
    CHECK(covey_test::run(scheduler, context, token()) == stop.get_token());
}

TEST_CASE("outside of a coroutine there is no running context", "[task]") {
    CHECK(detail::running_context() == nullptr);
    step_scheduler scheduler;
    CHECK(covey_test::run(scheduler, nested(2)) == 0);
    CHECK(detail::running_context() == nullptr);
}

TEST_CASE("the running context is right after every suspension, on many threads", "[task]") {
    pool threads({.threads = 4});
    CHECK(sync_wait(threads, nested(static_cast<int>(covey_test::repeats(5, 3)))) == 0);
    CHECK(detail::running_context() == nullptr);
}

TEST_CASE("a coroutine of another library has an empty context", "[task]") {
    const task_context* seen = nullptr;
    ask(&seen);
    REQUIRE(seen != nullptr);
    CHECK(seen->scheduler == nullptr);
    CHECK_FALSE(seen->stop.stop_possible());
    CHECK(seen->deadline == never);
    CHECK(seen->peer == nullptr);
}

}  // namespace covey_test_task_context
