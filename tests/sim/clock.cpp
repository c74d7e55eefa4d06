#include <covey/sim/clock.hpp>

#include <catch2/catch.hpp>

namespace sim = covey::sim;
using namespace std::chrono_literals;

TEST_CASE("a clock without settings is the simulation's", "[sim]") {
    const covey::time_point start = covey::time_point{} + 1000s;
    const sim::drifting_clock clock(start);
    CHECK(clock.local(start + 5s) == start + 5s);
    CHECK(clock.global(start + 5s) == start + 5s);
    CHECK(clock.global(covey::never) == covey::never);
}

TEST_CASE("a clock is ahead, drifts and steps, and translates back to the right moment", "[sim]") {
    const covey::time_point start = covey::time_point{} + 1000s;
    sim::drifting_clock clock(start);
    for (const std::int64_t ppm : {-10'000, -37, 0, 200, 10'000}) {
        clock.set(start, 1h, ppm);
        CHECK(clock.local(start + 1000s) == start + 1h + 1000s + std::chrono::microseconds(1000 * ppm));
        for (const covey::duration d : {covey::duration(1), covey::duration(999'999'937), covey::duration(123'456'789'012'345)}) {
            const covey::time_point shown = clock.local(start) + d;
            const covey::time_point when = clock.global(shown);
            CHECK(clock.local(when) >= shown);
            CHECK(clock.local(when - 3ns) < shown);
        }
    }
    const covey::time_point before = clock.local(start + 7s);
    clock.set_drift(start + 7s, -500);
    CHECK(clock.local(start + 7s) == before);
    CHECK(clock.local(start + 8s) == before + 1s - 500us);
    clock.step(30s);
    CHECK(clock.local(start + 7s) == before + 30s);
    CHECK_THROWS_AS(clock.set(start, 0s, 10'001), covey::error);
    CHECK_THROWS_AS(clock.set_drift(start, -10'001), covey::error);
}
