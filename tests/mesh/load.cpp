#include <covey/mesh/load.hpp>

#include <catch2/catch.hpp>

using covey::mesh::load;

TEST_CASE("a load is four levels of four bits") {
    CHECK(load::level(-1) == 0);
    CHECK(load::level(0.5) == 8);
    CHECK(load::level(0.99) == 15);
    CHECK(load::level(7) == 15);
    for (unsigned bits = 0; bits <= 0xffff; ++bits) REQUIRE(load::unpack(static_cast<std::uint16_t>(bits)).packed() == bits);
    CHECK(load{1, 2, 3, 4}.packed() == 0x4321);
}
