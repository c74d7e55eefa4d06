#include <covey/net/asio_environment.hpp>

#include <task/support.hpp>

#include <dirent.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace covey_test_net_asio_environment {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::events;
using covey_test::repeats;
using covey_test::wait_until;

namespace {

constexpr endpoint loopback = endpoint::v4(127, 0, 0, 1, 0);

std::string error_text(const std::function<void()>& f, errc code) {
    try {
        f();
    } catch (const error& e) {
        CHECK(e.code() == code);
        return e.what();
    }
    FAIL("no error");
    return {};
}

std::size_t open_descriptors() {
    std::size_t n = 0;
    DIR* const dir = opendir("/proc/self/fd");
    REQUIRE(dir != nullptr);
    while (readdir(dir) != nullptr) ++n;
    closedir(dir);
    return n;
}

struct datagrams : datagram_handler {
    void on_datagram(const endpoint& from, bytes_view bytes) override {
        if (echo_on.load() != nullptr) {
            echo_on.load()->send(from, bytes);
        } else {
            {
                const std::lock_guard lock(mutex);
                texts.emplace_back(as_text(bytes));
                sender = from;
            }
            got.add();
        }
    }
    std::atomic<datagram_socket*> echo_on{nullptr};
    std::mutex mutex;
    std::vector<std::string> texts;
    endpoint sender;
    events got;
};

/// Collects what a stream tells, and sends `to_send` as fast as the socket takes it.
struct stream_end : stream_handler {
    explicit stream_end(std::size_t buffer_size = 4'096) : buffer(buffer_size) {}

    std::span<std::byte> read_buffer() override { return buffer; }
    void on_read(std::size_t n) override {
        if (n == 0 || n > buffer.size()) ++wrong;
        if (closed_count.load() != 0) ++wrong;
        received.fetch_add(n);
        if (read_hook) read_hook(bytes_view(buffer.data(), n));
    }
    void on_writable() override {
        writable.add();
        if (writable_hook) writable_hook();
    }
    void on_closed(std::error_code error) override {
        why = error;
        closed_count.fetch_add(1);
        closed.add();
    }

    std::vector<std::byte> buffer;
    std::function<void(bytes_view)> read_hook;
    std::function<void()> writable_hook;
    std::atomic<std::size_t> received{0};
    std::atomic<int> closed_count{0};
    std::atomic<int> wrong{0};
    std::error_code why;
    events closed;
    events writable;
};

/// Writes a text that may not fit at once; the rest goes out from on_writable. One caller at a time, as sockets want it.
class writer {
public:
    void set(stream_socket* on) noexcept { m_on = on; }
    void add(bytes_view bytes) {
        const std::lock_guard lock(m_mutex);
        m_left.append(bytes);
        flush();
    }
    void go_on() {
        const std::lock_guard lock(m_mutex);
        flush();
    }
    std::size_t short_writes() {
        const std::lock_guard lock(m_mutex);
        return m_short;
    }

private:
    void flush() {
        if (m_left.empty()) return;
        m_left.consume(m_on->write_some(m_left.view()));
        m_short += !m_left.empty();
    }
    std::mutex m_mutex;
    stream_socket* m_on = nullptr;
    byte_buffer m_left;
    std::size_t m_short = 0;
};

/// A listener, and one connection through it.
struct connection {
    explicit connection(environment& env) {
        listener = env.listen(loopback, [this](std::unique_ptr<stream_socket> s) {
            {
                const std::lock_guard lock(mutex);
                server = std::move(s);
            }
            made.add();
        });
        env.connect(listener->local(), 30s, [this](std::unique_ptr<stream_socket> s, std::error_code why) {
            {
                const std::lock_guard lock(mutex);
                client = std::move(s);
                error = why;
            }
            made.add();
        });
        REQUIRE(made.wait_for(2));
        REQUIRE(client != nullptr);
        REQUIRE(server != nullptr);
    }
    std::mutex mutex;
    std::unique_ptr<stream_socket> client;
    std::unique_ptr<stream_socket> server;
    std::error_code error;
    events made;
    std::unique_ptr<stream_listener> listener;
};

std::byte pattern(std::size_t i) { return static_cast<std::byte>((i * 31 + i / 251) & 0xff); }

/// A port of this machine that nobody listens on: one that was free a moment ago.
endpoint unused_port(environment& env) {
    return env.listen(loopback, [](std::unique_ptr<stream_socket>) {})->local();
}

}  // namespace

TEST_CASE("datagrams go there and back", "[net]") {
    pool threads({.threads = 2});
    asio_environment env(threads);
    const auto echo = std::make_shared<datagrams>();
    const auto asking = std::make_shared<datagrams>();
    const auto server = env.open_datagram(loopback, echo);
    echo->echo_on = server.get();
    const auto client = env.open_datagram(loopback, asking);
    CHECK(server->local().is_loopback());
    CHECK(server->local().port != 0);
    CHECK(client->local().port != server->local().port);
    // Datagrams may be lost, on loopback too when a buffer is full: so one after the other.
    for (std::size_t i = 1; i <= 100; ++i) {
        client->send(server->local(), as_bytes_view("datagram " + std::to_string(i)));
        REQUIRE(asking->got.wait_for(i));
    }
    const std::lock_guard lock(asking->mutex);
    CHECK(asking->texts.front() == "datagram 1");
    CHECK(asking->texts.back() == "datagram 100");
    CHECK(asking->sender == server->local());
    echo->echo_on = nullptr;
}

TEST_CASE("a datagram to a port nobody has is lost, and the socket goes on", "[net]") {
    pool threads({.threads = 1});
    asio_environment env(threads);
    const auto handler = std::make_shared<datagrams>();
    const auto socket = env.open_datagram(loopback, handler);
    const endpoint nobody = env.open_datagram(loopback, std::make_shared<datagrams>())->local();
    const endpoint self = socket->local();
    for (int i = 0; i < 10; ++i) socket->send(nobody, as_bytes_view("lost"));
    socket->send(self, as_bytes_view("to myself"));
    REQUIRE(handler->got.wait_for(1));
    const std::lock_guard lock(handler->mutex);
    CHECK(handler->texts == std::vector<std::string>{"to myself"});
}

TEST_CASE("a closed datagram socket lets go of its handler", "[net]") {
    pool threads({.threads = 2});
    asio_environment env(threads);
    const auto handler = std::make_shared<datagrams>();
    auto socket = env.open_datagram(loopback, handler);
    CHECK(handler.use_count() > 1);
    socket.reset();
    CHECK(wait_until([&] { return handler.use_count() == 1; }));
}

TEST_CASE("a used port and a foreign address are told in words", "[net]") {
    pool threads({.threads = 1});
    asio_environment env(threads);
    const auto ignore = [](std::unique_ptr<stream_socket>) {};
    const auto listener = env.listen(loopback, ignore);
    const std::string used = error_text([&] { env.listen(listener->local(), ignore); }, errc::address_in_use);
    CHECK_THAT(used, Catch::Contains(to_string(listener->local())) && Catch::Contains("used by another process"));
    const auto socket = env.open_datagram(loopback, std::make_shared<datagrams>());
    const std::string used_too =
        error_text([&] { env.open_datagram(socket->local(), std::make_shared<datagrams>()); }, errc::address_in_use);
    CHECK_THAT(used_too, Catch::Contains(to_string(socket->local())));
    const endpoint foreign = endpoint::v4(192, 0, 2, 1, 0);  // kept free for documentation (RFC 5737)
    const std::string words = error_text([&] { env.listen(foreign, ignore); }, errc::bad_address);
    CHECK_THAT(words, Catch::Contains("192.0.2.1") && Catch::Contains("no address of this machine"));
    error_text([&] { env.open_datagram(foreign, std::make_shared<datagrams>()); }, errc::bad_address);
}

TEST_CASE("a refused connection is reported once", "[net]") {
    pool threads({.threads = 2});
    asio_environment env(threads);
    events answered;
    std::error_code got;
    bool had_socket = true;
    env.connect(unused_port(env), 30s, [&](std::unique_ptr<stream_socket> s, std::error_code why) {
        had_socket = s != nullptr;
        got = why;
        answered.add();
    });
    REQUIRE(answered.wait_for(1));
    CHECK_FALSE(had_socket);
    CHECK(got == std::errc::connection_refused);
    CHECK(answered.count() == 1);
}

TEST_CASE("addresses and names are resolved", "[net]") {
    pool threads({.threads = 1});
    asio_environment env(threads);
    const auto found = env.resolve("127.0.0.1:7400");
    REQUIRE(found.size() == 1);
    CHECK(found[0] == endpoint::v4(127, 0, 0, 1, 7400));
    const auto six = env.resolve("[::1]:80");
    REQUIRE(six.size() == 1);
    CHECK(to_string(six[0]) == "[::1]:80");
    CHECK_THAT(error_text([&] { env.resolve("not an address:80"); }, errc::bad_address), Catch::Contains("not an address:80"));
    error_text([&] { env.resolve("127.0.0.1"); }, errc::bad_address);
}

TEST_CASE("names are looked up on another thread, with addresses or a reason for an answer", "[net]") {
    pool threads({.threads = 1});
    asio_environment env(threads);
    events answered;
    struct result {
        std::vector<endpoint> found;
        std::string why;
        std::thread::id on;
    };
    const auto ask = [&](const char* text, result& r) {
        env.look_up(text, [&](std::vector<endpoint> found, std::string why) {
            r = {std::move(found), std::move(why), std::this_thread::get_id()};
            answered.add();
        });
    };
    result good, bad, worse;
    ask("127.0.0.1:7400", good);
    ask("peers.invalid:7400", bad);  // stands for nothing, whatever the name server (RFC 6761)
    ask("no port", worse);
    REQUIRE(answered.wait_for(3));
    CHECK(good.found == std::vector{endpoint::v4(127, 0, 0, 1, 7400)});
    CHECK(good.why.empty());
    CHECK(good.on != std::this_thread::get_id());
    CHECK(bad.found.empty());
    CHECK_THAT(bad.why, Catch::StartsWith("\"peers.invalid:7400\" cannot be resolved: "));
    CHECK(worse.found.empty());
    CHECK_THAT(worse.why, Catch::Contains("no port"));
}

TEST_CASE("both ends know each other's address", "[net]") {
    pool threads({.threads = 2});
    asio_environment env(threads);
    connection c(env);
    CHECK_FALSE(c.error);
    CHECK(c.client->remote() == c.listener->local());
    CHECK(c.client->local() == c.server->remote());
    CHECK(c.server->local() == c.client->remote());
}

TEST_CASE("eight megabytes are echoed through buffers that are full again and again", "[net]") {
    pool threads({.threads = 3});
    asio_environment env(threads);
    connection c(env);
    constexpr std::size_t size = 8u << 20;

    const auto server = std::make_shared<stream_end>(10'000);
    writer back;
    back.set(c.server.get());
    server->read_hook = [&](bytes_view bytes) { back.add(bytes); };
    server->writable_hook = [&] { back.go_on(); };

    const auto client = std::make_shared<stream_end>(7'001);
    writer there;
    there.set(c.client.get());
    std::atomic<std::size_t> wrong{0};
    std::size_t place = 0;
    events all;
    client->read_hook = [&](bytes_view bytes) {
        for (const std::byte b : bytes) wrong += b != pattern(place++);
        if (place == size) all.add();
    };
    client->writable_hook = [&] { there.go_on(); };

    c.server->start(server);
    c.client->start(client);
    std::vector<std::byte> message(size);
    for (std::size_t i = 0; i < size; ++i) message[i] = pattern(i);
    there.add(message);
    REQUIRE(all.wait_for(1));
    CHECK(wrong == 0);
    CHECK(client->received == size);
    CHECK(server->received == size);
    CHECK(there.short_writes() > 0);
    c.client->close();
    CHECK(client->closed.wait_for(1));
    CHECK(server->closed.wait_for(1));
    CHECK_FALSE(server->why);
    CHECK(client->wrong + server->wrong == 0);
}

TEST_CASE("a writer that found no room is told when there is, also when it was before start", "[net]") {
    pool threads({.threads = 2});
    asio_environment env(threads);
    connection c(env);
    const std::vector<std::byte> block(65'536);
    std::size_t written = 0;
    for (std::size_t n = block.size(); n == block.size(); written += n) n = c.client->write_some(block);
    const auto server = std::make_shared<stream_end>(65'536);
    c.server->start(server);
    REQUIRE(wait_until([&] { return server->received.load() == written; }));  // there is room again, long since
    const auto client = std::make_shared<stream_end>();
    c.client->start(client);
    CHECK(client->writable.wait_for(1));
    c.client->close();
    CHECK(client->closed.wait_for(1));
    CHECK(server->closed.wait_for(1));
}

TEST_CASE("closing while reading gives exactly one on_closed, and keeps the handler until then", "[net]") {
    pool threads({.threads = 3});
    asio_environment env(threads);
    for (std::size_t round = 0; round < repeats(100, 30); ++round) {
        connection c(env);
        const auto server = std::make_shared<stream_end>();
        const auto client = std::make_shared<stream_end>();
        c.server->start(server);
        c.client->start(client);
        CHECK(client.use_count() > 1);
        if (round % 2 == 0) static_cast<void>(c.server->write_some(as_bytes_view("in flight")));
        std::thread other([&] { c.client->close(); });
        c.client->close();
        if (round % 3 == 0) c.server->close();
        other.join();
        REQUIRE(client->closed.wait_for(1));
        REQUIRE(server->closed.wait_for(1));
        c.client->close();
        if (round % 5 == 0) {
            static_cast<void>(c.client->write_some(as_bytes_view("into the void")));
            c.client.reset();
        }
        REQUIRE(wait_until([&] { return client.use_count() == 1 && server.use_count() == 1; }));
        REQUIRE(client->closed_count == 1);
        REQUIRE(server->closed_count == 1);
        REQUIRE(client->wrong + server->wrong == 0);
        REQUIRE_FALSE(client->why);
    }
}

TEST_CASE("only the stream holds the handler: it lives until on_closed has returned", "[net]") {
    struct watched : stream_end {
        explicit watched(events& to) : gone(to) {}
        ~watched() override {
            if (closed_count == 1) gone.add();
        }
        events& gone;
    };
    pool threads({.threads = 2});
    asio_environment env(threads);
    events gone;
    connection c(env);
    c.server->start(std::make_shared<watched>(gone));
    c.client->start(std::make_shared<watched>(gone));
    CHECK(gone.count() == 0);
    c.client.reset();
    CHECK(gone.wait_for(2));
}

TEST_CASE("a stream that is closed before start closes its handler at once", "[net]") {
    pool threads({.threads = 1});
    asio_environment env(threads);
    connection c(env);
    c.client->close();
    const auto client = std::make_shared<stream_end>();
    c.client->start(client);
    CHECK(client->closed.wait_for(1));
    const auto server = std::make_shared<stream_end>();
    c.server->start(server);
    CHECK(server->closed.wait_for(1));
}

TEST_CASE("the port is free as soon as the listener is destroyed", "[net]") {
    pool threads({.threads = 2});
    asio_environment env(threads);
    const auto ignore = [](std::unique_ptr<stream_socket>) {};
    // On an address that nobody else connects from: the kernel could give the free port to another program's connection.
    const auto pid = static_cast<std::uint32_t>(getpid());
    const auto byte = [&](unsigned shift) { return static_cast<std::uint8_t>(pid >> shift); };
    auto listener = env.listen(endpoint::v4(127, static_cast<std::uint8_t>(byte(16) | 0x80), byte(8), byte(0) | 1, 0), ignore);
    const endpoint where = listener->local();
    for (int i = 0; i < 20; ++i) {
        listener.reset();
        listener = env.listen(where, ignore);
        REQUIRE(listener->local() == where);
    }
}

TEST_CASE("a listener is destroyed while others connect to it", "[net]") {
    pool threads({.threads = 3});
    asio_environment env(threads);
    for (std::size_t round = 0; round < repeats(50, 20); ++round) {
        // Owned by the callback: what it holds is let go with the listener, and not before the last call.
        const auto accepted = std::make_shared<std::atomic<int>>(0);
        auto listener = env.listen(loopback, [accepted](std::unique_ptr<stream_socket>) { ++*accepted; });
        const endpoint where = listener->local();
        events answered;
        constexpr std::size_t n = 8;
        for (std::size_t i = 0; i < n; ++i) {
            env.connect(where, 30s, [&](std::unique_ptr<stream_socket> s, std::error_code why) {
                if ((s == nullptr) != static_cast<bool>(why)) return;  // then the count stays short
                s.reset();
                answered.add();
            });
            if (i == round % n) listener.reset();
        }
        REQUIRE(answered.wait_for(n));
        REQUIRE(wait_until([&] { return accepted.use_count() == 1; }));
        REQUIRE(accepted->load() <= static_cast<int>(n));
    }
}

TEST_CASE("two hundred connections come and go, and leave nothing behind", "[net]") {
    pool threads({.threads = 2});
    asio_environment env(threads);
    { connection warm_up(env); }
    const auto echoing = [&] {
        connection c(env);
        const auto server = std::make_shared<stream_end>();
        const auto client = std::make_shared<stream_end>();
        writer back;
        back.set(c.server.get());
        server->read_hook = [&](bytes_view bytes) { back.add(bytes); };
        events answered;
        client->read_hook = [&](bytes_view bytes) { answered.add(bytes.size()); };
        c.server->start(server);
        c.client->start(client);
        static_cast<void>(c.client->write_some(as_bytes_view("hello")));
        REQUIRE(answered.wait_for(5));
        c.client.reset();
        REQUIRE(server->closed.wait_for(1));
        REQUIRE(client->closed.wait_for(1));
    };
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 200; ++i) echoing();
    // The last operations let go of their sockets on other threads.
    CHECK(wait_until([&] { return open_descriptors() <= before; }));
}

}  // namespace covey_test_net_asio_environment
