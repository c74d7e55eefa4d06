// How joins keep count: children in line, stolen, resumed elsewhere, failing, ended in any order, awaited by and awaiting
// coroutines that are not ours.
#include <covey/task/detail/joins.hpp>

#include <task/support.hpp>
#include <task/workers.hpp>

#include <covey/core/random.hpp>
#include <covey/sched/pool.hpp>
#include <covey/task/event.hpp>
#include <covey/task/fork.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace covey_test_task_joins {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::hand_workers;
using covey_test::repeats;
using covey_test::run;
using covey_test::started;
using covey_test::step_scheduler;

namespace {

// ---- random trees of joins

/// Given to a task by value; counts those alive.
class present {
public:
    explicit present(std::atomic<int>& count) noexcept : m_count(&count) { ++count; }
    present(const present& other) noexcept : m_count(other.m_count) { ++*m_count; }
    present& operator=(const present&) = delete;
    ~present() { --*m_count; }

private:
    std::atomic<int>* m_count;
};

/// A tree is its seed: the same seed gives the same tree each time.
struct tree {
    random_source random;
    unsigned failing_leaves;  // of a hundred

    tree(std::uint64_t seed, unsigned failing) noexcept : random(seed), failing_leaves(failing) {}
    tree branch() noexcept { return tree(random.next(), failing_leaves); }
    std::uint64_t below(std::uint64_t n) noexcept { return random.below(n); }
};

enum class shape : std::uint64_t { sequence, two, three, many, forked, any, last };

/// What the tree gives if no leaf fails, and how many leaves do.
long value_of(tree t, int depth, int& failing) {
    if (depth == 0) {
        if (t.below(100) < t.failing_leaves) ++failing;
        return 1;
    }
    const auto kind = static_cast<shape>(t.below(static_cast<std::uint64_t>(shape::last)));
    std::size_t children = 2;
    if (kind == shape::three) children = 3;
    if (kind == shape::many) children = 1 + t.below(4);
    long sum = 0;
    for (std::size_t i = 0; i < children; ++i) sum += value_of(t.branch(), depth - 1, failing);
    return kind == shape::any ? 1 : sum;
}

bool g_too_early = false;  // a parent went on while a child's parameters were there

task<long> grow(tree t, int depth, present);

task<long> leaf(tree t) {
    const bool fails = t.below(100) < t.failing_leaves;
    const std::uint64_t kind = t.below(4);
    if (kind == 1) co_await schedule();
    if (kind == 2) co_await schedule_after(std::chrono::microseconds(t.below(50)));
    if (kind == 3) {
        co_await schedule();
        co_await schedule_after(1us);
    }
    if (fails) throw std::runtime_error("a leaf");
    co_return 1;
}
task<long> grow_forked(tree t, int depth, std::atomic<int>& alive) {
    const tree one = t.branch();
    const tree two = t.branch();
    auto child = co_await fork(grow(one, depth - 1, present(alive)));
    long sum = 0;
    std::exception_ptr failure;
    try {
        sum += co_await grow(two, depth - 1, present(alive));
    } catch (...) {
        failure = std::current_exception();
    }
    sum += co_await child.join();
    if (failure) std::rethrow_exception(failure);
    co_return sum;
}
task<long> grow_inner(tree t, int depth, std::atomic<int>& alive) {
    const auto kind = static_cast<shape>(t.below(static_cast<std::uint64_t>(shape::last)));
    if (kind == shape::forked) co_return co_await grow_forked(t, depth, alive);
    if (kind == shape::many) {
        std::vector<task<long>> all;
        for (std::uint64_t n = 1 + t.below(4); n != 0; --n) all.push_back(grow(t.branch(), depth - 1, present(alive)));
        const std::vector<long> results = co_await when_all(std::move(all));
        long sum = 0;
        for (const long r : results) sum += r;
        co_return sum;
    }
    const tree one = t.branch();
    const tree two = t.branch();
    if (kind == shape::sequence) {
        const long first = co_await grow(one, depth - 1, present(alive));
        co_return first + co_await grow(two, depth - 1, present(alive));
    }
    if (kind == shape::two) {
        auto both = co_await when_all(grow(one, depth - 1, present(alive)), grow(two, depth - 1, present(alive)));
        co_return std::get<0>(both) + std::get<1>(both);
    }
    if (kind == shape::any) {
        static_cast<void>(co_await when_any(grow(one, depth - 1, present(alive)), grow(two, depth - 1, present(alive))));
        co_return 1;
    }
    const tree third = t.branch();
    auto all = co_await when_all(grow(one, depth - 1, present(alive)), grow(two, depth - 1, present(alive)),
                                 grow(third, depth - 1, present(alive)));
    co_return std::get<0>(all) + std::get<1>(all) + std::get<2>(all);
}
task<long> grow(tree t, int depth, present) {
    if (depth == 0) co_return co_await leaf(t);
    std::atomic<int> alive{0};
    long sum = 0;
    try {
        sum = co_await grow_inner(t, depth, alive);
    } catch (...) {
        if (alive.load() != 0) g_too_early = true;
        throw;
    }
    if (alive.load() != 0) g_too_early = true;
    co_return sum;
}

// ---- other people's coroutines

/// An event as one finds them in other libraries: `set` resumes those who wait, there and then.
class naive_event {
public:
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) { m_waiting.push_back(h); }
    void await_resume() const noexcept {}
    void set() {
        for (const std::coroutine_handle<> h : std::exchange(m_waiting, {})) h.resume();
    }
    std::size_t waiting() const noexcept { return m_waiting.size(); }

private:
    std::vector<std::coroutine_handle<>> m_waiting;
};

