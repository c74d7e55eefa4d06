#include <covey/core/random.hpp>
#include <covey/net/replay_window.hpp>

#include <catch2/catch.hpp>

#include <set>

namespace covey_test_net_replay_window {  // so that test files can be compiled together

using covey::net::replay_window;

TEST_CASE("the window gives the answers of a set that remembers everything", "[net][seal]") {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        INFO("seed " << seed);
        covey::random_source random(seed);
        replay_window window;
        std::set<std::uint64_t> seen;
        std::uint64_t front = random.below(std::uint64_t{1} << (1 + random.below(62)));
        for (int i = 0; i < 3000; ++i) {
            if (random.chance(0.05)) front += random.below(700);
            const std::uint64_t number = random.chance(0.5) ? ++front : front - std::min(front, random.below(400));
            const bool too_old = !seen.empty() && number < *seen.rbegin() && *seen.rbegin() - number >= replay_window::size;
            const bool expected = !too_old && !seen.contains(number);
            REQUIRE(window.is_new(number) == expected);
            if (expected && random.chance(0.9)) {
                window.mark(number);
                seen.insert(number);
            }
        }
    }
}

TEST_CASE("the first number begins the window, and what lies shortly before it may still come", "[net][seal]") {
    replay_window window;
    window.mark(1000);
    CHECK_FALSE(window.is_new(1000));
    CHECK(window.is_new(1000 - replay_window::size + 1));
    CHECK_FALSE(window.is_new(1000 - replay_window::size));
}

}  // namespace covey_test_net_replay_window
