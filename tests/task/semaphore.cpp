#include <covey/task/semaphore.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/sync_wait.hpp>

#include <atomic>
#include <cstddef>

namespace covey_test_task_semaphore {

using namespace covey;
using covey_test::repeats;
using covey_test::stage;
using covey_test::throws_code;

namespace {

task<void> acquire(semaphore& s, std::size_t n = 1) { co_await s.acquire(n); }

task<void> work_within(semaphore& s, std::atomic<int>& inside, std::atomic<int>& most, std::size_t rounds, std::size_t n) {
    for (std::size_t i = 0; i < rounds; ++i) {
        co_await s.acquire(n);
        const int now = inside.fetch_add(static_cast<int>(n)) + static_cast<int>(n);
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {}
        if (i % 3 == 0) co_await schedule();
        inside.fetch_sub(static_cast<int>(n));
        s.release(n);
    }
}
task<void> many_within(semaphore& s, std::atomic<int>& inside, std::atomic<int>& most, std::size_t rounds) {
    scope all;
    for (std::size_t i = 0; i < 8; ++i) all.spawn(work_within(s, inside, most, rounds, i % 3 + 1));
    co_await all.join();
}
task<void> stop_at_random(semaphore& s, std::atomic<int>& inside, std::atomic<int>& most, std::size_t rounds) {
    for (std::size_t i = 0; i < rounds; ++i) {
        scope some;
        // What is stopped inside would keep its permits: so each takes and gives back without a wait in between.
        struct taking {
            static task<void> go(semaphore& from, std::size_t n) {
                for (;;) {
                    co_await from.acquire(n);
                    from.release(n);
                }
            }
        };
        for (std::size_t k = 0; k < 3; ++k) some.spawn(taking::go(s, k + 1));
        for (std::size_t k = 0; k < i % 4; ++k) co_await schedule();
        some.request_stop();
        co_await some.join();
    }
    co_await work_within(s, inside, most, 10, 3);
}
task<void> stopped_beside(semaphore& s, std::atomic<int>& inside, std::atomic<int>& most, std::size_t rounds) {
    scope all;
    for (int i = 0; i < 3; ++i) all.spawn(stop_at_random(s, inside, most, rounds));
    co_await all.join();
}

}  // namespace

TEST_CASE("a semaphore counts permits", "[task]") {
    stage s;
    semaphore permits{2, 3};
    CHECK(permits.available() == 2);
    CHECK(permits.max() == 3);
    CHECK(s.start(acquire(permits))->value);
    CHECK(permits.try_acquire());
    CHECK_FALSE(permits.try_acquire());
    CHECK(permits.try_acquire(0));
    const auto waits = s.start(acquire(permits));
    CHECK(waits->waiting());
    permits.release();
    CHECK(permits.available() == 0);  // it was given to the one that waits
    CHECK(waits->waiting());          // who does not go on inside of release
    s.settle();
    CHECK(waits->value);
    permits.release(3);
    CHECK(permits.available() == 3);
}

TEST_CASE("a semaphore's maximum", "[task]") {
    CHECK(throws_code(errc::bad_argument, [] { return semaphore(3, 2).max(); }));
    semaphore permits{1, 2};
    CHECK(throws_code(errc::bad_argument, [&] {
        permits.release(2);
        return 0;
    }));
    CHECK(permits.available() == 1);
    permits.release();
    CHECK(throws_code(errc::bad_argument, [&] {
        permits.release();
        return 0;
    }));
    CHECK(throws_code(errc::bad_argument, [&] {
        static_cast<void>(permits.acquire(3));
        return 0;
    }));
    CHECK(permits.available() == 2);
}

TEST_CASE("a semaphore serves strictly in order", "[task]") {
    stage s;
    semaphore permits{0};
    const auto wants_three = s.start(acquire(permits, 3));
    const auto wants_one = s.start(acquire(permits, 1));
    permits.release(2);
    s.settle();
    CHECK(wants_three->waiting());
    CHECK(wants_one->waiting());
    CHECK_FALSE(permits.try_acquire());  // nobody overtakes
    permits.release(1);
    s.settle();
    CHECK(wants_three->value);
    CHECK(wants_one->waiting());
    permits.release(5);
    s.settle();
    CHECK(wants_one->value);
    CHECK(permits.available() == 4);
}

TEST_CASE("an acquire is stopped before, while and not after it waits", "[task]") {
    stage s;
    semaphore permits{1};
    stop_source asked;
    asked.request_stop();
    CHECK(s.start(acquire(permits), asked.get_token())->stopped);
    CHECK(permits.available() == 1);

    stop_source stop;
    const auto wants_many = s.start(acquire(permits, 5), stop.get_token());
    const auto behind = s.start(acquire(permits));
    CHECK(behind->waiting());
    stop.request_stop();
    s.settle();
    CHECK(wants_many->stopped);
    CHECK(behind->value);  // no longer held up
    CHECK(permits.available() == 0);

    stop_source late;
    const auto served = s.start(acquire(permits), late.get_token());
    permits.release();
    late.request_stop();
    s.settle();
    CHECK(served->value);
    CHECK(permits.available() == 0);
}

TEST_CASE("a semaphore between many coroutines on many threads", "[task]") {
    pool threads({.threads = 4});
    semaphore permits{4, 4};
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    sync_wait(threads, many_within(permits, inside, most, repeats(20'000, 2'000)));
    CHECK(inside == 0);
    CHECK(most <= 4);
    CHECK(most >= 3);
    CHECK(permits.available() == 4);
    sync_wait(threads, stopped_beside(permits, inside, most, repeats(3'000, 300)));
    CHECK(most <= 4);
    CHECK(permits.available() == 4);
}

}  // namespace covey_test_task_semaphore
