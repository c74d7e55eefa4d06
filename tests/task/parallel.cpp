#include <covey/task/parallel.hpp>

#include <task/support.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace covey_test_task_parallel {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::patience;
using covey_test::repeats;
using covey_test::run;
using covey_test::step_scheduler;

namespace {

/// Long enough to be worth a split, on any machine.
void compute_for(std::chrono::microseconds d) {
    const auto end = std::chrono::steady_clock::now() + d;
    while (std::chrono::steady_clock::now() < end) {}
}

/// How often each of n indices came.
class visits {
public:
    explicit visits(std::size_t n) : m_counts(n) {}
    void operator()(std::size_t i) { m_counts.at(i).fetch_add(1, std::memory_order_relaxed); }
    bool each_once() const {
        return std::all_of(m_counts.begin(), m_counts.end(), [](const auto& c) { return c.load() == 1; });
    }
    std::size_t all() const {
        return std::accumulate(m_counts.begin(), m_counts.end(), std::size_t{0}, [](std::size_t s, const auto& c) { return s + c.load(); });
    }

private:
    std::vector<std::atomic<unsigned>> m_counts;
};

/// A scheduler of several threads none of which has a queue that others could see into.
class without_queues final : public scheduler {
public:
    explicit without_queues(pool& on) : m_pool(on) {}
    void post(std::coroutine_handle<> work) noexcept override { m_pool.post(work); }
    time_point now() const noexcept override { return m_pool.now(); }
    void arm(timer& t, time_point when) override { m_pool.arm(t, when); }
    bool cancel(timer& t) noexcept override { return m_pool.cancel(t); }
    std::uint64_t random() noexcept override { return m_pool.random(); }
    unsigned concurrency() const noexcept override { return m_pool.concurrency(); }

private:
    pool& m_pool;
};

task<void> visit_all(std::size_t n, visits& seen, std::chrono::microseconds each) {
    co_await parallel_for(std::size_t{0}, n, [&](std::size_t i) {
        if (each != 0us) compute_for(each);
        seen(i);
    });
}

}  // namespace

TEST_CASE("parallel_for visits every index once, on one thread and on several", "[task]") {
    for (const unsigned threads : {1u, 2u, 3u}) {
        pool on({.threads = threads});
        for (const std::size_t n : {0u, 1u, 2u, 3u, 100u, 4097u, 1'000'000u}) {
            visits seen(n);
            sync_wait(on, visit_all(n, seen, 0us));
            CHECK(seen.each_once());
        }
        for (const std::size_t n : {1u, 2u, 7u, 300u}) {
            visits seen(n);
            sync_wait(on, visit_all(n, seen, 20us));
            CHECK(seen.each_once());
        }
    }
}

TEST_CASE("parallel_for runs on several threads at once", "[task]") {
    pool on({.threads = 2});
    std::atomic<int> inside{0};
    const auto meet = [&](int i) {
        // Two iterations wait for each other: one thread would do so in vain.
        if (i != 0 && i != 999) return compute_for(10us);
        ++inside;
        covey_test::wait_until([&] { return inside == 2; });
    };
    // Some iterations come before, in which the loop finds out that it is worth a split.
    sync_wait(on, parallel_for(-20, 1000, meet));
    CHECK(inside == 2);
}

