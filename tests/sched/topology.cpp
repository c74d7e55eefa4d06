// Compiled where hwloc is found; see tests/CMakeLists.txt.
#if __has_include(<hwloc.h>) && defined(COVEY_HAVE_HWLOC)
#include <covey/sched/topology.hpp>

#include <covey/sched/pool.hpp>

#include <catch2/catch.hpp>

#include <sched.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace covey_test_sched_topology {

using namespace covey;

namespace {

std::vector<unsigned> cpus_in_mask() {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    REQUIRE(sched_getaffinity(0, sizeof mask, &mask) == 0);
    std::vector<unsigned> cpus;
    for (unsigned i = 0; i < CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &mask)) cpus.push_back(i);
    }
    return cpus;
}

/// A machine that hwloc makes up.
detail::topology machine(const char* description) {
    hwloc_topology_t t = nullptr;
    REQUIRE(hwloc_topology_init(&t) == 0);
    detail::topology result(t);
    REQUIRE(hwloc_topology_set_synthetic(t, description) == 0);
    REQUIRE(hwloc_topology_load(t) == 0);
    return result;
}
std::vector<unsigned> order(const char* description, const char* allowed) {
    const detail::topology t = machine(description);
    const detail::cpu_set set(hwloc_bitmap_alloc());
    REQUIRE(hwloc_bitmap_list_sscanf(set.get(), allowed) == 0);
    return detail::cpus_by_core(t.get(), set.get());
}

}  // namespace

TEST_CASE("one CPU of each core comes first, and cores of one node together", "[sched]") {
    using cpus = std::vector<unsigned>;
    CHECK(order("node:2 core:2 pu:2", "0-7") == cpus{0, 2, 4, 6, 1, 3, 5, 7});
    CHECK(order("node:2 core:2 pu:2", "2-5") == cpus{2, 4, 3, 5});
    CHECK(order("node:2 core:2 pu:2", "1,4-5") == cpus{1, 4, 5});
    CHECK(order("node:2 core:2 pu:2", "7") == cpus{7});
    CHECK(order("core:3 pu:1", "0-2") == cpus{0, 1, 2});
    // The kernel may number siblings last, and nodes alternately: what counts is the structure.
    CHECK(order("core:2 pu:2(indexes=0,2,1,3)", "0-3") == cpus{0, 1, 2, 3});
    CHECK(order("node:2 core:2 pu:1(indexes=0,2,1,3)", "0-3") == cpus{0, 2, 1, 3});
    CHECK(order("core:3 pu:1", "17") == cpus{});
}

TEST_CASE("this machine's CPUs are those of the affinity mask, each once", "[sched]") {
    std::vector<unsigned> all = cpus_by_core();
    std::sort(all.begin(), all.end());
    CHECK(all == cpus_in_mask());
    std::vector<unsigned> of_one;
    std::thread([&] {
        cpu_set_t mask;
        CPU_ZERO(&mask);
        CPU_SET(all.back(), &mask);
        REQUIRE(sched_setaffinity(0, sizeof mask, &mask) == 0);
        of_one = cpus_by_core();
    }).join();
    CHECK(of_one == std::vector<unsigned>{all.back()});
}

TEST_CASE("a pool takes them", "[sched]") {
    const std::vector<unsigned> cpus = cpus_by_core();
    const pool threads({.cpus = cpus});
    CHECK(threads.concurrency() >= 1);
}

}  // namespace covey_test_sched_topology
#endif
