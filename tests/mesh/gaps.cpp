#include <covey/mesh/gaps.hpp>

#include <catch2/catch.hpp>

#include <initializer_list>
#include <vector>

using covey::mesh::gaps;

namespace {

std::vector<bool> all_but(std::size_t buckets, std::initializer_list<std::size_t> told) {
    std::vector<bool> missing(buckets, true);
    for (const std::size_t t : told) missing[t] = false;
    return missing;
}
std::vector<bool> only(std::size_t buckets, std::initializer_list<std::size_t> which) {
    std::vector<bool> missing(buckets, false);
    for (const std::size_t w : which) missing[w] = true;
    return missing;
}

/// Everything that is left, one by one.
std::vector<std::size_t> drain(gaps& g) {
    std::vector<std::size_t> all;
    while (!g.empty()) {
        const gaps::window w = g.take(1);
        REQUIRE(w.count == 1);
        all.push_back(w.first);
    }
    return all;
}

}  // namespace

TEST_CASE("what one answer left out and another told is no gap") {
    gaps g;
    CHECK(g.empty());
    CHECK(g.take(5).count == 0);
    g.found(8, 0, only(256, {3, 4, 200}));
    g.found(8, 0, only(256, {4, 200, 255}));
    CHECK(drain(g) == std::vector<std::size_t>{4, 200});
    g.found(8, 0, all_but(256, {}));
    g.found(8, 0, only(256, {}));
    CHECK(g.empty());
}

TEST_CASE("what an answer about a part left out is a gap again") {
    gaps g;
    g.found(8, 0, only(256, {3, 4, 5, 200}));
    const gaps::window w = g.take(3);
    CHECK(w.bits == 8);
    CHECK(w.first == 3);
    CHECK(w.count == 3);
    g.found(8, 3, {false, true, true});
    CHECK(drain(g) == std::vector<std::size_t>{4, 5, 200});
}

TEST_CASE("a window ends at the last gap in it and holds no more buckets than asked for") {
    gaps g;
    g.found(9, 0, only(512, {10, 12, 19, 20, 511}));
    gaps::window w = g.take(10);
    CHECK(w.first == 10);
    CHECK(w.count == 10);  // 10 to 19
    w = g.take(100);
    CHECK(w.first == 20);
    CHECK(w.count == 1);
    w = g.take(100);
    CHECK(w.first == 511);
    CHECK(w.count == 1);
    CHECK(g.empty());
}

TEST_CASE("gaps counted in other buckets: a whole answer begins anew, a part is left alone") {
    gaps g;
    g.found(8, 0, only(256, {1, 2}));
    g.found(9, 7, {true});
    CHECK(g.take(2).bits == 8);
    CHECK(g.empty());
    g.found(8, 0, only(256, {1, 2}));
    g.found(9, 0, only(512, {300}));
    const gaps::window w = g.take(2);
    CHECK(w.bits == 9);
    CHECK(w.first == 300);
}