TEST_CASE("parallel_for works where there are no queues to look into", "[task]") {
    step_scheduler steps;
    visits one(1000);
    run(steps, visit_all(1000, one, 0us));
    CHECK(one.each_once());

    pool threads({.threads = 3});
    without_queues on(threads);
    for (const std::size_t n : {0u, 1u, 2u, 5u, 13u, 10'000u}) {
        visits seen(n);
        sync_wait(on, visit_all(n, seen, 0us));
        CHECK(seen.each_once());
    }
    visits seen(400);
    sync_wait(on, visit_all(400, seen, 10us));
    CHECK(seen.each_once());
}

TEST_CASE("parallel_for takes bounds of any integer type, up to its ends", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<void> {
        std::atomic<unsigned> calls{0};
        std::atomic<bool> in_range{true};
        const auto check = [&]<class I>(I first, I last, unsigned expected) -> task<void> {
            calls = 0;
            std::atomic<std::uint64_t> sum{0};
            co_await parallel_for(first, last, [&](I i) {
                calls.fetch_add(1);
                sum.fetch_add(static_cast<std::uint64_t>(i));
                if (i < first || i >= last) in_range = false;
                compute_for(3us);
            });
            CHECK(calls == expected);
            std::uint64_t right = 0;
            for (unsigned k = 0; k < expected; ++k) right += static_cast<std::uint64_t>(first) + k;
            CHECK(sum == right);
        };
        co_await check(std::numeric_limits<std::uint64_t>::max() - 300, std::numeric_limits<std::uint64_t>::max(), 300);
        co_await check(std::numeric_limits<std::int64_t>::max() - 300, std::numeric_limits<std::int64_t>::max(), 300);
        co_await check(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::min() + 300, 300);
        co_await check(std::numeric_limits<int>::max() - 300, std::numeric_limits<int>::max(), 300);
        co_await check(std::int8_t{-128}, std::int8_t{127}, 255);
        co_await check(std::uint8_t{0}, std::uint8_t{255}, 255);
        co_await check(5, 5, 0);
        co_await check(5, -5, 0);
        co_await check(7u, 2u, 0);
        CHECK(in_range);
    };
    sync_wait(on, body());
}

TEST_CASE("the whole of a 64-bit type is one loop", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<std::int64_t> {
        std::atomic<std::int64_t> first{0};
        try {
            co_await parallel_for(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(), [&](std::int64_t i) {
                if (i == std::numeric_limits<std::int64_t>::min()) {
                    first = i;
                    throw std::runtime_error("enough");
                }
            });
        } catch (const std::runtime_error&) {}
        co_return first.load();
    };
    CHECK(sync_wait(on, body()) == std::numeric_limits<std::int64_t>::min());
}

TEST_CASE("bounds of two types are compared as numbers", "[task]") {
    pool on({.threads = 1});
    const auto body = []() -> task<std::size_t> {
        std::size_t calls = 0;
        const std::size_t n = 10;
        co_await parallel_for(0, n, [&](std::size_t) { ++calls; });
        co_await parallel_for(short{-2}, 3L, [&](long) { ++calls; });
        co_return calls;
    };
    CHECK(sync_wait(on, body()) == 15);
    const auto nothing = [](std::size_t) {};
    CHECK(covey_test::throws_code(errc::bad_argument, [&] { return parallel_for(-1, std::size_t{10}, nothing); }));
    CHECK(covey_test::throws_code(errc::bad_argument, [&] { return parallel_for(std::size_t{0}, -1, nothing); }));
}

TEST_CASE("parallel_for goes over ranges with random access", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<long> {
        std::vector<int> v(10'000, 1);
        co_await parallel_for(v, [](int& x) { x += 1; });
        co_await parallel_for(std::span(v).subspan(5'000), [](int& x) { x += 1; });
        std::array<long, 3> a{1, 2, 3};
        co_await parallel_for(a, [](long& x) { x *= 10; });
        const std::vector<int> none;
        co_await parallel_for(none, [](int) { FAIL("called for an element of an empty vector"); });
        co_return std::accumulate(v.begin(), v.end(), 0L) + a[0] + a[1] + a[2];
    };
    CHECK(sync_wait(on, body()) == 25'060);
}

TEST_CASE("the function is used where it is when it has a name, and kept when it has none", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<void> {
        visits seen(5'000);  // not copyable, and its call operator is not const
        co_await parallel_for(0u, 5'000u, seen);
        CHECK(seen.each_once());

        std::size_t calls = 0;
        task<void> later;
        {
            std::size_t* const count = &calls;
            later = parallel_for(0, 1, [count](int) { ++*count; });
        }
        co_await std::move(later);
        CHECK(calls == 1);
    };
    sync_wait(on, body());
}

TEST_CASE("the first exception of a loop stops it and is rethrown after the others have ended", "[task]") {
    for (const unsigned threads : {1u, 2u}) {
        pool on({.threads = threads});
        std::atomic<int> inside{0};
        std::atomic<std::size_t> calls{0};
        const auto body = [&]() -> task<bool> {
            const auto f = [&](std::size_t i) {
                ++inside;
                ++calls;
                compute_for(10us);
                --inside;
                if (i == 37) throw std::out_of_range("37");
            };
            try {
                co_await parallel_for(std::size_t{0}, std::size_t{1} << 40, f);
            } catch (const std::out_of_range& e) {
                co_return inside == 0 && std::string(e.what()) == "37";
            }
            co_return false;
        };
        CHECK(sync_wait(on, body()));
        CHECK(calls < 1'000'000);
    }
}

TEST_CASE("a loop that was asked to stop before it began calls nothing", "[task]") {
    step_scheduler steps;
    stop_source stop;
    stop.request_stop();
    task_context context = steps.context();
    context.stop = stop.get_token();
    int calls = 0;
    const auto f = [&](int) { ++calls; };
    CHECK_THROWS_AS(run(steps, context, parallel_for(0, 5, f)), stopped);
    CHECK(calls == 0);
    CHECK_NOTHROW(run(steps, context, parallel_for(0, 0, f)));
    const auto value = [&](int i) { return ++calls, i; };
    CHECK_THROWS_AS(run(steps, context, parallel_reduce(0, 5, 0, std::plus{}, value)), stopped);
    CHECK(calls == 0);
}

TEST_CASE("a stop request ends a loop between chunks", "[task]") {
    for (const unsigned threads : {1u, 2u}) {
        pool on({.threads = threads});
        stop_source stop;
        task_context context;
        context.scheduler = &on;
        context.stop = stop.get_token();
        std::atomic<std::size_t> calls{0};
        std::thread asks([&] {
            covey_test::wait_until([&] { return calls > 1'000; });
            stop.request_stop();
        });
        const auto f = [&](std::size_t) { calls.fetch_add(1, std::memory_order_relaxed); };
        CHECK_THROWS_AS(sync_wait(context, parallel_for(std::size_t{0}, std::size_t{1} << 50, f)), stopped);
        asks.join();
    }
}

TEST_CASE("a stop request after the last iteration changes nothing", "[task]") {
    step_scheduler steps;
    stop_source stop;
    task_context context = steps.context();
    context.stop = stop.get_token();
    const auto f = [&](int) { stop.request_stop(); };
    CHECK_NOTHROW(run(steps, context, parallel_for(0, 1, f)));
}

TEST_CASE("functions of a loop may return tasks, which are awaited", "[task]") {
    pool on({.threads = 2});
    visits seen(300);
    const auto body = [&]() -> task<int> {
        co_await parallel_for(0u, 300u, [&](unsigned i) -> task<void> {
            if (i % 3 == 0) co_await schedule_after(std::chrono::microseconds(i));
            if (i % 3 == 1) co_await schedule();
            seen(i);
        });
        co_return co_await parallel_reduce(
            0, 100, 0, [](int a, int b) { return a + b; },
            [](int i) -> task<int> {
                if (i % 10 == 0) co_await schedule();
                co_return i;
            });
    };
    CHECK(sync_wait(on, body()) == 4950);
    CHECK(seen.each_once());
}

TEST_CASE("an exception in one of a loop's tasks stops the others, also those that wait", "[task]") {
    pool on({.threads = 2});
    std::atomic<int> stops{0};
    const auto body = [&]() -> task<std::string> {
        const auto f = [&](int i) -> task<void> {
            if (i == 50) {
                co_await schedule_after(1ms);
                throw std::runtime_error("the fiftieth");
            }
            try {
                co_await schedule_after(i < 50 ? 0h : 24h);
            } catch (const stopped&) {
                ++stops;
                throw;
            }
        };
        try {
            co_await parallel_for(0, 100, f);
        } catch (const std::runtime_error& e) {
            co_return e.what();
        }
        co_return "none";
    };
    // Which of them have begun by then depends on how the loop was split: if another is waiting for a day, it is stopped.
    for (int i = 0; i < 20; ++i) CHECK(sync_wait(on, body()) == "the fiftieth");
}

TEST_CASE("loops are nested, and run beside each other", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<void> {
        visits grid(400 * 400);
        const auto row = [&](std::size_t y) {
            return parallel_for(std::size_t{0}, std::size_t{400}, [&grid, y](std::size_t x) { grid(y * 400 + x); });
        };
        co_await parallel_for(std::size_t{0}, std::size_t{400}, row);
        CHECK(grid.each_once());

        visits a(20'000);
        visits b(300);
        const auto sums = co_await when_all(visit_all(20'000, a, 0us), visit_all(300, b, 10us),
                                            parallel_reduce(0, 1000, 0, std::plus{}, [](int i) { return i; }));
        CHECK(a.each_once());
        CHECK(b.each_once());
        CHECK(std::get<2>(sums) == 499'500);
    };
    for (std::size_t i = 0; i < repeats(20, 3); ++i) sync_wait(on, body());
}

TEST_CASE("parallel_reduce keeps the order of its operands", "[task]") {
    const auto digits = [](std::size_t n) -> task<std::string> {
        std::vector<std::string> v(n);
        for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<char>('a' + i % 26);
        const auto slow = [](const std::string& s) {
            compute_for(5us);
            return s;
        };
        const auto append = [](std::string a, const std::string& b) { return std::move(a) + b; };
        co_return co_await parallel_reduce(v, std::string("init:"), append, slow);
    };
    std::string right = "init:";
    for (std::size_t i = 0; i < 2'000; ++i) right += static_cast<char>('a' + i % 26);
    for (const unsigned threads : {1u, 2u, 3u}) {
        pool on({.threads = threads});
        CHECK(sync_wait(on, digits(0)) == "init:");
        CHECK(sync_wait(on, digits(1)) == "init:a");
        for (int i = 0; i < 5; ++i) CHECK(sync_wait(on, digits(2'000)) == right);
        without_queues blind(on);
        CHECK(sync_wait(blind, digits(500)) == right.substr(0, 505));
    }
    step_scheduler steps;
    CHECK(run(steps, digits(100)) == right.substr(0, 105));
}

TEST_CASE("parallel_reduce sums, with and without a transformation", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<void> {
        std::vector<int> v(100'000);
        std::iota(v.begin(), v.end(), 0);
        CHECK(co_await parallel_reduce(v, 0.0, std::plus{}) == 4'999'950'000.0);
        CHECK(co_await parallel_reduce(v, 0L, std::plus<long>{}) == 4'999'950'000);
        CHECK(co_await parallel_reduce(v, 7L, std::plus{}, [](int x) { return x % 2; }) == 50'007);
        CHECK(co_await parallel_reduce(1u, 11u, 1ul, std::multiplies{}, [](unsigned i) { return static_cast<unsigned long>(i); }) ==
              3'628'800);
        CHECK(co_await parallel_reduce(std::span(v).first(3), 10, std::plus{}) == 13);
        CHECK(co_await parallel_reduce(v, std::numeric_limits<int>::min(), [](int a, int b) { return std::max(a, b); }) == 99'999);
    };
    sync_wait(on, body());
}

namespace {

/// No default constructor, and it can only be moved.
struct total {
    explicit total(int n) : value(std::make_unique<int>(n)) {}
    std::unique_ptr<int> value;
};

}  // namespace

TEST_CASE("parallel_reduce takes values that can only be moved", "[task]") {
    pool on({.threads = 2});
    const auto body = []() -> task<int> {
        const auto add = [](total a, total b) { return total(*a.value + *b.value); };
        const auto one = [](int i) {
            compute_for(2us);
            return total(i);
        };
        total sum = co_await parallel_reduce(0, 500, total(1), add, one);
        co_return *sum.value;
    };
    CHECK(sync_wait(on, body()) == 124'751);
}

TEST_CASE("an exception of op or of the transformation ends a reduce", "[task]") {
    for (const unsigned threads : {1u, 2u}) {
        pool on({.threads = threads});
        const auto op_throws = []() -> task<int> {
            const auto op = [](int a, int b) {
                compute_for(3us);
                if (a + b > 10'000) throw std::overflow_error("op");
                return a + b;
            };
            co_return co_await parallel_reduce(0, 1'000, 0, op, [](int i) { return i; });
        };
        CHECK_THROWS_AS(sync_wait(on, op_throws()), std::overflow_error);
        const auto f_throws = []() -> task<int> {
            co_return co_await parallel_reduce(0, 1'000, 0, std::plus{}, [](int i) {
                compute_for(3us);
                if (i == 700) throw std::underflow_error("f");
                return i;
            });
        };
        CHECK_THROWS_AS(sync_wait(on, f_throws()), std::underflow_error);
    }
}

TEST_CASE("parallel_invoke gives what its functions return", "[task]") {
    pool on({.threads = 2});
    int target = 1;
    const auto body = [&]() -> task<void> {
        const auto words = [text = std::string("a text that does not fit into a small string")] { return text; };
        auto results =
            co_await parallel_invoke(words, [] { return 5; }, [] {}, [&]() -> int& { return target; }, []() -> task<long> { co_return 6; });
        static_assert(std::is_same_v<decltype(results), std::tuple<std::string, int, std::monostate, int&, long>>);
        CHECK(std::get<0>(results) == "a text that does not fit into a small string");
        CHECK(std::get<1>(results) == 5);
        std::get<3>(results) = 2;
        CHECK(std::get<4>(results) == 6);
    };
    sync_wait(on, body());
    CHECK(target == 2);
}

TEST_CASE("parallel_invoke rethrows the first exception, and starts nothing after a stop request", "[task]") {
    pool on({.threads = 2});
    const auto fails = []() -> task<void> { co_await parallel_invoke([] { throw std::runtime_error("it"); }, [] {}); };
    CHECK_THROWS_WITH(sync_wait(on, fails()), "it");

    step_scheduler steps;
    stop_source stop;
    stop.request_stop();
    task_context context = steps.context();
    context.stop = stop.get_token();
    int calls = 0;
    const auto body = [&]() -> task<void> { co_await parallel_invoke([&] { ++calls; }, [&] { ++calls; }); };
    CHECK_THROWS_AS(run(steps, context, body()), stopped);
    CHECK(calls == 0);
}

TEST_CASE("timers and work from elsewhere are served while loops keep all workers busy", "[task]") {
    for (const unsigned threads : {1u, 2u}) {
        pool on({.threads = threads});
        std::atomic<bool> enough{false};
        std::atomic<int> served{0};
        const auto busy = [&]() -> task<void> {
            const auto f = [&](std::size_t) {
                if (enough) throw stopped{};
            };
            try {
                co_await parallel_for(std::size_t{0}, std::size_t{1} << 50, f);
            } catch (const stopped&) {}
        };
        const auto timers = [&]() -> task<void> {
            for (int i = 0; i < 5; ++i) {
                co_await schedule_after(1ms);
                ++served;
            }
        };
        const auto all = [&]() -> task<void> { co_await when_all(timers(), busy()); };
        std::thread outside([&] {
            const auto one = [&]() -> task<void> {
                ++served;
                co_return;
            };
            for (int i = 0; i < 5; ++i) sync_wait(on, one());
            covey_test::wait_until([&] { return served >= 10; });
            enough = true;
        });
        sync_wait(on, all());
        outside.join();
        CHECK(served == 10);
    }
}

}  // namespace covey_test_task_parallel
