#include <covey/task/event.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/sync_wait.hpp>

#include <atomic>
#include <cstddef>
#include <vector>

namespace covey_test_task_event {

using namespace covey;
using covey_test::repeats;
using covey_test::stage;

namespace {

task<void> wait(event& e) { co_await e.wait(); }
task<void> note(event& e, std::vector<int>& order, int name) {
    co_await e.wait();
    order.push_back(name);
}
task<void> see(event& e, const int& written, std::atomic<int>& wrong) {
    co_await e.wait();
    if (written != 7) ++wrong;
}
task<void> write(event& e, int& written) {
    written = 7;
    e.set();
    co_return;
}
task<int> published(std::size_t rounds) {
    std::atomic<int> wrong{0};
    for (std::size_t i = 0; i < rounds; ++i) {
        event e;
        int written = 0;
        scope s;
        for (int k = 0; k < 3; ++k) s.spawn(see(e, written, wrong));
        s.spawn(write(e, written));
        s.spawn(see(e, written, wrong));
        co_await e.wait();
        if (written != 7) ++wrong;
        co_await s.join();
    }
    co_return wrong;
}
task<void> count_waits(event& e, std::atomic<std::size_t>& passed) {
    for (;;) {
        co_await e.wait();
        ++passed;
        co_await schedule();
    }
}
task<void> set_and_reset(event& e, std::size_t rounds) {
    for (std::size_t i = 0; i < rounds; ++i) {
        e.set();
        co_await schedule();
        e.reset();
    }
}
task<bool> stopped_beside(std::size_t rounds) {
    event e;
    std::atomic<std::size_t> passed{0};
    scope setters;
    setters.spawn(set_and_reset(e, rounds));
    for (std::size_t i = 0; i < rounds / 4; ++i) {
        scope s;
        for (int k = 0; k < 3; ++k) s.spawn(count_waits(e, passed));
        for (std::size_t k = 0; k < i % 4; ++k) co_await schedule();
        s.request_stop();
        co_await s.join();
    }
    co_await setters.join();
    co_return !e.is_set();
}

}  // namespace

TEST_CASE("an event lets everybody go on, in order, until it is reset", "[task]") {
    stage s;
    event e;
    std::vector<int> order;
    const auto first = s.start(note(e, order, 1));
    const auto second = s.start(note(e, order, 2));
    CHECK_FALSE(e.is_set());
    e.set();
    e.set();
    CHECK(e.is_set());
    CHECK(order.empty());
    e.reset();  // those who were let go on go on
    s.settle();
    CHECK(order == std::vector<int>{1, 2});
    const auto third = s.start(note(e, order, 3));
    CHECK(third->waiting());
    e.set();
    s.settle();
    CHECK(order.back() == 3);
    CHECK(s.start(wait(e))->value);
    event from_the_start{true};
    CHECK(s.start(wait(from_the_start))->value);
    CHECK(first->value);
    CHECK(second->value);
}

TEST_CASE("a wait for an event is stopped before, while and not after", "[task]") {
    stage s;
    event e{true};
    stop_source asked;
    asked.request_stop();
    CHECK(s.start(wait(e), asked.get_token())->stopped);
    e.reset();

    stop_source stop;
    const auto waits = s.start(wait(e), stop.get_token());
    const auto behind = s.start(wait(e));
    stop.request_stop();
    s.settle();
    CHECK(waits->stopped);
    CHECK(behind->waiting());

    stop_source late;
    const auto served = s.start(wait(e), late.get_token());
    e.set();
    late.request_stop();
    s.settle();
    CHECK(served->value);
    CHECK(behind->value);
}

TEST_CASE("what was written before set is seen after wait, on many threads", "[task]") {
    pool threads({.threads = 4});
    CHECK(sync_wait(threads, published(repeats(5'000, 500))) == 0);
    CHECK(sync_wait(threads, stopped_beside(repeats(20'000, 2'000))));
}

}  // namespace covey_test_task_event
