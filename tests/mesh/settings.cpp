#include <covey/mesh/settings.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

#include <set>

namespace covey_test_mesh_settings {  // so that test files can be compiled together

using namespace mesh_test;
using mesh::config;
using mesh::setting;

std::string refusal(const std::string& text) {
    config c;
    try {
        mesh::change(c, text);
    } catch (const error& e) {
        CHECK(e.code() == errc::bad_argument);
        return e.what();
    }
    return "taken";
}

std::string refusal(const config& c) {
    try {
        mesh::check(c);
    } catch (const error& e) {
        CHECK(e.code() == errc::bad_argument);
        return e.what();
    }
    return "taken";
}

TEST_CASE("every number of the membership has a name, and goes to text and back") {
    std::set<std::string_view> names;
    for (const config& profile : {mesh::profile::local(), mesh::profile::lan(), mesh::profile::wan()}) {
        CHECK(refusal(profile) == "taken");
        config copy;
        for (const setting& s : mesh::settings()) {
            names.insert(s.name);
            mesh::change(copy, std::string(s.name) + "=" + text_of(s, profile));
            CHECK(text_of(s, copy) == text_of(s, profile));
        }
        CHECK(copy.probe_interval == profile.probe_interval);
        CHECK(copy.gossip_fanout == profile.gossip_fanout);
        CHECK(copy.outputs_max == profile.outputs_max);
    }
    CHECK(names.size() == mesh::settings().size());
    // Each name is that of its own member: changing one leaves the others alone.
    for (const setting& s : mesh::settings()) {
        config c;
        const std::string before = text_of(s, c);
        const std::string limits = allowed(s);
        std::string value = limits.substr(0, limits.find(' '));
        if (value == before) value = limits.substr(limits.rfind(' ') + 1);
        mesh::change(c, std::string(s.name) + "=" + value);
        CHECK(text_of(s, c) == value);
        std::size_t changed = 0;
        for (const setting& other : mesh::settings()) changed += text_of(other, c) != text_of(other, config{});
        CHECK(changed == 1);
    }
}

TEST_CASE("values are written with their units") {
    config c;
    for (const auto& [text, value] : std::vector<std::pair<const char*, duration>>{
             {"200ms", 200ms}, {"3s", 3s}, {"2min", 2min}, {"1h", 1h}, {"1500us", 1500us}, {"1000001ns", 1000001ns}, {"0200ms", 200ms}}) {
        mesh::change(c, std::string("probe_interval=") + text);
        CHECK(c.probe_interval == value);
    }
    mesh::change(c, "exchange_bytes=64KiB");
    CHECK(c.exchange_bytes == 65536);
    mesh::change(c, "exchange_bytes=65537");
    CHECK(c.exchange_bytes == 65537);
    mesh::change(c, "suspicion_floor=0s");
    CHECK(c.suspicion_floor == 0s);
    mesh::change(c, "indirect_probes=0");
    CHECK(c.indirect_probes == 0);
}

TEST_CASE("what cannot be meant is refused with the name, the value and what is allowed") {
    CHECK_THAT(refusal("probe_interval=0s"), Catch::Contains("probe_interval=0s") && Catch::Contains("1ms to 24h"));
    CHECK_THAT(refusal("probe_interval=25h"), Catch::Contains("probe_interval=25h") && Catch::Contains("1ms to 24h"));
    CHECK_THAT(refusal("probe_interval=200"), Catch::Contains("with a unit: h, min, s, ms, us, ns") && Catch::Contains("1ms to 24h"));
    CHECK_THAT(refusal("probe_interval=0.2s"), Catch::Contains("whole number"));
    CHECK_THAT(refusal("probe_interval=99999999999999999999s"), Catch::Contains("whole number"));
    CHECK_THAT(refusal("probe_interval=18446744073709551615h"), Catch::Contains("1ms to 24h"));
    for (const char* bad : {"-1s", "", " 1s", "1 s", "s", "1S", "1ss", "fast"})
        CHECK_THAT(refusal(std::string("probe_interval=") + bad), Catch::Contains("whole number with a unit"));
    CHECK_THAT(refusal("gossip_fanout=65"), Catch::Contains("gossip_fanout=65") && Catch::Contains("1 to 64"));
    CHECK_THAT(refusal("gossip_fanout=3s"), Catch::Contains("whole number;"));
    CHECK_THAT(refusal("packet_bytes_max=1KiB"), Catch::Equals("taken"));
    CHECK_THAT(refusal("packet_bytes_max=1MiB"), Catch::Contains("1KiB to 65000"));
    CHECK_THAT(refusal("probe_interval"), Catch::Contains("a value is missing"));
    CHECK_THAT(refusal("probe_intervall=1s"), Catch::Contains("probe_intervall") && Catch::Contains("probe_interval,"));
    CHECK_THAT(refusal(""), Catch::Contains("sets nothing"));

    config c;
    c.probe_timeout = c.probe_give_up;
    CHECK_THAT(refusal(c), Catch::Contains("probe_give_up=1s") && Catch::Contains("more than probe_timeout, which is 1s"));
    c = {};
    c.steady_marks = c.flaky_marks;
    CHECK_THAT(refusal(c), Catch::Contains("steady_marks=6") && Catch::Contains("less than flaky_marks"));
    c = {};
    c.exchange_bytes_per_second = 8192;
    CHECK_THAT(refusal(c), Catch::Contains("exchange_bytes_per_second=8KiB: must be at least exchange_bytes, which is 256KiB"));
    c = {};
    c.join_retry_max = 1ms;
    CHECK_THAT(refusal(c), Catch::Contains("join_retry_max"));
    c = {};
    c.gossip_interval = -5ms;
    CHECK_THAT(refusal(c), Catch::Contains("gossip_interval=-5000000ns"));
    CHECK_THROWS_WITH(machine(c, info_of(1, 1), {}, 1), Catch::Contains("gossip_interval=-5000000ns"));
}

TEST_CASE("profiles are found by name") {
    CHECK(mesh::profile::named("local").probe_interval == mesh::profile::local().probe_interval);
    CHECK(mesh::profile::named("lan").probe_interval == mesh::profile::lan().probe_interval);
    CHECK(mesh::profile::named("wan").probe_interval == mesh::profile::wan().probe_interval);
    CHECK_THROWS_WITH(mesh::profile::named("LAN"), Catch::Contains("\"LAN\"") && Catch::Contains("local, lan or wan"));
}

}  // namespace covey_test_mesh_settings
