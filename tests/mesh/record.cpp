#include <covey/mesh/record.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;
using mesh::description;
using mesh::record;

namespace {

description full() {
    description d = info_of(1, 7400, member_role::main);
    d.bulk = endpoint::v4(10, 0, 0, 2, 9000);
    d.name = std::string(64, 'n');
    d.has_fabric = true;
    d.build_hash = ~std::uint64_t{0};
    d.threads = 65535;
    d.memory_mib = 0xffffffffu;
    d.gpus = 65535;
    d.resources = {{"licence", 3}, {"disk", 4000000000u}};
    d.labels = {{"zone", "a"}, {"empty", ""}};
    return d;
}

}  // namespace

TEST_CASE("a description survives the wire, and nothing but it") {
    auto v6 = full();
    v6.address.address = {0x20, 1, 13, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    v6.bulk.address = v6.address.address;
    for (const description& d : {static_cast<const description&>(info_of(1, 1)), full(), v6}) {
        const record r(d);
        CHECK(r.encoded().size() <= description::encoded_bytes_max);
        const auto back = record::decode(r.encoded());
        CHECK(back->what() == d);
        CHECK(std::ranges::equal(back->encoded(), r.encoded()));
        for (std::size_t n = 0; n < r.encoded().size(); ++n) CHECK_THROWS_AS(record::decode(r.encoded().first(n)), error);
        std::vector<std::byte> longer(r.encoded().begin(), r.encoded().end());
        longer.push_back({});
        CHECK_THROWS_AS(record::decode(longer), error);
    }
    // Usual ones are small: there are ten thousand of them in a table.
    CHECK(record(info_of(1, 1)).encoded().size() < 48);
}

TEST_CASE("random bytes give a valid description or none") {
    random_source random(4);
    const record valid(full());
    std::size_t accepted = 0;
    for (int i = 0; i < 50000; ++i) {
        std::vector<std::byte> bytes(valid.encoded().begin(), valid.encoded().end());
        for (std::uint64_t k = random.below(4); k > 0; --k)
            bytes[static_cast<std::size_t>(random.below(bytes.size()))] = static_cast<std::byte>(random.next());
        try {
            const auto r = record::decode(bytes);
            CHECK(fault(r->what()) == nullptr);
            ++accepted;
        } catch (const error& e) {
            CHECK(e.code() == errc::bad_message);
        }
    }
    CHECK(accepted > 1000);
    CHECK(accepted < 50000);
}

TEST_CASE("a pool gives equal bytes the same record") {
    mesh::record_pool pool;
    const record a(info_of(1, 1)), b(info_of(2, 2));
    const auto first = pool.decode(a.encoded());
    CHECK(pool.decode(a.encoded()) == first);
    CHECK(pool.decode(b.encoded()) != first);
    CHECK(pool.size() == 2);
    CHECK_THROWS_AS(pool.decode(a.encoded().first(3)), error);
    CHECK(pool.size() == 2);
}
