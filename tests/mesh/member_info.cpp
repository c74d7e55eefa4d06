#include <covey/mesh/member_info.hpp>

#include <covey/mesh/record.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

TEST_CASE("what no member can say of itself is refused") {
    const auto refused = [](auto change) {
        auto info = info_of(1, 1);
        change(info);
        CHECK(fault(info) != nullptr);
    };
    CHECK(fault(info_of(1, 1)) == nullptr);
    refused([](member_info& i) { i.id = {}; });
    refused([](member_info& i) { i.epoch = 0; });
    refused([](member_info& i) { i.address.port = 0; });
    refused([](member_info& i) { i.address = endpoint::v4(0, 0, 0, 0, 5); });
    refused([](member_info& i) { i.bulk = endpoint::v4(0, 0, 0, 0, 5); });
    refused([](member_info& i) { i.bulk = endpoint::v4(1, 2, 3, 4, 0); });
    refused([](member_info& i) { i.name = "a\x1b[2J"; });
    refused([](member_info& i) { i.name = std::string(65, 'x'); });
    refused([](member_info& i) { i.role = static_cast<member_role>(9); });
    refused([](member_info& i) {
        for (int k = 0; k < 17; ++k) i.labels.emplace_back(std::to_string(k), "b");
    });
    refused([](member_info& i) { i.labels = {{"a", "b"}, {"c", "d"}, {"a", "e"}}; });
    refused([](member_info& i) { i.resources = {{"a", 1}, {"a", 1}}; });
    refused([](member_info& i) { i.labels = {{"", "b"}}; });
    refused([](member_info& i) { i.labels = {{"a", "b\n"}}; });
    refused([](member_info& i) { i.resources = {{std::string(65, 'x'), 1}}; });
    refused([](member_info& i) {
        for (int k = 0; k < 7; ++k) i.labels.emplace_back(std::string(32, static_cast<char>('a' + k)), std::string(32, 'v'));
    });
}

TEST_CASE("whatever is not refused fits its bound") {
    random_source random(3);
    const auto text = [&] { return std::string(static_cast<std::size_t>(random.below(40)), 'x'); };
    std::size_t good = 0;
    for (int k = 0; k < 5000; ++k) {
        auto i = info_of(1, 1);
        i.bulk = i.address;
        i.threads = 65535;
        i.memory_mib = 0xffffffffu;
        i.gpus = 65535;
        for (std::uint64_t n = random.below(12); n > 0; --n) i.labels.emplace_back(text() + std::to_string(n), text());
        for (std::uint64_t n = random.below(6); n > 0; --n)
            i.resources.emplace_back(text() + std::to_string(n), static_cast<std::uint32_t>(random.next()));
        if (fault(i) != nullptr) continue;
        ++good;
        REQUIRE(mesh::record(i).encoded().size() <= encoded_bytes_at_most(i));
        REQUIRE(encoded_bytes_at_most(i) <= mesh::description::encoded_bytes_max);
    }
    CHECK(good > 100);
    CHECK(good < 4900);
}
