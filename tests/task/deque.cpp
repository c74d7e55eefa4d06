#include <covey/task/deque.hpp>

#include <task/support.hpp>

#include <covey/core/random.hpp>
#include <covey/sched/detail/processor.hpp>

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

namespace covey_test_sched_deque {

using namespace covey;
using covey_test::repeats;

namespace {

/// The deque keeps addresses and looks at nothing behind them, so a number does for a coroutine.
std::coroutine_handle<> item(std::size_t n) { return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(n * 8)); }
std::size_t number(std::coroutine_handle<> h) { return reinterpret_cast<std::size_t>(h.address()) / 8; }

/// The oldest, for a thief; the owner helps, on the same thread.
std::coroutine_handle<> oldest(work_deque& d) {
    if (!d.has_public()) d.share();
    return d.steal();
}

/// How thieves make the owner pass a fence, where the kernel lets them.
const bool can_fence_others = detail::register_fence_of_others();
std::coroutine_handle<> force(work_deque& d) { return d.force(detail::fence_others); }

}  // namespace

TEST_CASE("an empty deque gives nothing", "[sched]") {
    work_deque d;
    CHECK(d.empty());
    CHECK_FALSE(d.pop());
    CHECK_FALSE(d.steal());
    CHECK_FALSE(d.wanted());
    CHECK_FALSE(d.share());
    CHECK_FALSE(d.pop_oldest());
    CHECK_FALSE(force(d));
    CHECK_FALSE(d.pop());
    CHECK(d.empty());
}

TEST_CASE("what is pushed is the owner's own until a thief asks", "[sched]") {
    work_deque d;
    for (std::size_t i = 1; i <= 6; ++i) d.push(item(i));
    CHECK_FALSE(d.has_public());
    CHECK_FALSE(d.steal());
    CHECK(d.wanted());
    CHECK(d.share());
    CHECK(d.wanted());
    d.forget();
    CHECK_FALSE(d.wanted());
    for (std::size_t i = 1; i <= 3; ++i) CHECK(number(d.steal()) == i);
    CHECK_FALSE(d.steal());
    CHECK(number(d.pop()) == 6);
    CHECK(number(d.pop_oldest()) == 4);
    CHECK(number(d.pop()) == 5);
    CHECK(d.empty());
}

TEST_CASE("the owner takes back what nobody stole", "[sched]") {
    work_deque d;
    for (std::size_t i = 1; i <= 9; ++i) d.push(item(i));
    while (d.share() && number(d.pop()) != 5) {}
    CHECK(number(oldest(d)) == 1);
    for (std::size_t i = 4; i >= 2; --i) CHECK(number(d.pop()) == i);
    CHECK_FALSE(d.pop());
    d.push(item(10));
    CHECK(number(d.pop()) == 10);
}

TEST_CASE("a private handle is taken by force", "[sched]") {
    work_deque d;
    if (!can_fence_others) d.keep_public();
    for (std::size_t i = 1; i <= 3; ++i) d.push(item(i));
    CHECK(number(force(d)) == 1);
    CHECK(number(d.pop()) == 3);
    CHECK(number(force(d)) == 2);
    CHECK_FALSE(force(d));
    CHECK_FALSE(d.pop());
    CHECK(d.empty());
}

TEST_CASE("the owner takes the newest, a thief the oldest", "[sched]") {
    work_deque d;
    for (std::size_t i = 1; i <= 5; ++i) d.push(item(i));
    CHECK_FALSE(d.empty());
    CHECK(number(d.pop()) == 5);
    CHECK(number(oldest(d)) == 1);
    CHECK(number(oldest(d)) == 2);
    CHECK(number(d.pop()) == 4);
    CHECK(number(d.pop()) == 3);
    CHECK_FALSE(d.pop());
    CHECK(d.empty());
}

TEST_CASE("on one thread the deque does what std::deque does", "[sched]") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed " << seed);
        random_source random(seed);
        work_deque d;
        std::deque<std::size_t> model;
        std::size_t next = 1;
        for (std::size_t step = 0; step < repeats(20'000, 5'000); ++step) {
            // Phases of growth and of decline, so that both ends of the ring are passed.
            const std::uint64_t pushes = (step / 1'000) % 2 == 0 ? 6 : 3;
            const std::uint64_t choice = random.below(10);
            if (choice < pushes) {
                d.push(item(next));
                model.push_back(next++);
            } else if (choice < 8) {
                const std::size_t expected = model.empty() ? 0 : model.back();
                if (!model.empty()) model.pop_back();
                REQUIRE(number(d.pop()) == expected);
            } else {
                const std::size_t expected = model.empty() ? 0 : model.front();
                if (!model.empty()) model.pop_front();
                REQUIRE(number(oldest(d)) == expected);
            }
            REQUIRE(d.empty() == model.empty());
        }
    }
}

