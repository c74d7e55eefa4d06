#include <covey/core/random.hpp>
#include <covey/net/tls.hpp>

#include <catch2/catch.hpp>

#include <algorithm>

namespace covey_test_net_tls {  // so that test files can be compiled together

using namespace covey;
using net::cluster_key;
using net::tls_context;
using net::tls_session;
using role = tls_session::role;
using state = tls_session::state;

namespace {

const cluster_id home = cluster_id::from_name("home");

std::shared_ptr<const tls_context> context(const cluster_key& key, const cluster_id& cluster = home) {
    return std::make_shared<const tls_context>(key, cluster);
}

/// Carries bytes between the two until nothing moves, at most `chunk` at a time.
void pump(tls_session& a, tls_session& b, std::size_t chunk = 1 << 20) {
    bool moved = true;
    while (moved) {
        moved = false;
        for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
            byte_buffer bytes;
            from->take(bytes);
            while (!bytes.empty()) {
                const std::size_t n = std::min(chunk, bytes.size());
                to->feed(bytes.view().first(n));
                bytes.consume(n);
                moved = true;
            }
        }
    }
}

std::string read_all(tls_session& s) {
    std::string text;
    std::array<std::byte, 5000> part;
    while (const std::size_t n = s.read(part)) text.append(reinterpret_cast<const char*>(part.data()), n);
    return text;
}

}  // namespace

TEST_CASE("two holders of the key talk, however the bytes are cut", "[net][tls]") {
    const cluster_key key = cluster_key::generate();
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, std::size_t{1} << 20}) {
        tls_session client(context(key), role::client);
        tls_session server(context(key), role::server);
        CHECK(client.has_output());
        CHECK_FALSE(server.has_output());
        pump(client, server, chunk);
        REQUIRE(client.status() == state::open);
        REQUIRE(server.status() == state::open);
        std::string text(100000, 'x');
        for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31);
        client.write(as_bytes_view(text));
        server.write(as_bytes_view("back"));
        pump(client, server, 1 << 20);
        CHECK(read_all(server) == text);
        CHECK(read_all(client) == "back");
    }
}

TEST_CASE("what travels is not the plain text, and no two sessions look alike", "[net][tls]") {
    const cluster_key key = cluster_key::generate();
    std::string seen[2];
    for (std::string& wire : seen) {
        tls_session client(context(key), role::client);
        tls_session server(context(key), role::server);
        pump(client, server);
        client.write(as_bytes_view("a well known secret"));
        byte_buffer bytes;
        client.take(bytes);
        wire = as_text(bytes);
        CHECK(wire.find("well known") == std::string::npos);
    }
    CHECK(seen[0] != seen[1]);
}

TEST_CASE("another key: both sides say that the keys differ", "[net][tls]") {
    tls_session client(context(cluster_key::generate()), role::client);
    tls_session server(context(cluster_key::generate()), role::server);
    pump(client, server);
    for (tls_session* s : {&client, &server}) {
        CHECK(s->status() == state::failed);
        CHECK(s->failure() == errc::auth_failed);
        CHECK_THAT(s->reason(), Catch::Contains("cluster key does not match"));
    }
}

TEST_CASE("a client proves the first key of its ring, a server accepts any of its own", "[net][tls]") {
    const std::vector<cluster_key> both{cluster_key::generate(), cluster_key::generate()};
    const std::vector<cluster_key> turned{both[1], both[0]};
    const auto talk = [](const std::vector<cluster_key>& dials, const std::vector<cluster_key>& accepts) {
        tls_session client(std::make_shared<const tls_context>(dials, home), role::client);
        tls_session server(std::make_shared<const tls_context>(accepts, home), role::server);
        pump(client, server);
        CHECK((client.status() == state::open) == (server.status() == state::open));
        return server.status() == state::open;
    };
    CHECK(talk(both, both));
    CHECK(talk(both, turned));
    CHECK(talk(turned, both));
    CHECK(talk(both, {both[0]}));
    CHECK(talk({both[0]}, turned));
    CHECK_FALSE(talk(both, {both[1]}));
    CHECK_FALSE(talk({cluster_key::generate()}, both));
    CHECK_THROWS_AS(tls_context(std::span<const cluster_key>(), home), error);
}

TEST_CASE("another cluster: both sides say so", "[net][tls]") {
    const cluster_key key = cluster_key::generate();
    const cluster_id other = cluster_id::from_name("other");
    tls_session client(context(key, other), role::client);
    tls_session server(context(key), role::server);
    pump(client, server);
    CHECK(server.status() == state::failed);
    CHECK(server.failure() == errc::wrong_cluster);
    CHECK_THAT(server.reason(), Catch::Contains(to_string(other)) && Catch::Contains(to_string(home)));
    CHECK(client.status() == state::failed);
    CHECK(client.failure() == errc::wrong_cluster);
}

TEST_CASE("a side that does not speak TLS", "[net][tls]") {
    const cluster_key key = cluster_key::generate();
    for (const role r : {role::client, role::server}) {
        for (const char* text : {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n"}) {
            tls_session s(context(key), r);
            byte_buffer hello;
            s.take(hello);
            s.feed(as_bytes_view(text));
            CHECK(s.status() == state::failed);
            CHECK(s.failure() == errc::auth_failed);
            CHECK_THAT(s.reason(), Catch::Contains("does not speak TLS"));
            byte_buffer alert;
            s.take(alert);
            REQUIRE(alert.size() == 7);
            CHECK(alert.data()[0] == std::byte{21});
        }
    }
}

TEST_CASE("two servers, or two clients, do not agree", "[net][tls]") {
    const cluster_key key = cluster_key::generate();
    tls_session a(context(key), role::client);
    tls_session b(context(key), role::client);
    pump(a, b);
    CHECK(a.status() == state::failed);
    CHECK(b.status() == state::failed);
    CHECK_FALSE(a.reason().empty());
}

TEST_CASE("a changed byte ends an open session", "[net][tls]") {
    const cluster_key key = cluster_key::generate();
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        random_source random(seed);
        tls_session client(context(key), role::client);
        tls_session server(context(key), role::server);
        pump(client, server);
        client.write(as_bytes_view("one hundred coins to Alice"));
        byte_buffer bytes;
        client.take(bytes);
        bytes.data()[random.below(bytes.size())] ^= static_cast<std::byte>(1 + random.below(255));
        server.feed(bytes);
        const std::string got = read_all(server);
        CHECK(got.empty());
        // A longer length makes it wait for more; everything else fails at once.
        CHECK((server.status() == state::failed || server.status() == state::open));
        CHECK(client.status() == state::open);
    }
}

TEST_CASE("random bytes never open a session", "[net][tls]") {
    const cluster_key key = cluster_key::generate();
    const auto shared = context(key);
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        random_source random(seed);
        tls_session s(shared, seed % 2 == 0 ? role::client : role::server);
        std::string noise(1 + random.below(600), '\0');
        for (char& c : noise) c = static_cast<char>(random.next());
        if (seed % 3 != 0) noise[0] = static_cast<char>(22);
        if (seed % 3 == 2 && noise.size() > 3) {
            noise[1] = 3;
            noise[2] = 3;
            noise[3] = 0;
        }
        s.feed(as_bytes_view(noise));
        CHECK((s.status() == state::failed || s.status() == state::handshaking));
        if (s.status() == state::failed) CHECK_FALSE(s.reason().empty());
        s.feed(as_bytes_view(noise));
        byte_buffer out;
        s.take(out);
        CHECK(read_all(s).empty());
    }
}

}  // namespace covey_test_net_tls