/// A task of another library: lazy, knows no context, goes on in its awaiter by symmetric transfer.
class foreign {
public:
    struct promise_type {
        int value = 0;
        std::exception_ptr failure;
        std::coroutine_handle<> next = std::noop_coroutine();
        foreign get_return_object() noexcept { return foreign(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        struct at_end {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) const noexcept { return h.promise().next; }
            void await_resume() const noexcept {}
        };
        at_end final_suspend() const noexcept { return {}; }
        void return_value(int v) noexcept { value = v; }
        void unhandled_exception() noexcept { failure = std::current_exception(); }
    };
    explicit foreign(std::coroutine_handle<promise_type> h) noexcept : m_handle(h) {}
    foreign(foreign&& other) noexcept : m_handle(std::exchange(other.m_handle, nullptr)) {}
    foreign& operator=(foreign&&) = delete;
    ~foreign() {
        if (m_handle) m_handle.destroy();
    }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
        m_handle.promise().next = awaiter;
        return m_handle;
    }
    int await_resume() { return result(); }

    void start() { m_handle.resume(); }
    bool done() const noexcept { return m_handle.done(); }
    int result() {
        if (m_handle.promise().failure) std::rethrow_exception(m_handle.promise().failure);
        return m_handle.promise().value;
    }

private:
    std::coroutine_handle<promise_type> m_handle;
};

task<int> number(int n) { co_return n; }
task<int> failing() {
    throw std::runtime_error("no");
    co_return 0;
}
task<int> waits_then(naive_event& e, int n) {
    co_await e;
    co_return n + co_await number(1);
}
task<int> waits_far_below(naive_event& e, int depth) {
    if (depth == 0) co_return co_await waits_then(e, 0);
    co_return 1 + co_await waits_far_below(e, depth - 1);
}
task<int> sets(naive_event& e, std::size_t when_waiting) {
    while (e.waiting() < when_waiting) co_await schedule();
    e.set();
    // Those that were resumed inside may have ended by now, or go on after this. Either way this one goes on too.
    const int a = co_await number(1);
    auto both = co_await when_all(number(2), number(3));
    co_return a + std::get<0>(both) + std::get<1>(both);
}
task<int> all_at_one_event() {
    naive_event e;
    auto all = co_await when_all(waits_then(e, 10), waits_far_below(e, 20), sets(e, 3), waits_then(e, 30));
    co_return std::get<0>(all) * 1'000'000 + std::get<1>(all) * 10'000 + std::get<2>(all) * 100 + std::get<3>(all);
}

