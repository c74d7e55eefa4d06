#include "fake_environment.hpp"

#include <covey/net/link.hpp>

#include <catch2/catch.hpp>

#include <thread>

namespace covey_test_net_link {

using namespace covey;
using namespace covey::net;
using namespace covey::net::test;
using covey::net::link;  // there is a function ::link in POSIX
using wire::frame_header;
using wire::frame_kind;

namespace {

hello introduce(std::uint64_t id) {
    hello h;
    h.cluster = cluster_id::from_name("home");
    h.id = peer_id{id};
    h.epoch = 1;
    h.address = endpoint::v4(0, 0, 0, 0, 7400);
    h.name = "peer";
    return h;
}

frame_header header(frame_kind kind, std::uint32_t slot = 0) {
    frame_header h;
    h.kind = kind;
    h.slot = slot;
    return h;
}

std::string pattern(std::size_t size, unsigned salt = 0) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 7 + i / 251 + salt) & 0xff);
    return text;
}

/// Writes down what happens, in order, and keeps the bodies.
struct recorder : link_events {
    std::vector<std::string> log;
    std::vector<std::pair<frame_header, std::string>> frames;
    std::error_code why;
    std::string text;
    std::function<void(link&, const frame_header&, bytes_view)> reaction;

    void on_link_up(const std::shared_ptr<link>& l) override {
        CHECK(l->is_up());
        log.push_back("up");
    }
    void on_frame(link& l, const frame_header& h, bytes_view body) override {
        if (log.empty() || log.back() != "frames") log.push_back("frames");
        frames.emplace_back(h, std::string(as_text(body)));
        if (reaction) reaction(l, h, body);
    }
    void on_link_down(const std::shared_ptr<link>&, std::error_code code, const std::string& words) override { end("down", code, words); }
    void on_link_failed(const std::shared_ptr<link>&, std::error_code code, const std::string& words) override {
        end("failed", code, words);
    }

    void end(const char* what, std::error_code code, const std::string& words) {
        log.push_back(what);
        why = code;
        text = words;
    }
    bool up() const { return !log.empty() && log.front() == "up"; }
    bool over() const { return !log.empty() && (log.back() == "down" || log.back() == "failed"); }
};

/// Two links over one connection: `a` dialled, `b` accepted.
struct pair_of_links {
    fake_environment env;
    std::shared_ptr<recorder> a_events = std::make_shared<recorder>();
    std::shared_ptr<recorder> b_events = std::make_shared<recorder>();
    link_setup a_setup, b_setup;
    std::unique_ptr<stream_listener> listener;
    std::shared_ptr<link> a, b;

    pair_of_links() {
        a_setup.self = introduce(1);
        b_setup.self = introduce(2);
    }
    ~pair_of_links() {
        for (const auto& l : {a, b}) {
            if (l) l->abort(errc::shut_down, "the test is over");
        }
        a.reset();
        b.reset();
        env.run_for(10s);
        CHECK(env.open_connections() == 0);
    }
    void encrypt() {
        const cluster_key key = cluster_key::generate();
        a_setup.tls = b_setup.tls = std::make_shared<const tls_context>(key, a_setup.self.cluster);
    }
    void listen() {
        listener = env.listen(endpoint::v4(127, 0, 0, 1, 7400), [this](std::unique_ptr<stream_socket> socket) {
            b = std::make_shared<link>(env, b_setup, std::move(socket), b_events);
            b->start();
        });
    }
    void dial() {
        listen();
        a_setup.initiated_by_us = true;
        env.connect(listener->local(), 1s, [this](std::unique_ptr<stream_socket> socket, std::error_code) {
            REQUIRE(socket);
            a = std::make_shared<link>(env, a_setup, std::move(socket), a_events);
            a->start();
        });
    }
    void come_up() {
        dial();
        REQUIRE(env.run_until([this] { return a_events->up() && b_events->up(); }));
    }
    bool both_over() {
        return env.run_until([this] { return a_events->over() && b_events->over(); });
    }
    /// A stranger that sends these bytes to `b`, and what it is told before the end.
    std::string insult(const std::string& bytes) {
        listen();
        const auto raw = raw_stream::dial(env, listener->local());
        raw->write(as_bytes_view(bytes));
        CHECK(env.run_until([&] { return raw->closed && b_events->over(); }, 5s));
        CHECK(b_events->log == std::vector<std::string>{"failed"});
        return raw->received;
    }
};

