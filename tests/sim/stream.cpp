#include <covey/sim/stream.hpp>

#include "support.hpp"

#include <catch2/catch.hpp>

namespace sim = covey::sim;
using namespace sim_test;
using namespace std::chrono_literals;

namespace {

/// Two hosts and an open conversation between them.
struct setting {
    explicit setting(std::uint64_t seed, const sim::faults& f = {}) : s(seed, f), a(s.add_host("a")), b(s.add_host("b")) {
        c.begin(a, b);
        REQUIRE(s.run_until([&] { return c.open(); }, 60s));
    }
    void check_contract() const {
        CHECK(c.client->broken == 0);
        CHECK(c.server->broken == 0);
    }
    sim::simulation s;
    sim::host& a;
    sim::host& b;
    conversation c;
};

std::string noise(std::size_t n) {
    covey::random_source random(n);
    std::string text(n, '\0');
    for (char& ch : text) ch = static_cast<char>(random.next());
    return text;
}

}  // namespace

TEST_CASE("ten megabytes arrive intact through a small window, whatever the network loses", "[sim]") {
    setting t(3, {.loss = 0.02, .delay_min = 100us, .delay_mean = 1ms});
    const std::string all = noise(10'000'000);
    t.c.client->say(all);
    CHECK(t.c.client->written <= sim::stream_window_bytes);
    CHECK(t.s.run_until([&] { return t.c.server->received_bytes == all.size(); }, 10min));
    CHECK(t.c.server->received == all);
    CHECK(t.c.client->writables >= all.size() / sim::stream_window_bytes);
    t.check_contract();
}

TEST_CASE("echo: both directions at once", "[sim]") {
    setting t(4, {.loss = 0.05, .delay_mean = 2ms});
    t.c.server->echo = true;
    const std::string all = noise(1'000'000);
    t.c.client->say(all);
    CHECK(t.s.run_until([&] { return t.c.client->received_bytes == all.size(); }, 10min));
    CHECK(t.c.client->received == all);
    t.check_contract();
}

TEST_CASE("reads are not the writer's pieces", "[sim]") {
    setting t(5);
    for (int i = 0; i < 200; ++i) {
        t.c.client->say("a message of thirty characters");
        t.s.run_for(i % 2 == 0 ? 5ms : 0ms);
    }
    t.s.run_for(10s);
    CHECK(t.c.server->received_bytes == 200 * 30);
    CHECK(t.c.server->reads != 200);
}

TEST_CASE("backpressure: a process that does not read stops the writer at the window", "[sim]") {
    setting t(6);
    t.s.pause(t.b, 60s);
    const std::string all = noise(1'000'000);
    t.c.client->say(all);
    t.s.run_for(59s);
    CHECK(t.c.client->written == sim::stream_window_bytes);
    CHECK_FALSE(t.c.client->closed());  // its kernel acknowledges: a slow reader is not a cut path
    CHECK(t.s.run_until([&] { return t.c.server->received_bytes == all.size(); }, 60s));
    CHECK(t.c.server->received == all);
}

