#include <covey/sched/blocking.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/parallel.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/when_all.hpp>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace covey_test_sched_blocking {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::events;
using covey_test::wait_until;
using detail::side_pool;

namespace {

/// On a side pool of the test's own.
template <class F>
task<detail::blocking_result<F>> blocking_on(side_pool& side, F&& f) {
    return detail::run_blocking<F>(std::forward<F>(f), side);
}

std::string thread_name() {
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    return name;
}

}  // namespace

TEST_CASE("blocking runs a function on the side pool and comes back to the awaiter's scheduler", "[sched]") {
    pool on({.threads = 2});
    const auto body = [&]() -> task<void> {
        const std::string name = co_await blocking(thread_name);
        CHECK(name.starts_with("covey-block-"));
        CHECK(on.on_worker());
        CHECK((co_await get_context()).scheduler == &on);
        CHECK(detail::running_context() == &co_await get_context());
    };
    sync_wait(on, body());
}

TEST_CASE("blocking gives what the function returns, of any type", "[sched]") {
    pool on({.threads = 1});
    const auto body = []() -> task<void> {
        int target = 1;
        co_await blocking([&] { ++target; });
        CHECK(target == 2);
        int& reference = co_await blocking([&]() -> int& { return target; });
        CHECK(&reference == &target);
        auto pointer = co_await blocking([] { return std::make_unique<int>(5); });
        CHECK(*pointer == 5);
        // Named, and not copyable.
        const auto named = [p = std::move(pointer)] { return *p + 1; };
        CHECK(co_await blocking(named) == 6);
        CHECK(target == 2);
    };
    sync_wait(on, body());
}

TEST_CASE("an exception passes through", "[sched]") {
    pool on({.threads = 1});
    const auto body = []() -> task<int> { co_return co_await blocking([]() -> int { throw std::out_of_range("from the side"); }); };
    CHECK_THROWS_AS(sync_wait(on, body()), std::out_of_range);
    CHECK_THROWS_WITH(sync_wait(on, body()), "from the side");
}

TEST_CASE("blocking needs a scheduler to come back to", "[sched]") {
    const auto body = []() -> task<int> { co_return co_await blocking([] { return 1; }); };
    CHECK(covey_test::throws_code(errc::no_peer, [&] { return covey_test::run_without_scheduler(body()); }));
}

TEST_CASE("the function may wait for tasks", "[sched]") {
    pool on({.threads = 1});
    const auto inner = []() -> task<int> {
        co_await schedule_after(1ms);
        co_return 3;
    };
    const auto body = [&]() -> task<int> { co_return co_await blocking([&] { return sync_wait(on, inner()); }); };
    CHECK(sync_wait(on, body()) == 3);
}

TEST_CASE("more calls than threads wait in line and all run", "[sched]") {
    pool on({.threads = 2});
    side_pool side(3);
    std::atomic<unsigned> inside{0};
    std::atomic<unsigned> most{0};
    std::atomic<unsigned> calls{0};
    const auto call = [&] {
        const unsigned now = ++inside;
        for (unsigned before = most; before < now && !most.compare_exchange_weak(before, now);) {}
        std::this_thread::yield();
        --inside;
        ++calls;
    };
    const auto body = [&]() -> task<void> {
        std::vector<task<void>> all;
        for (int i = 0; i < 500; ++i) all.push_back(blocking_on(side, call));
        co_await when_all(std::move(all));
    };
    sync_wait(on, body());
    CHECK(calls == 500);
    CHECK(most <= 3);
    CHECK(side.threads() <= 3);
}

