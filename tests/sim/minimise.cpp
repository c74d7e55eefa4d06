#include <covey/core/random.hpp>
#include <covey/sim/minimise.hpp>

#include <catch2/catch.hpp>

#include <numeric>
#include <vector>

namespace sim = covey::sim;

namespace {

bool contains_all(const std::vector<int>& items, const std::vector<int>& wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [&](int w) { return std::find(items.begin(), items.end(), w) != items.end(); });
}

}  // namespace

TEST_CASE("exactly what is needed for a failure remains, in order", "[sim]") {
    covey::random_source random(4);
    for (int round = 0; round < 200; ++round) {
        std::vector<int> items(1 + static_cast<std::size_t>(random.below(60)));
        std::iota(items.begin(), items.end(), 0);
        std::vector<int> needed;
        for (const int i : items) {
            if (random.chance(0.08)) needed.push_back(i);
        }
        std::size_t tries = 0;
        const auto least = sim::minimise(
            items,
            [&](const std::vector<int>& rest) {
                ++tries;
                return contains_all(rest, needed);
            },
            100'000);
        REQUIRE(least == needed);
        REQUIRE(tries < 1000);
    }
}

TEST_CASE("a minimisation ends at its bound with something that fails", "[sim]") {
    std::vector<int> items(64);
    std::iota(items.begin(), items.end(), 0);
    std::size_t tries = 0;
    const auto fails = [&](const std::vector<int>& rest) {
        ++tries;
        return contains_all(rest, {3, 40, 41, 63});
    };
    const auto least = sim::minimise(items, fails, 10);
    CHECK(tries == 10);
    CHECK(least.size() < 64);
    CHECK(contains_all(least, {3, 40, 41, 63}));
}
