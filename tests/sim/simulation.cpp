#include <covey/sim/simulation.hpp>

#include "support.hpp"

#include <catch2/catch.hpp>

#include <list>

namespace sim = covey::sim;
using namespace sim_test;
using namespace std::chrono_literals;

namespace {

/// A chatty peer: answers datagrams with chance, writes random amounts on streams, connects again and again.
struct gossip {
    gossip(sim::simulation& s, sim::host& h, std::size_t others)
        : simulation(s), self(h), count(others), random(h.random()), tick([this] { on_tick(); }) {
        auto handler = std::make_shared<inbox>();
        handler->then = [this](const covey::endpoint& from, covey::bytes_view bytes) {
            if (random.chance(0.4)) socket->send(from, bytes.first(bytes.size() / 2));
        };
        socket = self.open_datagram(covey::endpoint::v4(0, 0, 0, 0, 7), handler);
        listener = self.listen(covey::endpoint::v4(0, 0, 0, 0, 7),
                               [this](std::unique_ptr<covey::stream_socket> accepted) { talk(std::move(accepted))->echo = true; });
        self.arm(tick, self.now());
    }
    ~gossip() {
        self.cancel(tick);
        for (auto& t : talkers) t->socket = nullptr;
    }

    std::shared_ptr<talker> talk(std::unique_ptr<covey::stream_socket> s) {
        talkers.push_back(std::make_shared<talker>(1 + random.below(500)));
        talkers.back()->begin(std::move(s));
        if (talkers.size() > 4) {
            talkers.front()->socket = nullptr;
            talkers.pop_front();
        }
        return talkers.back();
    }
    void on_tick() {
        const covey::endpoint to = simulation.at(static_cast<sim::host_index>(random.below(count))).address(7);
        const std::string text(random.below(300), static_cast<char>('a' + random.below(26)));
        socket->send(to, covey::as_bytes_view(text));
        if (random.chance(0.1)) {
            self.connect(to, 1s, [this](std::unique_ptr<covey::stream_socket> made, std::error_code) {
                if (made) talk(std::move(made))->say(std::string(random.below(5000), 'x'));
            });
        }
        self.arm(tick, self.now() + std::chrono::milliseconds(1 + random.below(50)));
    }

    sim::simulation& simulation;
    sim::host& self;
    std::size_t count;
    covey::random_source random;
    alarm_timer tick;
    std::unique_ptr<covey::datagram_socket> socket;
    std::unique_ptr<covey::stream_listener> listener;
    std::list<std::shared_ptr<talker>> talkers;
};

struct chat_result {
    std::uint64_t hash = 0;
    std::uint64_t events = 0;
};

chat_result chat(std::uint64_t seed) {
    constexpr std::size_t count = 8;
    sim::simulation s(seed, {.loss = 0.1, .duplication = 0.05, .delay_mean = 3ms});
    std::vector<std::unique_ptr<gossip>> peers(count);
    for (std::size_t i = 0; i < count; ++i) s.add_host();
    for (std::size_t i = 0; i < count; ++i) peers[i] = std::make_unique<gossip>(s, s.at(static_cast<sim::host_index>(i)), count);
    for (int round = 0; round < 20; ++round) {
        s.run_for(200ms);
        const auto victim = static_cast<sim::host_index>(s.random().below(count));
        switch (s.random().below(4)) {
            case 0:
                s.kill(s.at(victim));
                peers[victim] = nullptr;
                s.restart(s.at(victim));
                peers[victim] = std::make_unique<gossip>(s, s.at(victim), count);
                break;
            case 1: s.pause(s.at(victim), 300ms); break;
            case 2: s.net().isolate(victim); break;
            default: s.net().heal(); break;
        }
    }
    return {s.trace().hash(), s.events()};
}

}  // namespace

TEST_CASE("timers fire in order, each at its moment", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    const covey::time_point start = h.now();
    std::vector<std::pair<int, covey::duration>> fired;
    std::list<alarm_timer> alarms;
    for (const int ms : {30, 10, 20, 10, 0}) {
        alarms.emplace_back([&, ms] { fired.emplace_back(ms, h.now() - start); });
        h.arm(alarms.back(), start + std::chrono::milliseconds(ms));
    }
    CHECK(fired.empty());  // never inside arm
    CHECK(s.run_for(15ms));
    CHECK(fired == std::vector<std::pair<int, covey::duration>>{{0, 0ms}, {10, 10ms}, {10, 10ms}});
    CHECK(s.now() - start == 15ms);
    CHECK_FALSE(s.run_for(1s));
    CHECK(fired.size() == 5);
    CHECK(fired.back() == std::pair<int, covey::duration>{30, 30ms});
}

