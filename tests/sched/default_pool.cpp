#include <covey/sched/default_pool.hpp>

#include <task/support.hpp>

#include <covey/task/schedule.hpp>
#include <covey/task/when_all.hpp>

#include <stdexcept>

namespace covey_test_sched_default_pool {

using namespace covey;
using namespace std::chrono_literals;

namespace {

task<bool> runs_there() {
    co_await schedule();
    co_return default_pool().on_worker() && (co_await get_context()).scheduler == &default_pool();
}
task<int> number(int n) {
    co_await schedule_after(1ms);
    co_return n;
}
task<void> failing() {
    throw std::runtime_error("out");
    co_return;
}

}  // namespace

TEST_CASE("the default pool is one and the same, with the default number of threads", "[sched]") {
    CHECK(&default_pool() == &default_pool());
    CHECK(default_pool().concurrency() == default_concurrency());
    CHECK_FALSE(default_pool().on_worker());
}

TEST_CASE("sync_wait without a scheduler runs on the default pool", "[sched]") {
    CHECK(sync_wait(runs_there()));
    CHECK(sync_wait(number(4)) == 4);
    CHECK_THROWS_WITH(sync_wait(failing()), "out");
    CHECK(std::get<1>(sync_wait(when_all(number(1), number(2)))) == 2);
}

}  // namespace covey_test_sched_default_pool
