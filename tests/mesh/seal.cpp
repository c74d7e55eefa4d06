#include <covey/mesh/seal.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

TEST_CASE("every packet leaves room for its seal") {
    network net(4);
    net.how.packet_bytes_max = 1024;
    net.add_many(40);
    REQUIRE(net.within(20s, [&] { return net.converged(); }));
    CHECK(net.largest_packet <= 1024 - mesh::datagram_seal::overhead);
    CHECK(net.largest_packet > 800);
}
