#include <covey/task/local_queue.hpp>

#include <task/support.hpp>

#include <covey/task/work.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <vector>

namespace covey_test_task_local_queue {

using namespace covey;

namespace {

struct queue final : detail::local_queue {
    queue() { hungry = &others; }
    void wake() noexcept override { ++woken; }
    bool wanted_elsewhere() noexcept override {
        ++looks;
        return wanted;
    }
    std::atomic<unsigned> others{0};
    int woken = 0;
    int looks = 0;
    bool wanted = false;
};
struct item : work_item {
    item() : work_item([](work_item*) {}) {}
};

}  // namespace

TEST_CASE("a local queue gives the newest first", "[task]") {
    queue q;
    std::vector<item> items(5);
    CHECK_FALSE(q.pop());
    for (item& i : items) q.push(i.handle());
    for (std::size_t i = items.size(); i-- != 0;) CHECK(q.pop() == items[i].handle());
    CHECK_FALSE(q.pop());
}

TEST_CASE("a push offers work and wakes somebody only if somebody has none", "[task]") {
    queue q;
    item i;
    q.push(i.handle());
    CHECK(q.woken == 0);
    CHECK_FALSE(q.deque.has_public());
    q.others = 1;
    q.deque.want();
    q.push(i.handle());
    CHECK(q.woken == 1);
    CHECK(q.deque.has_public());
    CHECK(q.deque.wanted());
    q.push(i.handle());
    CHECK(q.woken == 2);
    // It notices after a while that nobody is hungry any more.
    q.others = 0;
    std::size_t pushed = 3;
    for (; q.deque.wanted() && pushed < 3 + detail::local_queue::offers_between_looks; ++pushed) q.push(i.handle());
    CHECK_FALSE(q.deque.wanted());
    const int woken = q.woken;
    q.push(i.handle());
    CHECK(q.woken == woken);
    std::size_t left = 0;
    while (q.pop()) ++left;
    CHECK(left == pushed + 1);
}

TEST_CASE("a thief that found nothing is heard at the next push, or after some pops", "[task]") {
    queue q;
    std::vector<item> items(3);
    q.push(items[0].handle());
    q.push(items[1].handle());
    CHECK_FALSE(q.deque.steal());
    CHECK(q.deque.wanted());
    q.push(items[2].handle());
    CHECK(q.deque.steal() == items[0].handle());
    while (q.deque.steal()) {}
    REQUIRE(q.deque.wanted());
    std::vector<item> more(2 * detail::local_queue::pops_between_looks);
    for (item& i : more) q.deque.push(i.handle());
    CHECK_FALSE(q.deque.has_public());
    for (std::size_t n = 0; n < more.size() / 2; ++n) CHECK(q.pop());
    CHECK(q.deque.has_public());
}

TEST_CASE("copies of one ticket lie where as many pushes would have put them", "[task]") {
    // Through the end of the ring and beyond its size, with and without somebody who asks.
    for (const bool asked : {false, true}) {
        queue q;
        std::vector<item> items(401);
        std::vector<std::coroutine_handle<>> expected;
        for (std::size_t round = 1; round <= 400; ++round) {
            if (asked && round % 50 == 0) q.deque.want();
            const auto n = static_cast<std::uint32_t>(1 + round % 7);
            q.push_copies(items[round].handle(), n);
            expected.insert(expected.end(), n, items[round].handle());
            for (std::size_t pops = round % 5; pops != 0; --pops) {
                REQUIRE(q.deque.pop() == expected.back());
                expected.pop_back();
            }
        }
        for (; !expected.empty(); expected.pop_back()) REQUIRE(q.deque.pop() == expected.back());
        CHECK(q.deque.empty());
    }
}

TEST_CASE("the ring grows also while somebody asks for work", "[task]") {
    queue q;
    q.others = 1;
    std::vector<item> items(10'000);
    for (std::size_t n = 0; n < items.size(); ++n) {
        if (n % 100 == 0) q.deque.want();
        q.push(items[n].handle());
        REQUIRE(q.deque.wanted());
    }
    for (std::size_t n = items.size(); n-- != 0;) REQUIRE(q.deque.pop() == items[n].handle());
    CHECK(q.deque.empty());
}

TEST_CASE("now and then a pop asks whether the worker is wanted elsewhere, and then finds nothing", "[task]") {
    constexpr unsigned every = detail::local_queue::pops_between_looks;
    queue q;
    item i;
    for (unsigned n = 0; n < 10 * every; ++n) {
        q.push(i.handle());
        CHECK(q.pop());
    }
    CHECK(q.looks == 10);
    q.wanted = true;
    unsigned nothing = 0;
    q.push(i.handle());
    for (unsigned n = 0; n < every; ++n) {
        if (q.pop()) {
            q.push(i.handle());
        } else {
            ++nothing;
        }
    }
    CHECK(nothing == 1);
    CHECK(q.looks == 11);
    CHECK(q.pop());  // it is still there
    CHECK_FALSE(q.pop());
}

}  // namespace covey_test_task_local_queue
