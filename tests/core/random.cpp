#include <covey/core/random.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

using namespace covey;

TEST_CASE("the same seed gives the same numbers with every compiler", "[core]") {
    random_source a(1), b(1), c(2);
    for (int i = 0; i < 100; ++i) {
        const std::uint64_t v = a.next();
        CHECK(v == b.next());
        CHECK(v != c.next());
    }
    // Pinned: a failure of a simulated run replays from its seed.
    random_source pinned(42);
    CHECK(pinned.next() == 0xbe15272cdf80b6c2ull);
    CHECK(pinned.next() == 0xaf6e2ee49ff5d0e3ull);
    CHECK(pinned.next() == 0xca56edd0338a318full);
    constexpr std::uint64_t at_compile_time = [] {
        random_source r(42);
        return r.next();
    }();
    CHECK(at_compile_time == 0xbe15272cdf80b6c2ull);
}

TEST_CASE("below stays below and reaches everything", "[core]") {
    random_source random(3);
    CHECK(random.below(0) == 0);
    CHECK(random.below(1) == 0);
    std::array<int, 7> seen{};
    for (int i = 0; i < 70'000; ++i) {
        const std::uint64_t v = random.below(7);
        REQUIRE(v < 7);
        ++seen[static_cast<std::size_t>(v)];
    }
    // Expected 10000 each with a standard deviation of 93.
    for (const int n : seen) CHECK(std::abs(n - 10'000) < 500);
    for (int i = 0; i < 100; ++i) CHECK(random.below(~0ull) < ~0ull);
}

TEST_CASE("uniform lies in [0, 1) with its mean in the middle", "[core]") {
    random_source random(4);
    double sum = 0;
    for (int i = 0; i < 100'000; ++i) {
        const double v = random.uniform();
        REQUIRE(v >= 0);
        REQUIRE(v < 1);
        sum += v;
    }
    CHECK(std::abs(sum / 100'000 - 0.5) < 0.01);
}

TEST_CASE("chance is as likely as it says", "[core]") {
    random_source random(5);
    int hits = 0;
    for (int i = 0; i < 100'000; ++i) {
        REQUIRE_FALSE(random.chance(0));
        REQUIRE(random.chance(1));
        hits += random.chance(0.25);
    }
    CHECK(std::abs(hits - 25'000) < 1000);
}

TEST_CASE("shuffle permutes, and every place is as likely", "[core]") {
    random_source random(6);
    std::vector<int> items(100);
    std::iota(items.begin(), items.end(), 0);
    const std::vector<int> before = items;
    random.shuffle(std::span(items));
    CHECK(items != before);
    CHECK(std::is_permutation(items.begin(), items.end(), before.begin()));

    std::array<std::array<int, 4>, 4> count{};
    for (int i = 0; i < 40'000; ++i) {
        std::array<std::size_t, 4> four{0, 1, 2, 3};
        random.shuffle(std::span<std::size_t>(four));
        for (std::size_t place = 0; place < 4; ++place) ++count[four[place]][place];
    }
    for (const auto& row : count) {
        for (const int n : row) CHECK(std::abs(n - 10'000) < 600);
    }
    std::vector<int> none;
    random.shuffle(std::span(none));
    CHECK(none.empty());
}