foreign awaits_ours(int n) {
    const int a = co_await number(n);
    int caught = 0;
    try {
        static_cast<void>(co_await failing());
    } catch (const std::runtime_error&) {
        caught = 1;
    }
    auto both = co_await when_all(number(1), number(2));
    co_return a + caught + std::get<0>(both) + std::get<1>(both);
}
foreign awaits_deep(int n) {
    struct chain {
        static task<int> go(int depth) {
            if (depth == 0) co_return 0;
            co_return 1 + co_await go(depth - 1);
        }
    };
    co_return co_await chain::go(n);
}
foreign fails() {
    static_cast<void>(co_await failing());
    co_return 0;
}
foreign sleeps_under_ours(hand_workers* on) {
    // A foreign coroutine has no context, so what it awaits has no scheduler either: it brings its own.
    task_context context = on->context();
    task<int> t = [](int n) -> task<int> {
        co_await schedule_after(1ms);
        co_return n;
    }(5);
    co_return co_await detail::with_context(t, context);
}
task<int> awaits_foreign(int n) {
    const int a = co_await awaits_ours(n);
    int caught = 0;
    try {
        static_cast<void>(co_await fails());
    } catch (const std::runtime_error&) {
        caught = 100;
    }
    auto both = co_await when_all(number(1000), number(2000));
    co_return a + caught + std::get<0>(both) + std::get<1>(both);
}
/// A library that runs its coroutines to their ends before it returns; ours wait for nothing here, so they end too.
int drive(foreign f) {
    f.start();
    return f.done() ? f.result() : -1;
}
task<int> drives_foreign(int depth) {
    if (depth != 0) co_return co_await drives_foreign(depth - 1);
    const int a = drive(awaits_ours(10));
    const int b = drive(awaits_deep(1000));
    co_return a + b + co_await number(1);
}

// ---- addresses that are used again

struct reuse {
    event open{true};
    event go_on;
    event late;
    void* first = nullptr;
    void* second = nullptr;
};
task<void> waits(event& e, void*& address) {
    co_await covey_test::told_address{address};
    co_await e.wait();
}
task<void> takes_the_frame(reuse& r) { co_await waits(r.late, r.second); }
task<void> lets_go_on(reuse& r) {
    r.go_on.set();
    co_return;
}
task<void> first_child(reuse& r) {
    co_await r.go_on.wait();
    r.late.set();
}
task<void> joins_all(reuse& r) {
    scope others;
    others.spawn(lets_go_on(r));
    others.spawn(takes_the_frame(r));
    static_cast<void>(co_await when_all(first_child(r), waits(r.open, r.first)));
    co_await others.join();
}
task<void> joins_a_fork(reuse& r) {
    scope others;
    others.spawn(lets_go_on(r));
    others.spawn(takes_the_frame(r));
    auto child = co_await fork(waits(r.open, r.first));
    co_await r.go_on.wait();
    r.late.set();
    co_await child.join();
    co_await others.join();
}

// ---- order of ends

struct logged {
    std::vector<std::string>* log;
    std::string name;
    logged(std::vector<std::string>& l, std::string n) : log(&l), name(std::move(n)) {}
    logged(logged&& other) noexcept : log(std::exchange(other.log, nullptr)), name(std::move(other.name)) {}
    logged& operator=(logged&&) = delete;
    ~logged() {
        if (log != nullptr) log->push_back("~" + name);
    }
};
task<int> with_parameter(event& e, logged p) {
    co_await e.wait();
    p.log->push_back(p.name);
    co_return 1;
}
task<int> two_with_parameters(event& a, event& b, std::vector<std::string>& log) {
    auto both = co_await when_all(with_parameter(a, logged(log, "a")), with_parameter(b, logged(log, "b")));
    log.push_back("parent");
    co_return std::get<0>(both) + std::get<1>(both);
}
task<int> fork_with_parameter(event& a, event& b, std::vector<std::string>& log) {
    auto child = co_await fork(with_parameter(a, logged(log, "a")));
    co_await b.wait();
    const int n = co_await child.join();
    log.push_back("parent");
    co_return n + 1;
}
task<void> fails_after(event& e) {
    co_await e.wait();
    throw std::runtime_error("failed");
}
task<void> until_stopped(event& never_set, bool& was_stopped) {
    try {
        co_await never_set.wait();
    } catch (const stopped&) {
        was_stopped = true;
        throw;
    }
}
task<void> one_fails_one_waits(event& e, event& never_set, bool& was_stopped) {
    static_cast<void>(co_await when_all(until_stopped(never_set, was_stopped), fails_after(e)));
}

