#include <covey/task/sync_wait.hpp>

#include <task/support.hpp>

#include <covey/sched/default_pool.hpp>
#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>

namespace covey_test_task_sync_wait {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::repeats;

namespace {

task<int> number(int n) { co_return n; }
task<int> slow(int n) {
    co_await schedule_after(1ms);
    co_return n;
}
task<int&> reference(int& r) { co_return r; }
task<std::unique_ptr<int>> pointer() { co_return std::make_unique<int>(6); }
task<void> failing() {
    throw std::runtime_error("to the thread");
    co_return;
}
task<std::thread::id> where() { co_return std::this_thread::get_id(); }
task<bool> knows(scheduler* on) {
    const task_context& mine = co_await get_context();
    co_return mine.scheduler == on&& mine.deadline == never && !mine.stop.stop_possible();
}

}  // namespace

TEST_CASE("sync_wait gives values, references and exceptions to an ordinary thread", "[task]") {
    pool threads({.threads = 2});
    CHECK(sync_wait(threads, number(3)) == 3);
    CHECK(sync_wait(threads, slow(4)) == 4);
    CHECK(*sync_wait(threads, pointer()) == 6);
    int target = 0;
    int& same = sync_wait(threads, reference(target));
    CHECK(&same == &target);
    CHECK_THROWS_WITH(sync_wait(threads, failing()), "to the thread");
    CHECK(sync_wait(threads, where()) != std::this_thread::get_id());
    CHECK(sync_wait(threads, knows(&threads)));
}

TEST_CASE("sync_wait under a context: its stop token counts", "[task]") {
    pool threads({.threads = 2});
    stop_source stop;
    task_context context;
    context.scheduler = &threads;
    context.stop = stop.get_token();
    CHECK(sync_wait(context, slow(1)) == 1);
    stop.request_stop();
    CHECK_THROWS_AS(sync_wait(context, slow(1)), stopped);
}

TEST_CASE("sync_wait of other awaitables", "[task]") {
    pool threads({.threads = 2});
    const auto both = sync_wait(threads, when_all(number(1), slow(2)));
    CHECK(std::get<0>(both) == 1);
    CHECK(std::get<1>(both) == 2);
    const auto any = sync_wait(threads, when_any(number(1), slow(2)));
    CHECK(any.index() <= 1);
    CHECK_THROWS_WITH(sync_wait(threads, when_all(number(1), failing())), "to the thread");
    CHECK(sync_wait(when_all(number(1), slow(2))) == std::tuple<int, int>(1, 2));
}

TEST_CASE("many threads wait at once, and one many times", "[task]") {
    pool threads({.threads = 2});
    std::atomic<int> sum{0};
    std::vector<std::thread> waiting;
    for (int t = 0; t < 4; ++t) {
        waiting.emplace_back([&] {
            for (std::size_t i = 0; i < repeats(5'000, 500); ++i) sum += sync_wait(threads, number(1));
        });
    }
    for (auto& t : waiting) t.join();
    CHECK(sum == static_cast<int>(4 * repeats(5'000, 500)));
}

}  // namespace covey_test_task_sync_wait
