#include "fake_environment.hpp"

#include <covey/net/detail/event_gate.hpp>
#include <covey/net/link_table.hpp>

#include <catch2/catch.hpp>

#include <thread>

namespace covey_test_net_link_table {

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
    return h;
}

/// A peer: a table and what it reports.
struct node : link_events {
    node(fake_environment& e, std::uint64_t id, std::optional<cluster_key> key = {}, link_limits limits = {}, link_config config = {})
        : env(e), table(std::make_unique<link_table>(e, config, introduce(id), key, *this, limits)) {}

    endpoint listen() { return address = table->listen(endpoint::v4(127, 0, 0, 1, 0)); }

    struct outcome {
        int calls = 0;
        std::shared_ptr<link> l;
        std::error_code why;
        std::string text;
    };
    std::shared_ptr<outcome> dial(const endpoint& to, peer_id expected = {}, duration timeout = 1s, link_use use = link_use::calls) {
        auto result = std::make_shared<outcome>();
        table->connect(
            to, expected, timeout,
            [result](std::shared_ptr<link> l, std::error_code code, std::string words) {
                ++result->calls;
                result->l = std::move(l);
                result->why = code;
                result->text = std::move(words);
            },
            use);
        return result;
    }
    /// Dials and runs until there is an answer.
    outcome connect(const endpoint& to, peer_id expected = {}, link_use use = link_use::calls) {
        const auto result = dial(to, expected, 1s, use);
        CHECK(env.run_until([&] { return result->calls != 0; }));
        CHECK(result->calls == 1);
        return *result;
    }

    void on_link_up(const std::shared_ptr<link>&) override { ++ups; }
    void on_frame(link& l, const frame_header& h, bytes_view body) override {
        ++frames;
        if (h.kind == frame_kind::call && answer) {
            frame_header back = h;
            back.kind = frame_kind::reply;
            l.send(back, body);
        }
        if (reaction) reaction();
    }
    void on_link_down(const std::shared_ptr<link>&, std::error_code code, const std::string& words) override {
        ++downs;
        why = code;
        text = words;
    }

    fake_environment& env;
    endpoint address;
    int ups = 0;
    int downs = 0;
    int frames = 0;
    bool answer = true;
    std::error_code why;
    std::string text;
    std::function<void()> reaction;
    std::unique_ptr<link_table> table;
};

frame_header header(frame_kind kind) {
    frame_header h;
    h.kind = kind;
    return h;
}

/// At the end of each test nothing may be left.
struct world : fake_environment {
    ~world() override {
        run_for(30s);
        CHECK(open_connections() == 0);
        CHECK(idle());
    }
};

}  // namespace

TEST_CASE("a table finds, makes and shares links", "[net][link_table]") {
    world env;
    std::optional<cluster_key> key;
    if (GENERATE(false, true)) key = cluster_key::generate();
    node a(env, 1, key);
    node b(env, 2, key);
    const endpoint there = b.listen();
    CHECK(there.port != 0);

    // Two callers, one connection.
    const auto first = a.dial(there);
    const auto second = a.dial(there, peer_id{2});
    const auto wrong = a.dial(there, peer_id{3});
    REQUIRE(env.run_until([&] { return first->calls == 1 && second->calls == 1 && wrong->calls == 1; }));
    REQUIRE(first->l);
    CHECK(first->l == second->l);
    CHECK_FALSE(wrong->l);
    CHECK(wrong->why == errc::unreachable);
    CHECK_THAT(wrong->text, Catch::Contains("peer 0000000000000002 answers at " + to_string(there)) && Catch::Contains("0000000000000003"));
    CHECK(a.table->statistics().dials == 1);

    // A live link is reused at once, by peer and by address.
    CHECK(a.dial(there, peer_id{2})->l == first->l);
    CHECK(a.dial(there)->l == first->l);
    CHECK(a.table->find(peer_id{2}) == first->l);
    CHECK(a.table->find(peer_id{9}) == nullptr);
    CHECK(a.table->links().size() == 1);

    // And the other side uses the same connection.
    REQUIRE(env.run_until([&] { return b.ups == 1; }));
    REQUIRE(b.table->find(peer_id{1}));
    b.table->find(peer_id{1})->send(header(frame_kind::call), as_bytes_view("hi"));
    REQUIRE(env.run_until([&] { return b.frames == 1; }));  // the reply
    CHECK(a.frames == 1);
    CHECK(a.ups == 1);
    CHECK(a.downs == 0);
}

