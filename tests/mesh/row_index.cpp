#include <covey/mesh/detail/row_index.hpp>

#include <covey/core/random.hpp>

#include <catch2/catch.hpp>

#include <map>

using covey::mesh::detail::row_index;

TEST_CASE("rows are found, forgotten and renumbered, also when hashes collide") {
    covey::random_source random(8);
    row_index i(1);
    std::map<std::uint32_t, std::uint64_t> rows;  // row and its hash; a few hashes only
    const auto hash_of = [&](std::uint32_t row) { return rows.at(row); };
    const auto find = [&](std::uint32_t row, std::uint64_t hash) { return i.find(hash, [&](std::uint32_t r) { return r == row; }); };
    CHECK(find(1, 1) == row_index::none);
    for (int step = 0; step < 20000; ++step) {
        const auto row = static_cast<std::uint32_t>(random.below(200));
        if (!rows.contains(row)) {
            rows[row] = random.below(40);
            i.insert(row, hash_of);
        } else if (random.chance(0.5)) {
            i.erase(row, hash_of);
            rows.erase(row);
        } else {
            const std::uint32_t now = row + 1000;
            if (rows.contains(now)) continue;
            const std::uint64_t hash = rows[row];
            i.renumber(row, now, hash);
            rows.erase(row);
            rows[now] = hash;
        }
        if (step % 50 == 0) {
            for (const auto& [r, hash] : rows) REQUIRE(find(r, hash) == r);
            REQUIRE(find(5000, 3) == row_index::none);
        }
    }
}