std::string frame(frame_header h, const std::string& body) {
    h.size = static_cast<std::uint32_t>(body.size());
    std::string bytes(frame_header::bytes, '\0');
    store(h, reinterpret_cast<std::byte*>(bytes.data()));
    return bytes + body;
}

std::string hello_frame(const hello& h) {
    byte_buffer body;
    encode(h, body);
    return frame(header(frame_kind::hello), std::string(as_text(body)));
}

}  // namespace

TEST_CASE("two peers introduce themselves", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.come_up();
    CHECK(p.a->peer() == peer_id{2});
    CHECK(p.b->peer() == peer_id{1});
    CHECK(p.a->remote().name == "peer");
    CHECK(p.a->initiated_by_us());
    CHECK_FALSE(p.b->initiated_by_us());
    // 0.0.0.0 in the hello stands for where the connection goes to or comes from.
    CHECK(p.a->address() == endpoint::v4(127, 0, 0, 1, 7400));
    CHECK(p.b->address() == endpoint::v4(127, 0, 0, 1, 7400));
    CHECK_THAT(p.a->description(), Catch::Contains("peer 0000000000000002 (peer) at 127.0.0.1:7400"));
}

TEST_CASE("frames of every size arrive whole and in order", "[net][link]") {
    pair_of_links p;
    const bool encrypted = GENERATE(false, true);
    if (encrypted) p.encrypt();
    p.env.window = GENERATE(std::size_t{1000}, std::size_t{64} * 1024, std::size_t{3} << 20);
    p.come_up();
    const std::vector<std::size_t> sizes = {0, 1, 23, 24, 25, 1000, 16383, 16384, 70000, 5u << 20, 3, 200000, 0, 12};
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        const std::string body = pattern(sizes[i], static_cast<unsigned>(i));
        p.a->send(header(frame_kind::call, static_cast<std::uint32_t>(i)), as_bytes_view(body));
        p.b->send(header(frame_kind::mesh, static_cast<std::uint32_t>(i)), as_bytes_view(body));
    }
    REQUIRE(p.env.run_until([&] { return p.b_events->frames.size() == sizes.size() && p.a_events->frames.size() == sizes.size(); }));
    for (const auto& events : {p.a_events, p.b_events}) {
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            const auto& [h, body] = events->frames[i];
            CHECK(h.slot == i);
            CHECK(h.size == sizes[i]);
            CHECK((body == pattern(sizes[i], static_cast<unsigned>(i))));
        }
    }
    const link_statistics sent = p.a->statistics();
    CHECK(sent.frames_out == sizes.size() + 1);
    CHECK(sent.bytes_waiting == 0);
    CHECK(sent.bytes_out == p.b->statistics().bytes_in);
    CHECK(sent.calls_out == static_cast<std::int64_t>(sizes.size()));
    CHECK(p.b->statistics().calls_in == static_cast<std::int64_t>(sizes.size()));
}

TEST_CASE("a byte at a time is as good as many", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.env.chunk = 1;
    p.come_up();
    for (std::uint32_t i = 0; i < 20; ++i) p.a->send(header(frame_kind::call, i), as_bytes_view(pattern(i * 13)));
    REQUIRE(p.env.run_until([&] { return p.b_events->frames.size() == 20; }));
    for (std::uint32_t i = 0; i < 20; ++i) CHECK(p.b_events->frames[i].second == pattern(i * 13));
}