TEST_CASE("no key, no address but loopback", "[net][link_table]") {
    world env;
    node open(env, 1);
    for (const char* address : {"0.0.0.0:0", "10.1.2.3:7400", "[::]:0"}) {
        try {
            open.table->listen(endpoint::parse(address));
            FAIL("bound");
        } catch (const error& e) {
            CHECK(e.code() == errc::insecure_bind);
            CHECK_THAT(e.what(), Catch::Contains(address) && Catch::Contains("peerd keygen cluster.key") && Catch::Contains("key_file"));
        }
    }
    CHECK(open.table->listen(endpoint::parse("[::1]:0")).port != 0);
    node closed(env, 2, cluster_key::generate());
    CHECK(closed.table->listen(endpoint::parse("0.0.0.0:0")).port != 0);
}

TEST_CASE("a port in use", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    const endpoint taken = a.listen();
    CHECK_THROWS_AS(b.table->listen(taken), error);
}

TEST_CASE("a closed door is not hammered on", "[net][link_table]") {
    world env;
    node a(env, 1);
    const endpoint nobody = endpoint::v4(127, 0, 0, 1, 9);
    const node::outcome first = a.connect(nobody);
    CHECK(first.why == errc::unreachable);
    CHECK_THAT(first.text, Catch::Contains("connection refused: nothing listens on 127.0.0.1:9"));
    CHECK(a.table->statistics().dials == 1);

    // At once and without a dial.
    const auto again = a.dial(nobody);
    CHECK(again->calls == 1);
    CHECK(again->text == first.text);
    CHECK(a.table->statistics().dials == 1);

    // The pauses grow to between one and two seconds, and stay there.
    duration pause{};
    for (int attempt = 0; attempt < 12; ++attempt) {
        const time_point failed_at = env.now();
        const std::uint64_t before = a.table->statistics().dials;
        while (a.table->statistics().dials == before) {
            env.run_for(1ms);
            const auto result = a.dial(nobody);
            env.run_until([&] { return result->calls == 1; });
        }
        pause = env.now() - failed_at;
        if (attempt == 0) {
            CHECK(pause >= 24ms);
            CHECK(pause <= 52ms);
        }
    }
    CHECK(pause >= 990ms);
    CHECK(pause <= 2010ms);

    // After a success the memory is gone.
    env.run_for(3s);
    node b(env, 2);
    b.table->listen(nobody);
    REQUIRE(a.connect(nobody).l);
    a.table->drop(peer_id{2}, errc::peer_lost, "dead");
    env.run_until([&] { return a.downs == 1; });
    CHECK(a.connect(nobody).l);
}

TEST_CASE("an endpoint that never answers", "[net][link_table]") {
    world env;
    const endpoint nowhere = endpoint::v4(10, 0, 0, 1, 7400);
    env.silent.insert(nowhere);
    node a(env, 1, cluster_key::generate());
    const node::outcome result = a.connect(nowhere);
    CHECK(result.why == errc::unreachable);
    CHECK_THAT(result.text, Catch::Contains("no answer from 10.0.0.1:7400 within 1000 ms"));
}