// ---- values

struct throws_from_int {
    explicit throws_from_int(int) { throw std::domain_error("no such value"); }
    throws_from_int(throws_from_int&&) = default;
};
task<throws_from_int> unmakeable() { co_return 7; }
struct throws_at_the_end {
    bool armed = true;
    ~throws_at_the_end() noexcept(false) {
        if (armed) throw std::length_error("at the end");
    }
};
task<std::unique_ptr<int>> value_then_throw() {
    throws_at_the_end local;
    co_return std::make_unique<int>(1);
}
task<int> catches_in_when_all() {
    int caught = 0;
    try {
        static_cast<void>(co_await when_all(number(1), unmakeable(), number(2)));
    } catch (const std::domain_error&) {
        caught += 1;
    }
    try {
        static_cast<void>(co_await when_all(value_then_throw(), number(2)));
    } catch (const std::length_error&) {
        caught += 10;
    }
    co_return caught;
}
task<int&> reference(int& r) { co_return r; }
task<int> references() {
    int a = 1;
    int b = 2;
    auto both = co_await when_all(reference(a), reference(b));
    std::get<0>(both) = 10;
    std::get<1>(both) = 20;
    auto child = co_await fork(reference(a));
    int& same = co_await child.join();
    same += 5;
    co_return a + b;
}
task<std::unique_ptr<std::string>> pointer(std::string s) { co_return std::make_unique<std::string>(std::move(s)); }
task<std::string> move_only() {
    std::vector<task<std::unique_ptr<std::string>>> all;
    for (const char* s : {"a", "b", "c"}) all.push_back(pointer(s));
    auto of_many = co_await when_all(std::move(all));
    auto of_two = co_await when_all(pointer("d"), pointer("e"));
    auto first = co_await when_any(pointer("f"), number(1));
    std::string text;
    for (const auto& p : of_many) text += *p;
    text += *std::get<0>(of_two) + *std::get<1>(of_two);
    if (first.index() == 0) text += *std::get<0>(first);
    co_return text;
}
task<int> holds(present, bool& ran) {
    ran = true;
    co_return 1;
}

}  // namespace

TEST_CASE("random trees of joins, whoever steals what and when", "[task]") {
    for (std::uint64_t seed = 1; seed <= repeats(3000, 600); ++seed) {
        CAPTURE(seed);
        random_source random(seed);
        const tree t(random.next(), seed % 3 == 0 ? 10 : 0);
        const int depth = 1 + static_cast<int>(seed % 5);
        int failing_leaves = 0;
        const long expected = value_of(t, depth, failing_leaves);
        hand_workers workers(3);
        std::atomic<int> alive{0};
        g_too_early = false;
        started<long> root(workers.context(), grow(t, depth, present(alive)));
        std::vector<std::coroutine_handle<>> taken;  // by thieves that have not begun
        std::size_t quiet = 0;
        while (quiet < 200) {
            workers.want_elsewhere(random.below(4) == 0);
            bool any = false;
            switch (random.below(6)) {
                case 0:
                case 1: any = workers.step(random.below(3)); break;
                case 2: any = workers.steal(random.below(3), random.below(3)); break;
                case 3:
                    if (const auto work = workers.take(random.below(3))) taken.push_back(work), any = true;
                    break;
                case 4:
                    if (!taken.empty()) {
                        const std::size_t i = random.below(taken.size());
                        const auto work = std::exchange(taken[i], taken.back());
                        taken.pop_back();
                        any = workers.resume(random.below(3), work);
                    }
                    break;
                default: any = workers.fire_next(random.below(3)); break;
            }
            quiet = any ? 0 : quiet + 1;
        }
        REQUIRE(taken.empty());
        REQUIRE(root.ended());
        REQUIRE(alive.load() == 0);
        REQUIRE_FALSE(g_too_early);
        REQUIRE(workers.timers() == 0);
        bool failed = false;
        long result = 0;
        try {
            result = root.result();
        } catch (const std::runtime_error&) {
            failed = true;
        }
        REQUIRE((failed || result == expected));
        // In a when_any a leaf that fails may be one that came too late.
        REQUIRE((failed ? failing_leaves > 0 : true));
    }
}

