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
    byte_buffer bytes;
    mesh::write_packet_front(bytes, {ours, {9}, 3}, c);
    byte_writer w(bytes);
    for (const claim& x : claims) x.write(w);
    return bytes;
}

std::vector<claim> some_claims() {
    std::vector<claim> claims;
    for (const auto state : {member_state::alive, member_state::suspect, member_state::dead, member_state::left}) {
        claims.push_back({member(info_of(100 + static_cast<std::uint64_t>(state), 7001), state), {8}});
    }
    return claims;
}

}  // namespace

TEST_CASE("packets survive the wire") {
    for (int k = 0; k <= 5; ++k) {
        const auto kind = static_cast<control_kind>(k);
        const byte_buffer bytes = packet_of(kind, some_claims());
        const auto [why, p] = mesh::decode_packet(bytes, ours);
        REQUIRE(why == rejection::count_);
        CHECK(p.header.sender == peer_id{9});
        CHECK(p.header.epoch == 3);
        CHECK(p.request.kind == kind);
        if (kind != control_kind::none) CHECK(p.request.sequence == 77);
        const bool aims = kind == control_kind::ping || kind == control_kind::ping_req || kind == control_kind::not_me;
        CHECK(p.request.target.value == (aims ? 5u : 0u));
        CHECK(p.request.view_digest == (kind == control_kind::ack ? 123456789u : 0u));
        REQUIRE(p.claims.size() == 4);
        CHECK(p.claims[0].subject == some_claims()[0].subject);
        CHECK(p.claims[1].subject.state() == member_state::suspect);
        CHECK(p.claims[1].accuser == peer_id{8});
        CHECK(p.claims[2].subject.id() == peer_id{102});
        CHECK(p.claims[3].subject.state() == member_state::left);
        CHECK_FALSE(p.claims[3].accuser);
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

TEST_CASE("tables survive the wire and are bounded") {
    mesh::push_pull p;
    p.header = {ours, {1}, 1};
    p.nonce = 99;
    p.self = member(info_of(1, 7001));
    for (std::uint64_t i = 2; i < 30; ++i) p.members.push_back(member(info_of(i, 7002), static_cast<member_state>(i % 4)));
    for (const bool is_reply : {false, true}) {
        p.is_reply = is_reply;
        byte_buffer bytes;
        encode(bytes, p);
        const auto r = mesh::decode_push_pull(bytes, ours, 100);
        REQUIRE(r.why == rejection::count_);
        CHECK(r.value.is_reply == is_reply);
        CHECK(r.value.nonce == 99);
        CHECK(r.value.self == p.self);
        CHECK(r.value.members == p.members);
        CHECK(mesh::decode_push_pull(bytes, ours, 10).why == rejection::malformed);
        CHECK(mesh::decode_push_pull(bytes, cluster_id{}, 100).why == rejection::wrong_cluster);
        for (std::size_t n = 0; n < bytes.size(); ++n) {
            CHECK(mesh::decode_push_pull(bytes.view().first(n), ours, 100).why == rejection::malformed);
        }
    }
    // A count that the bytes cannot hold is refused before anything is allocated for it.
    byte_buffer lying;
    p.members.clear();
    encode(lying, p);
    lying.truncate(lying.size() - 1);
    byte_writer(lying).varint(15000);
    CHECK(mesh::decode_push_pull(lying, ours, 20000).why == rejection::malformed);
    // A sender that is not the one of its record.
    p.header.sender = {2};
    byte_buffer mixed;
    encode(mixed, p);
    CHECK(mesh::decode_push_pull(mixed, ours, 100).why == rejection::malformed);
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
        mesh::decode_push_pull(bytes, ours, 20000);
    }
    CHECK(accepted > 1000);
    CHECK(accepted < 99000);
}
