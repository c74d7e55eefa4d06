// A small network in memory for the tests of this room: one thread runs it, with a clock of its own. Streams have a small
// window and deliver in chunks, both adjustable, so that every boundary is met.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/core/random.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace covey::net::test {

using namespace std::chrono_literals;

class fake_environment : public environment {
public:
    std::size_t window = 64 * 1024;  // bytes in flight in one direction
    std::size_t chunk = 64 * 1024;   // bytes of one on_read at most
    duration latency = std::chrono::microseconds(50);
    std::set<endpoint> silent;       // endpoints that never answer
    std::vector<std::string> lines;  // of the log
    bool has_more_to_run = false;    // what post_after is told
    std::vector<std::coroutine_handle<>> put_off;
    std::size_t writes = 0;  // to streams, of something

    ~fake_environment() override {
        // Whatever is left holds handlers, which hold streams: let go of them before the members that streams use.
        for (const auto& c : all_connections()) {
            for (int side = 0; side < 2; ++side) end(c, side, {});
        }
        m_events.clear();
    }

    // ---- running it

    bool step() {
        std::function<void()> action;
        {
            const std::lock_guard lock(m_mutex);
            if (m_events.empty()) return false;
            const auto first = m_events.begin();
            m_now = std::max(m_now, first->first.first);
            action = std::move(first->second);
            m_events.erase(first);
        }
        action();
        return true;
    }
    template <class Predicate>
    bool run_until(Predicate done, duration limit = 60s) {
        const time_point end_time = now() + limit;
        while (!done()) {
            if (next_time() > end_time || !step()) return done();
        }
        return true;
    }
    void run_for(duration d) {
        const time_point end_time = now() + d;
        while (next_time() <= end_time) step();
        const std::lock_guard lock(m_mutex);
        m_now = end_time;
    }
    bool idle() const { return next_time() == never; }

    /// Side 0 dialled, side 1 accepted. A paused side reads nothing.
    void pause(int side, bool paused) {
        {
            const std::lock_guard lock(m_mutex);
            m_paused[side] = paused;
        }
        if (!paused) {
            for (const auto& c : all_connections()) later(0s, [this, c, side] { deliver(c, side); });
        }
    }
    void break_all(std::error_code why) {
        for (const auto& c : all_connections()) {
            for (int side = 0; side < 2; ++side) later(0s, [this, c, side, why] { end(c, side, why); });
        }
    }
    std::size_t open_connections() { return all_connections().size(); }

    // ---- scheduler

    void post(std::coroutine_handle<> work) noexcept override {
        later(0s, [work] { work.resume(); });
    }
    time_point now() const noexcept override {
        const std::lock_guard lock(m_mutex);
        return m_now;
    }
    void arm(timer& t, time_point when) override {
        const std::lock_guard lock(m_mutex);
        const key k{std::max(when, m_now), ++m_order};
        t.slot.when = k.first;
        t.slot.order = k.second;
        t.slot.index = 1;
        m_events.emplace(k, [this, &t] {
            {
                const std::lock_guard inner(m_mutex);
                t.slot.index = 0;
            }
            t.fire();
        });
    }
    bool cancel(timer& t) noexcept override {
        const std::lock_guard lock(m_mutex);
        if (t.slot.index == 0 || m_events.erase({t.slot.when, t.slot.order}) == 0) return false;
        t.slot.index = 0;
        return true;
    }
    std::uint64_t random() noexcept override {
        const std::lock_guard lock(m_mutex);
        return m_random.next();
    }
    unsigned concurrency() const noexcept override { return 1; }

    // ---- network

    std::unique_ptr<datagram_socket> open_datagram(const endpoint&, std::shared_ptr<datagram_handler>) override { return nullptr; }

    std::unique_ptr<stream_listener> listen(const endpoint& local, accept_callback accepted) override {
        const std::lock_guard lock(m_mutex);
        endpoint bound = local;
        if (bound.port == 0) bound.port = ++m_next_port;
        if (m_listeners.count(bound) != 0) throw error(errc::address_in_use, to_string(bound));
        m_listeners[bound] = std::make_shared<accept_callback>(std::move(accepted));
        return std::make_unique<fake_listener>(*this, bound);
    }