TEST_CASE("an endpoint that was cut off and is heard of again", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    const endpoint there = b.listen();
    env.silent.insert(there);

    SECTION("is dialled at once, whatever happened before") {
        CHECK(a.connect(there).why == errc::unreachable);
        env.silent.clear();
        CHECK(a.dial(there)->why == errc::unreachable);  // remembered
        a.table->heard_of(there);
        CHECK(a.connect(there).l);
        CHECK(a.table->statistics().dials == 2);
    }
    SECTION("is dialled once more by who was dialling when it was not there") {
        const auto early = a.dial(there);
        env.run_for(900ms);
        env.silent.clear();
        a.table->heard_of(there);
        const auto late = a.dial(there);
        REQUIRE(env.run_until([&] { return early->calls == 1 && late->calls == 1; }, 2s));
        CHECK(early->l);
        CHECK(late->l == early->l);
    }
    SECTION("but only once") {
        const auto dialled = a.dial(there);
        a.table->heard_of(there);
        env.run_for(1500ms);
        CHECK(dialled->calls == 0);
        REQUIRE(env.run_until([&] { return dialled->calls == 1; }, 1s));
        CHECK(dialled->why == errc::unreachable);
        CHECK(a.table->statistics().dials == 2);
        CHECK(a.table->statistics().dial_failures == 2);
    }
    SECTION("and not, while nobody dials it") {
        a.table->heard_of(there);
        env.run_for(5s);
        CHECK(a.table->statistics().dials == 0);
    }
}

TEST_CASE("an endpoint that accepts and says nothing", "[net][link_table]") {
    world env;
    std::vector<std::unique_ptr<stream_socket>> held;
    const auto listener =
        env.listen(endpoint::v4(127, 0, 0, 1, 0), [&](std::unique_ptr<stream_socket> s) { held.push_back(std::move(s)); });
    node a(env, 1);
    const time_point begin = env.now();
    const node::outcome result = a.connect(listener->local());
    CHECK(result.why == errc::unreachable);
    CHECK_THAT(result.text, Catch::Contains("did not finish the handshake"));
    CHECK(env.now() - begin <= 1100ms);  // the caller's patience was one second
    held.clear();
}

TEST_CASE("a dial to oneself, to another cluster, with another key", "[net][link_table]") {
    world env;
    const cluster_key key = cluster_key::generate();
    SECTION("oneself") {
        node a(env, 1);
        const node::outcome result = a.connect(a.listen());
        CHECK(result.why == errc::bad_address);
        CHECK_THAT(result.text, Catch::Contains("this peer itself"));
    }
    SECTION("another key") {
        node a(env, 1, key);
        node b(env, 2, cluster_key::generate());
        const endpoint there = b.listen();
        const node::outcome result = a.connect(there);
        CHECK(result.why == errc::auth_failed);
        CHECK_THAT(result.text, Catch::Contains(to_string(there)) && Catch::Contains("cluster key does not match"));
        env.run_for(10ms);
        REQUIRE(b.table->statistics().rejections.size() == 1);
        CHECK(b.table->statistics().rejections[0] == std::pair(errc::auth_failed, std::uint64_t{1}));
        REQUIRE(env.lines.size() == 1);
        CHECK_THAT(env.lines[0], Catch::Contains("incoming connection dropped") && Catch::Contains("cluster key does not match"));
        // Counted each time, logged once a minute.
        for (int i = 0; i < 5; ++i) {
            env.run_for(3s);
            a.connect(there);
        }
        env.run_for(10ms);
        CHECK(b.table->statistics().rejections[0].second == 6);
        CHECK(env.lines.size() == 1);
        env.run_for(60s);
        a.connect(there);
        env.run_for(10ms);
        CHECK(env.lines.size() == 2);
        CHECK(b.ups == 0);
        CHECK(b.downs == 0);
    }
    SECTION("a key on one side only") {
        node a(env, 1, key);
        node b(env, 2);
        CHECK_THAT(a.connect(b.listen()).text, Catch::Contains("has no cluster key"));
        CHECK_THAT(b.connect(a.listen()).text, Catch::Contains("uses a cluster key and this peer has none"));
    }
}

