#include <covey/mesh/driver.hpp>

#include "drivers.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

using namespace mesh_test;

TEST_CASE("drivers over a fake environment") {
    const bool sealed = GENERATE(false, true);
    cluster c;
    driver& a = c.add(sealed);
    const endpoint seed = a.self().address();
    CHECK(seed == endpoint::v4(127, 0, 0, 1, 20000));
    driver& b = c.add(sealed);
    driver& d = c.add(sealed);
    b.join({&seed, 1});
    d.join({&seed, 1});
    c.env.run_for(2s);
    CHECK(a.members()->members.size() == 3);
    CHECK(a.members()->digest == d.members()->digest);
    CHECK(a.members() == a.members());
    CHECK(a.find(d.self().id())->name() == "peer-3");
    CHECK(b.has_joined());
    CHECK(a.stats().packets_in > 0);
    CHECK(a.rejections().sealed() == 0);

    mesh::description changed = b.self().what();
    changed.labels = {{"zone", "b"}};
    b.describe(changed);
    b.set_load({9, 0, 0, 0});
    b.on_lag(1s);
    c.env.run_for(3s);
    CHECK(a.find(b.self().id())->labels() == changed.labels);
    CHECK(a.find(b.self().id())->load().cores == 9);

    // Closed without a word: dead.
    d.close();
    d.close();
    c.env.run_for(10s);
    CHECK(a.find(d.self().id())->state() == member_state::dead);
    CHECK(a.members()->members.size() == 2);

    // With a word: left, and the leaver is told.
    int left = 0;
    b.leave([&] { ++left; });
    c.env.run_for(2s);
    CHECK(left == 1);
    CHECK(b.has_left());
    CHECK(a.find(b.self().id())->state() == member_state::left);
    const auto& seen = c.events[a.self().id()];
    REQUIRE(seen.size() >= 4);
    CHECK(seen.front().kind == what::joined);
    CHECK(seen.back().kind == what::left);

    a.close();
    b.close();
    CHECK(c.env.armed() == 0);
    CHECK(c.env.misused == 0);
    CHECK(c.env.logged > 0);
}

TEST_CASE("who is asked how busy it is says so to the others") {
    cluster c;
    std::uint8_t busy = 3;
    c.next_load = [&busy] { return mesh::load{busy, 1, 0, 0}; };
    driver& a = c.add(false);
    driver& b = c.add(false);
    const endpoint seed = a.self().address();
    b.join({&seed, 1});
    c.env.run_for(3s);
    CHECK(b.find(a.self().id())->load() == mesh::load{3, 1, 0, 0});
    busy = 12;
    c.env.run_for(3s);
    CHECK(b.find(a.self().id())->load() == mesh::load{12, 1, 0, 0});
}

TEST_CASE("drivers whose timers fire late ask less often, and suspect nobody") {
    const auto probes = [](duration late_by) {
        cluster c;
        c.how.quiet_probe_interval = c.how.probe_interval;
        for (int i = 0; i < 3; ++i) c.add(false);
        const endpoint seed = c.drivers[0]->self().address();
        for (auto& d : c.drivers) d->join({&seed, 1});
        c.env.run_for(3s);
        c.env.timers_late_by = late_by;
        c.env.run_for(20s);
        std::uint64_t sum = 0;
        for (auto& d : c.drivers) {
            CHECK(d->members()->members.size() == 3);
            CHECK(d->stats().suspicions == 0);
            sum += d->stats().probes;
        }
        return sum;
    };
    // A lag of less than half the time of a probe says nothing.
    const std::uint64_t prompt = probes(0ms);
    CHECK(probes(5ms) > prompt * 3 / 4);
    CHECK(probes(80ms) < prompt / 2);
}

TEST_CASE("peers with different seals do not hear each other") {
    cluster c;
    driver& a = c.add(true);
    driver& b = c.add(false);
    const endpoint seed = a.self().address();
    b.join({&seed, 1});
    c.env.run_for(2s);
    CHECK(a.rejections()[net::seal_rejection::unauthentic] > 0);
    CHECK(a.rejections().sealed() == a.rejections().total());
}

