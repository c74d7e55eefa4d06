#include <covey/task/latch.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/sync_wait.hpp>

#include <atomic>
#include <cstddef>
#include <vector>

namespace covey_test_task_latch {

using namespace covey;
using covey_test::repeats;
using covey_test::stage;
using covey_test::throws_code;

namespace {

task<void> wait(latch& l) { co_await l.wait(); }
task<void> arrive(latch& l, std::size_t n = 1) { co_await l.arrive_and_wait(n); }
task<void> note(latch& l, std::vector<int>& order, int name) {
    co_await l.wait();
    order.push_back(name);
}
task<void> meet(latch& l, std::atomic<int>& before, int all, std::atomic<int>& wrong) {
    ++before;
    co_await l.arrive_and_wait();
    if (before != all) ++wrong;
}
task<int> meetings(std::size_t rounds) {
    std::atomic<int> wrong{0};
    for (std::size_t i = 0; i < rounds; ++i) {
        std::atomic<int> before{0};
        latch l{6};
        scope s;
        for (int k = 0; k < 5; ++k) s.spawn(meet(l, before, 6, wrong));
        ++before;
        co_await l.arrive_and_wait();
        if (before != 6) ++wrong;
        co_await s.join();
    }
    co_return wrong;
}
task<std::size_t> stopped_meetings(std::size_t rounds) {
    std::size_t passed = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        latch l{4};
        scope s;
        for (int k = 0; k < 4; ++k) s.spawn(arrive(l));
        for (std::size_t k = 0; k < i % 3; ++k) co_await schedule();
        s.request_stop();
        co_await s.join();
        if (l.try_wait()) ++passed;
    }
    co_return passed;
}

}  // namespace

TEST_CASE("a latch opens when it has counted down", "[task]") {
    stage s;
    latch l{3};
    std::vector<int> order;
    const auto first = s.start(note(l, order, 1));
    const auto second = s.start(note(l, order, 2));
    l.count_down();
    const auto third = s.start(arrive(l));
    CHECK_FALSE(l.try_wait());
    CHECK(third->waiting());
    l.count_down();
    CHECK(l.try_wait());
    CHECK(order.empty());
    s.settle();
    CHECK(order == std::vector<int>{1, 2});
    CHECK(third->value);
    CHECK(s.start(wait(l))->value);
}

TEST_CASE("a latch does not count below zero", "[task]") {
    stage s;
    latch l{2};
    CHECK(throws_code(errc::bad_argument, [&] {
        l.count_down(3);
        return 0;
    }));
    l.count_down(0);
    CHECK_FALSE(l.try_wait());
    CHECK(s.start(arrive(l, 2))->value);
    CHECK(throws_code(errc::bad_argument, [&] {
        l.count_down();
        return 0;
    }));
    CHECK(throws_code(errc::bad_argument, [&] {
        s.start(arrive(l))->rethrow();
        return 0;
    }));
    latch none{0};
    CHECK(none.try_wait());
    CHECK(s.start(wait(none))->value);
}

TEST_CASE("a wait for a latch is stopped before, while and not after", "[task]") {
    stage s;
    latch l{3};
    stop_source asked;
    asked.request_stop();
    CHECK(s.start(wait(l), asked.get_token())->stopped);
    CHECK(s.start(arrive(l), asked.get_token())->stopped);  // it has counted all the same

    stop_source stop;
    const auto waits = s.start(arrive(l), stop.get_token());
    stop.request_stop();
    s.settle();
    CHECK(waits->stopped);
    CHECK_FALSE(l.try_wait());

    stop_source late;
    const auto served = s.start(wait(l), late.get_token());
    l.count_down();  // the third: both that were stopped are counted
    late.request_stop();
    s.settle();
    CHECK(served->value);
    CHECK(s.start(wait(l), asked.get_token())->stopped);  // although it is open
}

TEST_CASE("many meet at a latch on many threads", "[task]") {
    pool threads({.threads = 4});
    CHECK(sync_wait(threads, meetings(repeats(5'000, 500))) == 0);
    const std::size_t rounds = repeats(5'000, 500);
    // A task that is stopped before its first line still runs to its first await, so all arrive in every round.
    CHECK(sync_wait(threads, stopped_meetings(rounds)) == rounds);
}

}  // namespace covey_test_task_latch
