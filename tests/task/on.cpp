#include <covey/task/on.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/channel.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

namespace covey_test_task_on {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;
using covey_test::step_scheduler;
using covey_test::throws_code;

namespace {

/// A task that was started on one scheduler, and its end.
template <class T>
class started {
public:
    started(step_scheduler& on, task<T> t, stop_token stop = {}) : m_task(keep(std::move(t), *this)), m_context(on.context()) {
        m_context.stop = stop;
        m_end.emplace(m_context);
        m_end->spawn(std::move(m_task));
    }
    bool ended = false;
    std::optional<T> value;
    bool was_stopped = false;
    std::string failure;
    void join(step_scheduler& on) { static_cast<void>(covey_test::run(on, joined(*m_end))); }

private:
    static task<bool> joined(scope& s) {
        co_await s.join();
        co_return true;
    }
    static task<void> keep(task<T> t, started& self) {
        try {
            self.value.emplace(co_await std::move(t));
        } catch (const stopped&) {
            self.was_stopped = true;
        } catch (const std::exception& e) {
            self.failure = e.what();
        }
        self.ended = true;
    }
    task<void> m_task;
    task_context m_context;
    std::optional<scope> m_end;
};

task<scheduler*> where() { co_return (co_await get_context()).scheduler; }
task<bool> context_is_entered() {
    const task_context& own = co_await get_context();
    co_return detail::running_context() == &own;
}
task<int> sleeps(duration d, int n) {
    co_await schedule_after(d);
    co_return n;
}
task<int> throws() {
    co_await schedule();
    throw std::runtime_error("thrown over there");
}
task<void> nothing() { co_return; }
task<std::unique_ptr<int>> pointer(int n) { co_return std::make_unique<int>(n); }
task<int> waits(channel<int>& c) { co_return (co_await c.receive()).value_or(-1); }

task<bool> there_and_back(scheduler& other) {
    scheduler* const own = (co_await get_context()).scheduler;
    scheduler* const there = co_await starts_on(other, where());
    bool right = there == &other && own != &other;
    right = right && co_await starts_on(other, context_is_entered());
    right = right && (co_await get_context()).scheduler == own;
    const task_context& context = co_await get_context();
    right = right && detail::running_context() == &context;
    co_await starts_on(other, nothing());
    const std::unique_ptr<int> p = co_await starts_on(other, pointer(5));
    co_return right && *p == 5;
}
task<bool> on_which_threads(pool& own, pool& other) {
    bool right = own.on_worker();
    struct inner {
        static task<bool> go(pool& on) {
            bool there = on.on_worker();
            co_await schedule();
            there = there && on.on_worker();
            co_await schedule_after(1ms);
            co_return there&& on.on_worker();
        }
        static task<bool> plain(pool& on) { co_return on.on_worker(); }
        static task<int> fails() {
            throw std::runtime_error("here");
            co_return 0;
        }
    };
    const bool there = co_await starts_on(other, inner::go(other));
    right = right && there && own.on_worker();
    const bool here = co_await continues_on(inner::plain(own), other);  // it ran here, and its result came there
    right = right && here && other.on_worker();
    co_await schedule();
    right = right && own.on_worker();
    try {
        static_cast<void>(co_await continues_on(inner::fails(), other));
        right = false;
    } catch (const std::runtime_error&) {
        right = right && other.on_worker();
    }
    co_await schedule();
    co_await continues_on(nothing(), other);
    co_return right&& other.on_worker();
}
task<std::size_t> to_and_fro(scheduler& other, std::size_t n) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const auto p = co_await starts_on(other, pointer(1));
        const auto q = co_await continues_on(pointer(1), other);
        sum += static_cast<std::size_t>(*p + *q);
    }
    co_return sum;
}
task<std::size_t> many_to_and_fro(scheduler& other, std::size_t n) {
    const auto sums = co_await when_all(to_and_fro(other, n), starts_on(other, to_and_fro(other, n)), to_and_fro(other, n));
    co_return std::get<0>(sums) + std::get<1>(sums) + std::get<2>(sums);
}
task<bool> without_a_scheduler(scheduler& other) {
    bool refused = false;
    try {
        co_await starts_on(other, nothing());
    } catch (const error& e) {
        refused = e.code() == errc::no_peer;
    }
    co_return refused;
}

}  // namespace