TEST_CASE("both dial at once: one link is preferred by both, the other goes when it is unused", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    const endpoint at_a = a.listen();
    const endpoint at_b = b.listen();
    const auto from_a = a.dial(at_b);
    const auto from_b = b.dial(at_a);
    REQUIRE(env.run_until([&] { return a.ups == 2 && b.ups == 2; }));
    CHECK(from_a->l);
    CHECK(from_b->l);
    CHECK(a.table->find(peer_id{2})->initiated_by_us());
    CHECK_FALSE(b.table->find(peer_id{1})->initiated_by_us());

    SECTION("unused") {
        env.run_for(60s);
        CHECK(a.table->links().size() == 1);
        CHECK(b.table->links().size() == 1);
        CHECK(a.downs == 1);
        CHECK(a.table->find(peer_id{2})->initiated_by_us());
        a.table->find(peer_id{2})->send(header(frame_kind::call), bytes_view{});
        REQUIRE(env.run_until([&] { return a.frames == 1; }));
    }
    SECTION("in use") {
        for (int i = 0; i < 30; ++i) {
            from_b->l->send(header(frame_kind::mesh), bytes_view{});
            env.run_for(2s);
        }
        CHECK(a.table->links().size() == 2);
    }
    SECTION("owing an answer") {
        a.answer = false;
        from_b->l->send(header(frame_kind::call), bytes_view{});
        env.run_for(60s);
        CHECK(a.table->links().size() == 2);
        for (const auto& l : a.table->links()) {
            if (!l->initiated_by_us()) l->send(header(frame_kind::reply), bytes_view{});
        }
        env.run_for(60s);
        CHECK(a.table->links().size() == 1);
    }
}

TEST_CASE("a link for the membership carries no calls, one for calls carries both", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    const endpoint at_a = a.listen();
    const endpoint at_b = b.listen();
    // Both at once: neither waits for the other's.
    const auto first = a.dial(at_b, {}, 1s, link_use::membership);
    const auto call = a.dial(at_b);
    REQUIRE(env.run_until([&] { return a.ups == 2 && b.ups == 2; }));
    REQUIRE(first->l);
    REQUIRE(call->l);
    CHECK(first->l->is_for_membership());
    CHECK_FALSE(call->l->is_for_membership());
    CHECK(a.table->find(peer_id{2}) == call->l);
    CHECK_FALSE(b.table->find(peer_id{1})->is_for_membership());
    CHECK(a.dial(at_b, {}, 1s, link_use::membership)->l == call->l);
    call->l->close(errc::link_lost, "the test wants it");
    REQUIRE(env.run_until([&] { return a.downs == 1 && b.downs == 1; }));

    // The other side uses it in the same way.
    CHECK(a.table->find(peer_id{2}) == nullptr);
    CHECK(b.table->find(peer_id{1}) == nullptr);
    CHECK(a.dial(at_b, {}, 1s, link_use::membership)->l == first->l);
    const auto back = b.dial(at_a, peer_id{1}, 1s, link_use::membership);
    REQUIRE(back->l);
    CHECK(back->l->is_for_membership());
    CHECK_FALSE(back->l->initiated_by_us());
    CHECK_FALSE(b.connect(at_a).l->is_for_membership());
    CHECK(b.table->find(peer_id{1})->initiated_by_us());
}

TEST_CASE("of quiet links for the membership each side keeps the newest that it made", "[net][link_table]") {
    world env;
    node a(env, 1);
    std::vector<std::unique_ptr<node>> others;
    for (std::uint64_t id = 2; id < 8; ++id) {
        others.push_back(std::make_unique<node>(env, id));
        REQUIRE(a.connect(others.back()->listen(), {}, link_use::membership).l);
    }
    const std::shared_ptr<link> calls = a.connect(others[0]->address).l;
    std::shared_ptr<link> busy;
    for (const auto& l : a.table->links()) {
        if (l->peer() == peer_id{4}) busy = l;
    }
    REQUIRE(busy);
    for (int i = 0; i < 10; ++i) {
        busy->send(header(frame_kind::mesh), bytes_view{});
        env.run_for(4s);
    }
    std::vector<std::shared_ptr<link>> left = a.table->links();  // by peer
    REQUIRE(left.size() == 3);
    CHECK(left[0] == calls);
    CHECK(left[1] == busy);
    CHECK(left[2]->peer() == peer_id{7});
    CHECK(others[1]->downs == 1);
    CHECK(others[1]->why == errc::shut_down);
    env.run_for(60s);
    left = a.table->links();
    REQUIRE(left.size() == 2);
    CHECK(left[1]->peer() == peer_id{7});
    CHECK(others.back()->downs == 0);
    busy = nullptr;
}

