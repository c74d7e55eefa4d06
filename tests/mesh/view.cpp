#include <covey/mesh/view.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

TEST_CASE("members of a view are found by id, the peer itself included") {
    mesh::view v;
    CHECK(v.find({1}) == nullptr);
    for (const std::uint64_t id : {50u, 1u, 3u, 70u}) v.members.emplace_back(info_of(id, 1));
    for (const std::uint64_t id : {50u, 1u, 3u, 70u}) {
        REQUIRE(v.find({id}) != nullptr);
        CHECK(v.find({id})->id() == peer_id{id});
    }
    CHECK(v.find({2}) == nullptr);
    CHECK(v.find({71}) == nullptr);
}