TEST_CASE("random trees of joins on many threads", "[task]") {
    pool threads({.threads = 4});
    for (std::uint64_t seed = 1; seed <= repeats(1500, 150); ++seed) {
        CAPTURE(seed);
        const tree t(seed, seed % 3 == 0 ? 10 : 0);
        const int depth = 2 + static_cast<int>(seed % 6);
        int failing_leaves = 0;
        const long expected = value_of(t, depth, failing_leaves);
        std::atomic<int> alive{0};
        bool failed = false;
        long result = 0;
        try {
            result = sync_wait(threads, grow(t, depth, present(alive)));
        } catch (const std::runtime_error&) {
            failed = true;
        }
        REQUIRE((failed || result == expected));
        REQUIRE(alive.load() == 0);
        REQUIRE((failed ? failing_leaves > 0 : true));
    }
}

TEST_CASE("a child that ended and whose frame another coroutine has got is not taken for it", "[task]") {
    for (const bool fork_it : {false, true}) {
        CAPTURE(fork_it);
        hand_workers workers(1);
        reuse r;
        started<void> all(workers.context(), fork_it ? joins_a_fork(r) : joins_all(r));
        workers.run();
        REQUIRE(all.ended());
        all.result();
        if (!COVEY_SANITIZED || COVEY_TSAN) CHECK(r.first == r.second);
    }
}

TEST_CASE("a child's parameters are gone before its parent goes on, also where it was stolen", "[task]") {
    using words = std::vector<std::string>;
    for (const bool stolen_last : {false, true}) {
        CAPTURE(stolen_last);
        hand_workers workers(2);
        event a;
        event b;
        words log;
        started<int> all(workers.context(), two_with_parameters(a, b, log));
        REQUIRE(workers.step(0));      // the parent, then the first child, which waits
        REQUIRE(workers.steal(1, 0));  // the second
        (stolen_last ? a : b).set();
        workers.run();
        REQUIRE_FALSE(all.ended());
        (stolen_last ? b : a).set();
        workers.run();
        REQUIRE(all.ended());
        CHECK(all.result() == 2);
        CHECK(log == (stolen_last ? words{"a", "~a", "b", "~b", "parent"} : words{"b", "~b", "a", "~a", "parent"}));
    }
    for (const bool child_last : {false, true}) {
        CAPTURE(child_last);
        hand_workers workers(2);
        event a;
        event b;
        words log;
        started<int> all(workers.context(), fork_with_parameter(a, b, log));
        REQUIRE(workers.step(0));
        REQUIRE(workers.steal(1, 0));
        (child_last ? b : a).set();
        workers.run();
        REQUIRE_FALSE(all.ended());
        (child_last ? a : b).set();
        workers.run();
        REQUIRE(all.ended());
        CHECK(all.result() == 2);
        CHECK(log == words{"a", "~a", "parent"});
    }
}

TEST_CASE("a stolen child fails while another is in line", "[task]") {
    hand_workers workers(2);
    event fail;
    event never_set;
    bool was_stopped = false;
    started<void> all(workers.context(), one_fails_one_waits(fail, never_set, was_stopped));
    REQUIRE(workers.step(0));
    const std::coroutine_handle<> child = workers.take(0);
    REQUIRE(child);
    REQUIRE_FALSE(workers.step(0));
    REQUIRE(workers.resume(1, child));
    fail.set();
    workers.run();
    REQUIRE(all.ended());
    CHECK(was_stopped);
    CHECK_THROWS_WITH(all.result(), "failed");
}