TEST_CASE("starts_on runs a task on another scheduler and comes back", "[task]") {
    step_scheduler own;
    step_scheduler other;
    started<bool> t(own, there_and_back(other));
    for (int turns = 0; turns < 20 && !t.ended; ++turns) {
        own.run();
        other.run();
    }
    REQUIRE(t.ended);
    CHECK(t.value == true);
    t.join(own);
    CHECK(covey_test::run_without_scheduler(without_a_scheduler(other)));
}

TEST_CASE("each step of starts_on and continues_on happens where it should", "[task]") {
    step_scheduler own;
    step_scheduler other;
    started<int> on(own, starts_on(other, sleeps(5ms, 1)));
    own.run();
    CHECK(own.timers() == 0);
    other.run();
    CHECK(other.elapsed() == 5ms);
    CHECK_FALSE(on.ended);  // it has to come back first
    own.run();
    CHECK(on.value == 1);
    on.join(own);

    started<int> continued(own, continues_on(sleeps(5ms, 2), other));
    own.run();
    CHECK(own.elapsed() == 5ms);
    CHECK_FALSE(continued.ended);
    other.run();
    CHECK(continued.value == 2);
    continued.join(own);
}

TEST_CASE("exceptions and stops cross over", "[task]") {
    step_scheduler own;
    step_scheduler other;
    const auto turn = [&] {
        for (int i = 0; i < 4; ++i) {
            own.run();
            other.run();
        }
    };
    started<int> a(own, starts_on(other, throws()));
    started<int> b(own, continues_on(throws(), other));
    turn();
    CHECK(a.failure == "thrown over there");
    CHECK(b.failure == "thrown over there");

    channel<int> c{1};
    stop_source stop;
    started<int> d(own, starts_on(other, waits(c)), stop.get_token());
    started<int> e(own, continues_on(waits(c), other), stop.get_token());
    turn();
    CHECK_FALSE(d.ended);
    CHECK_FALSE(e.ended);
    stop.request_stop();
    turn();
    CHECK(d.was_stopped);
    CHECK(e.was_stopped);
    CHECK(c.try_send(1));

    stop_source asked;
    asked.request_stop();
    started<int> f(own, starts_on(other, waits(c)), asked.get_token());
    started<int> g(own, continues_on(waits(c), other), asked.get_token());
    turn();
    CHECK(f.was_stopped);
    CHECK(g.was_stopped);
    for (started<int>* s : {&a, &b, &d, &e, &f, &g}) s->join(own);
    // Made and never awaited: nothing runs.
    static_cast<void>(starts_on(other, sleeps(1ms, 1)));
    static_cast<void>(continues_on(sleeps(1ms, 1), other));
    turn();
    CHECK(c.size() == 1);
}

TEST_CASE("references cross over", "[task]") {
    struct body {
        static task<int&> inner(int& r) { co_return r; }
        static task<bool> same(int& r, scheduler& other) {
            int& there = co_await starts_on(other, inner(r));
            int& back = co_await continues_on(inner(r), other);
            co_return &there == &r && &back == &r;
        }
    };
    pool one({.threads = 1});
    pool other({.threads = 1});
    int target = 0;
    CHECK(sync_wait(one, body::same(target, other)));
}

TEST_CASE("starts_on and continues_on between two pools", "[task]") {
    pool own({.threads = 2});
    pool other({.threads = 2});
    CHECK(sync_wait(own, on_which_threads(own, other)));
    const std::size_t n = repeats(10'000, 1'000);
    CHECK(sync_wait(own, many_to_and_fro(other, n)) == 6 * n);
}

}  // namespace covey_test_task_on
