#include <covey/task/task.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace covey_test_task_task {

using namespace covey;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;

namespace {

task<int> number(int n) { co_return n; }
task<std::string> text(std::string s) { co_return s + s; }
task<std::unique_ptr<int>> moved(std::unique_ptr<int> p) { co_return p; }
task<int&> reference(int& r) { co_return r; }
task<const std::string&> constant(const std::string& r) { co_return r; }
task<void> set(int& out, int value) {
    out = value;
    co_return;
}
task<int> failing() {
    throw std::out_of_range("too far");
    co_return 0;
}
task<int> through(int depth) {
    if (depth == 0) co_return co_await failing();
    co_return 1 + co_await through(depth - 1);
}
task<std::string> caught() {
    std::string words;
    try {
        static_cast<void>(co_await through(5));
    } catch (const std::out_of_range& e) {
        words = e.what();
    }
    co_return words + " and on";
}
task<int> all_kinds() {
    int target = 0;
    co_await set(target, 1);
    int& same = co_await reference(target);
    same += 10;
    auto p = co_await moved(std::make_unique<int>(100));
    task<int> kept = number(1000);
    task<int> elsewhere = std::move(kept);
    target += *p + co_await std::move(elsewhere);
    const std::string word = "ab";
    const std::string& again = co_await constant(word);
    const std::string doubled = co_await text(again);
    co_return target + (&again == &word ? 10'000 : 0) + (doubled == "abab" ? 100'000 : 0);
}

/// Counts how many of it are alive.
struct tracked {
    explicit tracked(int* alive) noexcept : m_alive(alive) { ++*m_alive; }
    tracked(const tracked& other) noexcept : m_alive(other.m_alive) { ++*m_alive; }
    tracked& operator=(const tracked&) = delete;
    ~tracked() { --*m_alive; }
    int* m_alive;
};
task<tracked> makes(tracked given, bool* ran) {
    *ran = true;
    co_return given;
}
task<void> uses(tracked given, bool* ran) { static_cast<void>(co_await makes(given, ran)); }
task<void> throws_with(tracked given) {
    tracked local = given;
    throw std::runtime_error("out");
    co_return;
}

struct throws_when_moved {
    throws_when_moved() = default;
    throws_when_moved(throws_when_moved&&) { throw std::domain_error("no move"); }
};
task<throws_when_moved> cannot_return() {
    throws_when_moved local;
    co_return local;
}

task<int> chain(int depth) {
    if (depth == 0) co_return 0;
    co_return 1 + co_await chain(depth - 1);
}
task<int> chain_that_suspends(int depth) {
    if (depth == 0) {
        co_await schedule();
        co_return 0;
    }
    co_return 1 + co_await chain_that_suspends(depth - 1);
}
task<std::size_t> loop(std::size_t n) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<std::size_t>(co_await number(1));
    co_return sum;
}
task<std::size_t> loop_of_failures(std::size_t n) {
    std::size_t caught_count = 0;
    for (std::size_t i = 0; i < n; ++i) {
        try {
            static_cast<void>(co_await failing());
        } catch (const std::out_of_range&) {
            ++caught_count;
        }
    }
    co_return caught_count;
}

/// How far the stack of this thread has grown below `from`, at the deepest of a chain.
[[gnu::noinline]] std::uintptr_t stack_position() noexcept { return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)); }
task<std::pair<std::uintptr_t, std::uintptr_t>> extent(int depth) {
    const std::uintptr_t mine = stack_position();
    if (depth == 0) co_return {mine, mine};
    auto below = co_await extent(depth - 1);
    const std::uintptr_t after = stack_position();
    co_return {std::min({below.first, mine, after}), std::max({below.second, mine, after})};
}

}  // namespace

TEST_CASE("values, references, move-only values and void come through co_await", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, all_kinds()) == 111'111);
}

TEST_CASE("an exception goes through a chain to who catches it", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, caught()) == "too far and on");
    CHECK_THROWS_AS(run(scheduler, through(3)), std::out_of_range);
}

TEST_CASE("a value whose move throws becomes the exception of the task", "[task]") {
    step_scheduler scheduler;
    CHECK_THROWS_AS(run(scheduler, cannot_return()), std::domain_error);
}

TEST_CASE("a task does nothing until it is awaited, and gives back what it holds", "[task]") {
    int alive = 0;
    bool ran = false;
    {
        task<tracked> never_awaited = makes(tracked(&alive), &ran);
        CHECK(alive == 1);
        CHECK(static_cast<bool>(never_awaited));
        task<tracked> other = std::move(never_awaited);
        CHECK_FALSE(static_cast<bool>(never_awaited));
        other = {};
        CHECK(alive == 0);
        CHECK_FALSE(static_cast<bool>(other));
    }
    CHECK_FALSE(ran);
    step_scheduler scheduler;
    run(scheduler, uses(tracked(&alive), &ran));
    CHECK(ran);
    CHECK(alive == 0);
    CHECK_THROWS_AS(run(scheduler, throws_with(tracked(&alive))), std::runtime_error);
    CHECK(alive == 0);
}

TEST_CASE("swapping and assigning tasks exchanges what they stand for", "[task]") {
    step_scheduler scheduler;
    task<int> a = number(1);
    task<int> b = number(2);
    a.swap(b);
    CHECK(run(scheduler, std::move(a)) == 2);
    a = std::move(b);
    CHECK(run(scheduler, std::move(a)) == 1);
    CHECK_FALSE(static_cast<bool>(task<void>{}));
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<task<int>>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<task<int>>);
}

TEST_CASE("a chain of awaits a million deep uses no stack", "[task]") {
    constexpr int depth = static_cast<int>(repeats(1'000'000, 200'000));
    step_scheduler scheduler;
    CHECK(run(scheduler, chain(depth)) == depth);
    CHECK(run(scheduler, chain_that_suspends(depth)) == depth);
    pool threads({.threads = 2});
    CHECK(sync_wait(threads, chain(depth)) == depth);
}

TEST_CASE("the stack stays where it is along a chain", "[task]") {
    step_scheduler scheduler;
    const auto [lowest, highest] = run(scheduler, extent(10'000));
    CHECK(highest - lowest < 16'384);
}

TEST_CASE("a million awaits in a loop use no stack", "[task]") {
    constexpr std::size_t n = repeats(1'000'000, 200'000);
    step_scheduler scheduler;
    CHECK(run(scheduler, loop(n)) == n);
    constexpr std::size_t failures = repeats(20'000, 5'000);
    CHECK(run(scheduler, loop_of_failures(failures)) == failures);
}

TEST_CASE("an exception crosses ten thousand frames", "[task]") {
    step_scheduler scheduler;
    CHECK_THROWS_AS(run(scheduler, through(static_cast<int>(repeats(10'000, 2'000)))), std::out_of_range);
}

}  // namespace covey_test_task_task
