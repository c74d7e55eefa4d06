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

TEST_CASE("states, roles and events have names") {
    CHECK(to_string(member_state::suspect) == "suspect");
    CHECK(to_string(member_role::observer) == "observer");
    for (int k = 0; k <= static_cast<int>(what::healed); ++k) CHECK(to_string(static_cast<what>(k)) != "?");
}