TEST_CASE("a peer declared dead", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    const endpoint there = b.listen();
    REQUIRE(a.connect(there).l);
    env.silent.insert(endpoint::v4(127, 0, 0, 1, 99));
    const auto waiting = a.dial(endpoint::v4(127, 0, 0, 1, 99), peer_id{2}, 10s);
    const auto same = a.dial(endpoint::v4(127, 0, 0, 1, 99), peer_id{3}, 10s);
    CHECK(waiting->calls == 1);  // it is linked already
    env.pause(1, true);          // it does not even read any more
    a.table->find(peer_id{2})->send(header(frame_kind::reply), as_bytes_view(std::string(1 << 20, 'x')));
    const auto waiting_for_3 = a.dial(endpoint::v4(127, 0, 0, 1, 98), peer_id{3}, 10s);
    a.table->drop(peer_id{2}, errc::peer_lost, "peer 2 was declared dead");
    a.table->drop(peer_id{3}, errc::peer_lost, "peer 3 was declared dead");
    CHECK(same->calls == 1);
    CHECK(same->why == errc::peer_lost);
    CHECK(waiting_for_3->text == "peer 3 was declared dead");
    env.run_for(1ms);
    CHECK(a.downs == 1);
    CHECK(a.why == errc::peer_lost);
    CHECK(a.text == "peer 2 was declared dead");
    CHECK_FALSE(a.table->find(peer_id{2}));
    env.pause(1, false);
    env.run_for(20s);
    CHECK(same->calls == 1);
    CHECK(waiting_for_3->calls == 1);
}

TEST_CASE("the epoch of new links, and the newest life of a peer", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    const endpoint there = b.listen();
    REQUIRE(a.connect(there).l->remote().epoch == 1);
    b.table->set_epoch(5);
    a.table->drop(peer_id{2}, errc::peer_lost, "dead");
    env.run_until([&] { return a.downs == 1; });
    CHECK(a.connect(there).l->remote().epoch == 5);
    CHECK(a.table->find(peer_id{2})->remote().epoch == 5);
}

TEST_CASE("leaving in order", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    node c(env, 3);
    const endpoint there = b.listen();
    REQUIRE(a.connect(there).l);
    REQUIRE(c.connect(there).l);
    b.table->close_all("peer 2 leaves");
    REQUIRE(env.run_until([&] { return a.downs == 1 && c.downs == 1 && b.downs == 2; }));
    CHECK(a.why == errc::shut_down);
    CHECK_THAT(a.text, Catch::Contains("closed the link: peer 2 leaves"));
    CHECK(a.connect(there).l);  // it still listens
}

TEST_CASE("after close there are no events", "[net][link_table]") {
    world env;
    node a(env, 1);
    node b(env, 2);
    const endpoint there = b.listen();
    REQUIRE(a.connect(there).l);
    REQUIRE(env.run_until([&] { return b.ups == 1; }));
    env.silent.insert(endpoint::v4(127, 0, 0, 1, 99));
    const auto silent = a.dial(endpoint::v4(127, 0, 0, 1, 99));
    const auto midway = a.dial(a.listen());
    const auto held = a.table->find(peer_id{2});
    b.table->find(peer_id{1})->send(header(frame_kind::call), bytes_view{});

    SECTION("from outside") {
        a.table->close();
        CHECK(a.downs == 1);
        CHECK(a.frames == 0);
    }
    SECTION("from inside an event") {
        a.reaction = [&a] { a.table->close(); };
        REQUIRE(env.run_until([&] { return a.downs == 1; }));
        CHECK(a.frames == 1);
    }
    SECTION("by the end of the table") {
        a.reaction = nullptr;
        a.table.reset();
        CHECK(a.downs == 1);
    }
    CHECK(a.why == errc::shut_down);
    CHECK(silent->why == errc::shut_down);
    CHECK((midway->why == errc::shut_down || midway->why == errc::bad_address));
    const int frames = a.frames;
    if (a.table) {
        a.table->close();
        CHECK(a.dial(there)->why == errc::shut_down);
        CHECK_THROWS_AS(a.listen(), error);
    }
    CHECK_FALSE(held->is_up());
    REQUIRE(env.run_until([&] { return b.downs == 1; }));
    CHECK_THAT(b.text, Catch::Contains("shutting down"));
    env.run_for(30s);
    CHECK(a.ups == 1);
    CHECK(a.downs == 1);
    CHECK(a.frames == frames);
    CHECK(silent->calls == 1);
    CHECK(midway->calls == 1);
}