TEST_CASE("what the seal refuses is counted by reason, and said once a minute") {
    cluster c;
    driver& a = c.add(true);
    const endpoint at = a.self().address();
    const std::vector<std::byte> noise(100), whale(1401);
    for (int i = 0; i < 1000; ++i) c.env.inject(at, noise);
    for (int i = 0; i < 10; ++i) c.env.inject(at, whale);
    c.env.run_for(1s);
    mesh::rejection_counts counts = a.rejections();
    CHECK(counts[net::seal_rejection::unauthentic] == 1000);
    CHECK(counts[net::seal_rejection::oversized] == 10);
    CHECK(counts.total() == 1010);
    CHECK(c.env.lines("10.9.8.7:6 was thrown away") == 2);
    CHECK(c.env.lines("not authentic") == 1);
    c.env.run_for(61s);
    for (int i = 0; i < 1000; ++i) c.env.inject(at, noise);
    c.env.run_for(1s);
    CHECK(a.rejections()[net::seal_rejection::unauthentic] == 2000);
    CHECK(c.env.lines("not authentic") == 2);
    CHECK(c.env.lines("1001 so far") == 1);

    // What is opened may still be refused: those counts stand beside.
    std::vector<std::byte> opened(50, ~std::byte{});
    opened[0] = std::byte{0x5a};
    c.env.inject(at, opened);
    c.env.run_for(1s);
    counts = a.rejections();
    CHECK(counts[mesh::rejection::wrong_version] == 1);
    CHECK(counts.sealed() == 2010);
    CHECK(counts.total() == 2011);
    CHECK(a.self().epoch() == 1);
    CHECK(a.members()->members.size() == 1);
}

TEST_CASE("a key is exchanged while the drivers run; nothing is refused, nobody suspected, and all of it repeats") {
    const net::cluster_key old_key = net::cluster_key::parse(std::string(64, 'a'));
    const net::cluster_key new_key = net::cluster_key::parse(std::string(64, 'b'));
    const auto run = [&] {
        cluster c;
        c.keys = {old_key};
        for (int i = 0; i < 4; ++i) c.add(true);
        const endpoint seed = c.drivers[0]->self().address();
        for (auto& d : c.drivers) d->join({&seed, 1});
        c.env.run_for(3s);
        for (const std::vector<net::cluster_key>& ring :
             {std::vector{old_key, new_key}, std::vector{new_key, old_key}, std::vector{new_key}}) {
            // One after another: some are always a step behind.
            for (covey::detail::key_seal* s : c.key_seals) {
                s->set_keys(ring);
                c.env.run_for(700ms);
            }
        }
        c.env.run_for(5s);
        for (auto& d : c.drivers) {
            CHECK(d->members()->members.size() == 4);
            CHECK(d->rejections().total() == 0);
            CHECK(d->stats().suspicions == 0);
        }
        // One that missed it all speaks, and is not heard.
        c.keys = {old_key};
        driver& late = c.add(true);
        late.join({&seed, 1});
        c.env.run_for(3s);
        std::uint64_t unknown = 0;
        for (auto& d : c.drivers) unknown += d->rejections()[net::seal_rejection::unknown_key];
        CHECK(unknown > 0);
        CHECK(c.env.lines("sealed under a key that this peer does not have") > 0);
        const std::uint64_t trace = c.env.trace();
        for (auto& d : c.drivers) d->close();
        return trace;
    };
    CHECK(run() == run());
}

TEST_CASE("names of seeds are looked up again at each attempt to join") {
    cluster c;
    driver& a = c.add(false);
    driver& b = c.add(false);
    const endpoint at_a = a.self().address(), at_b = b.self().address(), nobody = endpoint::v4(127, 0, 0, 1, 9);
    driver& d = c.add(false);
    const std::vector<std::string> names{"first:7400", "second:7400"};
    CHECK(d.has_joined());
    d.join(names);
    CHECK_FALSE(d.has_joined());
    c.env.run_for(20s);
    CHECK_FALSE(d.has_joined());
    CHECK(d.seed_faults() == "\"first:7400\" is unknown; \"second:7400\" is unknown");
    // Said at first and then now and then, though it was tried at least every two seconds.
    const int tries = c.env.look_ups("first:7400");
    CHECK(tries >= 10);
    CHECK(c.env.lines("\"first:7400\" is unknown (attempt") == static_cast<std::size_t>(3 + tries / 10));

    SECTION("found at last, among addresses where nobody is") {
        c.env.set_name("second:7400", {nobody, at_a});
        c.env.run_for(5s);
        CHECK(d.has_joined());
        CHECK(d.find(a.self().id()));
        CHECK(d.seed_faults() == "\"first:7400\" is unknown");
        // From now on only when tables are compared: each 30 s or so.
        const int all = c.env.look_ups("first:7400");
        c.env.run_for(180s);
        CHECK(c.env.look_ups("first:7400") >= all + 3);
        CHECK(c.env.look_ups("first:7400") <= all + 12);

        // Nobody else is left, and the name stands for somebody else by now.
        c.env.set_name("second:7400", {at_b});
        a.close();
        c.env.run_for(20s);
        CHECK(a.members()->members.size() == 2);
        CHECK(d.find(a.self().id())->state() == member_state::dead);
        REQUIRE(d.find(b.self().id()));
        CHECK(d.find(b.self().id())->state() == member_state::alive);
        CHECK(d.has_joined());
    }
    SECTION("all of them are known, and stand for nobody but this peer itself") {
        for (const std::string& name : names) c.env.set_name(name, {d.self().address()});
        c.env.run_for(5s);
        CHECK(d.has_joined());
        CHECK(d.members()->members.size() == 1);
        // It goes on looking, for others may have been started at the same moment.
        c.env.set_name("second:7400", {d.self().address(), at_b});
        c.env.run_for(5s);
        CHECK(b.find(d.self().id()));
    }
    SECTION("another list takes their place") {
        const std::vector<std::string> others{to_string(at_a), "third:7400"};
        d.join(others);
        c.env.run_for(1s);
        CHECK(d.has_joined());
        CHECK(d.seed_faults() == "\"third:7400\" is unknown");
    }
    for (auto& one : c.drivers) one->close();
    CHECK(c.env.armed() == 0);
}

