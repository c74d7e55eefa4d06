#include <covey/sched/parker.hpp>

#include <task/support.hpp>

#include <atomic>
#include <thread>

namespace covey_test_sched_parker {

using namespace covey;
using covey_test::repeats;

TEST_CASE("a token given before park is found, and at most one is kept", "[sched]") {
    parker p;
    p.unpark();
    p.park();  // would block for ever without the token
    p.unpark();
    p.unpark();
    p.park();

    // The second of two tokens was not kept: another park waits for another unpark.
    std::atomic<bool> given{false};
    std::atomic<bool> early{false};
    std::thread other([&] {
        p.park();
        if (!given.load()) early = true;
    });
    for (int i = 0; i < 1'000; ++i) std::this_thread::yield();
    given = true;
    p.unpark();
    other.join();
    CHECK_FALSE(early.load());
}

TEST_CASE("two threads wake each other in turn, and no wake-up is lost", "[sched]") {
    parker ping;
    parker pong;
    const std::size_t rounds = repeats(20'000, 5'000);
    std::size_t count = 0;
    std::thread other([&] {
        for (std::size_t i = 0; i < rounds; ++i) {
            ping.park();
            ++count;  // ordered by the tokens: ThreadSanitizer says so too
            pong.unpark();
        }
    });
    std::size_t seen = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        ping.unpark();
        pong.park();
        seen += count == i + 1;
    }
    other.join();
    CHECK(seen == rounds);
}

TEST_CASE("many threads unpark one", "[sched]") {
    parker p;
    std::atomic<std::size_t> work{0};
    constexpr std::size_t givers = 3;
    const std::size_t each = repeats(50'000, 5'000);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < givers; ++t) {
        threads.emplace_back([&] {
            for (std::size_t i = 0; i < each; ++i) {
                ++work;
                p.unpark();
            }
        });
    }
    std::size_t taken = 0;
    while (taken < givers * each) {
        p.park();
        taken += work.exchange(0);
    }
    for (auto& t : threads) t.join();
    CHECK(taken == givers * each);
}

}  // namespace covey_test_sched_parker
