// Links over the system's sockets and the pool's threads: what the other tests of this room do in memory, once for real.
#include <covey/net/asio_environment.hpp>
#include <covey/net/link_table.hpp>

#include <catch2/catch.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace covey_test_net_sockets {

using namespace covey;
using namespace covey::net;
using namespace std::chrono_literals;
using covey::net::link;  // there is a function ::link in POSIX
using wire::frame_header;
using wire::frame_kind;

namespace {

hello introduce(std::uint64_t id) {
    hello h;
    h.cluster = cluster_id::from_name("home");
    h.id = peer_id{id};
    return h;
}

/// Threads and an environment. The pool goes first: its end lets closed sockets report to their links for the last time,
/// and those still use the environment.
struct machine {
    std::unique_ptr<pool> threads = std::make_unique<pool>();
    asio_environment env{*threads};

    ~machine() { threads.reset(); }
};

/// Counts events and lets the test's thread wait for them.
struct node : link_events {
    node(environment& env, std::uint64_t id, const std::optional<cluster_key>& key)
        : table(std::make_unique<link_table>(env, link_config{}, introduce(id), key, *this)) {}

    std::shared_ptr<link> connect(const endpoint& to) {
        std::shared_ptr<link> made;
        bool answered = false;
        table->connect(to, {}, 5s, [&](std::shared_ptr<link> l, std::error_code code, std::string words) {
            const std::lock_guard lock(mutex);
            made = std::move(l);
            why = code;
            text = std::move(words);
            answered = true;
            changed.notify_all();
        });
        REQUIRE(wait([&] { return answered; }));
        return made;
    }
    bool wait(const std::function<bool()>& done) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, 60s, done);
    }
    template <class Change>
    void note(Change change) {
        const std::lock_guard lock(mutex);
        change();
        changed.notify_all();
    }

    void on_link_up(const std::shared_ptr<link>&) override {
        note([this] { ++ups; });
    }
    void on_frame(link& l, const frame_header& h, bytes_view body) override {
        if (h.kind == frame_kind::call) {
            frame_header back = h;
            back.kind = frame_kind::reply;
            l.send(back, body);
            return;
        }
        const bool whole =
            body.size() == h.function && std::all_of(body.begin(), body.end(), [&](std::byte b) { return b == std::byte(h.slot); });
        note([&] { ++(whole ? replies : broken); });
    }
    void on_link_down(const std::shared_ptr<link>&, std::error_code code, const std::string& words) override {
        note([&] {
            ++downs;
            why = code;
            text = words;
        });
    }

    std::mutex mutex;
    std::condition_variable changed;
    int ups = 0;
    int downs = 0;
    int replies = 0;
    int broken = 0;
    std::error_code why;
    std::string text;
    std::unique_ptr<link_table> table;
};

}  // namespace

TEST_CASE("links over real sockets, from many threads", "[net][link_table]") {
    std::optional<cluster_key> key;
    if (GENERATE(false, true)) key = cluster_key::generate();
    machine here;
    environment& env = here.env;
    node a(env, 1, key);
    node b(env, 2, key);
    const endpoint there = b.table->listen(endpoint::v4(127, 0, 0, 1, 0));
    const std::shared_ptr<link> l = a.connect(there);
    REQUIRE(l);

    constexpr unsigned senders = 4;
    constexpr std::uint32_t calls_each = 500;
    std::vector<std::thread> running;
    for (unsigned t = 0; t < senders; ++t) {
        running.emplace_back([&l, t] {
            for (std::uint32_t i = 0; i < calls_each; ++i) {
                frame_header h;
                h.kind = frame_kind::call;
                h.slot = i;
                h.function = i % 100 == 0 ? 3u << 20 : i * (t + 1) % 3000;  // how large the body is
                l->send(h, [&h](byte_buffer& out) {
                    std::memset(out.prepare(h.function), static_cast<int>(h.slot & 0xff), h.function);
                    out.commit(h.function);
                });
            }
        });
    }
    for (std::thread& t : running) t.join();
    const bool all = a.wait([&a] { return a.replies + a.broken == static_cast<int>(senders * calls_each) || a.downs != 0; });
    INFO(a.text);
    REQUIRE(all);
    CHECK(a.broken == 0);
    CHECK(a.downs == 0);
    CHECK(l->statistics().calls_out == 0);

    b.table->close_all("that was all");
    CHECK(a.wait([&a] { return a.downs == 1; }));
    CHECK_THAT(a.text, Catch::Contains("that was all"));
    CHECK(b.wait([&b] { return b.downs == 1; }));

    // Closing while connections are being made and broken off.
    for (int i = 0; i < 20; ++i) a.table->connect(there, {}, 5s, [](std::shared_ptr<link>, std::error_code, std::string) {});
    a.table->close();
    b.table->close();
}

TEST_CASE("refusals over real sockets", "[net][link_table]") {
    machine here;
    environment& env = here.env;
    node a(env, 1, cluster_key::generate());
    node b(env, 2, cluster_key::generate());
    const endpoint there = b.table->listen(endpoint::v4(127, 0, 0, 1, 0));
    CHECK_FALSE(a.connect(there));
    CHECK(a.why == errc::auth_failed);
    CHECK_THAT(a.text, Catch::Contains("cluster key does not match"));

    // A port that is bound and not listened on: nobody can answer there, and nobody else can take it.
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    const endpoint nobody = endpoint::v4(127, 0, 0, 1, ntohs(address.sin_port));
    node c(env, 3, {});
    CHECK_FALSE(c.connect(nobody));
    ::close(fd);
    CHECK(c.why == errc::unreachable);
    CHECK_THAT(c.text, Catch::Contains("connection refused: nothing listens on " + to_string(nobody)));
}

}  // namespace covey_test_net_sockets
