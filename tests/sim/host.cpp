#include <covey/sim/host.hpp>

#include "support.hpp"

#include <catch2/catch.hpp>

namespace sim = covey::sim;
using namespace sim_test;
using namespace std::chrono_literals;

namespace {

covey::errc code_of(covey::unique_function<void()> what) {
    try {
        what();
    } catch (const covey::error& e) {
        return static_cast<covey::errc>(e.code().value());
    }
    return {};
}

}  // namespace

TEST_CASE("a datagram arrives with its sender's address, after a delay, never inside send", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    auto box = std::make_shared<inbox>();
    auto receiver = b.open_datagram(covey::endpoint::v4(0, 0, 0, 0, 7400), box);
    auto sender = a.open_datagram(any_port, std::make_shared<inbox>());
    CHECK(receiver->local() == b.address(7400));
    CHECK(sender->local().port >= 49152);
    const covey::time_point start = s.now();
    sender->send(receiver->local(), covey::as_bytes_view("hello"));
    CHECK(box->got.empty());
    CHECK(s.run_until([&] { return !box->got.empty(); }, 1s));
    CHECK(box->got[0].first == sender->local());
    CHECK(box->got[0].second == "hello");
    CHECK(s.now() - start >= 50us);
}

TEST_CASE("datagrams to nowhere are lost without a trace in the sender", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    auto sender = a.open_datagram(any_port, std::make_shared<inbox>());
    sender->send(covey::endpoint::v4(10, 9, 9, 9, 1), covey::as_bytes_view("x"));
    sender->send(covey::endpoint::v4(192, 168, 0, 1, 1), covey::as_bytes_view("x"));
    sender->send(covey::endpoint{{0x20, 0x01}, 1}, covey::as_bytes_view("x"));
    sender->send(a.address(1), covey::as_bytes_view("x"));
    CHECK_FALSE(s.run_for(1s));
    CHECK(s.trace().tail().find("datagram lost") != std::string::npos);
}

TEST_CASE("a host reaches itself by every name it has", "[sim]") {
    sim::simulation s(1, {.loss = 1});
    sim::host& a = s.add_host();
    auto box = std::make_shared<inbox>();
    auto socket = a.open_datagram(covey::endpoint::v4(127, 0, 0, 1, 7), box);
    for (const char* name : {"127.0.0.1:7", "10.0.0.1:7", "localhost:7", "[::1]:7"})
        socket->send(a.resolve(name)[0], covey::as_bytes_view(name));
    s.run_for(1s);
    CHECK(box->got.size() == 4);
}

TEST_CASE("datagrams are lost, doubled and reordered as the network says", "[sim]") {
    sim::simulation s(4, {.loss = 0.2, .duplication = 0.1, .delay_min = 1ms, .delay_mean = 20ms});
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    auto box = std::make_shared<inbox>();
    auto receiver = b.open_datagram(any_port, box);
    auto sender = a.open_datagram(any_port, std::make_shared<inbox>());
    for (int i = 0; i < 5000; ++i) {
        sender->send(receiver->local(), covey::as_bytes_view(std::to_string(1'000'000 + i)));
        s.run_for(1ms);
    }
    s.run_for(10s);
    CHECK(static_cast<double>(box->got.size()) == Approx(5000 * 0.8 * 1.1).epsilon(0.05));
    int overtaken = 0;
    for (std::size_t i = 1; i < box->got.size(); ++i) overtaken += box->got[i].second < box->got[i - 1].second;
    CHECK(overtaken > 500);
}

TEST_CASE("a handler may close its own socket, and nothing comes after that", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    auto box = std::make_shared<inbox>();
    auto socket = a.open_datagram(any_port, box);
    const covey::endpoint to = socket->local();
    box->then = [&](const covey::endpoint&, covey::bytes_view) { socket = nullptr; };
    auto sender = a.open_datagram(any_port, std::make_shared<inbox>());
    sender->send(to, covey::as_bytes_view("one"));
    sender->send(to, covey::as_bytes_view("two"));
    s.run_for(1s);
    CHECK(box->got.size() == 1);
    CHECK(box.use_count() == 1);
    box->then = nullptr;
    socket = a.open_datagram(to, box);  // the port is free again
    sender->send(to, covey::as_bytes_view("three"));
    s.run_for(1s);
    CHECK(box->got.size() == 2);
}

TEST_CASE("ports: taken ones and foreign addresses are refused with what to do", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    auto box = std::make_shared<inbox>();
    auto first = a.open_datagram(a.address(7), box);
    auto stream = a.listen(a.address(7), [](std::unique_ptr<covey::stream_socket>) {});  // another space of ports
    auto elsewhere = b.open_datagram(b.address(7), box);
    CHECK(code_of([&] { a.open_datagram(a.address(7), box); }) == covey::errc::address_in_use);
    CHECK(code_of([&] { a.listen(covey::endpoint::v4(127, 0, 0, 1, 7), {}); }) == covey::errc::address_in_use);
    CHECK(code_of([&] { a.open_datagram(b.address(9), box); }) == covey::errc::bad_address);
    CHECK(code_of([&] { a.listen(covey::endpoint::v4(192, 168, 0, 1, 9), {}); }) == covey::errc::bad_address);
    CHECK(code_of([&] { a.resolve("somewhere:7"); }) == covey::errc::bad_address);
    auto one = a.open_datagram(any_port, box);
    auto two = a.open_datagram(any_port, box);
    CHECK(one->local() != two->local());
}

