// How deep things may go: chains and recursions of any length use heap and no stack, in every build mode. Everything here runs on
// a stack of a few hundred kilobytes, which a hundred thousand levels of anything would use up.
#include <task/support.hpp>
#include <task/workers.hpp>

#include <covey/task/fork.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/stream.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <stdexcept>

namespace covey_test_task_depth {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::hand_workers;
using covey_test::on_small_stack;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;

namespace {

constexpr int many = static_cast<int>(repeats(1'000'000, 100'000));
constexpr int deep = static_cast<int>(repeats(100'000, 20'000));

/// One worker with a queue, so that joins take the way in line.
template <class T>
T run_in_line(task<T> t, stop_token stop = {}) {
    hand_workers workers(1);
    task_context context = workers.context();
    context.stop = stop;
    covey_test::started<T> all(context, std::move(t));
    workers.run();
    REQUIRE(all.ended());
    return all.result();
}

task<int> ready() { co_return 1; }
task<int> suspended() {
    co_await schedule();
    co_return 1;
}
task<int> loop(int n) {
    int sum = 0;
    for (int i = 0; i < n; ++i) sum += co_await ready();
    co_return sum;
}
task<int> chain(int n, task<int> (*leaf)()) {
    if (n == 0) co_return co_await leaf();
    co_return 1 + co_await chain(n - 1, leaf);
}
task<int> failing() {
    throw std::runtime_error("at the bottom");
    co_return 0;
}
task<int> cleans_up(int n, int& cleaned) {
    struct guard {
        int& count;
        ~guard() { ++count; }
    } here{cleaned};
    if (n == 0) co_return co_await failing();
    co_return co_await cleans_up(n - 1, cleaned);
}

task<int> first_is_deep(int n, task<int> (*leaf)()) {
    if (n == 0) co_return co_await leaf();
    auto both = co_await when_all(first_is_deep(n - 1, leaf), ready());
    co_return std::get<0>(both) + std::get<1>(both);
}
task<int> last_is_deep(int n, task<int> (*leaf)()) {
    if (n == 0) co_return co_await leaf();
    auto both = co_await when_all(ready(), last_is_deep(n - 1, leaf));
    co_return std::get<0>(both) + std::get<1>(both);
}
task<int> vector_is_deep(int n) {
    if (n == 0) co_return 1;
    std::vector<task<int>> all;
    all.push_back(ready());
    all.push_back(vector_is_deep(n - 1));
    all.push_back(ready());
    const std::vector<int> results = co_await when_all(std::move(all));
    co_return results[0] + results[1];
}
task<int> any_is_deep(int n) {
    if (n == 0) co_return 1;
    auto one = co_await when_any(any_is_deep(n - 1), suspended());
    co_return one.index() == 0 ? std::get<0>(one) + 1 : 0;
}

task<int> forked_child_is_deep(int n) {
    if (n == 0) co_return 1;
    auto child = co_await fork(forked_child_is_deep(n - 1));
    const int one = co_await ready();
    co_return one + co_await child.join();
}
task<int> forking_parent_is_deep(int n) {
    if (n == 0) co_return 1;
    auto child = co_await fork(ready());
    const int below = co_await forking_parent_is_deep(n - 1);
    co_return below + co_await child.join();
}

task<void> nested_scopes(int n, int& count) {
    ++count;
    if (n == 0) co_return;
    scope s;
    s.spawn(nested_scopes(n - 1, count));
    co_await s.join();
    ++count;
}
task<int> nested_futures(int n) {
    if (n == 0) co_return 0;
    scope s;
    future<int> below = s.spawn_future(nested_futures(n - 1));
    co_await s.join();
    co_return 1 + co_await std::move(below);
}
task<int> nested_limits(int n) {
    if (n == 0) co_return co_await suspended();
    co_return 1 + co_await timeout(nested_limits(n - 1), 1h);
}

stream<int> numbers(int n, bool suspend) {
    for (int i = 0; i < n; ++i) {
        if (suspend) co_await schedule();
        co_yield 1;
    }
}
task<int> sum(int n, bool suspend) {
    int total = 0;
    stream<int> all = numbers(n, suspend);
    while (auto next = co_await all.next()) total += *next;
    co_return total;
}

task<int> sleeping() {
    co_await schedule_after(24h);
    co_return 0;
}
task<void> sleeping_scopes(int n) {
    if (n == 0) {
        static_cast<void>(co_await sleeping());
        co_return;
    }
    scope s;
    s.spawn(sleeping_scopes(n - 1));
    co_await s.join();
    static_cast<void>(co_await suspended());
}
/// Starts the task, asks it to stop once it sleeps, and says whether it ended so.
template <class T>
bool is_stopped(task<T> t) {
    stop_source stop;
    hand_workers workers(1);
    task_context context = workers.context();
    context.stop = stop.get_token();
    covey_test::started<T> all(context, std::move(t));
    while (workers.step(0)) {}
    REQUIRE_FALSE(all.ended());
    REQUIRE(workers.timers() == 1);
    REQUIRE(stop.request_stop());
    workers.run();
    REQUIRE(all.ended());
    REQUIRE(workers.timers() == 0);
    try {
        static_cast<void>(all.result());
    } catch (const stopped&) {
        return true;
    }
    return false;
}

}  // namespace

TEST_CASE("a million awaits, one after the other and one within the other, use no stack", "[depth]") {
    on_small_stack([] {
        step_scheduler scheduler;
        CHECK(run(scheduler, loop(many)) == many);
        CHECK(run(scheduler, chain(many, ready)) == many + 1);
        CHECK(run(scheduler, chain(many, suspended)) == many + 1);
        CHECK(run_in_line(chain(many, suspended)) == many + 1);
    });
}

TEST_CASE("chains started by code that is no coroutine use no stack", "[depth]") {
    // No loop is below: the coroutine is resumed by its handle, as another library would.
    on_small_stack([] {
        covey_test::end_flag end;
        detail::root_task<int> root(chain(deep, ready));
        root.bind(end.handle(), detail::empty_context).resume();
        REQUIRE(end.ended);
        CHECK(root.result() == deep + 1);
    });
}

TEST_CASE("an exception crosses a hundred thousand levels and no stack", "[depth]") {
    on_small_stack([] {
        step_scheduler scheduler;
        int cleaned = 0;
        CHECK_THROWS_WITH(run(scheduler, cleans_up(deep, cleaned)), "at the bottom");
        CHECK(cleaned == deep + 1);
        CHECK_THROWS_WITH(run_in_line(first_is_deep(deep, failing)), "at the bottom");
        CHECK_THROWS_WITH(run_in_line(last_is_deep(deep, failing)), "at the bottom");
        CHECK_THROWS_WITH(run(scheduler, last_is_deep(deep, failing)), "at the bottom");
    });
}

TEST_CASE("when_all and when_any a hundred thousand levels deep use no stack", "[depth]") {
    on_small_stack([] {
        CHECK(run_in_line(first_is_deep(deep, ready)) == deep + 1);
        CHECK(run_in_line(last_is_deep(deep, ready)) == deep + 1);
        CHECK(run_in_line(first_is_deep(deep, suspended)) == deep + 1);
        CHECK(run_in_line(last_is_deep(deep, suspended)) == deep + 1);
        CHECK(run_in_line(vector_is_deep(deep)) == deep + 1);
        CHECK(run_in_line(any_is_deep(deep)) == deep + 1);
        step_scheduler scheduler;  // no queues: children are posted
        CHECK(run(scheduler, first_is_deep(deep, ready)) == deep + 1);
        CHECK(run(scheduler, last_is_deep(deep, suspended)) == deep + 1);
        CHECK(run(scheduler, vector_is_deep(deep)) == deep + 1);
    });
}

TEST_CASE("fork and join a hundred thousand levels deep use no stack", "[depth]") {
    on_small_stack([] {
        CHECK(run_in_line(forked_child_is_deep(deep)) == deep + 1);
        CHECK(run_in_line(forking_parent_is_deep(deep)) == deep + 1);
        step_scheduler scheduler;
        CHECK(run(scheduler, forked_child_is_deep(deep)) == deep + 1);
        CHECK(run(scheduler, forking_parent_is_deep(deep)) == deep + 1);
    });
}

TEST_CASE("scopes, futures and limits within each other use no stack", "[depth]") {
    on_small_stack([] {
        int count = 0;
        step_scheduler scheduler;
        run(scheduler, nested_scopes(deep, count));
        CHECK(count == 2 * deep + 1);
        count = 0;
        run_in_line(nested_scopes(deep, count));
        CHECK(count == 2 * deep + 1);
        CHECK(run_in_line(nested_futures(deep)) == deep);
        // Each limit is one more source that the leaf's question whether to stop walks through.
        CHECK(run_in_line(nested_limits(deep)) == deep + 1);
    });
}

TEST_CASE("a million values of a stream use no stack", "[depth]") {
    on_small_stack([] {
        step_scheduler scheduler;
        CHECK(run(scheduler, sum(many, false)) == many);
        CHECK(run(scheduler, sum(many, true)) == many);
        CHECK(run_in_line(sum(many, false)) == many);
    });
}

TEST_CASE("a stop request walks down through a hundred thousand sources without stack", "[depth]") {
    on_small_stack([] {
        CHECK(is_stopped(first_is_deep(deep, sleeping)));
        CHECK(is_stopped(last_is_deep(deep, sleeping)));
        CHECK(is_stopped(sleeping_scopes(deep)));
    });
}

}  // namespace covey_test_task_depth
