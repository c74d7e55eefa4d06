#include <covey/sim/fleet.hpp>

#include <catch2/catch.hpp>

#include <vector>

namespace sim = covey::sim;
using namespace std::chrono_literals;

namespace {

/// Starts the first `count` hosts within half a second and waits until all know each other.
void gather(sim::fleet& f, sim::host_index count) {
    for (sim::host_index h = 0; h < count; ++h) {
        f.call_after(std::chrono::milliseconds(f.random().below(500)), [&f, h] { f.start(h); });
    }
    f.run_for(500ms);
    REQUIRE(f.run_until([&] { return f.all_agree(); }, 60s));
    REQUIRE(f.running() == count);
    REQUIRE(f.disagreement().empty());
}

struct diary : sim::fleet_watch {
    struct line {
        covey::time_point when;
        sim::host_index observer;
        sim::sighting what;
    };
    void on_sighting(covey::time_point when, sim::host_index observer, const sim::sighting& s) override {
        lines.push_back({when, observer, s});
    }
    void on_ended(covey::time_point, sim::host_index, bool had_left) override { left += had_left; }
    std::size_t count(sim::sighting::what kind, covey::peer_id subject) const {
        std::size_t n = 0;
        for (const line& l : lines) n += l.what.kind == kind && l.what.subject == subject;
        return n;
    }
    std::vector<line> lines;
    std::size_t left = 0;
};

}  // namespace

TEST_CASE("the members of a fleet find each other, and a silent one is found out", "[sim][fleet]") {
    sim::fleet f({.seed = 3});
    diary seen;
    f.watch(seen);
    gather(f, 30);
    const covey::peer_id gone = f.node(17)->id();
    CHECK(sim::fleet::host_of(gone) == 17);
    f.kill(17);
    f.net().isolate(17);
    CHECK(f.node(17) == nullptr);
    CHECK_FALSE(f.all_agree());
    CHECK_FALSE(f.disagreement().empty());
    CHECK(f.run_until([&] { return f.all_agree(); }, 60s));
    CHECK(f.running() == 29);
    CHECK(seen.count(sim::sighting::what::dead, gone) == 29);
    CHECK(f.false_deaths() == 0);
}

TEST_CASE("a member of a fleet comes back: as it was, one epoch later, as somebody else", "[sim][fleet]") {
    for (const sim::comeback how : {sim::comeback::same_epoch, sim::comeback::new_epoch, sim::comeback::new_id}) {
        sim::fleet f({.seed = 5});
        gather(f, 10);
        const covey::peer_id before = f.node(4)->id();
        f.kill(4);
        f.run_for(300ms);
        f.start(4, how);
        CHECK((f.node(4)->id() == before) == (how != sim::comeback::new_id));
        CHECK(f.run_until([&] { return f.all_agree(); }, 90s));
        CHECK(f.running() == 10);
    }
}

TEST_CASE("who leaves a fleet is known to have left, and its process ends", "[sim][fleet]") {
    sim::fleet f({.seed = 6});
    diary seen;
    f.watch(seen);
    gather(f, 12);
    const covey::peer_id gone = f.node(7)->id();
    f.leave(7);
    CHECK(f.run_until([&] { return f.all_agree() && f.node(7) == nullptr; }, 10s));
    CHECK(seen.left == 1);
    CHECK(seen.count(sim::sighting::what::left, gone) == 11);
}

TEST_CASE("a paused member of a fleet does nothing, and catches up", "[sim][fleet]") {
    sim::fleet f({.seed = 7});
    diary seen;
    f.watch(seen);
    gather(f, 8);
    seen.lines.clear();
    const covey::peer_id stopped = f.node(5)->id();
    f.pause(5, 60s);
    f.run_for(59s);
    CHECK(seen.count(sim::sighting::what::dead, stopped) == 7);
    for (const diary::line& l : seen.lines) CHECK(l.observer != 5);
    CHECK(f.false_deaths() == 7);  // it runs, as far as anybody can say
    CHECK(f.run_until([&] { return f.all_agree(); }, 60s));
    CHECK(f.node(5)->epoch() == 2);
}

TEST_CASE("a slow member of a fleet takes its events one after another and is still a member", "[sim][fleet]") {
    sim::fleet f({.seed = 8});
    f.slow(3, 10ms);
    gather(f, 12);
    f.run_for(60s);
    CHECK(f.all_agree());
    CHECK(f.false_deaths() == 0);
}

TEST_CASE("clocks of a fleet may drift and jump ahead", "[sim][fleet]") {
    sim::fleet f({.seed = 9});
    gather(f, 12);
    f.set_drift(1, 10'000);
    f.set_drift(2, -10'000);
    for (int i = 0; i < 20; ++i) {
        f.step_clock(static_cast<sim::host_index>(3 + i % 5), std::chrono::seconds(1 + i));
        f.run_for(3s);
    }
    f.run_for(60s);
    CHECK(f.all_agree());
    CHECK_THROWS_AS(f.set_drift(1, 20'000), covey::error);
}

TEST_CASE("what is forged is rejected by whoever gets it", "[sim][fleet]") {
    sim::fleet f({.seed = 10});
    gather(f, 5);
    const std::uint64_t before = f.node(2)->stats().rejections(covey::mesh::rejection::wrong_version);
    f.forge(2, 4, covey::as_bytes_view("GET / HTTP/1.1\r\nHost: a machine that speaks something else entirely\r\n\r\n"));
    f.run_for(1s);
    CHECK(f.node(2)->stats().rejections(covey::mesh::rejection::wrong_version) == before + 1);
    CHECK(f.all_agree());
}

TEST_CASE("a fleet's run follows from its seed", "[sim][fleet]") {
    const auto run = [](std::uint64_t seed) {
        sim::fleet f({.seed = seed, .network = {.loss = 0.1, .duplication = 0.2, .delay_mean = 40ms}});
        for (sim::host_index h = 0; h < 40; ++h) f.start(h);
        f.run_for(10s);
        f.kill(9);
        f.pause(8, 3s);
        f.run_for(20s);
        return f.trace().hash();
    };
    CHECK(run(1) == run(1));
    CHECK(run(1) != run(2));
}