TEST_CASE("frames written while the socket is full go out together", "[net][link]") {
    pair_of_links p;
    p.come_up();
    p.env.pause(1, true);
    p.env.window = 100;
    for (std::uint32_t i = 0; i < 1000; ++i) p.a->send(header(frame_kind::cancel, i), bytes_view{});
    CHECK(p.a->statistics().bytes_waiting >= 1000 * frame_header::bytes - 100);
    p.env.window = 1 << 20;
    p.env.pause(1, false);
    REQUIRE(p.env.run_until([&] { return p.b_events->frames.size() == 1000; }));
    for (std::uint32_t i = 0; i < 1000; ++i) CHECK(p.b_events->frames[i].first.slot == i);
}

TEST_CASE("an encoder that throws leaves nothing behind", "[net][link]") {
    pair_of_links p;
    p.come_up();
    CHECK_THROWS_WITH(p.a->send(header(frame_kind::call),
                                [](byte_buffer& out) {
                                    out.append("half a message", 14);
                                    throw std::runtime_error("cannot be encoded");
                                }),
                      "cannot be encoded");
    p.a->send(header(frame_kind::call, 5), as_bytes_view("whole"));
    REQUIRE(p.env.run_until([&] { return !p.b_events->frames.empty(); }));
    CHECK(p.b_events->frames[0].second == "whole");
    CHECK(p.b->is_up());
}

TEST_CASE("a body over the other side's limit is refused before it is sent", "[net][link]") {
    pair_of_links p;
    p.b_setup.self.body_bytes_max = p.b_setup.config.body_bytes_max = 5000;
    p.come_up();
    try {
        p.a->send(header(frame_kind::call), as_bytes_view(pattern(5001)));
        FAIL("sent");
    } catch (const error& e) {
        CHECK(e.code() == errc::message_too_large);
        CHECK(e.peer() == peer_id{2});
        CHECK_THAT(e.what(), Catch::Contains("5001") && Catch::Contains("5000") && Catch::Contains("body_bytes_max"));
    }
    p.a->send(header(frame_kind::call), as_bytes_view(pattern(5000)));
    REQUIRE(p.env.run_until([&] { return !p.b_events->frames.empty(); }));
    CHECK(p.b_events->frames[0].second == pattern(5000));
}

