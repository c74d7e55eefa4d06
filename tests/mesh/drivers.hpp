// Drivers over an environment with a virtual clock. Only for the tests of this room.
#pragma once

#include <covey/mesh/detail/key_seal.hpp>
#include <covey/mesh/driver.hpp>

#include "harness.hpp"

#include <atomic>
#include <map>
#include <mutex>

namespace mesh_test {

using mesh::driver;

/// Timers and datagrams on a virtual clock; `step` may be called by several threads. Streams are not its business.
class fake_environment final : public environment {
public:
    void post(std::coroutine_handle<>) noexcept override {}
    time_point now() const noexcept override {
        const std::lock_guard lock(m_mutex);
        return m_now;
    }
    void arm(timer& t, time_point when) override {
        const std::lock_guard lock(m_mutex);
        if (t.slot.index != 0) ++misused;
        t.slot.index = 1;
        t.slot.when = std::max(when, m_now);
        t.slot.order = ++m_order;
        m_timers[{t.slot.when, t.slot.order}] = &t;
    }
    bool cancel(timer& t) noexcept override {
        const std::lock_guard lock(m_mutex);
        if (t.slot.index == 0) return false;
        t.slot.index = 0;
        return m_timers.erase({t.slot.when, t.slot.order}) == 1;
    }
    std::uint64_t random() noexcept override {
        const std::lock_guard lock(m_mutex);
        return m_random.next();
    }
    unsigned concurrency() const noexcept override { return 2; }
    std::unique_ptr<datagram_socket> open_datagram(const endpoint& local, std::shared_ptr<datagram_handler> handler) override {
        const std::lock_guard lock(m_mutex);
        endpoint at = local;
        if (at.port == 0) at.port = m_next_port++;
        if (m_sockets.contains(at)) throw error(errc::address_in_use, to_string(at));
        auto shared = std::make_shared<receiver>();
        shared->handler = std::move(handler);
        m_sockets[at] = shared;
        return std::make_unique<socket>(*this, at);
    }
    std::unique_ptr<stream_listener> listen(const endpoint&, accept_callback) override { return nullptr; }
    void connect(const endpoint&, duration, connect_callback) override {}
    std::vector<endpoint> resolve(std::string_view) override { return {}; }
    void look_up(std::string text, look_up_callback done) override {
        {
            const std::lock_guard lock(m_mutex);
            ++m_look_ups[text];
            if (m_hold) {
                m_held.push_back({std::move(text), std::move(done)});
                return;
            }
        }
        answer(text, std::move(done));
    }
    void set_name(const std::string& text, std::vector<endpoint> addresses) {
        const std::lock_guard lock(m_mutex);
        m_names[text] = std::move(addresses);
    }
    int look_ups(const std::string& text) {
        const std::lock_guard lock(m_mutex);
        return m_look_ups[text];
    }
    /// From now on look-ups wait until they are answered.
    void hold_look_ups() {
        const std::lock_guard lock(m_mutex);
        m_hold = true;
    }
    std::size_t held() const {
        const std::lock_guard lock(m_mutex);
        return m_held.size();
    }
    /// Answers the oldest.
    void answer_look_up() {
        std::unique_lock lock(m_mutex);
        auto [text, done] = std::move(m_held.front());
        m_held.pop_front();
        lock.unlock();
        answer(text, std::move(done));
    }
    void log(log_level, std::string_view line) noexcept override {
        ++logged;
        const std::lock_guard lock(m_mutex);
        m_lines.emplace_back(line);
    }
    /// Lines of the log that have this in them.
    std::size_t lines(std::string_view part) const {
        const std::lock_guard lock(m_mutex);
        return static_cast<std::size_t>(
            std::count_if(m_lines.begin(), m_lines.end(), [part](const std::string& l) { return l.find(part) != std::string::npos; }));
    }
    /// A datagram from a stranger.
    void inject(const endpoint& to, bytes_view bytes) {
        const std::lock_guard lock(m_mutex);
        m_packets.push_back({endpoint::v4(10, 9, 8, 7, 6), to, {bytes.begin(), bytes.end()}});
    }
    /// Of all that was sent.
    std::uint64_t trace() const {
        const std::lock_guard lock(m_mutex);
        return m_trace;
    }

    /// Lets the next thing happen; false: nothing is left before `end`.
    bool step(time_point end) {
        std::unique_lock lock(m_mutex);
        if (!m_packets.empty()) {
            packet p = std::move(m_packets.front());
            m_packets.pop_front();
            const auto it = m_sockets.find(p.to);
            if (it == m_sockets.end()) return true;
            const auto r = it->second;
            lock.unlock();
            const std::lock_guard serial(r->serial);
            r->handler->on_datagram(p.from, p.bytes);
            return true;
        }
        if (m_timers.empty() || m_timers.begin()->first.first > end) return false;
        timer* t = m_timers.begin()->second;
        m_now = std::max(m_now, m_timers.begin()->first.first + timers_late_by);
        m_timers.erase(m_timers.begin());
        t->slot.index = 0;
        lock.unlock();
        t->fire();
        return true;
    }
    void run_for(duration d) {
        const time_point end = now() + d;
        while (step(end)) {}
        const std::lock_guard lock(m_mutex);
        m_now = end;
    }
    std::size_t armed() const {
        const std::lock_guard lock(m_mutex);
        return m_timers.size();
    }