TEST_CASE("what is written before close arrives, then the other side is told, in order", "[sim]") {
    setting t(7);
    const std::string all = noise(600'000);
    t.c.client->close_after_writing = true;
    t.c.client->say(all);
    CHECK(t.s.run_until([&] { return t.c.server->closed(); }, 10s));
    CHECK(t.c.server->received == all);
    CHECK_FALSE(*t.c.server->why);
    CHECK(t.c.client->closed());
    CHECK(*t.c.client->why == std::errc::operation_canceled);
    t.c.client->socket->close();
    t.c.server->socket->close();
    CHECK(t.c.server->socket->write_some(covey::as_bytes_view("late")) == 0);
    CHECK(t.c.client->socket->write_some(covey::as_bytes_view("late")) == 0);
    t.s.run_for(10s);
    t.check_contract();  // on_closed came once
}

TEST_CASE("destroying a socket closes it, and its handler lives until on_closed has returned", "[sim]") {
    setting t(8);
    t.c.client->say("bye");
    std::weak_ptr<talker> weak = t.c.client;
    t.c.client->socket = nullptr;
    t.c.client = std::make_shared<talker>();
    CHECK_FALSE(weak.expired());
    CHECK(t.s.run_until([&] { return t.c.server->closed(); }, 10s));
    CHECK(weak.expired());
    CHECK(t.c.server->received == "bye");
    CHECK_FALSE(*t.c.server->why);
}

TEST_CASE("a handler may close its stream while it reads", "[sim]") {
    setting t(9);
    t.c.server->on_bytes = [&] { t.c.server->socket->close(); };
    t.c.client->say(noise(100'000));
    t.s.run_for(10s);
    CHECK(t.c.server->reads == 1);
    CHECK(t.c.server->closed());
    CHECK(t.c.client->closed());
    t.check_contract();
}

TEST_CASE("a handler may destroy its socket while it reads", "[sim]") {
    setting t(10);
    t.c.server->on_bytes = [&] { t.c.server->socket = nullptr; };
    t.c.client->say(noise(100'000));
    t.s.run_for(10s);
    CHECK(t.c.server->reads == 1);
    CHECK(t.c.server->closed());
    CHECK(t.c.client->closed());
}

TEST_CASE("bytes wait for whoever has not started to read", "[sim]") {
    sim::simulation s(11);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    std::unique_ptr<covey::stream_socket> accepted;
    auto listener = b.listen(any_port, [&](std::unique_ptr<covey::stream_socket> socket) { accepted = std::move(socket); });
    auto client = std::make_shared<talker>();
    a.connect(listener->local(), 1s,
              [&](std::unique_ptr<covey::stream_socket> socket, std::error_code) { client->begin(std::move(socket)); });
    REQUIRE(s.run_until([&] { return client->socket && accepted; }, 1s));
    client->close_after_writing = true;
    client->say("early words");
    s.run_for(10s);
    auto server = std::make_shared<talker>();
    server->begin(std::move(accepted));
    CHECK(server->received.empty());  // never inside start
    s.run_for(1s);
    CHECK(server->received == "early words");
    REQUIRE(server->closed());
    CHECK_FALSE(*server->why);
    client->socket = nullptr;
    server->socket = nullptr;
}

TEST_CASE("a killed process: the other end sees a reset after the delay", "[sim]") {
    setting t(12, {.delay_min = 10ms, .delay_mean = 10ms});
    t.c.client->say("last words");
    t.s.kill(t.a);
    CHECK_FALSE(t.c.server->closed());
    t.s.run_for(11ms);
    REQUIRE(t.c.server->closed());
    CHECK(*t.c.server->why == std::errc::connection_reset);
    CHECK(t.c.server->received == "last words");  // they were on the wire
    CHECK_FALSE(t.c.client->closed());            // nobody is there to be told
    CHECK(t.c.client.use_count() == 1);
    CHECK(t.c.client->socket->write_some(covey::as_bytes_view("ghost")) == 0);
    t.s.restart(t.a);
    t.c.client->socket = nullptr;
    t.s.run_for(10s);
    t.check_contract();
}

TEST_CASE("bytes wait while a path is cut and arrive when it heals", "[sim]") {
    setting t(13);
    t.s.net().isolate(t.b.index());
    t.c.client->say("patience");
    t.s.run_for(10s);
    CHECK(t.c.server->received.empty());
    t.c.client->say(" pays");
    t.s.net().heal();
    CHECK(t.s.run_until([&] { return t.c.server->received == "patience pays"; }, 5s));
    CHECK_FALSE(t.c.client->closed());
}

TEST_CASE("a long cut breaks the connection at the end that writes; the other learns it when it writes", "[sim]") {
    setting t(14);
    const covey::time_point start = t.s.now();
    t.s.net().isolate(t.b.index());
    t.c.client->say("into the void");
    CHECK(t.s.run_until([&] { return t.c.client->closed(); }, 60s));
    CHECK(*t.c.client->why == std::errc::timed_out);
    CHECK(t.s.now() - start >= sim::stream_give_up);
    CHECK(t.s.now() - start < sim::stream_give_up + 3s);
    t.s.net().heal();
    t.s.run_for(60s);
    CHECK_FALSE(t.c.server->closed());  // half open, as a real one
    t.c.server->say("anybody?");
    CHECK(t.s.run_until([&] { return t.c.server->closed(); }, 1s));
    CHECK(*t.c.server->why == std::errc::connection_reset);
    CHECK(t.c.server->received.empty());
    t.check_contract();
}

TEST_CASE("a process killed behind a cut path is noticed by whoever has bytes on the way", "[sim]") {
    setting t(15);
    t.s.net().isolate(t.b.index());
    t.c.client->say("are you there?");
    t.s.kill(t.b);
    t.s.run_for(5s);
    CHECK_FALSE(t.c.client->closed());
    t.s.net().heal();
    CHECK(t.s.run_until([&] { return t.c.client->closed(); }, 5s));
    CHECK(*t.c.client->why == std::errc::connection_reset);
}

TEST_CASE("an idle stream survives any cut", "[sim]") {
    setting t(16);
    t.s.net().isolate(t.b.index());
    t.s.run_for(10min);
    t.s.net().heal();
    t.c.client->say("still here");
    CHECK(t.s.run_until([&] { return t.c.server->received == "still here"; }, 5s));
}
