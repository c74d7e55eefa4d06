// Handlers that the tests of the simulation share: they write down what happens to them.
#pragma once

#include <covey/sim/simulation.hpp>
#include <covey/task/work.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define COVEY_TEST_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COVEY_TEST_LEAKS 1
#endif
#endif
#ifdef COVEY_TEST_LEAKS
#include <sanitizer/lsan_interface.h>
#endif

namespace sim_test {

/// A killed host drops its coroutines; nobody is left to destroy those that the dead peer served.
struct leaks_allowed {
#ifdef COVEY_TEST_LEAKS
    leaks_allowed() { __lsan_disable(); }
    ~leaks_allowed() { __lsan_enable(); }
#else
    leaks_allowed() {}
    ~leaks_allowed() {}
#endif
    leaks_allowed(const leaks_allowed&) = delete;
    leaks_allowed& operator=(const leaks_allowed&) = delete;
};

inline const covey::endpoint any_port = covey::endpoint::v4(0, 0, 0, 0, 0);

/// A timer that runs a callable.
struct alarm_timer : covey::timer {
    explicit alarm_timer(covey::unique_function<void()> what) : timer(&ring), run_it(std::move(what)) {}
    static void ring(covey::timer& t) noexcept { static_cast<alarm_timer&>(t).run_it(); }
    covey::unique_function<void()> run_it;
};

/// Work that runs a callable each time it is posted.
struct job : covey::work_item {
    explicit job(covey::unique_function<void()> what) : work_item(&run), run_it(std::move(what)) {}
    static void run(covey::work_item* w) { static_cast<job*>(w)->run_it(); }
    covey::unique_function<void()> run_it;
};

/// Keeps the datagrams that come.
struct inbox : covey::datagram_handler {
    void on_datagram(const covey::endpoint& from, covey::bytes_view bytes) override {
        got.emplace_back(from, std::string(covey::as_text(bytes)));
        if (then) then(from, bytes);
    }
    std::vector<std::pair<covey::endpoint, std::string>> got;
    covey::unique_function<void(const covey::endpoint&, covey::bytes_view)> then;
};

/// One end of a stream: keeps what it reads, writes what is queued as far as it fits.
struct talker : covey::stream_handler, std::enable_shared_from_this<talker> {
    explicit talker(std::size_t read_bytes = 4096) : buffer(read_bytes) {}

    void begin(std::unique_ptr<covey::stream_socket> s) {
        socket = std::move(s);
        socket->start(shared_from_this());
    }
    void say(std::string_view text) {
        to_write.append(covey::as_bytes_view(text));
        write();
    }
    void write() {
        while (!to_write.empty()) {
            const std::size_t n = socket->write_some(to_write);
            if (n > to_write.size()) ++broken;
            written += n;
            const bool all = n == to_write.size();
            to_write.consume(n);
            if (!all) return;  // on_writable follows
        }
        if (close_after_writing) socket->close();
    }
    std::span<std::byte> read_buffer() override {
        if (reading || why) ++broken;
        reading = true;
        return buffer;
    }
    void on_read(std::size_t n) override {
        if (!reading || n == 0 || n > buffer.size() || why) ++broken;
        reading = false;
        ++reads;
        if (keep) received.append(reinterpret_cast<const char*>(buffer.data()), n);
        received_bytes += n;
        if (echo) say(std::string_view(reinterpret_cast<const char*>(buffer.data()), n));
        if (on_bytes) on_bytes();
    }
    void on_writable() override {
        if (why) ++broken;
        ++writables;
        write();
    }
    void on_closed(std::error_code e) override {
        if (why) ++broken;
        why = e;
    }
    bool closed() const { return why.has_value(); }

    std::unique_ptr<covey::stream_socket> socket;
    std::vector<std::byte> buffer;
    covey::byte_buffer to_write;
    std::string received;
    std::size_t received_bytes = 0;
    std::size_t written = 0;
    std::size_t reads = 0;
    std::size_t writables = 0;
    int broken = 0;  // contracts of the environment that were not kept
    bool reading = false;
    bool keep = true;
    bool echo = false;
    bool close_after_writing = false;
    std::optional<std::error_code> why;
    covey::unique_function<void()> on_bytes;
};

/// Two talkers over one connection from a to b, or the error of connecting.
struct conversation {
    std::shared_ptr<talker> client = std::make_shared<talker>();
    std::shared_ptr<talker> server = std::make_shared<talker>();
    std::unique_ptr<covey::stream_listener> listener;
    std::optional<std::error_code> connected;

    /// Begins; run the simulation until `open()`.
    void begin(covey::sim::host& a, covey::sim::host& b) {
        listener = b.listen(any_port, [this](std::unique_ptr<covey::stream_socket> s) { server->begin(std::move(s)); });
        a.connect(listener->local(), std::chrono::seconds(10), [this](std::unique_ptr<covey::stream_socket> s, std::error_code e) {
            connected = e;
            if (s) client->begin(std::move(s));
        });
    }
    bool open() const { return client->socket && server->socket; }

    conversation() = default;
    conversation(const conversation&) = delete;
    conversation& operator=(const conversation&) = delete;
    ~conversation() {
        // Handlers own their sockets and sockets keep their handlers until on_closed: end that by hand.
        client->socket = nullptr;
        server->socket = nullptr;
    }
};

}  // namespace sim_test
