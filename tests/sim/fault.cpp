#include <covey/core/error.hpp>
#include <covey/sim/fault.hpp>

#include <catch2/catch.hpp>

#include <set>
#include <string>

namespace sim = covey::sim;
using namespace std::chrono_literals;

TEST_CASE("a schedule is printed and read back", "[sim]") {
    const std::string text =
        "at 0s mixed_digest 0,2,4-7; at 0s for 20s loss 0.25; at 1.5s for 3s partition 0,1 | 2-4; at 2s clock_step 3 0.5; "
        "at 2.001s for 4s crash_same 5,6; at 3s crash 9; at 3s for 5s drift 1 -200; at 4s for 0.1s flip_flop 2,3 20; at 5s join 10-19";
    const sim::fault_schedule faults = sim::parse_schedule(text);
    REQUIRE(faults.size() == 9);
    CHECK(to_string(faults) == text);
    CHECK(faults[2].kind == sim::fault_kind::partition);
    CHECK(faults[2].at == 1500ms);
    CHECK(faults[2].lasts == 3s);
    CHECK(faults[2].a == std::vector<sim::host_index>{0, 1});
    CHECK(faults[2].b == std::vector<sim::host_index>{2, 3, 4});
    CHECK(faults[6].amount == -200);
    CHECK(sim::parse_schedule(" \n at 1s crash 2 \n;;at 0s crash 1").front().a == std::vector<sim::host_index>{1});
    CHECK(sim::parse_schedule("").empty());
}

TEST_CASE("what is no schedule is refused with the text that was not understood", "[sim]") {
    for (const char* bad : {"crash 1", "at 1s", "at 1s explode 2", "at x crash 1", "at 1s crash", "at 1s for 2s crash 1", "at 1s loss 0.5",
                            "at 1s for 2s partition 1 2", "at 1s crash 1 2", "at 1s crash -1", "at 1s crash 1,,x", "at 1s for -2s loss 1",
                            "at 1s for 2s loss much"}) {
        INFO(bad);
        CHECK_THROWS_WITH(sim::parse_schedule(bad), Catch::Contains(std::string("fault \"") + bad + "\""));
    }
}

TEST_CASE("drawn schedules keep to their shape, differ, and survive printing", "[sim]") {
    const sim::fault_shape shape{.hosts = 12, .newcomers = 3, .length = 30s};
    std::set<std::string> all;
    std::vector<std::size_t> uses(static_cast<std::size_t>(sim::fault_kind::count_));
    std::size_t of_one_kind = 0;
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        const sim::fault_schedule faults = sim::draw_schedule(seed, shape);
        REQUIRE(faults == sim::draw_schedule(seed, shape));
        REQUIRE(sim::parse_schedule(to_string(faults)) == faults);
        REQUIRE(faults.size() <= shape.faults_max);
        all.insert(to_string(faults));
        covey::duration last{};
        std::set<sim::fault_kind> kinds;
        for (const sim::fault& f : faults) {
            REQUIRE(f.at >= last);
            last = f.at;
            REQUIRE(f.at + f.lasts <= shape.length);
            kinds.insert(f.kind);
            ++uses[static_cast<std::size_t>(f.kind)];
            const bool joins = f.kind == sim::fault_kind::join;
            for (const auto* set : {&f.a, &f.b}) {
                for (const sim::host_index h : *set) REQUIRE((joins ? h >= 12 && h < 15 : h < 12));
            }
            if (f.kind == sim::fault_kind::crash) {
                for (const sim::host_index h : f.a) REQUIRE(h >= shape.seeds);
            }
            if (f.kind == sim::fault_kind::loss) REQUIRE((f.amount > 0 && f.amount <= 0.3));
            if (f.kind == sim::fault_kind::delay) REQUIRE((f.amount >= 0.03 && f.amount <= 0.1));
        }
        of_one_kind += faults.size() > 5 && kinds.size() <= 3;
    }
    CHECK(all.size() > 490);
    CHECK(of_one_kind > 0);
    for (const std::size_t n : uses) CHECK(n > 50);
}

TEST_CASE("kinds can be left out, and a world of one has none that need two", "[sim]") {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        for (const sim::fault& f : sim::draw_schedule(seed, {.without = sim::fault_bit(sim::fault_kind::crash)}))
            REQUIRE(f.kind != sim::fault_kind::crash);
        REQUIRE(sim::draw_schedule(seed, {.hosts = 1}).empty());
        REQUIRE(sim::draw_schedule(seed, {.hosts = 0}).empty());
    }
}
