// map(): order, bounds, retries, errors.
#include <covey/call/map.hpp>

#include <covey/sched/pool.hpp>

#include <call/support.hpp>

#include <atomic>
#include <list>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

namespace covey_test_map {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

counter running;
counter begun;
task<int> squared(int n) {
    running.add();
    begun.add();
    co_await schedule_after(std::chrono::microseconds(500));
    running.add(-1);
    co_return n* n;
}
int no_sevens(int n) {
    begun.add();
    if (n == 7) throw std::domain_error("seven");
    return n;
}
std::atomic<std::int64_t> total{0};
void add_to_total(std::int64_t n) { total += n; }

/// Waits on the peer with this id until it stops, so that some calls surely are there when it ends.
std::atomic<std::uint64_t> trap{0};
counter trapped;
task<int> doubled_unless_trapped(context& ctx, int n) {
    if (ctx.self().value == trap.load()) {
        trapped.add();
        co_await schedule_after(24h);
    }
    co_return 2 * n;
}

std::vector<int> numbers(int n) {
    std::vector<int> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

task<std::vector<int>> map_squares(std::vector<int> inputs, map_options options) {
    co_return co_await map(std::move(inputs), fn<squared>, options);
}

TEST_CASE("map keeps the order and its bound", "[call][map]") {
    group peers(3);
    const std::size_t bound = GENERATE(std::size_t{1}, std::size_t{5}, std::size_t{0});
    running.reset();
    std::atomic<std::size_t> done{0};
    const std::vector<int> results = peers[0].run(map_squares(numbers(200), {.in_flight = bound, .done = &done}));
    REQUIRE(results.size() == 200);
    for (int i = 0; i < 200; ++i) CHECK(results[static_cast<std::size_t>(i)] == i * i);
    // Three peers of one thread: four for each when no bound is given.
    CHECK(running.most() <= static_cast<int>(bound != 0 ? bound : 12));
    CHECK(running.most() >= (bound == 1 ? 1 : 2));
    CHECK(done == 200);
}

TEST_CASE("map of nothing, of a void function, of other ranges, with a lambda", "[call][map]") {
    group peers(2);
    peer& a = peers[0];
    CHECK(a.run(map_squares({}, {})).empty());

    total = 0;
    std::list<std::int64_t> inputs;
    for (int i = 1; i <= 100; ++i) inputs.push_back(i);
    const std::size_t count = a.run([](std::list<std::int64_t> all) -> task<std::size_t> {
        co_return (co_await map(std::move(all), fn<add_to_total>)).size();
    }(inputs));
    CHECK(count == 100);
    CHECK(total == 5050);

    const std::vector<std::string> words = a.run([]() -> task<std::vector<std::string>> {
        std::vector<std::string> all;
        for (const char* word : {"ant", "bee", "cat"}) all.emplace_back(word);
        co_return co_await map(std::move(all), [](std::string word) { return word + "s"; });
    }());
    CHECK(words == std::vector<std::string>{"ants", "bees", "cats"});
}

TEST_CASE("an error that no retry cures stops a map", "[call][map]") {
    group peers(2);
    begun.reset();
    std::atomic<std::size_t> done{0};
    const outcome o = outcome_of(peers[0], [](std::vector<int> all, std::atomic<std::size_t>* progress) -> task<std::vector<int>> {
        co_return co_await map(std::move(all), fn<no_sevens>, {.in_flight = 2, .done = progress});
    }(numbers(5000), &done));
    CHECK(o.type == "std::domain_error");
    CHECK(o.message == "seven");
    CHECK(begun.value() < 1000);
    CHECK(done < 1000);
}

TEST_CASE("map goes on when a peer ends in the middle", "[call][map]") {
    group peers(3);
    const bool with_goodbye = GENERATE(false, true);
    INFO("with a goodbye: " << with_goodbye);
    trap = peers.id(1).value;
    trapped.reset();
    std::vector<int> results;
    outcome failed;
    std::thread caller([&] {
        failed = outcome_of(peers[0], [](std::vector<int> all, std::vector<int>* out) -> task<void> {
            *out = co_await map(std::move(all), fn<doubled_unless_trapped>, {.in_flight = 16});
        }(numbers(500), &results));
    });
    CHECK(trapped.reaches(1));
    if (with_goodbye) {
        peers.destroy(1);
    } else {
        peers[1].close();
    }
    caller.join();
    INFO(failed.text);
    REQUIRE(results.size() == 500);
    for (int i = 0; i < 500; ++i) CHECK(results[static_cast<std::size_t>(i)] == 2 * i);
    trap = 0;
}

TEST_CASE("a map ends by its deadline and outside of a peer", "[call][map]") {
    group peers(2);
    trap = peers.id(0).value;
    const outcome o = outcome_of(peers[0], [](peer_id) -> task<std::vector<int>> {
        co_return co_await map(numbers(200), fn<doubled_unless_trapped>, {.in_flight = 8, .deadline = 200ms});
    }(peers.id(0)));
    CHECK(o.code == errc::timed_out);
    trap = 0;

    pool elsewhere(pool_options{.threads = 1});
    try {
        static_cast<void>(sync_wait(elsewhere, map_squares(numbers(3), {})));
        FAIL("it ran without a peer");
    } catch (const error& e) {
        CHECK(e.code() == errc::no_peer);
    }
}

}  // namespace covey_test_map