    void connect(const endpoint& to, duration timeout, connect_callback done) override {
        auto callback = std::make_shared<connect_callback>(std::move(done));
        if (silent.count(to) != 0) {
            return later(timeout, [callback] { (*callback)(nullptr, std::make_error_code(std::errc::timed_out)); });
        }
        later(latency, [this, to, callback] {
            std::shared_ptr<accept_callback> accepted;
            auto c = std::make_shared<connection>();
            {
                const std::lock_guard lock(m_mutex);
                const auto found = m_listeners.find(to);
                if (found != m_listeners.end()) accepted = found->second;
                c->address[0] = endpoint::v4(127, 0, 0, 1, ++m_next_port);
                c->address[1] = to;
                if (accepted) m_connections.push_back(c);
            }
            if (!accepted) return (*callback)(nullptr, std::make_error_code(std::errc::connection_refused));
            (*accepted)(std::make_unique<fake_stream>(*this, c, 1));
            (*callback)(std::make_unique<fake_stream>(*this, c, 0), {});
        });
    }
    bool post_after(std::coroutine_handle<> work) noexcept override {
        if (has_more_to_run) put_off.push_back(work);
        return has_more_to_run;
    }
    /// What runs when the thread has run all else.
    void run_put_off() {
        for (const std::coroutine_handle<> work : std::exchange(put_off, {})) work.resume();
    }
    std::vector<endpoint> resolve(std::string_view text) override { return {endpoint::parse(text)}; }
    void log(log_level, std::string_view line) noexcept override {
        const std::lock_guard lock(m_mutex);
        lines.emplace_back(line);
    }

private:
    using key = std::pair<time_point, std::uint64_t>;

    struct connection {
        endpoint address[2];
        byte_buffer in_flight[2];  // written by that side, not yet read by the other
        bool writer_waits[2] = {};
        bool closed[2] = {};  // that side closed or was closed
        bool ended[2] = {};   // its on_closed is over or due to nobody
        std::shared_ptr<stream_handler> handler[2];
    };
    using connection_ptr = std::shared_ptr<connection>;

    class fake_stream final : public stream_socket {
    public:
        fake_stream(fake_environment& env, connection_ptr c, int side) : m_env(env), m_c(std::move(c)), m_side(side) {}
        ~fake_stream() override { close(); }
        void start(std::shared_ptr<stream_handler> handler) override {
            {
                const std::lock_guard lock(m_env.m_mutex);
                m_c->handler[m_side] = std::move(handler);
            }
            m_env.later(0s, [env = &m_env, c = m_c, side = m_side] { env->deliver(c, side); });
        }
        std::size_t write_some(bytes_view bytes) noexcept override { return m_env.write(m_c, m_side, bytes); }
        void close() noexcept override { m_env.close(m_c, m_side); }
        endpoint local() const override { return m_c->address[m_side]; }
        endpoint remote() const override { return m_c->address[1 - m_side]; }

    private:
        fake_environment& m_env;
        connection_ptr m_c;
        int m_side;
    };

    class fake_listener final : public stream_listener {
    public:
        fake_listener(fake_environment& env, endpoint bound) : m_env(env), m_bound(bound) {}
        ~fake_listener() override {
            const std::lock_guard lock(m_env.m_mutex);
            m_env.m_listeners.erase(m_bound);
        }
        endpoint local() const override { return m_bound; }

    private:
        fake_environment& m_env;
        endpoint m_bound;
    };

    void later(duration delay, std::function<void()> action) {
        const std::lock_guard lock(m_mutex);
        m_events.emplace(key{m_now + delay, ++m_order}, std::move(action));
    }
    time_point next_time() const {
        const std::lock_guard lock(m_mutex);
        return m_events.empty() ? never : m_events.begin()->first.first;
    }
    std::vector<connection_ptr> all_connections() {
        const std::lock_guard lock(m_mutex);
        std::erase_if(m_connections, [](const connection_ptr& c) { return c->ended[0] && c->ended[1]; });
        return m_connections;
    }

