#include <covey/mesh/config.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

using namespace mesh_test;

TEST_CASE("every profile is one that a machine accepts") {
    for (const mesh::config& c : {mesh::profile::local(), mesh::profile::lan(), mesh::profile::wan()}) {
        CHECK_NOTHROW(machine(c, info_of(1, 1), {}, 1));
        CHECK(c.retransmit_multiplier == 4);
        CHECK(c.packet_bytes_max <= 1400);
        CHECK(c.indirect_probes == 3);
    }
    // A process without a processor for a second must live.
    CHECK(mesh::profile::local().suspicion_floor >= 2s);
}
