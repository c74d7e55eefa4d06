#include <covey/mesh/member.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

TEST_CASE("a member is its description and where it is in its life") {
    auto info = info_of(42, 7400, member_role::main);
    info.epoch = 300;
    info.incarnation = 70000;
    const member m(info);
    CHECK(m.id() == peer_id{42});
    CHECK(m.epoch() == 300);
    CHECK(m.incarnation() == 70000);
    CHECK(m.name() == info.name);
    CHECK(m.role() == member_role::main);
    CHECK(m.threads() == 2);
    CHECK(m.address() == info.address);
    CHECK(m.bulk_address() == info.address);
    CHECK(m.is_live());
    CHECK_FALSE(m.is_flaky());
    CHECK_FALSE(member(info, member_state::left).is_live());
    CHECK(m == member(info));
    info.name = "other";
    CHECK_FALSE(m == member(info));
    // Copies share the description; who is known by hearsay has none.
    const member copy = m;
    CHECK(copy.shared_record() == m.shared_record());
    const member hearsay({1}, 1, 0, nullptr, member_state::dead);
    CHECK_FALSE(hearsay.is_described());
    CHECK(hearsay.name().empty());
    static_assert(sizeof(member) <= 40);
}

TEST_CASE("labels, resources and load of a member are found by name") {
    auto info = info_of(42, 7400);
    info.labels = {{"zone", "a"}, {"rack", ""}};
    info.resources = {{"licences", 3}, {"scanners", 0}};
    const member m({42}, 1, 0, std::make_shared<const mesh::record>(info), member_state::alive, {1, 2, 3, 4}, true, false);
    CHECK(m.label("zone") == "a");
    CHECK(m.label("rack") == "");
    CHECK_FALSE(m.label("row"));
    CHECK(m.resource("licences") == 3);
    CHECK(m.resource("scanners") == 0);
    CHECK(m.resource("zone") == 0);
    CHECK(m.load() == mesh::load{1, 2, 3, 4});
    CHECK(m.is_flaky());
    CHECK_FALSE(m.is_unreachable());
    const member hearsay({1}, 1, 0, nullptr, member_state::dead);
    CHECK_FALSE(hearsay.label("zone"));
    CHECK(hearsay.resource("licences") == 0);
}

TEST_CASE("states, roles and events have names") {
    CHECK(to_string(member_state::suspect) == "suspect");
    CHECK(to_string(member_role::observer) == "observer");
    for (int k = 0; k <= static_cast<int>(what::missed); ++k) CHECK(to_string(static_cast<what>(k)) != "?");
}