TEST_CASE("bounds", "[net][link_table]") {
    world env;
    SECTION("connections that do not introduce themselves: the oldest goes") {
        node b(env, 2, {}, {.handshakes_max = 3});
        const endpoint there = b.listen();
        std::vector<std::shared_ptr<raw_stream>> strangers;
        for (int i = 0; i < 5; ++i) strangers.push_back(raw_stream::dial(env, there));
        env.run_for(10ms);
        CHECK(strangers[0]->closed);
        CHECK(strangers[1]->closed);
        CHECK_FALSE(strangers[2]->closed);
        CHECK(b.table->statistics().handshakes == 3);
        node a(env, 1);
        CHECK(a.connect(there).l);  // an honest peer comes through
        env.run_for(3s);
        CHECK(b.table->statistics().handshakes == 0);
    }
    SECTION("links") {
        node b(env, 2, {}, {.links_max = 2});
        const endpoint there = b.listen();
        node c(env, 3);
        node d(env, 4);
        node e(env, 5);
        REQUIRE(c.connect(there).l);
        REQUIRE(d.connect(there).l);
        CHECK(e.connect(there).why == errc::unreachable);
        CHECK(b.connect(endpoint::v4(127, 0, 0, 1, 9)).why == errc::overloaded);
        CHECK(b.table->statistics().rejections.at(0).first == errc::overloaded);
    }
    SECTION("callers that wait") {
        node a(env, 1, {}, {.waiting_max = 2});
        const endpoint slow = endpoint::v4(127, 0, 0, 1, 99);
        env.silent.insert(slow);
        const auto first = a.dial(slow);
        const auto second = a.dial(slow);
        CHECK(a.dial(slow)->why == errc::overloaded);
        env.run_for(2s);
        CHECK(first->calls == 1);
        CHECK(second->calls == 1);
    }
    SECTION("endpoints that failed") {
        node a(env, 1, {}, {.failures_max = 4});
        for (std::uint16_t port = 1; port < 20; ++port) CHECK(a.connect(endpoint::v4(127, 0, 0, 1, port)).why == errc::unreachable);
    }
}

TEST_CASE("a hello that cannot be sent is the caller's mistake at once", "[net][link_table]") {
    world env;
    hello nameless = introduce(0);
    struct nothing : link_events {
        void on_link_up(const std::shared_ptr<link>&) override {}
        void on_frame(link&, const frame_header&, bytes_view) override {}
        void on_link_down(const std::shared_ptr<link>&, std::error_code, const std::string&) override {}
    } events;
    CHECK_THROWS_AS(link_table(env, {}, nameless, {}, events), error);
}

TEST_CASE("close waits for an event under way on another thread", "[net][link_table]") {
    net::detail::event_gate gate;
    std::atomic<bool> inside{false};
    std::atomic<bool> leave{false};
    std::atomic<bool> left{false};
    bool entered = false;
    std::thread worker([&] {
        const net::detail::event_gate::pass outer(gate);
        const net::detail::event_gate::pass inner(gate);
        entered = outer && inner;
        inside = true;
        while (!leave) std::this_thread::yield();
        left = true;
    });
    while (!inside) std::this_thread::yield();
    std::thread opener([&] { leave = true; });
    gate.close();
    CHECK(left);
    const net::detail::event_gate::pass late(gate);
    CHECK_FALSE(static_cast<bool>(late));
    worker.join();
    CHECK(entered);
    opener.join();
}

}  // namespace covey_test_net_link_table
