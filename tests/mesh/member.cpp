#include <covey/mesh/member.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

TEST_CASE("a member survives the wire") {
    auto info = info_of(42, 7400, member_role::main);
    info.epoch = 300;
    info.incarnation = 70000;
    info.name = std::string(64, 'n');
    for (const auto state : {member_state::alive, member_state::suspect, member_state::dead, member_state::left}) {
        const member m(info, state);
        byte_buffer bytes;
        byte_writer w(bytes);
        m.write(w);
        CHECK(bytes.size() <= member::encoded_bytes_max);
        byte_reader r(bytes.view());
        CHECK(member::read(r) == m);
        CHECK(r.empty());
        for (std::size_t n = 0; n < bytes.size(); ++n) {
            byte_reader cut(bytes.view().first(n));
            CHECK_THROWS_AS(member::read(cut), error);
        }
    }
    const member m(info);
    CHECK(m.name() == info.name);
    CHECK(m.role() == member_role::main);
    CHECK(m.threads() == 2);
    CHECK(m.is_live());
    CHECK_FALSE(member(info, member_state::left).is_live());
}

TEST_CASE("records that no member can have are refused") {
    const auto refused = [](auto change) {
        auto info = info_of(1, 1);
        change(info);
        byte_buffer bytes;
        byte_writer w(bytes);
        member(info).write(w);
        byte_reader r(bytes.view());
        CHECK_THROWS_AS(member::read(r), error);
        CHECK(fault(info) != nullptr);
    };
    CHECK(fault(info_of(1, 1)) == nullptr);
    refused([](member_info& i) { i.id = {}; });
    refused([](member_info& i) { i.epoch = 0; });
    refused([](member_info& i) { i.address.port = 0; });
    refused([](member_info& i) { i.address = endpoint::v4(0, 0, 0, 0, 5); });
    refused([](member_info& i) { i.name = "a\x1b[2J"; });
    refused([](member_info& i) { i.name = std::string(65, 'x'); });
    refused([](member_info& i) { i.role = static_cast<member_role>(9); });
}

TEST_CASE("states, roles and events have names") {
    CHECK(to_string(member_state::suspect) == "suspect");
    CHECK(to_string(member_role::observer) == "observer");
    CHECK(to_string(what::alive_again) == "alive again");
}