TEST_CASE("the pool of the process grows to its bound when all calls wait for each other", "[sched]") {
    pool on({.threads = 1});
    std::atomic<unsigned> inside{0};
    std::atomic<bool> met{true};
    const auto meet = [&] {
        ++inside;
        if (!wait_until([&] { return inside >= side_pool::most_threads; })) met = false;
    };
    const auto body = [&]() -> task<void> {
        std::vector<task<void>> all;
        for (unsigned i = 0; i < side_pool::most_threads + 36; ++i) all.push_back(blocking(meet));
        co_await when_all(std::move(all));
    };
    sync_wait(on, body());
    CHECK(met);
    CHECK(inside == side_pool::most_threads + 36);
    CHECK(side_pool::of_process().threads() <= side_pool::most_threads);
}

TEST_CASE("a thread that is idle takes the next call; one that is idle for long ends", "[sched]") {
    pool on({.threads = 1});
    side_pool patient(4, 1h);
    const auto one = [&](side_pool& side) -> task<std::thread::id> {
        co_return co_await blocking_on(side, [] { return std::this_thread::get_id(); });
    };
    const std::thread::id first = sync_wait(on, one(patient));
    for (int i = 0; i < 20; ++i) {
        // It gets idle after it has posted the awaiter; until then another may be started.
        REQUIRE(wait_until([&] { return patient.idle_threads() == 1; }));
        CHECK(sync_wait(on, one(patient)) == first);
    }
    CHECK(patient.threads() == 1);
    CHECK(first != std::this_thread::get_id());

    side_pool hasty(4, 1ms);
    for (int i = 0; i < 5; ++i) {
        sync_wait(on, one(hasty));
        CHECK(wait_until([&] { return hasty.threads() == 0; }));
    }
}

TEST_CASE("a stop request before the function has started ends the wait in line", "[sched]") {
    pool on({.threads = 1});
    side_pool side(1);
    std::atomic<bool> go_on{false};
    std::atomic<bool> holds{false};
    std::atomic<int> calls{0};
    const auto hold = [&] {
        holds = true;
        wait_until([&] { return go_on.load(); });
    };
    const auto count = [&] { ++calls; };
    stop_source stop;
    const auto stoppable = [&]() -> task<bool> {
        task_context context = co_await get_context();
        context.stop = stop.get_token();
        auto call = blocking_on(side, count);
        try {
            co_await detail::with_context(call, context);
        } catch (const stopped&) {
            co_return true;
        }
        co_return false;
    };
    const auto body = [&]() -> task<void> {
        scope s;
        s.spawn(blocking_on(side, hold));
        while (!holds) co_await schedule();
        auto a = s.spawn_future(stoppable());
        auto last = s.spawn_future(blocking_on(side, count));
        auto b = s.spawn_future(stoppable());
        for (int i = 0; i < 10; ++i) co_await schedule();  // they are in line by now, or will see the request before
        stop.request_stop();
        const bool first = co_await std::move(a);
        const bool second = co_await std::move(b);
        auto c = s.spawn_future(stoppable());
        const bool third = co_await std::move(c);
        CHECK((first && second && third));
        CHECK(calls == 0);
        go_on = true;
        co_await std::move(last);
        co_await s.join();
    };
    sync_wait(on, body());
    CHECK(calls == 1);
}

TEST_CASE("a stop request while the function runs waits for its end", "[sched]") {
    pool on({.threads = 1});
    stop_source stop;
    task_context context;
    context.scheduler = &on;
    context.stop = stop.get_token();
    std::atomic<bool> started{false};
    std::atomic<bool> go_on{false};
    const auto body = [&]() -> task<int> {
        co_return co_await blocking([&] {
            started = true;
            wait_until([&] { return go_on.load(); });
            return 8;
        });
    };
    std::thread asks([&] {
        wait_until([&] { return started.load(); });
        stop.request_stop();
        go_on = true;
    });
    CHECK(sync_wait(context, body()) == 8);
    asks.join();
}