TEST_CASE("a cancelled timer never fires, and cancel says whether it was in time", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    int fired = 0;
    alarm_timer a([&] { ++fired; });
    CHECK_FALSE(h.cancel(a));
    h.arm(a, h.now() + 1s);
    CHECK(h.cancel(a));
    CHECK_FALSE(h.cancel(a));
    s.run_for(2s);
    CHECK(fired == 0);
    h.arm(a, h.now() - 1s);  // the past is now
    s.run_for(0s);
    CHECK(fired == 1);
    CHECK_FALSE(h.cancel(a));
    h.arm(a, covey::never);
    CHECK_FALSE(s.run_for(24h));
    CHECK_FALSE(s.step());
    CHECK(h.cancel(a));
    CHECK(fired == 1);
}

TEST_CASE("a timer may be armed again, or destroyed, while it fires", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    int fired = 0;
    alarm_timer again([&] {
        if (++fired < 3) h.arm(again, h.now() + 1s);
    });
    h.arm(again, h.now());
    auto once = std::make_unique<alarm_timer>(nullptr);
    bool destroyed = false;
    once->run_it = [&] {
        destroyed = true;
        const auto keep_callable = std::move(once->run_it);
        once = nullptr;
    };
    h.arm(*once, h.now());
    s.run_for(1min);
    CHECK(fired == 3);
    CHECK(destroyed);
}

TEST_CASE("posted work runs later, in order, and moves the clock", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    std::vector<int> ran;
    job b([&] { ran.push_back(2); });
    job a([&] {
        ran.push_back(1);
        if (ran.size() < 10) h.post(a.handle());
    });
    const covey::time_point start = s.now();
    h.post(a.handle());
    h.post(b.handle());
    CHECK(ran.empty());
    CHECK_FALSE(s.run_for(1ms));
    CHECK(ran.size() == 10);
    CHECK(ran[1] == 2);
    CHECK(s.now() == start + 1ms);
}

TEST_CASE("run_until stops at the event that made it true, or at the limit", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    int fired = 0;
    alarm_timer a([&] {
        ++fired;
        h.arm(a, h.now() + 1s);
    });
    h.arm(a, h.now() + 1s);
    const covey::time_point start = s.now();
    CHECK(s.run_until([&] { return fired == 3; }, 10s));
    CHECK(s.now() == start + 3s);
    CHECK_FALSE(s.run_until([&] { return fired == 300; }, 10s));
    CHECK(s.now() == start + 13s);
    CHECK(fired == 13);
    CHECK(s.run_until([] { return true; }, 10s));
    CHECK(s.now() == start + 13s);
    h.cancel(a);
    CHECK_FALSE(s.run_until([] { return false; }, 5s));
    CHECK(s.now() == start + 18s);
}

TEST_CASE("a simulation that never comes to rest is stopped with its seed", "[sim]") {
    sim::simulation s(77);
    sim::host& h = s.add_host();
    job forever([&] { h.post(forever.handle()); });
    h.post(forever.handle());
    s.set_events_max(1000);
    try {
        s.run_for(1h);
        FAIL("it ran for ever");
    } catch (const covey::error& e) {
        CHECK(e.code() == covey::errc::overloaded);
        CHECK(std::string(e.what()).find("seed 77") != std::string::npos);
    }
    CHECK(s.events() == 1000);
}

TEST_CASE("hosts are found by index and address, and nothing else is", "[sim]") {
    sim::simulation s(1);
    for (int i = 0; i < 300; ++i) s.add_host();
    CHECK(to_string(s.at(0).address(5)) == "10.0.0.1:5");
    CHECK(to_string(s.at(299).address(5)) == "10.0.1.44:5");
    CHECK(&s.at(s.at(299).address(123)) == &s.at(299));
    CHECK_THROWS_AS(s.at(300), covey::error);
    CHECK_THROWS_AS(s.at(covey::endpoint::v4(10, 0, 1, 45, 5)), covey::error);
    CHECK_THROWS_AS(s.at(covey::endpoint::v4(127, 0, 0, 1, 5)), covey::error);
    CHECK(s.at(3).name() == "host3");
}

TEST_CASE("each host has random numbers of its own, and fresh ones after a restart", "[sim]") {
    sim::simulation s(9);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    const std::uint64_t first = a.random();
    CHECK(first != b.random());
    s.kill(a);
    s.restart(a);
    CHECK(a.random() != first);
    sim::simulation same(9);
    CHECK(same.add_host().random() == first);
}

