#include <covey/mesh/rejections.hpp>

#include <catch2/catch.hpp>

namespace covey_test_mesh_rejections {  // so that test files can be compiled together

using namespace covey;
using mesh::rejection;
using net::seal_rejection;

TEST_CASE("rejections are counted by reason and read as a line") {
    mesh::rejection_counts counts;
    CHECK(counts.total() == 0);
    CHECK(to_string(counts) == "none");
    counts[seal_rejection::replayed] = 2;
    counts[rejection::malformed] = 3;
    CHECK(counts.sealed() == 2);
    CHECK(counts.total() == 5);
    CHECK(to_string(counts) == "2 seen before, or too old to tell; 3 malformed");
    const mesh::rejection_counts copy = counts;
    CHECK(copy == counts);
    CHECK(copy[seal_rejection::replayed] == 2);
    for (std::size_t i = 0; i < counts.protocol.size(); ++i) CHECK(to_string(static_cast<rejection>(i)) != "accepted");
}

}  // namespace covey_test_mesh_rejections