TEST_CASE("stop requests race with the starts of calls", "[sched]") {
    pool on({.threads = 2});
    side_pool side(2, 1ms);
    const int rounds = static_cast<int>(covey_test::repeats(2'000, 200));
    int run = 0;
    int cancelled = 0;
    for (int i = 0; i < rounds; ++i) {
        stop_source stop;
        task_context context;
        context.scheduler = &on;
        context.stop = stop.get_token();
        std::atomic<int> calls{0};
        const auto count = [&] { ++calls; };
        std::atomic<bool> ready{false};
        std::thread asks([&] {
            while (!ready) {}
            for (int k = 0; k < i % 50; ++k) std::this_thread::yield();
            stop.request_stop();
        });
        ready = true;
        bool was_stopped = false;
        try {
            sync_wait(context, blocking_on(side, count));
        } catch (const stopped&) {
            was_stopped = true;
        }
        asks.join();
        REQUIRE(calls == (was_stopped ? 0 : 1));
        ++(was_stopped ? cancelled : run);
    }
    CHECK(run + cancelled == rounds);
}

TEST_CASE("calls run beside loops and other tasks", "[sched]") {
    pool on({.threads = 2});
    const auto body = []() -> task<long> {
        std::atomic<long> sum{0};
        const auto f = [&](int i) -> task<void> { sum += co_await blocking([i] { return i; }); };
        co_await when_all(parallel_for(0, 100, f), parallel_for(0, 100, f), blocking([&] { sum += 100; }));
        co_return sum.load();
    };
    CHECK(sync_wait(on, body()) == 10'000);
}

TEST_CASE("a pool that closes refuses calls in line and waits for those that run", "[sched]") {
    pool on({.threads = 2});
    side_pool side(1);
    std::atomic<bool> holds{false};
    std::atomic<bool> go_on{false};
    std::atomic<bool> held{false};
    std::atomic<int> refused{0};
    const auto hold = [&] {
        holds = true;
        wait_until([&] { return go_on.load(); });
        held = true;
    };
    const auto nothing = [] {};
    const auto refusable = [&]() -> task<void> {
        try {
            co_await blocking_on(side, nothing);
        } catch (const error& e) {
            if (e.code() == errc::shut_down) ++refused;
        }
        go_on = true;
    };
    const auto body = [&]() -> task<void> {
        scope s;
        s.spawn(blocking_on(side, hold));
        while (!holds) co_await schedule();
        s.spawn(refusable());
        s.spawn(refusable());
        s.spawn([](side_pool& p, std::atomic<bool>& ended) -> task<void> {
            co_await schedule();
            co_await blocking([&] { p.close(); });
            CHECK(ended);
        }(side, held));
        co_await s.join();
        co_await refusable();  // after the end
    };
    sync_wait(on, body());
    CHECK(refused == 3);
    CHECK(side.threads() == 0);
}

TEST_CASE("a pool that gets no threads says so", "[sched]") {
    side_pool none(0);
    covey_test::step_scheduler steps;
    const auto nothing = [] {};
    CHECK(covey_test::throws_code(errc::overloaded, [&] {
        covey_test::run(steps, blocking_on(none, nothing));
        return 0;
    }));
}

#if !COVEY_TSAN
TEST_CASE("where the system starts no thread a call is refused as overloaded", "[sched]") {
    // In a process that may have none: an unprivileged one whose limit is one.
    const std::string words = covey_test::last_words([] {
        const rlimit one{1, 1};
        if ((getuid() == 0 && setuid(65534) != 0) || setrlimit(RLIMIT_NPROC, &one) != 0) return;
        covey_test::step_scheduler steps;
        side_pool side;
        const auto nothing = [] {};
        try {
            covey_test::run(steps, blocking_on(side, nothing));
        } catch (const error& e) {
            std::fputs(e.what(), stderr);
        }
        std::abort();
    });
    // Nothing is printed where this machine allows threads nevertheless.
    if (words.empty()) {
        WARN("threads cannot be forbidden here");
    } else {
        CHECK(words.find("no thread can be started") != std::string::npos);
    }
}
#endif

}  // namespace covey_test_sched_blocking
