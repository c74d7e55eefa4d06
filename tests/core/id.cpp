#include <covey/core/id.hpp>

#include <catch2/catch.hpp>

#include <string>

using namespace covey;

TEST_CASE("a peer id is 16 hex digits and back", "[core]") {
    CHECK(to_string(peer_id{}) == "0000000000000000");
    CHECK(to_string(peer_id{0x0123456789abcdef}) == "0123456789abcdef");
    CHECK(to_string(peer_id{~0ull}) == "ffffffffffffffff");
    for (const std::uint64_t v : {1ull, 0x0123456789abcdefull, ~0ull, 0x8000000000000000ull}) {
        const auto back = parse_peer_id(to_string(peer_id{v}));
        REQUIRE(back);
        CHECK(back->value == v);
    }
}

TEST_CASE("what is no peer id is nothing", "[core]") {
    for (const char* text : {"", "1", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", "-123456789abcdef", "+123456789abcdef",
                             "0x23456789abcdef", " 123456789abcdef", "0000000000000000"}) {
        INFO(text);
        CHECK_FALSE(parse_peer_id(text));
    }
}

TEST_CASE("zero is no peer", "[core]") {
    CHECK_FALSE(peer_id{});
    CHECK(peer_id{1});
    CHECK(peer_id{1} < peer_id{2});
    CHECK(std::hash<peer_id>()(peer_id{5}) == std::hash<peer_id>()(peer_id{5}));
}

TEST_CASE("the same name is the same cluster everywhere", "[core]") {
    const cluster_id a = cluster_id::from_name("default");
    CHECK(a == cluster_id::from_name("default"));
    CHECK(a != cluster_id::from_name("Default"));
    CHECK(a != cluster_id::from_name(""));
    CHECK(a.high != a.low);
    CHECK(to_string(cluster_id{1, 2}) == "00000000000000010000000000000002");
    // Pinned: it travels, so it may not change between versions.
    CHECK(to_string(a) == "87a89c07751a4a28394918cd2c548545");
}