TEST_CASE("growing keeps everything and its order", "[sched]") {
    work_deque d;
    constexpr std::size_t n = 100'000;
    for (std::size_t i = 1; i <= n; ++i) d.push(item(i));
    for (std::size_t i = 1; i <= n / 2; ++i) REQUIRE(number(oldest(d)) == i);
    for (std::size_t i = n; i > n / 2; --i) REQUIRE(number(d.pop()) == i);
    CHECK(d.empty());
}

TEST_CASE("an owner and three thieves: each item is taken exactly once", "[sched]") {
    const std::size_t n = repeats(2'000'000, 150'000);
    // Short and long bursts: the last item is raced for often, and the ring grows while it is being stolen from.
    for (const std::size_t burst : {std::size_t{1}, std::size_t{3}, std::size_t{2'000}}) {
        INFO("bursts of " << burst);
        work_deque d;
        if (!can_fence_others) d.keep_public();
        const std::unique_ptr<std::atomic<unsigned char>[]> taken(new std::atomic<unsigned char>[n + 1]());
        std::atomic<bool> done{false};
        std::atomic<std::size_t> stolen{0};
        std::vector<std::thread> thieves;
        for (int t = 0; t < 3; ++t) {
            thieves.emplace_back([&] {
                std::size_t mine = 0;
                std::size_t attempts = 0;
                for (;;) {
                    // Read before the attempt: what is empty after the end stays empty.
                    const bool was_done = done.load();
                    // Mostly what is offered; now and then by force, and at the end, when the owner is gone.
                    const bool by_force = was_done || ++attempts % 256 == 0;
                    if (const auto h = by_force ? force(d) : d.steal()) {
                        ++taken[number(h)];
                        ++mine;
                    } else if (was_done && d.empty()) {
                        break;
                    } else {
                        std::this_thread::yield();
                    }
                }
                stolen += mine;
            });
        }
        std::size_t popped = 0;
        for (std::size_t next = 1; next <= n;) {
            for (std::size_t i = 0; i < burst && next <= n; ++i) d.push(item(next++));
            if (d.wanted()) d.share();
            for (std::size_t i = 0; i < (burst + 1) / 2; ++i) {
                if (const auto h = d.pop()) {
                    ++taken[number(h)];
                    ++popped;
                }
            }
        }
        while (const auto h = d.pop()) {
            ++taken[number(h)];
            ++popped;
        }
        done = true;
        for (auto& t : thieves) t.join();
        std::size_t wrong = 0;
        for (std::size_t i = 1; i <= n; ++i) wrong += taken[i] != 1;
        CHECK(wrong == 0);
        CHECK(popped + stolen == n);
    }
}

TEST_CASE("what a thief takes was written before it was pushed", "[sched]") {
    struct message {
        std::size_t content = 0;
    };
    const std::size_t n = repeats(200'000, 30'000);
    std::vector<message> messages(n);
    work_deque d;
    if (!can_fence_others) d.keep_public();
    std::atomic<bool> done{false};
    std::size_t sum = 0;
    std::thread thief([&] {
        std::size_t attempts = 0;
        for (;;) {
            const bool was_done = done.load();
            if (const auto h = was_done || ++attempts % 64 == 0 ? force(d) : d.steal()) {
                sum += static_cast<message*>(h.address())->content;
            } else if (was_done && d.empty()) {
                break;
            } else {
                std::this_thread::yield();
            }
        }
    });
    std::size_t own = 0;
    for (std::size_t i = 0; i < n; ++i) {
        messages[i].content = i;
        d.push(std::coroutine_handle<>::from_address(&messages[i]));
        if (d.wanted()) d.share();
        if (i % 3 == 0) {
            if (const auto h = d.pop()) own += static_cast<message*>(h.address())->content;
        }
    }
    done = true;
    thief.join();
    CHECK(sum + own == n * (n - 1) / 2);
}

}  // namespace covey_test_sched_deque
