#include <covey/task/detail/waiters.hpp>

#include <task/support.hpp>
#include <task/workers.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace covey_test_task_waiters {

using namespace covey;
using covey_test::hand_workers;
using covey_test::repeats;
using covey_test::started;
using covey_test::throws_code;

namespace {

/// The least that can have a line: who comes waits; who grants names how many.
class gate {
public:
    class awaiter : public detail::waiter {
    public:
        explicit awaiter(gate& g) noexcept : m_owner(g) {}
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            const task_context& context = detail::context_of(self);
            if (!may_start(context)) return false;
            m_owner.m_lock.lock();
            return park(m_owner.m_lock, m_owner.m_line, self, context);
        }
        void await_resume() { resumed(); }

    private:
        gate& m_owner;
    };
    awaiter pass() noexcept { return awaiter(*this); }
    std::size_t let_through(std::size_t n) {
        detail::woken_list woken;
        std::size_t count = 0;
        m_lock.lock();
        for (; count < n; ++count) {
            detail::waiter* const w = m_line.pop();
            if (w == nullptr) break;
            woken.add(*w);
        }
        m_lock.unlock();
        woken.wake();
        return count;
    }
    bool nobody_waits() {
        const std::lock_guard lock(m_lock);
        return m_line.empty() && m_line.first() == nullptr;
    }

private:
    detail::spin_lock m_lock;
    detail::waiter_list m_line{"a gate"};
};

task<void> passes(gate& g, std::vector<int>& log, int name) {
    co_await g.pass();
    log.push_back(name);
}
task<void> passes_until_stopped(gate& g, std::vector<int>& log, int name) {
    try {
        co_await g.pass();
        log.push_back(name);
    } catch (const stopped&) {
        log.push_back(-name);
        throw;
    }
}
task<void> joined(scope& s) { co_await s.join(); }

}  // namespace

TEST_CASE("a spin lock lets one in at a time", "[task]") {
    detail::spin_lock lock;
    std::size_t count = 0;
    std::vector<std::thread> threads;
    constexpr std::size_t n = repeats(200'000, 20'000);
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&] {
            for (std::size_t i = 0; i < n; ++i) {
                const std::lock_guard guard(lock);
                ++count;
            }
        });
    }
    for (std::thread& t : threads) t.join();
    CHECK(count == 3 * n);
}

TEST_CASE("waiters are woken in the order in which they came, as many as are let through", "[task]") {
    hand_workers workers(1);
    gate g;
    std::vector<int> log;
    scope s(workers);
    for (int i = 1; i <= 5; ++i) {
        s.spawn(passes(g, log, i));
        workers.run();
    }
    CHECK(log.empty());
    CHECK(g.let_through(1) == 1);
    workers.run();
    CHECK(log == std::vector<int>{1});
    CHECK(g.let_through(2) == 2);
    workers.run();
    std::sort(log.begin(), log.end());  // the workers run what is newest first
    CHECK(log == std::vector<int>{1, 2, 3});
    CHECK(g.let_through(9) == 2);
    CHECK(g.let_through(1) == 0);
    workers.run();
    CHECK(log.size() == 5);
    CHECK(g.nobody_waits());
    started<void> end(workers.context(), joined(s));
    workers.run();
    REQUIRE(end.ended());
}

TEST_CASE("who is stopped leaves the line, wherever he stands", "[task]") {
    for (std::size_t who = 0; who < 3; ++who) {
        CAPTURE(who);
        hand_workers workers(1);
        gate g;
        std::vector<int> log;
        stop_source stops[3];
        std::vector<std::unique_ptr<started<void>>> all;
        for (std::size_t i = 0; i < 3; ++i) {
            task_context context = workers.context();
            context.stop = stops[i].get_token();
            all.push_back(std::make_unique<started<void>>(context, passes_until_stopped(g, log, static_cast<int>(i) + 1)));
            workers.run();
        }
        stops[who].request_stop();
        workers.run();
        CHECK(log == std::vector<int>{-static_cast<int>(who) - 1});
        REQUIRE(all[who]->ended());
        CHECK_THROWS_AS(all[who]->result(), stopped);
        CHECK(g.let_through(3) == 2);
        workers.run();
        for (std::size_t i = 0; i < 3; ++i) {
            REQUIRE(all[i]->ended());
            if (i != who) all[i]->result();
        }
        stops[(who + 1) % 3].request_stop();  // too late: nobody listens any more
        CHECK(log.size() == 3);
    }
}

TEST_CASE("who was granted and is stopped before he goes on was granted", "[task]") {
    hand_workers workers(1);
    gate g;
    std::vector<int> log;
    stop_source stop;
    task_context context = workers.context();
    context.stop = stop.get_token();
    started<void> one(context, passes_until_stopped(g, log, 1));
    workers.run();
    CHECK(g.let_through(1) == 1);
    stop.request_stop();
    workers.run();
    REQUIRE(one.ended());
    one.result();
    CHECK(log == std::vector<int>{1});
    // And who comes after the request does not stand in line at all.
    started<void> two(context, passes_until_stopped(g, log, 2));
    workers.run();
    REQUIRE(two.ended());
    CHECK_THROWS_AS(two.result(), stopped);
    CHECK(g.nobody_waits());
}

TEST_CASE("waiting in line needs a scheduler", "[task]") {
    gate g;
    std::vector<int> log;
    covey_test::step_scheduler none;
    CHECK(throws_code(errc::no_peer, [&] {
        covey_test::run(none, task_context{}, passes(g, log, 1));
        return 0;
    }));
    CHECK(g.nobody_waits());
}

TEST_CASE("grants and stops meet on many threads, and each await ends once", "[task]") {
    struct body {
        static task<void> go(gate& g, std::atomic<std::size_t>& passed, std::atomic<std::size_t>& was_stopped) {
            try {
                co_await g.pass();
                ++passed;
            } catch (const stopped&) {
                ++was_stopped;
            }
        }
    };
    pool threads({.threads = 3});
    for (std::size_t round = 0; round < repeats(2000, 200); ++round) {
        gate g;
        std::atomic<std::size_t> passed{0};
        std::atomic<std::size_t> was_stopped{0};
        scope s(threads);
        constexpr std::size_t n = 8;
        for (std::size_t i = 0; i < n; ++i) s.spawn(body::go(g, passed, was_stopped));
        std::size_t granted = 0;
        std::thread stops([&] { s.request_stop(); });
        for (std::size_t i = 0; i < n; ++i) granted += g.let_through(1);
        stops.join();
        sync_wait(threads, joined(s));
        REQUIRE(passed.load() == granted);
        REQUIRE(passed.load() + was_stopped.load() == n);
        REQUIRE(g.nobody_waits());
    }
}

}  // namespace covey_test_task_waiters
