#include <covey/core/time.hpp>

#include <catch2/catch.hpp>

#include <type_traits>

using namespace covey;
using namespace std::chrono_literals;

TEST_CASE("after adds, and stays at never instead of overflowing", "[core]") {
    const time_point t{5s};
    CHECK(after(t, 2s) == time_point{7s});
    CHECK(after(t, -2s) == time_point{3s});
    CHECK(after(t, 0s) == t);
    CHECK(after(never, 1ns) == never);
    CHECK(after(never, duration::max()) == never);
    CHECK(after(t, duration::max()) == never);
    CHECK(after(time_point{duration::max() - 1ns}, 1ns) == never);
    CHECK(after(time_point{duration::max() - 2ns}, 1ns) < never);
    CHECK(after(time_point{-5s}, 2s) == time_point{-3s});
    STATIC_REQUIRE(after(time_point{}, 1s) == time_point{1s});
}

TEST_CASE("a moment of an environment is no moment of another clock", "[core]") {
    STATIC_REQUIRE_FALSE(std::is_convertible_v<std::chrono::steady_clock::time_point, time_point>);
    STATIC_REQUIRE(environment_clock::is_steady);
}
