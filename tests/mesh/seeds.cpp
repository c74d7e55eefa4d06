#include <covey/mesh/seeds.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

namespace covey_test_mesh_seeds {  // so that test files can be compiled together

using namespace mesh_test;
using mesh::seed_list;

seed_list list(std::vector<std::string> texts) { return seed_list(texts); }

const endpoint own = endpoint::v4(10, 0, 0, 9, 7400);
const endpoint one = endpoint::v4(10, 0, 0, 1, 7400), two = endpoint::v4(10, 0, 0, 2, 7400);
const endpoint six = endpoint::parse("[fd00::1]:7400");

TEST_CASE("seeds are addresses and names, and nothing else") {
    random_source random(1);
    const seed_list l = list({"10.0.0.1:7400", "[fd00::1]:7400", "localhost:7401", "peers.example.org:7400", "my_host-2:1"});
    CHECK(l.name_count() == 2);
    CHECK(l.name(0) == "peers.example.org:7400");
    CHECK(l.name(1) == "my_host-2:1");
    CHECK(l.addresses(64, random) == std::vector<endpoint>{one, endpoint::v4(127, 0, 0, 1, 7401), six});
    CHECK_FALSE(l.is_complete());
    CHECK(seed_list().is_complete());
    CHECK(l.faults().empty());

    for (const char* bad : {"", "peers", "peers:", ":7400", "peers:0", "10.0.0.1:0", "peers:65536", "peers:http", "fd00::1:7400",
                            "[fd00::1:7400", "10.0.0:7400", "10.0.0.256:7400", "two words:7400",
                            "p\xc3\xa9"
                            "er:7400",
                            "a/b:7400"}) {
        INFO(bad);
        try {
            list({bad});
            FAIL("taken");
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_address);
            CHECK_THAT(e.what(), Catch::Contains(bad));
        }
    }
    CHECK_NOTHROW(list(std::vector<std::string>(64, "10.0.0.1:7400")));
    CHECK_THROWS_WITH(list(std::vector<std::string>(65, "10.0.0.1:7400")), Catch::Contains("65") && Catch::Contains("64 is the most"));
}

TEST_CASE("a name stands for what was found last") {
    random_source random(1);
    seed_list l = list({"a:7400", "b:7400", "10.0.0.1:7400"});
    CHECK_FALSE(l.set_found(0, std::vector{two, one}, "", own));
    CHECK(l.addresses(64, random) == std::vector{one, two});  // each once
    CHECK_FALSE(l.is_complete());
    CHECK_THAT(l.set_found(1, {}, "\"b:7400\" cannot be resolved", own).value(),
               Catch::Contains("\"b:7400\" cannot be resolved (attempt 1)") && Catch::Contains("Is the name right"));
    CHECK(l.faults() == "\"b:7400\" cannot be resolved");
    const endpoint three = endpoint::v4(10, 0, 0, 3, 7400);
    CHECK_FALSE(l.set_found(1, std::vector{three}, "", own));
    CHECK(l.is_complete());
    CHECK(l.faults().empty());
    CHECK(l.addresses(64, random) == std::vector{one, two, three});
    // Replaced; and kept while the name server is away.
    CHECK_FALSE(l.set_found(0, std::vector{three}, "", own));
    CHECK(l.addresses(64, random) == std::vector{one, three});
    CHECK_THAT(l.set_found(0, {}, "away", own).value(), Catch::Contains("the addresses that it had are used"));
    CHECK(l.addresses(64, random) == std::vector{one, three});
    CHECK(l.is_complete());
    CHECK(l.faults() == "away");
}

TEST_CASE("only addresses of the peer's own family are of use") {
    random_source random(1);
    seed_list l = list({"a:7400"});
    CHECK_FALSE(l.set_found(0, std::vector{six, one}, "", own));
    CHECK(l.addresses(64, random) == std::vector{one});
    CHECK_FALSE(l.set_found(0, std::vector{six, one}, "", six));
    CHECK(l.addresses(64, random) == std::vector{six});
    CHECK_THAT(l.set_found(0, std::vector{six}, "", own).value(), Catch::Contains("no IPv4 address") && Catch::Contains("10.0.0.9:7400"));
    CHECK_THAT(l.set_found(0, {}, "", own).value(), Catch::Contains("has no address"));
}

TEST_CASE("a name that stays unknown is told of now and then") {
    seed_list l = list({"a:7400"});
    int lines = 0;
    for (int i = 0; i < 100; ++i) lines += l.set_found(0, {}, "unknown", own).has_value();
    CHECK(lines == 3 + 10);
    l.set_found(0, std::vector{one}, "", own);
    CHECK(l.set_found(0, {}, "unknown", own));
}

TEST_CASE("of very many addresses a few are asked, others each time") {
    random_source random(1);
    seed_list l = list({"a:7400"});
    std::vector<endpoint> many;
    for (int i = 0; i < 3000; ++i)
        many.push_back(endpoint::v4(10, 1, static_cast<std::uint8_t>(i / 250), static_cast<std::uint8_t>(i % 250), 7400));
    l.set_found(0, many, "", own);
    CHECK(l.addresses(5000, random).size() == seed_list::addresses_max);
    const std::vector<endpoint> some = l.addresses(64, random);
    CHECK(some.size() == 64);
    CHECK(l.addresses(64, random) != some);
    CHECK(std::set<endpoint>(some.begin(), some.end()).size() == 64);
}

}  // namespace covey_test_mesh_seeds