TEST_CASE("a fork is joined while its child is with a thief that has not begun", "[task]") {
    hand_workers workers(2);
    struct body {
        static task<int> go() {
            auto child = co_await fork(number(5));
            co_await schedule();
            co_return co_await child.join();
        }
    };
    started<int> all(workers.context(), body::go());
    REQUIRE(workers.step(0));
    const std::coroutine_handle<> child = workers.take(0);  // the oldest: the child, for schedule() came after it
    while (workers.step(0)) {}
    REQUIRE_FALSE(all.ended());
    REQUIRE(workers.resume(1, child));
    REQUIRE(all.ended());
    CHECK(all.result() == 5);
}

TEST_CASE("an event that resumes its waiters inside of set() loses nobody", "[task]") {
    hand_workers workers(1);
    started<int> all(workers.context(), all_at_one_event());
    workers.run();
    REQUIRE(all.ended());
    CHECK(all.result() == 11'210'631);
    step_scheduler scheduler;
    CHECK(run(scheduler, all_at_one_event()) == 11'210'631);
}

TEST_CASE("coroutines of another library await ours, without a loop of ours below", "[task]") {
    foreign f = awaits_ours(10);
    f.start();
    REQUIRE(f.done());
    CHECK(f.result() == 14);
    foreign failed = fails();
    failed.start();
    REQUIRE(failed.done());
    CHECK_THROWS_WITH(failed.result(), "no");
    foreign deep = awaits_deep(10'000);
    deep.start();
    REQUIRE(deep.done());
    CHECK(deep.result() == 10'000);
}

TEST_CASE("coroutines of another library between ours", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, awaits_foreign(10)) == 3114);
    hand_workers workers(1);
    started<int> all(workers.context(), awaits_foreign(10));
    workers.run();
    REQUIRE(all.ended());
    CHECK(all.result() == 3114);
    pool threads({.threads = 2});
    CHECK(sync_wait(threads, awaits_foreign(10)) == 3114);
}

TEST_CASE("a library that runs its coroutines to their ends inside one of our tasks finds them ended", "[task]") {
    step_scheduler scheduler;
    CHECK(run(scheduler, drives_foreign(0)) == 1015);
    CHECK(run(scheduler, drives_foreign(100)) == 1015);
}

TEST_CASE("a foreign coroutine brings a context for what it awaits", "[task]") {
    hand_workers workers(1);
    foreign f = sleeps_under_ours(&workers);
    f.start();
    REQUIRE_FALSE(f.done());
    workers.run();
    REQUIRE(f.done());
    CHECK(f.result() == 5);
}

TEST_CASE("exceptions from making a value and after it, and values that only move or refer", "[task]") {
    step_scheduler scheduler;
    CHECK_THROWS_AS(run(scheduler, unmakeable()), std::domain_error);
    CHECK_THROWS_AS(run(scheduler, value_then_throw()), std::length_error);
    CHECK(run(scheduler, catches_in_when_all()) == 11);
    CHECK(run(scheduler, references()) == 35);
    CHECK(run(scheduler, move_only()) == "abcdef");
    hand_workers workers(1);
    started<int> in_line(workers.context(), catches_in_when_all());
    workers.run();
    REQUIRE(in_line.ended());
    CHECK(in_line.result() == 11);
}

TEST_CASE("what is never awaited runs nothing and gives back what its tasks hold", "[task]") {
    std::atomic<int> alive{0};
    bool ran = false;
    {
        auto all = when_all(holds(present(alive), ran), holds(present(alive), ran));
        auto any = when_any(holds(present(alive), ran), holds(present(alive), ran));
        std::vector<task<int>> list;
        list.push_back(holds(present(alive), ran));
        auto of_vector = when_all(std::move(list));
        auto limited = timeout(holds(present(alive), ran), 1ms);
        auto forked_later = fork(holds(present(alive), ran));
        const auto sleep = schedule_after(1ms);
        static_cast<void>(sleep);
        CHECK(alive.load() == 7);
    }
    CHECK(alive.load() == 0);
    CHECK_FALSE(ran);
}

}  // namespace covey_test_task_joins
