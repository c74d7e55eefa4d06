#include <covey/mesh/key_ring.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

namespace covey_test_mesh_key_ring {  // so that test files can be compiled together

using namespace mesh_test;
using mesh::key_change;
using mesh::key_ring;
using net::cluster_key;

namespace {

/// The text of the error that `change` meets, which must leave the ring as it was.
std::string refused(key_ring& ring, const key_change& change, errc expected) {
    const std::vector<net::key_fingerprint> before(ring.fingerprints().begin(), ring.fingerprints().end());
    try {
        ring.apply(change);
    } catch (const error& e) {
        CHECK(e.code() == expected);
        CHECK(std::equal(before.begin(), before.end(), ring.fingerprints().begin(), ring.fingerprints().end()));
        return e.what();
    }
    return "not refused";
}

mesh::member_keys answer(std::uint64_t id, std::vector<net::key_fingerprint> keys, std::string failure = {}) {
    return {member(info_of(id, 7000)), std::move(keys), std::move(failure)};
}

}  // namespace

TEST_CASE("a ring takes a new key in three steps and keeps the one in use first") {
    const cluster_key a = cluster_key::generate(), b = cluster_key::generate();
    key_ring ring({a});
    CHECK(ring.apply(key_change::install(b)));
    CHECK_FALSE(ring.apply(key_change::install(b)));
    CHECK(ring.keys().front() == a);
    CHECK(ring.apply(key_change::use(b.fingerprint())));
    CHECK_FALSE(ring.apply(key_change::use(b.fingerprint())));
    CHECK(ring.keys().front() == b);
    CHECK(ring.fingerprints().front() == b.fingerprint());
    CHECK(ring.fingerprints().back() == a.fingerprint());
    CHECK(ring.apply(key_change::remove(a.fingerprint())));
    CHECK_FALSE(ring.apply(key_change::remove(a.fingerprint())));
    CHECK(ring.keys().size() == 1);
    CHECK_FALSE(ring.contains(a.fingerprint()));
    CHECK_FALSE(ring.apply(key_change::list()));
}

TEST_CASE("what would leave a ring without its key is refused, and so is what does not fit") {
    const cluster_key a = cluster_key::generate(), b = cluster_key::generate();
    key_ring ring({a, b});
    CHECK_THAT(refused(ring, key_change::remove(a.fingerprint()), errc::bad_argument),
               Catch::Contains(to_string(a.fingerprint())) && Catch::Contains("in use"));
    CHECK_THAT(refused(ring, key_change::use(cluster_key::generate().fingerprint()), errc::bad_argument),
               Catch::Contains("install it first"));
    key_change without = key_change::install(b);
    without.secret.reset();
    CHECK_THAT(refused(ring, without, errc::bad_argument), Catch::Contains("needs a key"));
    while (ring.keys().size() < net::keys_max) CHECK(ring.apply(key_change::install(cluster_key::generate())));
    CHECK_THAT(refused(ring, key_change::install(cluster_key::generate()), errc::overloaded), Catch::Contains("remove one first"));
    CHECK_THROWS_AS(key_ring(std::vector<cluster_key>()), error);
    CHECK_THROWS_WITH(key_ring(std::vector<cluster_key>{a, b, a}), Catch::Contains(to_string(a.fingerprint())));
    CHECK_THROWS_AS(key_ring(std::vector<cluster_key>(net::keys_max + 1, a)), error);
}

TEST_CASE("a change is sent out only when it cannot split the mesh") {
    const net::key_fingerprint old_key{1}, new_key{2}, nobodys{3};
    const key_change use = key_change::use(new_key), remove = key_change::remove(old_key);
    std::vector<mesh::member_keys> members{answer(1, {old_key, new_key}), answer(2, {old_key, new_key})};
    CHECK_FALSE(mesh::objection(use, members));
    CHECK_THAT(mesh::objection(remove, members).value_or(""), Catch::Contains("2 of 2 members use it") && Catch::Contains("peer-1"));
    CHECK_THAT(mesh::objection(key_change::use(nobodys), members).value_or(""), Catch::Contains("no member has a key 00000003"));
    members.push_back(answer(3, {old_key}));
    CHECK_THAT(mesh::objection(use, members).value_or(""), Catch::Contains("1 of 3 members do not have it") && Catch::Contains("peer-3"));
    for (auto& m : members) m.keys = {new_key, old_key};
    CHECK_FALSE(mesh::objection(remove, members));
    members.push_back(answer(4, {}, "timed out"));
    CHECK_THAT(mesh::objection(use, members).value_or(""), Catch::Contains("1 of 4 members did not answer") && Catch::Contains("peer-4"));
    CHECK(mesh::objection(remove, members));
    // Those can do no harm.
    CHECK_FALSE(mesh::objection(key_change::list(), members));
    CHECK_FALSE(mesh::objection(key_change::install(cluster_key::generate()), members));
    for (std::uint64_t id = 10; id < 20; ++id) members.push_back(answer(id, {}, "timed out"));
    const std::string many = mesh::objection(use, members).value_or("");
    CHECK_THAT(many, Catch::Contains("11 of 14") && Catch::Contains(", ..."));
    CHECK(many.size() < 400);
}

}  // namespace covey_test_mesh_key_ring