    std::atomic<int> logged{0};
    std::atomic<int> misused{0};  // timers armed twice
    duration timers_late_by{};    // set while nothing runs

private:
    void answer(const std::string& text, look_up_callback done) {
        std::unique_lock lock(m_mutex);
        const auto at = m_names.find(text);
        std::vector<endpoint> found = at != m_names.end() ? at->second : std::vector<endpoint>();
        lock.unlock();
        const std::string why = found.empty() ? "\"" + text + "\" is unknown" : "";
        done(std::move(found), why);
    }
    struct receiver {
        std::shared_ptr<datagram_handler> handler;
        std::mutex serial;
    };
    struct packet {
        endpoint from, to;
        std::vector<std::byte> bytes;
    };
    struct socket final : datagram_socket {
        socket(fake_environment& e, const endpoint& a) : env(e), at(a) {}
        ~socket() override {
            const std::lock_guard lock(env.m_mutex);
            env.m_sockets.erase(at);
        }
        endpoint local() const override { return at; }
        void send(const endpoint& to, bytes_view bytes) noexcept override {
            const std::lock_guard lock(env.m_mutex);
            env.m_trace = fnv1a(as_text(bytes), env.m_trace);
            env.m_packets.push_back({at, to, {bytes.begin(), bytes.end()}});
        }
        fake_environment& env;
        endpoint at;
    };

    mutable std::mutex m_mutex;
    time_point m_now{1s};
    std::uint64_t m_order = 0;
    std::uint16_t m_next_port = 20000;
    random_source m_random{1};
    std::map<std::pair<time_point, std::uint64_t>, timer*> m_timers;
    std::map<endpoint, std::shared_ptr<receiver>> m_sockets;
    std::deque<packet> m_packets;
    std::vector<std::string> m_lines;
    std::map<std::string, std::vector<endpoint>> m_names;
    std::map<std::string, int> m_look_ups;
    std::deque<std::pair<std::string, look_up_callback>> m_held;
    bool m_hold = false;
    std::uint64_t m_trace = 0;
};

/// Flips every bit: enough to see that both directions pass through it.
struct flipping_seal final : mesh::datagram_seal {
    void seal(bytes_view plain, byte_buffer& out) override {
        const auto tag = std::byte{0x5a};
        out.append(&tag, 1);
        for (const std::byte b : plain) {
            const std::byte flipped = ~b;
            out.append(&flipped, 1);
        }
    }
    std::optional<net::seal_rejection> open(bytes_view sealed, byte_buffer& out) override {
        if (sealed.empty() || sealed[0] != std::byte{0x5a}) return net::seal_rejection::unauthentic;
        for (const std::byte b : sealed.subspan(1)) {
            const std::byte flipped = ~b;
            out.append(&flipped, 1);
        }
        return std::nullopt;
    }
};

/// Drivers whose streams are direct calls.
struct cluster {
    fake_environment env;
    mesh::config how = mesh::profile::local();
    std::mutex mutex;
    std::vector<std::unique_ptr<driver>> drivers;
    std::vector<net::cluster_key> keys;               // none: sealed means flipped
    std::vector<covey::detail::key_seal*> key_seals;  // of the drivers, with keys
    std::map<endpoint, driver*> by_address;
    std::map<peer_id, std::vector<membership_event>> events;
    unique_function<mesh::load()> next_load;  // of the driver that is added next

    std::unique_ptr<mesh::datagram_seal> make_seal(peer_id id) {
        if (keys.empty()) return std::make_unique<flipping_seal>();
        auto made = std::make_unique<covey::detail::key_seal>(keys, cluster_id::from_name("d"), id, 1, env.random() >> 2);
        key_seals.push_back(made.get());
        return made;
    }

    driver& add(bool sealed, unique_function<void(const membership_event&)> extra = {}) {
        const peer_id id{drivers.size() + 1};
        member_info self = info_of(id.value, 0);
        self.address = {};
        mesh::driver_callbacks callbacks;
        callbacks.on_event = [this, id, extra = std::move(extra)](const membership_event& e) {
            {
                const std::lock_guard lock(mutex);
                events[id].push_back(e);
            }
            if (extra) extra(e);
        };
        callbacks.current_load = std::exchange(next_load, nullptr);
        const auto own = std::make_shared<endpoint>();
        callbacks.send_stream = [this, own](const endpoint& to, byte_buffer message) {
            driver* other = nullptr;
            driver* self_driver = nullptr;
            {
                const std::lock_guard lock(mutex);
                if (by_address.contains(to)) other = by_address[to];
                self_driver = by_address[*own];
            }
            other != nullptr ? other->on_stream_message(*own, message) : self_driver->on_stream_failed(to);
        };
        auto d =
            std::make_unique<driver>(env, how, self, cluster_id::from_name("d"), std::move(callbacks), sealed ? make_seal(id) : nullptr);
        *own = d->open(endpoint::v4(127, 0, 0, 1, 0));
        by_address[*own] = d.get();
        d->start();
        drivers.push_back(std::move(d));
        return *drivers.back();
    }
};

}  // namespace mesh_test
