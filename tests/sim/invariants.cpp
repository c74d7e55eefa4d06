#include <covey/sim/invariants.hpp>

#include <catch2/catch.hpp>

namespace sim = covey::sim;
using namespace std::chrono_literals;
using what = sim::sighting::what;

namespace {

/// Three members that know each other, and a checker that has watched them.
struct setting {
    setting() {
        f.watch(checks);
        for (sim::host_index h = 0; h < 3; ++h) f.start(h);
        REQUIRE(f.run_until([&] { return f.all_agree(); }, 30s));
        REQUIRE(checks.failure().empty());
    }
    void sees(sim::host_index observer, what kind, sim::host_index subject, covey::epoch_t epoch, std::uint32_t incarnation = 0) {
        checks.on_sighting(f.now(), observer, {kind, f.node(subject)->id(), epoch, incarnation});
    }
    bool says(const char* text) const { return checks.failure().find(text) != std::string::npos; }

    sim::fleet f{{.seed = 2}};
    sim::invariants checks{f};
};

}  // namespace

TEST_CASE("an epoch that ended must not be seen again, nor end twice", "[sim]") {
    for (const what end : {what::dead, what::left}) {
        for (const what later : {what::joined, what::suspected, what::alive_again, what::rejoined, what::dead}) {
            setting s;
            s.sees(0, end, 1, 1);
            CHECK(s.checks.failure().empty());
            s.sees(2, what::suspected, 1, 1);  // another observer has not seen it end
            CHECK(s.checks.failure().empty());
            s.sees(0, later, 1, 1);
            CHECK(s.says(later == what::dead ? "which ended before" : "which it has seen end"));
        }
    }
}

TEST_CASE("who was declared dead itself forgets whom it held dead, not who left", "[sim]") {
    for (const what end : {what::dead, what::left}) {
        setting s;
        s.sees(0, end, 1, 1);
        s.sees(2, end, 1, 1);
        s.checks.on_sighting(s.f.now(), 0, {what::rejoined, s.f.node(0)->id(), 1, 0});
        s.sees(0, what::joined, 1, 1);
        CHECK(s.checks.failure().empty() == (end == what::dead));
        s.sees(2, what::joined, 1, 1);  // of another observer the rebirth says nothing
        CHECK(s.says("which it has seen end"));
    }
}

TEST_CASE("only the subject raises its epoch and its incarnation", "[sim]") {
    setting s;
    s.sees(0, what::rejoined, 1, 2);
    CHECK(s.says("never reached itself"));
    setting t;
    t.sees(0, what::alive_again, 1, 1, t.f.node(1)->incarnation() + 1);
    CHECK(t.says("never reached itself"));
    setting u;
    u.checks.on_sighting(u.f.now(), 0, {what::joined, covey::peer_id{12345}, 1, 0});
    CHECK(u.says("which never was"));
}

TEST_CASE("a datagram that is too long, and too many at once, are seen", "[sim]") {
    setting s;
    s.checks.on_datagram_sent(s.f.now(), 1, s.f.options().how.packet_bytes_max);
    CHECK(s.checks.failure().empty());
    s.checks.on_datagram_sent(s.f.now(), 1, s.f.options().how.packet_bytes_max + 1);
    CHECK(s.says("a datagram of"));
    setting t;
    for (std::size_t i = 0; i <= t.f.options().how.outputs_max; ++i) t.checks.on_datagram_sent(t.f.now(), 1, 10);
    t.checks.on_turn(t.f.now(), 1, *t.f.node(1));
    CHECK(t.says("datagrams at once"));
}

TEST_CASE("a rebirth after a long pause is no violation", "[sim]") {
    setting s;
    s.f.pause(1, 120s);
    s.f.run_for(60s);
    CHECK(s.f.false_deaths() == 2);
    REQUIRE(s.f.run_until([&] { return s.f.all_agree(); }, 120s));
    CHECK(s.f.node(1)->epoch() == 2);
    CHECK(s.checks.failure().empty());
}
