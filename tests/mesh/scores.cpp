#include <covey/mesh/scores.hpp>

#include <catch2/catch.hpp>

using namespace covey;
using namespace std::chrono_literals;
using mesh::scores;

TEST_CASE("marks add up and fade by halves") {
    scores s(60s);
    const time_point start{100s};
    CHECK(s.of(start, {1}) == 0);
    CHECK(s.add(start, {1}, 4) == 4);
    CHECK(s.add(start + 1s, {1}, 4) == 8);
    CHECK(s.of(start + 59s, {1}) == 8);
    CHECK(s.of(start + 60s, {1}) == 4);
    CHECK(s.of(start + 120s, {1}) == 2);
    CHECK(s.of(start + 100000s, {1}) == 0);
    CHECK(s.of(start, {2}) == 0);
    // Halvings are not put off by new marks.
    CHECK(s.add(start + 59s, {1}, 1) == 9);
    CHECK(s.of(start + 60s, {1}) == 4);
    CHECK(s.add(start + 61s, {1}, 1) == 5);
    CHECK(s.of(start + 121s, {1}) == 2);
}

TEST_CASE("scores are bounded") {
    scores s(60s);
    for (std::uint64_t i = 1; i <= scores::entries_max + 1; ++i) s.add(time_point{std::chrono::seconds(i)}, {i}, 1000000000);
    CHECK(s.of(time_point{2s}, {1}) == 0);
    CHECK(s.of(time_point{2s}, {2}) > 0);
}