TEST_CASE("kill discards timers and work; restart begins empty on the same address", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    sim::host& other = s.add_host();
    int ran = 0;
    alarm_timer a([&] { ++ran; });
    job w([&] { ++ran; });
    auto box = std::make_shared<inbox>();
    auto socket = h.open_datagram(h.address(7), box);
    auto listener = h.listen(h.address(7), [&](std::unique_ptr<covey::stream_socket>) { ++ran; });
    auto sender = other.open_datagram(any_port, std::make_shared<inbox>());
    h.arm(a, h.now() + 1s);
    h.post(w.handle());
    sender->send(h.address(7), covey::as_bytes_view("for nobody"));
    s.kill(h);
    s.kill(h);
    CHECK_FALSE(h.on());
    CHECK(h.lives_lost() == 1);
    CHECK(box.use_count() == 1);  // the socket let go of it
    CHECK(h.cancel(a));           // it was armed and will never fire
    CHECK_FALSE(h.cancel(a));
    h.post(w.handle());
    h.arm(a, h.now() + 1s);
    CHECK(h.cancel(a));
    h.arm(a, h.now() + 1s);  // left armed by a process that is gone
    socket->send(other.address(7), covey::as_bytes_view("from nobody"));
    CHECK_THROWS_AS(h.open_datagram(any_port, box), covey::error);
    s.run_for(2s);
    CHECK(ran == 0);
    CHECK(box->got.empty());
    s.restart(h);
    CHECK(h.address() == s.at(0).address());
    auto fresh = std::make_shared<inbox>();
    auto again = h.open_datagram(h.address(7), fresh);  // the port is free
    socket = nullptr;                                   // a dead socket of the life before takes nothing with it
    listener = nullptr;
    sender->send(h.address(7), covey::as_bytes_view("hello again"));
    h.arm(a, h.now() + 1s);
    s.run_for(2s);
    CHECK(ran == 1);
    REQUIRE(fresh->got.size() == 1);
    CHECK(fresh->got[0].second == "hello again");
}

TEST_CASE("a process may be killed by what it does itself", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    int ran = 0;
    alarm_timer a([&] {
        ++ran;
        s.kill(h);
        h.arm(a, h.now());
    });
    h.arm(a, h.now());
    s.run_for(1s);
    CHECK(ran == 1);
    CHECK_FALSE(h.on());
}

TEST_CASE("events of a paused host wait and then run in order", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    sim::host& other = s.add_host();
    const covey::time_point start = s.now();
    std::vector<std::pair<int, covey::duration>> ran;
    alarm_timer one([&] { ran.emplace_back(1, h.now() - start); });
    alarm_timer two([&] { ran.emplace_back(2, h.now() - start); });
    alarm_timer cancelled([&] { ran.emplace_back(3, h.now() - start); });
    alarm_timer elsewhere([&] { ran.emplace_back(4, h.now() - start); });
    h.arm(two, start + 2s);
    h.arm(one, start + 1s);
    h.arm(cancelled, start + 1s);
    other.arm(elsewhere, start + 3s);
    s.pause(h, 5s);
    s.run_for(4s);
    CHECK(h.paused());
    CHECK(ran == std::vector<std::pair<int, covey::duration>>{{4, 3s}});
    CHECK(h.cancel(cancelled));  // also where it already waits for the end of the pause
    s.run_for(2s);
    CHECK_FALSE(h.paused());
    CHECK(ran == std::vector<std::pair<int, covey::duration>>{{4, 3s}, {1, 5s}, {2, 5s}});
}

TEST_CASE("datagrams fill a paused host's receive buffer and no more", "[sim]") {
    sim::simulation s(1, {.delay_min = 1ms, .delay_mean = 1ms});
    sim::host& h = s.add_host();
    sim::host& other = s.add_host();
    auto box = std::make_shared<inbox>();
    auto socket = h.open_datagram(h.address(7), box);
    auto sender = other.open_datagram(any_port, std::make_shared<inbox>());
    const std::string kilobyte(1024, 'x');
    for (int round = 1; round <= 2; ++round) {
        s.pause(h, 1s);
        for (int i = 0; i < 500; ++i) sender->send(h.address(7), covey::as_bytes_view(kilobyte));
        s.run_for(900ms);
        CHECK(box->got.size() == static_cast<std::size_t>(round - 1) * 208);
        s.run_for(200ms);
        CHECK(box->got.size() == static_cast<std::size_t>(round) * 208);  // and the buffer is empty again afterwards
    }
}

TEST_CASE("a host's clock can be ahead and drift; its timers keep its own time", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    h.set_clock(1h, 500);
    const covey::time_point start = h.now();
    CHECK(start - s.now() == 1h);
    covey::time_point fired{};
    alarm_timer a([&] { fired = h.now(); });
    h.arm(a, start + 1000s);
    const covey::time_point global = s.now();
    s.run_until([&] { return fired != covey::time_point{}; }, 2000s);
    CHECK(fired >= start + 1000s);
    CHECK(fired - start < 1000s + 10ns);
    CHECK(s.now() - global < 999600ms);
    CHECK(s.now() - global > 999400ms);
    CHECK_THROWS_AS(h.set_clock(0s, 20'000), covey::error);
}

TEST_CASE("the test's own plan runs outside every host", "[sim]") {
    sim::simulation s(1);
    sim::host& h = s.add_host();
    s.pause(h, 10s);
    int ran = 0;
    s.call_after(1s, [&] {
        ++ran;
        s.kill(h);
    });
    s.run_for(2s);
    CHECK(ran == 1);
    CHECK_FALSE(h.on());
}

TEST_CASE("the same seed gives the same trace, another seed another", "[sim]") {
    const chat_result one = chat(1);
    const chat_result two = chat(1);
    const chat_result other = chat(2);
    INFO("events: " << one.events);
    CHECK(one.events > 2000);
    CHECK(one.hash == two.hash);
    CHECK(one.events == two.events);
    CHECK(one.hash != other.hash);
}
