// Fleets under faults drawn from a seed: nothing that must not be, ever; and once all is healed, all views right in time.
//
// COVEY_SIM_SEED=17 runs one seed, COVEY_SIM_SEEDS=2000 so many of them; COVEY_SIM_PEERS and COVEY_SIM_FAULTS='at 1s crash 2'
// replace what the seed would draw. A failure prints what to call.
#include <covey/sim/chaos.hpp>

#include "support.hpp"

#include <catch2/catch.hpp>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

namespace sim = covey::sim;
using namespace std::chrono_literals;

namespace {

std::optional<std::uint64_t> asked_for(const char* variable) {
    const char* text = std::getenv(variable);
    return text == nullptr ? std::nullopt : std::optional<std::uint64_t>(std::strtoull(text, nullptr, 10));
}

/// What a seed runs: how many peers, and their faults.
sim::chaos_options options_of(std::uint64_t seed, sim::host_index least, sim::host_index most) {
    covey::random_source random(covey::hash_combine(seed, 7));
    sim::chaos_options o;
    o.fleet.seed = seed;
    o.fleet.kept_events = 64;
    o.peers = static_cast<sim::host_index>(asked_for("COVEY_SIM_PEERS").value_or(least + random.below(most - least + 1)));
    // What was suspected last is heard of for as long as a suspicion may last, which grows with the fleet: 71 s at 1,000.
    if (o.peers > 100) o.rest = 90s;
    sim::fault_shape shape;
    shape.hosts = o.peers;
    shape.newcomers = static_cast<sim::host_index>(random.below(o.peers / 2 + 1));
    shape.length = o.length;
    const char* given = std::getenv("COVEY_SIM_FAULTS");
    o.faults = given == nullptr ? sim::draw_schedule(seed, shape) : sim::parse_schedule(given);
    return o;
}

constexpr const char* replay_command = "build/release/bin/test_sim 'fleets keep to their word under faults and agree afterwards'";

struct totals {
    double agreed_s = 0;
    std::uint64_t events = 0;
    std::size_t runs = 0;
    std::size_t failures = 0;
};

void run_seeds(std::uint64_t first, std::uint64_t count, sim::host_index least, sim::host_index most, totals& sum) {
    if (const auto one = asked_for("COVEY_SIM_SEED")) first = *one, count = 1;
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
        const sim::chaos_options o = options_of(seed, least, most);
        const sim::chaos_result r = sim::run_chaos(o);
        ++sum.runs;
        sum.agreed_s = std::max(sum.agreed_s, r.agreed_s);
        sum.events += r.events;
        if (!r.failure.empty() && ++sum.failures <= 3) {
            FAIL_CHECK(sim::explain(o, r, replay_command));
        } else {
            CHECK(r.failure.empty());
        }
    }
}

}  // namespace

TEST_CASE("fleets keep to their word under faults and agree afterwards", "[sim][chaos]") {
    // Nightly runs ask for 2,000.
    const std::uint64_t seeds = asked_for("COVEY_SIM_SEEDS").value_or(COVEY_SANITIZED ? 10 : 100);
    totals sum;
    run_seeds(1, seeds, 5, 50, sum);
    std::printf("%zu seeds of 5 to 50 peers under faults: agreed %.1f s after healing at most, %.1f million events\n", sum.runs,
                sum.agreed_s, static_cast<double>(sum.events) * 1e-6);
}

TEST_CASE("the same seed gives the same chaos twice", "[sim][chaos]") {
    for (const std::uint64_t seed : {std::uint64_t{2}, std::uint64_t{9}, std::uint64_t{31}}) {
        const sim::chaos_options o = options_of(seed, 5, 30);
        const sim::chaos_result once = sim::run_chaos(o);
        const sim::chaos_result again = sim::run_chaos(o);
        CHECK(once.hash == again.hash);
        CHECK(once.events == again.events);
    }
}

TEST_CASE("a failure is explained with a seed, a command and fewer faults", "[sim][chaos]") {
    sim::chaos_options o;
    o.fleet.seed = 4;
    o.peers = 8;
    o.length = 30s;
    o.agree_within = 1ms;  // more than can be asked of anybody who was away
    o.faults = sim::parse_schedule(
        "at 0s for 5s loss 0.05; at 1s for 4s reorder 0.03; at 2s for 27.999s isolate 5; at 3s for 2s duplication 0.1; at 4s for 1s slow 2 "
        "0.001");
    const sim::chaos_result r = sim::run_chaos(o);
    REQUIRE(r.failure.find("no agreement") != std::string::npos);
    const std::string text = sim::explain(o, r, "bin/program 'its test'");
    CHECK(text.find("seed 4, 8 peers: no agreement") == 0);
    CHECK(text.find("COVEY_SIM_SEED=4 COVEY_SIM_PEERS=8 COVEY_SIM_FAULTS='at 0s for 5s loss 0.05; ") != std::string::npos);
    CHECK(text.find("fails with 1 of these faults") != std::string::npos);
    CHECK(text.find("COVEY_SIM_FAULTS='at 2s for 27.999s isolate 5' bin/program 'its test'") != std::string::npos);
    CHECK(text.find("the last events:\n") != std::string::npos);
}

TEST_CASE("every kind of fault has its effect", "[sim][chaos]") {
    // One schedule a kind, and what must be different from a run without it: at least what happened, and in which order.
    sim::chaos_options o;
    o.fleet.seed = 12;
    o.peers = 8;
    o.length = 20s;
    o.rest = 5s;
    o.measured = 2s;
    o.traffic_more = 1e9;
    const std::uint64_t calm = sim::run_chaos(o).hash;
    for (const char* text : {"at 0s for 20s loss 0.2",
                             "at 0s for 20s duplication 0.4",
                             "at 0s for 20s delay 0.05",
                             "at 0s for 20s reorder 0.05",
                             "at 1s for 5s clog 0 | 1",
                             "at 1s for 10s partition 0-3 | 4-7",
                             "at 1s for 10s cut 0-3 | 4-7",
                             "at 1s for 15s isolate 4",
                             "at 1s for 15s flip_flop 4,5 2",
                             "at 1s for 15s bad_link 4 0.8",
                             "at 1s for 15s pause 4",
                             "at 1s for 15s slow 4 0.05",
                             "at 1s for 15s drift 4 9000",
                             "at 1s clock_step 4 7",
                             "at 1s crash 4,5",
                             "at 1s for 10s crash_same 4",
                             "at 1s for 10s crash_epoch 4",
                             "at 1s for 10s crash_new 4",
                             "at 1s for 10s leave 4",
                             "at 1s join 8-11",
                             "at 1s for 10s hostile 4 50",
                             "at 0s mixed_digest 1,2"}) {
        INFO(text);
        o.faults = sim::parse_schedule(text);
        const sim::chaos_result r = sim::run_chaos(o);
        CHECK(r.failure.empty());
        CHECK(r.hash != calm);
    }
}
