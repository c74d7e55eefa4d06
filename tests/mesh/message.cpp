#include <covey/mesh/message.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;
using mesh::claim;
using mesh::control;
using mesh::control_kind;
using mesh::rejection;

namespace {

const cluster_id ours = cluster_id::from_name("ours");

byte_buffer packet_of(control_kind kind, const std::vector<claim>& claims) {
    control c;
    c.kind = kind;
    c.sequence = 77;
    c.target = {5};
    c.view_digest = 123456789;
    c.view_members = 50;
    c.load_version = 3;
    c.load = {9, 8, 7, 6};
    byte_buffer bytes;
    mesh::write_packet_front(bytes, {ours, {9}, 3}, c);
    byte_writer w(bytes);
    for (const claim& x : claims) x.write(w);
    return bytes;
}

member some_member(member_state state) { return member(info_of(100 + static_cast<std::uint64_t>(state), 7001), state); }

/// One of each state. What they point to lives as long as the test.
std::vector<claim> some_claims() {
    static const std::vector<member> members{some_member(member_state::alive), some_member(member_state::suspect),
                                             some_member(member_state::dead), some_member(member_state::left)};
    std::vector<claim> claims;
    for (const member& m : members) claims.push_back(claim::about(m, {8}));
    return claims;
}

}  // namespace

TEST_CASE("packets survive the wire") {
    for (int k = 0; k <= 5; ++k) {
        const auto kind = static_cast<control_kind>(k);
        byte_buffer bytes = packet_of(kind, some_claims());
        byte_writer w(bytes);
        mesh::write_load(w, {{31}, 500, {1, 2, 3, 4}});
        const auto [why, p] = mesh::decode_packet(bytes, ours);
        REQUIRE(why == rejection::count_);
        CHECK(p.header.sender == peer_id{9});
        CHECK(p.header.epoch == 3);
        CHECK(p.request.kind == kind);
        if (kind != control_kind::none) CHECK(p.request.sequence == 77);
        const bool aims = kind == control_kind::ping || kind == control_kind::ping_req || kind == control_kind::not_me;
        CHECK(p.request.target.value == (aims ? 5u : 0u));
        CHECK(p.request.view_digest == (kind == control_kind::ack ? 123456789u : 0u));
        const bool is_loaded = kind == control_kind::ping || kind == control_kind::ack;
        CHECK(p.request.load_version == (is_loaded ? 3u : 0u));
        CHECK(p.request.load == (is_loaded ? mesh::load{9, 8, 7, 6} : mesh::load{}));
        REQUIRE(p.claims.size() == 4);
        CHECK(mesh::record::decode(p.claims[0].encoded)->what() == some_member(member_state::alive).what());
        CHECK(p.claims[0].id == peer_id{100});
        CHECK(p.claims[1].state == member_state::suspect);
        CHECK(p.claims[1].accuser == peer_id{8});
        CHECK(p.claims[2].id == peer_id{102});
        CHECK(p.claims[3].state == member_state::left);
        CHECK_FALSE(p.claims[3].accuser);
        REQUIRE(p.loads.size() == 1);
        CHECK(p.loads[0].id == peer_id{31});
        CHECK(p.loads[0].version == 500);
        CHECK(p.loads[0].level == mesh::load{1, 2, 3, 4});
    }
}

TEST_CASE("a packet cut anywhere is malformed, or the same with fewer claims") {
    const byte_buffer bytes = packet_of(control_kind::ack, some_claims());
    std::size_t accepted = 0;
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        const auto r = mesh::decode_packet(bytes.view().first(n), ours);
        if (r.why == rejection::count_) {
            ++accepted;
            CHECK(r.value.claims.size() < 4);
        } else {
            CHECK(r.why == rejection::malformed);
        }
    }
    CHECK(accepted == 4);
}

TEST_CASE("what is not ours is told apart") {
    byte_buffer bytes = packet_of(control_kind::ping, {});
    CHECK(mesh::decode_packet(bytes, cluster_id::from_name("theirs")).why == rejection::wrong_cluster);
    bytes.data()[2] = std::byte{99};
    CHECK(mesh::decode_packet(bytes, ours).why == rejection::wrong_version);
    byte_buffer unknown = packet_of(control_kind::ping, {});
    unknown.data()[3] = std::byte{6};
    CHECK(mesh::decode_packet(unknown, ours).why == rejection::malformed);
    CHECK(to_string(rejection::wrong_cluster) == "another cluster");
}

TEST_CASE("random bytes never decode into something large") {
    random_source random(3);
    const byte_buffer valid = packet_of(control_kind::ping, some_claims());
    std::size_t accepted = 0;
    for (int i = 0; i < 100000; ++i) {
        std::vector<std::byte> bytes(valid.view().begin(), valid.view().end());
        for (std::uint64_t k = random.below(6); k > 0; --k)
            bytes[static_cast<std::size_t>(random.below(bytes.size()))] = static_cast<std::byte>(random.next());
        const auto r = mesh::decode_packet(bytes, ours);
        accepted += r.why == rejection::count_;
        REQUIRE(r.value.claims.size() <= bytes.size() / 11);
    }
    CHECK(accepted > 1000);
    CHECK(accepted < 99000);
}