TEST_CASE("a slow name server keeps nobody waiting, and is asked few things at a time") {
    cluster c;
    driver& a = c.add(false);
    driver& b = c.add(false);
    c.env.hold_look_ups();
    std::vector<std::string> seeds;
    for (int i = 0; i < 10; ++i) seeds.push_back("name-" + std::to_string(i) + ":7400");
    SECTION("the others are asked meanwhile") {
        seeds.push_back(to_string(a.self().address()));
        b.join(seeds);
        CHECK(c.env.held() == 4);
        c.env.run_for(1s);
        CHECK(b.has_joined());
        CHECK(b.members()->members.size() == 2);
        CHECK(c.env.held() == 4);
    }
    SECTION("one after the other, and each once until all are done") {
        b.join(seeds);
        c.env.run_for(60s);
        CHECK(c.env.held() == 4);
        for (int i = 0; i < 6; ++i) {
            c.env.answer_look_up();
            CHECK(c.env.held() == 4);
        }
        for (int i = 0; i < 3; ++i) c.env.answer_look_up();
        CHECK(c.env.held() == 1);
        for (int i = 0; i < 10; ++i) CHECK(c.env.look_ups("name-" + std::to_string(i) + ":7400") == 1);
        // Attempts were made meanwhile: the last answer begins the next round.
        c.env.answer_look_up();
        CHECK(c.env.held() == 4);
        CHECK(c.env.look_ups("name-0:7400") == 2);
        CHECK(c.env.look_ups("name-4:7400") == 1);
    }
    SECTION("an answer after the end is nobody's") {
        b.join(seeds);
        b.close();
        while (c.env.held() > 0) c.env.answer_look_up();
        c.drivers.pop_back();
    }
}

TEST_CASE("an address in use is refused") {
    cluster c;
    driver& a = c.add(false);
    driver b(c.env, mesh::profile::local(), info_of(9, 0), cluster_id::from_name("d"), {});
    try {
        b.open(a.self().address());
        FAIL("bound twice");
    } catch (const error& e) {
        CHECK(e.code() == errc::address_in_use);
    }
}

TEST_CASE("closing from within a callback makes that the last one") {
    cluster c;
    driver& a = c.add(false);
    const endpoint seed = a.self().address();
    int after_close = 0;
    driver* closing = nullptr;
    driver& b = c.add(false, [&](const membership_event&) {
        ++after_close;
        if (closing != nullptr) closing->close();
    });
    closing = &b;
    driver& d = c.add(false);
    d.join({&seed, 1});
    c.env.run_for(1s);
    b.join({&seed, 1});
    c.env.run_for(1s);
    CHECK(after_close == 1);
}

TEST_CASE("many threads, and no callback after close") {
    cluster c;
    std::atomic<bool> closed{false};
    std::atomic<int> late{0};
    std::atomic<int> concurrent{0};
    driver& a = c.add(false);
    const endpoint seed = a.self().address();
    driver& b = c.add(false, [&](const membership_event&) {
        if (concurrent.fetch_add(1) != 0) late += 1000;
        if (closed) ++late;
        concurrent.fetch_sub(1);
    });
    for (int i = 0; i < 4; ++i) c.add(false);
    for (auto& d : c.drivers) d->join({&seed, 1});
    const time_point end = c.env.now() + 20s;
    std::atomic<int> steps{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            // Nothing to do may only mean that the other threads have it in hand.
            for (int idle = 0; idle < 1000;) {
                if (!c.env.step(end)) {
                    ++idle;
                    std::this_thread::yield();
                    continue;
                }
                idle = 0;
                const int turn = ++steps;
                if (turn % 7 == t) b.report_connection_refused({static_cast<std::uint64_t>(turn % 6 + 1)});
                if (turn % 11 == t && b.members()->members.empty()) ++late;
                if (turn == 1000) {
                    b.close();
                    closed = true;
                }
            }
        });
    }
    for (auto& t : threads) t.join();
    CHECK(closed);
    CHECK(late == 0);
    CHECK(c.env.misused == 0);
    for (auto& d : c.drivers) d->close();
    CHECK(c.env.armed() == 0);
}