    std::size_t write(const connection_ptr& c, int side, bytes_view bytes) noexcept {
        std::size_t n = 0;
        {
            const std::lock_guard lock(m_mutex);
            writes += bytes.empty() ? 0 : 1;
            if (c->closed[side] || c->closed[1 - side]) return bytes.size();
            n = std::min(bytes.size(), window - std::min(window, c->in_flight[side].size()));
            c->in_flight[side].append(bytes.first(n));
            c->writer_waits[side] = n < bytes.size();
        }
        later(latency, [this, c, side] { deliver(c, 1 - side); });
        return n;
    }

    void close(const connection_ptr& c, int side) {
        {
            const std::lock_guard lock(m_mutex);
            if (c->closed[side]) return;
            c->closed[side] = true;
        }
        later(0s, [this, c, side] { end(c, side, {}); });
        later(latency, [this, c, side] { deliver(c, 1 - side); });
    }

    /// One on_read for `side`, and another event if there is more.
    void deliver(const connection_ptr& c, int side) {
        std::shared_ptr<stream_handler> h;
        {
            const std::lock_guard lock(m_mutex);
            h = c->handler[side];
            if (!h || c->closed[side] || m_paused[side]) return;
            if (c->in_flight[1 - side].empty()) {
                if (!c->closed[1 - side]) return;
                c->closed[side] = true;
            }
            if (c->closed[side]) h = nullptr;
        }
        if (!h) return end(c, side, {});
        const std::span<std::byte> room = h->read_buffer();
        std::size_t n = 0;
        bool writable = false;
        {
            const std::lock_guard lock(m_mutex);
            byte_buffer& from = c->in_flight[1 - side];
            n = std::min({room.size(), chunk, from.size()});
            std::copy_n(from.data(), n, room.data());
            from.consume(n);
            writable = c->writer_waits[1 - side] && from.size() <= window / 2;
            if (writable) c->writer_waits[1 - side] = false;
        }
        h->on_read(n);
        later(0s, [this, c, side] { deliver(c, side); });
        if (writable) {
            later(latency, [this, c, side] {
                std::shared_ptr<stream_handler> writer;
                {
                    const std::lock_guard lock(m_mutex);
                    writer = c->handler[1 - side];
                }
                if (writer) writer->on_writable();
            });
        }
    }

    void end(const connection_ptr& c, int side, std::error_code why) {
        std::shared_ptr<stream_handler> h;
        {
            const std::lock_guard lock(m_mutex);
            if (c->ended[side]) return;
            c->ended[side] = c->closed[side] = true;
            h = std::move(c->handler[side]);
            c->in_flight[1 - side].clear();
        }
        if (h) h->on_closed(why);
    }

    mutable std::mutex m_mutex;
    time_point m_now{1s};
    std::uint64_t m_order = 0;
    std::map<key, std::function<void()>> m_events;
    random_source m_random{42};
    std::uint16_t m_next_port = 20000;
    std::map<endpoint, std::shared_ptr<accept_callback>> m_listeners;
    std::vector<connection_ptr> m_connections;
    bool m_paused[2] = {};
};

/// A stream without any protocol: what it is told to write goes out, what comes in is kept.
class raw_stream final : public stream_handler {
public:
    std::unique_ptr<stream_socket> socket;
    std::string received;
    bool closed = false;

    static std::shared_ptr<raw_stream> dial(fake_environment& env, const endpoint& to) {
        auto raw = std::make_shared<raw_stream>();
        bool failed = false;
        env.connect(to, 1s, [raw, &failed](std::unique_ptr<stream_socket> s, std::error_code) {
            failed = s == nullptr;
            raw->socket = std::move(s);
            if (raw->socket) raw->socket->start(raw);
        });
        env.run_until([&] { return failed || raw->socket != nullptr; });
        return raw;
    }
    void write(bytes_view bytes) {
        if (socket) socket->write_some(bytes);
    }

    std::span<std::byte> read_buffer() override { return m_buffer; }
    void on_read(std::size_t n) override { received.append(reinterpret_cast<const char*>(m_buffer), n); }
    void on_writable() override {}
    void on_closed(std::error_code) override {
        closed = true;
        socket.reset();
    }

private:
    std::byte m_buffer[4096];
};

}  // namespace covey::net::test
