#include <covey/mesh/view_message.hpp>

#include <covey/mesh/exchange.hpp>
#include <covey/mesh/key_message.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

namespace covey_test_mesh_view_message {  // so that test files can be compiled together

using namespace mesh_test;
using mesh::view;
using mesh::view_reply;
using mesh::view_request;

member seen(std::uint64_t id, member_state state = member_state::alive, bool is_flaky = false, bool is_unreachable = false) {
    member_info info = info_of(id, 7400);
    info.labels = {{"zone", "z" + std::to_string(id % 3)}};
    return {{id}, 5, 70000, std::make_shared<const mesh::record>(info), state, {1, 2, 3, 15}, is_flaky, is_unreachable};
}

view of(std::size_t others) {
    view v;
    v.number = 77;
    v.digest = 88;
    v.lineage = 99;
    v.members_at_most = others + 5;
    v.is_split_suspected = true;
    v.members.push_back(seen(500));
    for (std::uint64_t id = 1; v.members.size() <= others; ++id) {
        if (id != 500) v.members.push_back(seen(id, id % 2 == 0 ? member_state::suspect : member_state::alive, id % 3 == 0, id % 5 == 0));
    }
    return v;
}

byte_buffer reply_to(const view_request& asked, const view& now) {
    byte_buffer bytes;
    mesh::encode_reply(bytes, asked, now);
    return bytes;
}

TEST_CASE("a view goes over in pieces, with everything that was seen") {
    const std::size_t others = GENERATE(0u, 1u, 7u, 5000u);
    const view v = of(others);
    view whole;
    view_request asked{5, {}};
    std::size_t pieces = 0;
    for (bool last = false; !last; ++pieces) {
        const byte_buffer bytes = reply_to(asked, v);
        CHECK(bytes.size() < view_reply::piece_bytes + 700);
        CHECK(mesh::is_view_message(bytes));
        CHECK_FALSE(mesh::is_view_request(bytes));
        CHECK_FALSE(mesh::is_key_message(bytes));
        view_reply r = mesh::decode_view_reply(bytes);
        CHECK(r.number == 5);
        CHECK(r.what.number == 77);
        CHECK(r.what.digest == 88);
        CHECK(r.what.lineage == 99);
        CHECK(r.what.members_at_most == others + 5);
        CHECK(r.what.is_split_suspected);
        REQUIRE_FALSE(r.what.members.empty());
        for (member& m : r.what.members) whole.members.push_back(std::move(m));
        last = r.is_last;
        asked.after = whole.members.back().id();
    }
    CHECK((pieces > 3) == (others == 5000));
    CHECK((pieces == 1) == (others < 5000));
    REQUIRE(whole.members.size() == v.members.size());
    for (std::size_t i = 0; i < v.members.size(); ++i) {
        const member &a = whole.members[i], &b = v.members[i];
        REQUIRE(a == b);
        REQUIRE(a.is_flaky() == b.is_flaky());
        REQUIRE(a.is_unreachable() == b.is_unreachable());
        REQUIRE(a.load() == b.load());
        REQUIRE(a.label("zone") == b.label("zone"));
    }
}

TEST_CASE("requests for views come out as they went in, and no other bytes do") {
    byte_buffer bytes;
    mesh::encode(bytes, view_request{9, {0x1234}});
    CHECK(mesh::is_view_request(bytes));
    const view_request back = mesh::decode_view_request(bytes);
    CHECK(back.number == 9);
    CHECK(back.after == peer_id{0x1234});
    CHECK_THROWS_AS(mesh::decode_view_reply(bytes), error);
    for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_THROWS_AS(mesh::decode_view_request(bytes.view().first(n)), error);
    bytes.append("x", 1);
    CHECK_THROWS_AS(mesh::decode_view_request(bytes), error);

    const byte_buffer good = reply_to({1, {}}, of(3));
    for (std::size_t n = 0; n < good.size(); ++n) CHECK_THROWS_AS(mesh::decode_view_reply(good.view().first(n)), error);
    mesh::exchange other;
    other.step = mesh::exchange_step::open;
    byte_buffer table;
    encode(table, other);
    CHECK_FALSE(mesh::is_view_message(table));
}

TEST_CASE("random bytes never decode into members that cannot be") {
    random_source random(5);
    const byte_buffer good = reply_to({1, {}}, of(6));
    std::size_t accepted = 0;
    for (int i = 0; i < 20000; ++i) {
        std::vector<std::byte> bytes(good.view().begin(), good.view().end());
        for (std::uint64_t k = random.below(4); k > 0; --k)
            bytes[static_cast<std::size_t>(random.below(bytes.size()))] = static_cast<std::byte>(random.next());
        try {
            const view_reply r = mesh::decode_view_reply(bytes);
            ++accepted;
            for (const member& m : r.what.members) {
                REQUIRE(m.id());
                REQUIRE(m.epoch() != 0);
                REQUIRE(fault(m.what()) == nullptr);
                REQUIRE(to_string(m.state()) != "?");
            }
        } catch (const error& e) {
            REQUIRE(e.code() == errc::bad_message);
        }
    }
    CHECK(accepted > 100);
    CHECK(accepted < 19900);
}

}  // namespace covey_test_mesh_view_message
