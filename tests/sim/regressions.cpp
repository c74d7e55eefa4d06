// What went wrong in other memberships, tried on ours.
#include <covey/sim/invariants.hpp>

#include <catch2/catch.hpp>

#include <vector>

namespace sim = covey::sim;
using namespace std::chrono_literals;

namespace {

void gather(sim::fleet& f, sim::host_index count) {
    for (sim::host_index h = 0; h < count; ++h) f.start(h);
    REQUIRE(f.run_until([&] { return f.all_agree(); }, 60s));
    f.run_for(30s);
}

/// Bytes a second and peer over that time.
double traffic(sim::fleet& f, covey::duration span) {
    const std::uint64_t before = f.traffic().total();
    f.run_for(span);
    return static_cast<double>(f.traffic().total() - before) / std::chrono::duration<double>(span).count() /
           static_cast<double>(f.running());
}

}  // namespace

TEST_CASE("two members that hold each other for dead find each other again (foca 0.12)", "[sim][regression]") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        sim::fleet f({.seed = seed});
        sim::invariants checks(f);
        f.watch(checks);
        gather(f, 2);
        const auto rule = f.net().isolate(1);
        f.run_for(60s);
        REQUIRE(f.node(0)->live_count() == 1);
        REQUIRE(f.node(1)->live_count() == 1);
        f.net().heal(rule);
        CHECK(f.run_until([&] { return f.all_agree(); }, 30s));
        f.run_for(30s);
        CHECK(f.all_agree());
        CHECK(checks.failure().empty());
    }
}

TEST_CASE("clusters of two and three find out who is dead, and keep who is not (memberlist 350)", "[sim][regression]") {
    for (const sim::host_index count : {sim::host_index{2}, sim::host_index{3}}) {
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {
            sim::fleet f({.seed = seed, .network = {.loss = 0.05}});
            gather(f, count);
            f.run_for(120s);
            CHECK(f.false_deaths() == 0);
            f.kill(count - 1);
            f.net().isolate(count - 1);
            CHECK(f.run_until([&] { return f.all_agree(); }, 30s));
            CHECK(f.false_deaths() == 0);
        }
    }
}

TEST_CASE("one member that hears and is not heard does not storm the others (consul 5928)", "[sim][regression]") {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        sim::fleet f({.seed = seed});
        gather(f, 40);
        const double calm = traffic(f, 60s);
        const sim::host_index detached[] = {20};
        std::vector<sim::host_index> others;
        for (sim::host_index h = 0; h < 40; ++h) {
            if (h != 20) others.push_back(h);
        }
        f.net().cut(detached, others);
        CHECK(traffic(f, 120s) < 4 * calm + 300);
        for (const sim::host_index h : others) CHECK(f.node(h)->live_count() == 39);
        f.net().heal();
        CHECK(f.run_until([&] { return f.all_agree(); }, 90s));
        f.run_for(60s);
        CHECK(traffic(f, 60s) < 2 * calm + 200);
    }
}
