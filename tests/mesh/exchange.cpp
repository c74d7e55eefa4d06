#include <covey/mesh/exchange.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;
using mesh::claim;
using mesh::exchange;
using mesh::exchange_step;
using mesh::rejection;

namespace {

const cluster_id ours = cluster_id::from_name("ours");

exchange of_step(exchange_step step, const std::vector<member>& members) {
    exchange m;
    m.header = {ours, {1}, 1};
    m.step = step;
    m.nonce = 99;
    m.target = {5};
    m.forms = true;
    m.lineage = 77;
    m.view_members = 30;
    m.bucket_bits = 8;
    m.hashes.resize(256);
    m.covered.resize(256);
    m.missing.resize(256);
    for (std::size_t i = 0; i < 256; ++i) {
        m.hashes[i] = i % 5 == 0 ? 0 : static_cast<std::uint32_t>(i * 12345);
        m.covered[i] = i % 3 == 0;
        m.missing[i] = i % 7 == 1;
    }
    for (const member& x : members) m.claims.push_back(claim::about(x, {1}));
    return m;
}

std::vector<member> some_members() {
    std::vector<member> members{member(info_of(1, 7001))};
    for (std::uint64_t i = 2; i < 30; ++i) members.push_back(member(info_of(i, 7002), static_cast<member_state>(i % 4)));
    return members;
}

byte_buffer encoded(const exchange& m) {
    byte_buffer bytes;
    encode(bytes, m);
    return bytes;
}

}  // namespace

TEST_CASE("every step of an exchange survives the wire") {
    const auto members = some_members();
    for (const auto step : {exchange_step::open, exchange_step::reply, exchange_step::close, exchange_step::ping, exchange_step::pong}) {
        const exchange m = of_step(step, members);
        const byte_buffer bytes = encoded(m);
        const auto r = mesh::decode_exchange(bytes, ours);
        REQUIRE(r.why == rejection::count_);
        CHECK(r.value.step == step);
        CHECK(r.value.nonce == 99);
        const bool compares = step == exchange_step::open || step == exchange_step::reply;
        CHECK(r.value.forms == (compares || step == exchange_step::close));
        CHECK(r.value.lineage == (compares ? 77u : 0u));
        CHECK(r.value.view_members == (compares ? 30u : 0u));
        CHECK(r.value.hashes == (step == exchange_step::open ? m.hashes : std::vector<std::uint32_t>{}));
        CHECK(r.value.covered == (step == exchange_step::reply ? m.covered : std::vector<bool>{}));
        CHECK(r.value.missing == (step == exchange_step::reply ? m.missing : std::vector<bool>{}));
        CHECK(r.value.target.value == (step == exchange_step::ping ? 5u : 0u));
        if (step == exchange_step::ping || step == exchange_step::pong) {
            CHECK(r.value.claims.empty());
        } else {
            REQUIRE(r.value.claims.size() == members.size());
            for (std::size_t i = 0; i < members.size(); ++i) {
                CHECK(r.value.claims[i].id == members[i].id());
                CHECK(r.value.claims[i].state == members[i].state());
            }
        }
        CHECK(mesh::decode_exchange(bytes, cluster_id{}).why == rejection::wrong_cluster);
        for (std::size_t n = 0; n < bytes.size(); ++n) {
            const auto cut = mesh::decode_exchange(bytes.view().first(n), ours);
            // Between two claims it is a shorter one.
            if (cut.why == rejection::count_) CHECK(cut.value.claims.size() < members.size());
        }
    }
}

TEST_CASE("a comparison of some buckets says which, and need not say again who asks") {
    exchange m = of_step(exchange_step::open, {});
    m.first_bucket = 250;
    m.hashes = {0, 7, 0, 9};
    auto r = mesh::decode_exchange(encoded(m), ours);
    REQUIRE(r.why == rejection::count_);
    CHECK(r.value.first_bucket == 250);
    CHECK(r.value.hashes == m.hashes);
    CHECK(r.value.claims.empty());
    m.first_bucket = 253;  // the last would be the 257th
    CHECK(mesh::decode_exchange(encoded(m), ours).why == rejection::malformed);
    m.hashes.clear();
    CHECK(mesh::decode_exchange(encoded(m), ours).why == rejection::malformed);
    const std::vector<member> members{member(info_of(1, 7001))};
    exchange answer = of_step(exchange_step::reply, members);
    answer.first_bucket = 253;
    answer.covered = {true, false, true};
    answer.missing = {false, true, false};
    r = mesh::decode_exchange(encoded(answer), ours);
    REQUIRE(r.why == rejection::count_);
    CHECK(r.value.covered == answer.covered);
    CHECK(r.value.missing == answer.missing);
    std::uint64_t id = 1;
    const auto with_bucket = [&](std::size_t bucket) {
        while (exchange::bucket_of({id}, 8) != bucket) ++id;
        return peer_id{id};
    };
    CHECK(r.value.covers(with_bucket(253)));
    CHECK_FALSE(r.value.covers(with_bucket(254)));
    CHECK_FALSE(r.value.covers(with_bucket(252)));
    CHECK_FALSE(r.value.covers(with_bucket(0)));
}

TEST_CASE("an exchange whose sender is not who it says is malformed") {
    const std::vector<member> members{member(info_of(2, 7001))};
    CHECK(mesh::decode_exchange(encoded(of_step(exchange_step::open, members)), ours).why == rejection::malformed);
    CHECK(mesh::decode_exchange(encoded(of_step(exchange_step::close, {})), ours).why == rejection::malformed);
}

TEST_CASE("random bytes never decode into a large exchange") {
    random_source random(3);
    const byte_buffer valid = encoded(of_step(exchange_step::reply, some_members()));
    std::size_t accepted = 0;
    for (int i = 0; i < 20000; ++i) {
        std::vector<std::byte> bytes(valid.view().begin(), valid.view().end());
        for (std::uint64_t k = random.below(6); k > 0; --k)
            bytes[static_cast<std::size_t>(random.below(bytes.size()))] = static_cast<std::byte>(random.next());
        const auto r = mesh::decode_exchange(bytes, ours);
        accepted += r.why == rejection::count_;
        REQUIRE(r.value.claims.size() <= bytes.size() / 11);
        REQUIRE(r.value.hashes.size() <= bytes.size() * 8);
    }
    CHECK(accepted > 100);
    CHECK(accepted < 19900);
    const std::vector<std::byte> huge(mesh::exchange_bytes_max + 1);
    CHECK(mesh::decode_exchange(huge, ours).why == rejection::oversized);
}

TEST_CASE("buckets are as many as members call for, and even") {
    CHECK(exchange::bits_for(1) == 8);
    CHECK(exchange::bits_for(8192) == 8);
    CHECK(exchange::bits_for(8193) == 9);
    CHECK(exchange::bits_for(20000) == 10);
    CHECK(exchange::bits_for(1000000) == 12);
    std::vector<int> count(256);
    for (std::uint64_t id = 1; id <= 25600; ++id) ++count[exchange::bucket_of({id}, 8)];
    for (const int n : count) {
        CHECK(n > 40);
        CHECK(n < 180);
    }
    CHECK(exchange::hash_of({1}, 1, 0) != exchange::hash_of({1}, 1, 1));
    CHECK(exchange::hash_of({1}, 1, 0) != exchange::hash_of({1}, 2, 0));
}
