#include <covey/task/async_mutex.hpp>

#include <task/stage.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/sync_wait.hpp>

#include <atomic>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

namespace covey_test_task_async_mutex {

using namespace covey;
using covey_test::repeats;
using covey_test::stage;

namespace {

task<async_mutex::guard> lock(async_mutex& m) { co_return co_await m.lock(); }
task<void> note_inside(async_mutex& m, std::vector<int>& order, int name) {
    const auto guard = co_await m.lock();
    order.push_back(name);
    co_await schedule();
    order.push_back(name);
}
task<void> add_inside(async_mutex& m, std::size_t& count, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        auto guard = co_await m.lock();
        const std::size_t before = count;
        if (i % 4 == 0) co_await schedule();  // it may go on on another thread, with the lock
        count = before + 1;
        if (i % 2 == 0) guard.unlock();
    }
}
task<void> add_beside(async_mutex& m, std::size_t& count, std::size_t n) {
    scope s;
    for (int i = 0; i < 8; ++i) s.spawn(add_inside(m, count, n));
    co_await s.join();
}
task<void> lock_for_ever(async_mutex& m, std::size_t& count, std::atomic<std::size_t>& locked) {
    for (;;) {
        const auto guard = co_await m.lock();
        ++count;
        ++locked;
    }
}
task<void> stop_beside(async_mutex& m, std::size_t& count, std::atomic<std::size_t>& locked, std::size_t rounds) {
    for (std::size_t i = 0; i < rounds; ++i) {
        scope s;
        for (int k = 0; k < 4; ++k) s.spawn(lock_for_ever(m, count, locked));
        for (std::size_t k = 0; k < i % 4; ++k) co_await schedule();
        s.request_stop();
        co_await s.join();
    }
}

}  // namespace

TEST_CASE("an async_mutex lets one in at a time, in order", "[task]") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<async_mutex::guard>);
    stage s;
    async_mutex m;
    std::vector<int> order;
    CHECK(m.try_lock());
    const auto a = s.start(note_inside(m, order, 1));
    const auto b = s.start(note_inside(m, order, 2));
    const auto c = s.start(note_inside(m, order, 3));
    CHECK(order.empty());
    m.unlock();
    CHECK_FALSE(m.try_lock());  // it went to the first of those who wait
    s.settle();
    CHECK(order == std::vector<int>{1, 1, 2, 2, 3, 3});
    CHECK(c->value);
    const std::unique_lock<async_mutex> standard(m, std::try_to_lock);
    CHECK(standard.owns_lock());
}

TEST_CASE("a guard is moved, unlocked early, and adopts", "[task]") {
    stage s;
    async_mutex m;
    {
        const auto locked = s.start(lock(m));
        REQUIRE(locked->value);
        async_mutex::guard guard = std::move(*locked->value);
        CHECK(guard.owns_lock());
        CHECK_FALSE(locked->value->owns_lock());
        CHECK_FALSE(m.try_lock());
        guard.unlock();
        CHECK_FALSE(static_cast<bool>(guard));
        guard.unlock();
        REQUIRE(m.try_lock());
        guard = async_mutex::guard(m, std::adopt_lock);
        async_mutex::guard other;
        other = std::move(guard);
        CHECK_FALSE(m.try_lock());
    }
    REQUIRE(m.try_lock());
    m.unlock();
}

TEST_CASE("a lock is stopped before, while and not after it waits", "[task]") {
    stage s;
    async_mutex m;
    stop_source asked;
    asked.request_stop();
    CHECK(s.start(lock(m), asked.get_token())->stopped);
    REQUIRE(m.try_lock());

    stop_source stop;
    const auto waits = s.start(lock(m), stop.get_token());
    const auto behind = s.start(lock(m));
    stop.request_stop();
    s.settle();
    CHECK(waits->stopped);
    CHECK(behind->waiting());
    m.unlock();
    s.settle();
    REQUIRE(behind->value);

    stop_source late;
    const auto served = s.start(lock(m), late.get_token());
    behind->value->unlock();
    late.request_stop();
    s.settle();
    REQUIRE(served->value);
    CHECK_FALSE(m.try_lock());
    served->value->unlock();
    CHECK(m.try_lock());
    m.unlock();
}

TEST_CASE("an async_mutex between many coroutines on many threads", "[task]") {
    pool threads({.threads = 4});
    async_mutex m;
    std::size_t count = 0;
    const std::size_t n = repeats(20'000, 2'000);
    sync_wait(threads, add_beside(m, count, n));
    CHECK(count == 8 * n);
    count = 0;
    std::atomic<std::size_t> locked{0};
    sync_wait(threads, stop_beside(m, count, locked, repeats(5'000, 500)));
    CHECK(count == locked);
    CHECK(m.try_lock());
    m.unlock();
}

}  // namespace covey_test_task_async_mutex