namespace {

/// Something that can be posted: counts how often it was resumed.
struct coroutine {
    struct promise_type {
        coroutine get_return_object() { return coroutine{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() {}
    };
    std::coroutine_handle<promise_type> handle;
};
coroutine count_one(int& counter) {
    ++counter;
    co_return;
}

}  // namespace

TEST_CASE("frames of coroutines that run one after another go out together", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.come_up();
    p.env.run_for(1s);
    const std::size_t before = p.env.writes;
    const auto send = [&p](std::uint32_t slot, std::size_t bytes) {
        const std::string body = pattern(bytes, slot);
        p.a->send(header(frame_kind::call, slot), as_bytes_view(body));
    };

    // Nothing else is to run: at once.
    send(0, 100);
    CHECK(p.env.writes == before + 1);

    p.env.has_more_to_run = true;
    for (std::uint32_t slot = 1; slot < 20; ++slot) send(slot, 100);
    CHECK(p.env.writes == before + 1);
    CHECK(p.env.put_off.size() == 1);
    p.env.run_put_off();
    CHECK(p.env.writes == before + 2);

    // Another thread does not rely on this one.
    send(20, 100);
    CHECK(p.env.put_off.size() == 1);
    std::thread([&] { send(21, 100); }).join();
    CHECK(p.env.writes == before + 3);
    p.env.run_put_off();  // and finds nothing
    CHECK(p.env.writes == before + 3);

    // A large amount waits for nobody.
    std::uint32_t slots = 22;
    while (p.env.writes == before + 3) send(slots++, 4000);
    CHECK(slots < 22 + 20);
    CHECK(p.a->statistics().bytes_waiting == 0);
    p.env.run_put_off();

    p.env.run_for(1s);
    REQUIRE(p.b_events->frames.size() == slots);
    for (std::uint32_t i = 0; i < slots; ++i) {
        CHECK(p.b_events->frames[i].first.slot == i);
        CHECK(p.b_events->frames[i].second == pattern(i < 22 ? 100 : 4000, i));
    }

    // A link that ends has sent what was put off, and lets go of itself when that is run.
    send(slots, 100);
    p.a->close(errc::shut_down, "the end");
    REQUIRE(p.both_over());
    CHECK(p.b_events->frames.size() == slots + 1);
    const std::weak_ptr<link> watch = p.a;
    p.a.reset();
    CHECK_FALSE(watch.expired());
    p.env.has_more_to_run = false;
    p.env.run_put_off();
    p.env.run_for(1s);
    CHECK(watch.expired());
}

TEST_CASE("what is attached to a link is found there and ends with it", "[net][link]") {
    struct attached : link_attachment {
        explicit attached(bool& gone) : m_gone(gone) {}
        ~attached() override { m_gone = true; }
        bool& m_gone;
    };
    bool gone = false;
    {
        pair_of_links p;
        p.come_up();
        CHECK(p.a->attachment() == nullptr);
        auto mine = std::make_unique<attached>(gone);
        link_attachment* const where = mine.get();
        p.a->attach(std::move(mine));
        CHECK(p.a->attachment() == where);
        p.a->close(errc::shut_down, "the end");
        REQUIRE(p.both_over());
        CHECK_FALSE(gone);
    }
    CHECK(gone);
}

TEST_CASE("a congested link makes its senders wait", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.a_setup.config.send_high = 100000;
    p.a_setup.config.send_low = 20000;
    p.a_setup.config.send_max = 300000;
    p.come_up();
    int resumed = 0;
    coroutine c = count_one(resumed);
    CHECK_FALSE(p.a->congested());
    CHECK_FALSE(p.a->wait_writable(c.handle));
    p.env.pause(1, true);
    const std::string body = pattern(10000);
    while (!p.a->congested()) p.a->send(header(frame_kind::call), as_bytes_view(body));
    REQUIRE(p.a->wait_writable(c.handle));
    p.env.run_for(1s);
    CHECK(resumed == 0);

    SECTION("until the other side reads") {
        p.env.pause(1, false);
        REQUIRE(p.env.run_until([&] { return resumed == 1; }));
        CHECK(p.a->statistics().bytes_waiting <= 20000);
        p.env.run_for(1s);
    }
    SECTION("until the link goes down") {
        p.a->abort(errc::peer_lost, "gone");
        REQUIRE(p.env.run_until([&] { return resumed == 1; }));
    }
    SECTION("and calls are refused at the hard limit, replies never") {
        const auto fill = [&](frame_kind kind) {
            for (int i = 0; i < 100; ++i) p.a->send(header(kind), as_bytes_view(body));
        };
        CHECK_THROWS_WITH(fill(frame_kind::call), Catch::Contains("overloaded") && Catch::Contains("send_max"));
        CHECK_THROWS(fill(frame_kind::mesh));
        fill(frame_kind::reply);
        fill(frame_kind::failure);
        fill(frame_kind::cancel);
        p.env.pause(1, false);
        REQUIRE(p.env.run_until([&] { return resumed == 1; }));
    }
    CHECK(resumed == 1);
    c.handle.destroy();
}

TEST_CASE("a handler may send from inside", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.b_events->reaction = [](link& l, const frame_header& h, bytes_view body) {
        frame_header back = h;
        back.kind = frame_kind::reply;
        l.send(back, body);
    };
    p.come_up();
    for (std::uint32_t i = 0; i < 50; ++i) p.a->send(header(frame_kind::call, i), as_bytes_view(pattern(i * 100)));
    REQUIRE(p.env.run_until([&] { return p.a_events->frames.size() == 50; }));
    CHECK(p.a_events->frames[49].second == pattern(4900));
    CHECK(p.a->statistics().calls_out == 0);
    CHECK(p.b->statistics().calls_in == 0);
}

TEST_CASE("a goodbye carries its text to the other side, after all that was sent before it", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.env.window = 1000;
    p.come_up();
    for (std::uint32_t i = 0; i < 10; ++i) p.a->send(header(frame_kind::reply, i), as_bytes_view(pattern(3000)));
    p.a->close(errc::shut_down, "going home");
    p.a->close(errc::link_lost, "the first reason stays");
    CHECK_FALSE(p.a->is_up());
    CHECK_THROWS_WITH(p.a->send(header(frame_kind::call), bytes_view{}), Catch::Contains("going home"));
    REQUIRE(p.both_over());
    CHECK(p.a_events->log == std::vector<std::string>{"up", "down"});
    CHECK(p.a_events->why == errc::shut_down);
    CHECK(p.a_events->text == "going home");
    CHECK(p.b_events->log == std::vector<std::string>{"up", "frames", "down"});
    CHECK(p.b_events->frames.size() == 10);
    CHECK(p.b_events->why == errc::shut_down);
    CHECK_THAT(p.b_events->text, Catch::Contains("peer 0000000000000001") && Catch::Contains("closed the link: going home"));
}

TEST_CASE("a goodbye does not wait for ever for a side that does not read", "[net][link]") {
    pair_of_links p;
    p.come_up();
    p.env.pause(1, true);
    p.a->send(header(frame_kind::reply), as_bytes_view(pattern(1 << 20)));
    SECTION("close waits a second") {
        p.a->close(errc::shut_down, "bye");
        p.env.run_for(900ms);
        CHECK_FALSE(p.a_events->over());
        p.env.run_for(200ms);
    }
    SECTION("abort does not") {
        p.a->abort(errc::peer_lost, "declared dead");
        p.env.run_for(1ms);
        CHECK(p.a_events->why == errc::peer_lost);
    }
    CHECK(p.a_events->over());
    p.env.pause(1, false);
    REQUIRE(p.both_over());
    CHECK(p.b_events->why == errc::link_lost);
}

TEST_CASE("a link closed before it was started says goodbye when it is", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.listen();
    p.env.connect(p.listener->local(), 1s, [&p](std::unique_ptr<stream_socket> socket, std::error_code) {
        p.a = std::make_shared<link>(p.env, p.a_setup, std::move(socket), p.a_events);
        p.a->abort(errc::shut_down, "changed my mind");
        p.a->start();
    });
    REQUIRE(p.both_over());
    CHECK(p.a_events->log == std::vector<std::string>{"failed"});
    CHECK(p.a_events->text == "changed my mind");
    CHECK(p.b_events->log == std::vector<std::string>{"failed"});
    CHECK(p.env.now().time_since_epoch() < 1100ms);
}

TEST_CASE("an end without goodbye is a lost link", "[net][link]") {
    pair_of_links p;
    p.come_up();
    SECTION("broken") {
        p.env.break_all(std::make_error_code(std::errc::connection_reset));
        REQUIRE(p.both_over());
        CHECK_THAT(p.a_events->text, Catch::Contains("the connection broke") && Catch::Contains("peer 0000000000000002"));
    }
    SECTION("ended in order") {
        p.env.break_all({});
        REQUIRE(p.both_over());
        CHECK_THAT(p.a_events->text, Catch::Contains("without a goodbye"));
    }
    CHECK(p.a_events->why == errc::link_lost);
    CHECK(p.a_events->log == std::vector<std::string>{"up", "down"});
    CHECK_THROWS_AS(p.a->send(header(frame_kind::call), bytes_view{}), error);
}

TEST_CASE("silence is noticed, an idle link is not", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.come_up();
    p.env.run_for(120s);
    CHECK(p.a->is_up());
    CHECK(p.b->is_up());
    CHECK(p.a->statistics().frames_out > 10);
    CHECK(p.a->statistics().frames_out < 60);
    CHECK(p.a->statistics().work_frames == 0);
    p.env.pause(1, true);  // as if the process of b were stopped
    p.env.run_for(14s);
    CHECK(p.a->is_up());
    p.env.run_for(7s);
    CHECK(p.a_events->over());
    CHECK(p.a_events->why == errc::link_lost);
    CHECK_THAT(p.a_events->text, Catch::Contains("silent for 20000 ms"));
    p.env.pause(1, false);
}

TEST_CASE("a quiet link for the membership is asked seldom, and found out all the same", "[net][link]") {
    pair_of_links p;
    p.a_setup.self.for_membership = true;
    p.come_up();
    p.env.run_for(55s);
    CHECK(p.a->statistics().frames_out == 1);  // the hello
    CHECK(p.b->statistics().frames_out == 1);
    p.env.run_for(60s);
    CHECK(p.a->statistics().frames_out + p.b->statistics().frames_out <= 6);  // each one ping and one pong
    p.env.pause(1, true);
    p.env.run_for(180s);
    CHECK(p.a->is_up());
    p.env.run_for(61s);
    CHECK(p.a_events->why == errc::link_lost);
    p.env.pause(1, false);
}

TEST_CASE("a ping is answered", "[net][link]") {
    pair_of_links p;
    p.listen();
    const auto raw = raw_stream::dial(p.env, p.listener->local());
    raw->write(as_bytes_view(hello_frame(introduce(9))));
    REQUIRE(p.env.run_until([&] { return p.b_events->up(); }));
    p.env.run_for(1ms);
    raw->received.clear();
    raw->write(as_bytes_view(frame(header(frame_kind::ping), "")));
    p.env.run_for(1ms);
    CHECK(raw->received == frame(header(frame_kind::pong), ""));
}

TEST_CASE("keys that do not fit are told apart", "[net][link]") {
    pair_of_links p;
    const cluster_key key = cluster_key::generate();
    const auto with = [&p](const cluster_key& k) { return std::make_shared<const tls_context>(k, p.a_setup.self.cluster); };
    SECTION("two keys") {
        p.a_setup.tls = with(key);
        p.b_setup.tls = with(cluster_key::generate());
        p.dial();
        REQUIRE(p.both_over());
        CHECK_THAT(p.a_events->text, Catch::Contains("127.0.0.1:7400") && Catch::Contains("cluster key does not match"));
        CHECK_THAT(p.b_events->text, Catch::Contains("cluster key does not match"));
    }
    SECTION("a key only here") {
        p.a_setup.tls = with(key);
        p.dial();
        REQUIRE(p.both_over());
        CHECK_THAT(p.a_events->text, Catch::Contains("does not speak TLS; it has no cluster key"));
        CHECK_THAT(p.b_events->text, Catch::Contains("uses a cluster key and this peer has none"));
    }
    SECTION("a key only there") {
        p.b_setup.tls = with(key);
        p.dial();
        REQUIRE(p.both_over());
        CHECK_THAT(p.a_events->text, Catch::Contains("uses a cluster key and this peer has none"));
        CHECK_THAT(p.b_events->text, Catch::Contains("does not speak TLS; it has no cluster key"));
    }
    CHECK(p.a_events->log == std::vector<std::string>{"failed"});
    CHECK(p.b_events->log == std::vector<std::string>{"failed"});
    CHECK(p.a_events->why == errc::auth_failed);
    CHECK(p.b_events->why == errc::auth_failed);
}

TEST_CASE("peers that may not talk tell each other why", "[net][link]") {
    pair_of_links p;
    SECTION("another cluster") {
        p.b_setup.self.cluster = cluster_id::from_name("other");
        p.dial();
        REQUIRE(p.both_over());
        CHECK(p.a_events->why == errc::wrong_cluster);
        CHECK(p.b_events->why == errc::wrong_cluster);
    }
    SECTION("the same peer") {
        p.b_setup.self.id = p.a_setup.self.id;
        p.dial();
        REQUIRE(p.both_over());
        CHECK_THAT(p.a_events->text, Catch::Contains("this peer itself"));
    }
    SECTION("another peer than expected") {
        p.a_setup.expected = peer_id{77};
        p.dial();
        REQUIRE(p.both_over());
        CHECK(p.a_events->why == errc::unreachable);
        CHECK(p.a_events->log == std::vector<std::string>{"failed"});
        CHECK_THAT(p.b_events->text, Catch::Contains("not peer 000000000000004d"));
    }
}

TEST_CASE("a stranger cannot do anything", "[net][link]") {
    pair_of_links p;
    SECTION("another protocol") {
        p.insult("GET / HTTP/1.1\r\nHost: example\r\n\r\n");
        CHECK_THAT(p.b_events->text, Catch::Contains("not those of a covey peer"));
    }
    SECTION("reserved bits") {
        frame_header h = header(frame_kind::hello);
        h.reserved = 1;
        p.insult(frame(h, ""));
        CHECK_THAT(p.b_events->text, Catch::Contains("reserved bits"));
    }
    SECTION("a kind that there is not") {
        p.insult(frame(header(static_cast<frame_kind>(200)), ""));
        CHECK_THAT(p.b_events->text, Catch::Contains("unknown kind"));
    }
    SECTION("a call before the hello") {
        const std::string answer = p.insult(frame(header(frame_kind::call), "boo"));
        CHECK_THAT(p.b_events->text, Catch::Contains("before the hello"));
        CHECK_THAT(answer, Catch::Contains("before the hello"));
    }
    SECTION("a huge first body") {
        frame_header h = header(frame_kind::hello);
        h.size = 0x7fffffff;
        std::string bytes(frame_header::bytes, '\0');
        store(h, reinterpret_cast<std::byte*>(bytes.data()));
        p.insult(bytes);
        CHECK_THAT(p.b_events->text, Catch::Contains("over the limit"));
    }
    SECTION("a hello cut short") {
        const std::string whole = hello_frame(introduce(9));
        p.insult(frame(header(frame_kind::hello), whole.substr(frame_header::bytes, 50)));
        CHECK(p.b_events->why == errc::bad_message);
    }
    SECTION("a hello that never ends") {
        p.insult(hello_frame(introduce(9)).substr(0, 60));
        CHECK(p.b_events->why == errc::unreachable);
        CHECK_THAT(p.b_events->text, Catch::Contains("within 2000 ms"));
    }
    CHECK(p.b_events->frames.empty());
}

TEST_CASE("a stranger that sends nothing, or for ever, is cut off", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.listen();
    const auto quiet = raw_stream::dial(p.env, p.listener->local());
    p.env.run_for(1900ms);
    CHECK_FALSE(quiet->closed);
    p.env.run_for(200ms);
    CHECK(quiet->closed);
    CHECK(p.b_events->over());

    p.b_events->log.clear();
    const auto loud = raw_stream::dial(p.env, p.listener->local());
    // The longest TLS record, or frames that are legal beginnings of nothing: at most 4 KiB of it are read.
    std::string flood(20000, '\0');
    flood.replace(0, 5, std::string("\x16\x03\x01\x40\x00", 5));
    loud->write(as_bytes_view(flood));
    p.env.run_for(1s);
    CHECK(loud->closed);
    CHECK(p.b->statistics().bytes_in <= 4096);
}

TEST_CASE("noise never brings a link up", "[net][link]") {
    const std::string real = hello_frame(introduce(9));
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        pair_of_links p;
        if (seed % 4 == 0) p.encrypt();
        p.env.chunk = seed % 3 == 0 ? 1 : 1000;
        p.listen();
        random_source random(seed);
        std::string noise(1 + random.below(5000), '\0');
        for (char& c : noise) c = static_cast<char>(random.next());
        if (seed % 2 == 0)
            noise.replace(0, std::min<std::size_t>(noise.size(), 10), real.substr(0, std::min<std::size_t>(noise.size(), 10)));
        const auto raw = raw_stream::dial(p.env, p.listener->local());
        raw->write(as_bytes_view(noise));
        REQUIRE(p.env.run_until([&] { return raw->closed && p.b_events->over(); }, 3s));
        CHECK(p.b_events->log == std::vector<std::string>{"failed"});
        CHECK_FALSE(p.b_events->text.empty());
    }
}

TEST_CASE("an introduced peer that breaks the protocol is told so", "[net][link]") {
    pair_of_links p;
    p.b_setup.config.body_bytes_max = 10000;
    p.listen();
    const auto raw = raw_stream::dial(p.env, p.listener->local());
    raw->write(as_bytes_view(hello_frame(introduce(9))));
    REQUIRE(p.env.run_until([&] { return p.b_events->up(); }));
    std::string expected;
    SECTION("a second hello") {
        raw->write(as_bytes_view(hello_frame(introduce(9))));
        expected = "a second hello";
    }
    SECTION("an oversized body") {
        frame_header h = header(frame_kind::call);
        h.size = 10001;
        std::string bytes(frame_header::bytes, '\0');
        store(h, reinterpret_cast<std::byte*>(bytes.data()));
        raw->write(as_bytes_view(bytes));
        expected = "body over the limit";
    }
    SECTION("a kind that there is not") {
        raw->write(as_bytes_view(frame(header(static_cast<frame_kind>(77)), "")));
        expected = "unknown kind";
    }
    SECTION("a handler that cannot read the body") {
        p.b_events->reaction = [](link&, const frame_header&, bytes_view) { throw error(errc::bad_message, "that is no number"); };
        raw->write(as_bytes_view(frame(header(frame_kind::call), "body")));
        expected = "that is no number";
    }
    SECTION("a handler that fails otherwise") {
        p.b_events->reaction = [](link&, const frame_header&, bytes_view) { throw std::runtime_error("oh"); };
        raw->write(as_bytes_view(frame(header(frame_kind::call), "body")));
        expected = "handling a frame failed: oh";
    }
    REQUIRE(p.env.run_until([&] { return raw->closed && p.b_events->over(); }));
    CHECK_THAT(raw->received, Catch::Contains(expected));
    CHECK_THAT(p.b_events->text, Catch::Contains(expected) && Catch::Contains("peer 0000000000000009"));
    CHECK((p.b_events->why == errc::protocol_error || p.b_events->why == errc::bad_message));
    CHECK(p.b_events->log.back() == "down");
}

TEST_CASE("many threads may send at once", "[net][link]") {
    pair_of_links p;
    if (GENERATE(false, true)) p.encrypt();
    p.env.window = 5000;
    // The clock runs on while the senders wait for a processor, so silence must not matter here.
    p.a_setup.config.silence_max = p.b_setup.config.silence_max = 1000h;
    p.a_setup.config.ping_after = p.b_setup.config.ping_after = 100h;
    p.come_up();
    constexpr unsigned threads = 4;
    constexpr std::uint32_t frames_each = 500;
    std::vector<std::thread> senders;
    for (unsigned t = 0; t < threads; ++t) {
        senders.emplace_back([&p, t] {
            for (std::uint32_t i = 0; i < frames_each; ++i) {
                frame_header h = header(frame_kind::call, i);
                h.generation = t;
                p.a->send(h, as_bytes_view(pattern(i % 300, t)));
                if (i % 50 == 0) (void)p.a->statistics();
            }
        });
    }
    while (p.b_events->frames.size() < threads * frames_each && !p.b_events->over()) p.env.run_for(100us);
    for (std::thread& t : senders) t.join();
    REQUIRE_FALSE(p.b_events->over());
    std::uint32_t next[threads] = {};
    for (const auto& [h, body] : p.b_events->frames) {
        REQUIRE(h.generation < threads);
        CHECK(h.slot == next[h.generation]++);
        CHECK((body == pattern(h.slot % 300, h.generation)));
    }
}

}  // namespace covey_test_net_link
