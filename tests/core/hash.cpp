#include <covey/core/hash.hpp>

#include <catch2/catch.hpp>

#include <bit>

using namespace covey;

TEST_CASE("fnv1a gives the published values", "[core]") {
    STATIC_REQUIRE(fnv1a("") == 0xcbf29ce484222325ull);
    STATIC_REQUIRE(fnv1a("a") == 0xaf63dc4c8601ec8cull);
    STATIC_REQUIRE(fnv1a("foobar") == 0x85944171f73967e8ull);
    CHECK(fnv1a("bar", fnv1a("foo")) == fnv1a("foobar"));
    CHECK(fnv1a("\xff") != fnv1a("\x7f"));
}

TEST_CASE("mix64 gives the published sequence of splitmix64", "[core]") {
    // The first numbers of splitmix64 seeded with 0 are mix64 of the multiples of its increment.
    STATIC_REQUIRE(mix64(0) == 0xe220a8397b1dcdafull);
    CHECK(mix64(0x9e3779b97f4a7c15ull) == 0x6e789e6aa1b965f4ull);
    CHECK(mix64(2 * 0x9e3779b97f4a7c15ull) == 0x06c45d188009454full);
}

TEST_CASE("one input bit changes about half of the output bits", "[core]") {
    for (int bit = 0; bit < 64; ++bit) {
        int changed = 0;
        for (std::uint64_t x = 1; x <= 64; ++x) changed += std::popcount(mix64(x * 977) ^ mix64((x * 977) ^ (std::uint64_t{1} << bit)));
        CHECK(changed > 64 * 28);
        CHECK(changed < 64 * 36);
    }
}

TEST_CASE("the order of what is combined matters", "[core]") {
    CHECK(hash_combine(hash_combine(0, 1), 2) != hash_combine(hash_combine(0, 2), 1));
    CHECK(hash_combine(0, 0) != 0);
    STATIC_REQUIRE(hash_combine(1, 2) == hash_combine(1, 2));
}