TEST_CASE("what a host logs stands in the trace", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    const std::uint64_t before = s.trace().hash();
    a.log(covey::log_level::warning, "the sky is falling");
    CHECK(s.trace().tail(1).find("the sky is falling") != std::string::npos);
    CHECK(s.trace().hash() != before);
}

TEST_CASE("connecting: refused where nobody listens, also on a machine whose process is gone", "[sim]") {
    sim::simulation s(1, {.delay_min = 10ms, .delay_mean = 10ms});
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    for (int round = 0; round < 2; ++round) {
        std::optional<std::error_code> why;
        const covey::time_point start = s.now();
        a.connect(b.address(7), 5s, [&](std::unique_ptr<covey::stream_socket> socket, std::error_code e) {
            CHECK_FALSE(socket);
            why = e;
        });
        CHECK_FALSE(why);
        CHECK(s.run_until([&] { return why.has_value(); }, 1min));
        CHECK(*why == std::errc::connection_refused);
        CHECK(s.now() - start == 20ms);
        s.kill(b);
    }
}

TEST_CASE("connecting: times out over a cut path, in either direction, and to nowhere", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    const sim::host_index ai[] = {a.index()};
    const sim::host_index bi[] = {b.index()};
    int accepted = 0;
    auto listener = b.listen(any_port, [&](std::unique_ptr<covey::stream_socket>) { ++accepted; });
    for (int round = 0; round < 4; ++round) {
        s.net().heal();
        covey::endpoint to = listener->local();
        if (round == 0) s.net().partition(ai, bi);
        if (round == 1) s.net().cut(ai, bi);
        if (round == 2) s.net().cut(bi, ai);
        if (round == 3) to = covey::endpoint::v4(10, 77, 0, 1, 1);
        std::optional<std::error_code> why;
        const covey::time_point start = s.now();
        a.connect(to, 5s, [&](std::unique_ptr<covey::stream_socket>, std::error_code e) { why = e; });
        CHECK(s.run_until([&] { return why.has_value(); }, 1min));
        CHECK(*why == std::errc::timed_out);
        CHECK(s.now() - start == 5s);
        s.run_for(10s);
    }
    CHECK(accepted == 0);
}

TEST_CASE("connecting: goes through when the path heals in time", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    s.net().isolate(b.index());
    s.call_after(2s, [&] { s.net().heal(); });
    conversation c;
    c.begin(a, b);
    CHECK(s.run_until([&] { return c.open(); }, 10s));
    CHECK(c.client->socket->remote() == c.listener->local());
    CHECK(c.server->socket->remote() == c.client->socket->local());
}

TEST_CASE("connecting to a paused process: its kernel answers, it accepts afterwards, up to its backlog", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    std::vector<std::unique_ptr<covey::stream_socket>> accepted;
    std::vector<std::unique_ptr<covey::stream_socket>> connected;
    int failed = 0;
    auto listener = b.listen(any_port, [&](std::unique_ptr<covey::stream_socket> socket) { accepted.push_back(std::move(socket)); });
    s.pause(b, 10s);
    for (std::size_t i = 0; i < sim::host::listen_backlog_max + 10; ++i) {
        a.connect(listener->local(), 5s, [&](std::unique_ptr<covey::stream_socket> socket, std::error_code e) {
            if (socket) connected.push_back(std::move(socket));
            failed += e == std::errc::timed_out;
        });
    }
    s.run_for(9s);
    CHECK(connected.size() == sim::host::listen_backlog_max);
    CHECK(failed == 10);
    CHECK(accepted.empty());
    s.run_for(2s);
    CHECK(accepted.size() == sim::host::listen_backlog_max);
}

TEST_CASE("a listener that is gone before it accepts resets the connection", "[sim]") {
    sim::simulation s(1);
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    conversation c;
    s.pause(b, 1s);
    c.begin(a, b);
    CHECK(s.run_until([&] { return c.connected.has_value(); }, 500ms));
    CHECK_FALSE(*c.connected);
    c.listener = nullptr;
    CHECK(s.run_until([&] { return c.client->closed(); }, 5s));
    CHECK(*c.client->why == std::errc::connection_reset);
    CHECK_FALSE(c.server->socket);
}

TEST_CASE("a connection that was made too late is taken back", "[sim]") {
    sim::simulation s(1, {.delay_min = 100ms, .delay_mean = 100ms});
    sim::host& a = s.add_host();
    sim::host& b = s.add_host();
    auto server = std::make_shared<talker>();
    auto listener = b.listen(any_port, [&](std::unique_ptr<covey::stream_socket> socket) { server->begin(std::move(socket)); });
    int calls = 0;
    a.connect(listener->local(), 150ms, [&](std::unique_ptr<covey::stream_socket> socket, std::error_code e) {
        ++calls;
        CHECK_FALSE(socket);
        CHECK(e == std::errc::timed_out);
    });
    s.run_for(10s);
    CHECK(calls == 1);
    CHECK(server->closed());
    CHECK(*server->why == std::errc::connection_reset);
    server->socket = nullptr;
}
