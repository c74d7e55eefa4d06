#include <covey/mesh/driver.hpp>

#include <covey/mesh/detail/key_seal.hpp>

#include "harness.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

using namespace mesh_test;
using mesh::driver;

namespace {

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
        auto d = std::make_unique<driver>(env, mesh::profile::local(), self, cluster_id::from_name("d"), std::move(callbacks),
                                          sealed ? make_seal(id) : nullptr);
        *own = d->open(endpoint::v4(127, 0, 0, 1, 0));
        by_address[*own] = d.get();
        d->start();
        drivers.push_back(std::move(d));
        return *drivers.back();
    }
};

}  // namespace

TEST_CASE("drivers over a fake environment") {
    const bool sealed = GENERATE(false, true);
    cluster c;
    driver& a = c.add(sealed);
    const endpoint seed = a.self().address();
    CHECK(seed == endpoint::v4(127, 0, 0, 1, 20000));
    driver& b = c.add(sealed);
    driver& d = c.add(sealed);
    b.join({&seed, 1});
    d.join({&seed, 1});
    c.env.run_for(2s);
    CHECK(a.members()->members.size() == 3);
    CHECK(a.members()->digest == d.members()->digest);
    CHECK(a.members() == a.members());
    CHECK(a.find(d.self().id())->name() == "peer-3");
    CHECK(b.has_joined());
    CHECK(a.stats().packets_in > 0);
    CHECK(a.rejections().sealed() == 0);

    mesh::description changed = b.self().what();
    changed.labels = {{"zone", "b"}};
    b.describe(changed);
    b.set_load({9, 0, 0, 0});
    b.on_lag(1s);
    c.env.run_for(3s);
    CHECK(a.find(b.self().id())->labels() == changed.labels);
    CHECK(a.find(b.self().id())->load().cores == 9);

    // Closed without a word: dead.
    d.close();
    d.close();
    c.env.run_for(10s);
    CHECK(a.find(d.self().id())->state() == member_state::dead);
    CHECK(a.members()->members.size() == 2);

    // With a word: left, and the leaver is told.
    int left = 0;
    b.leave([&] { ++left; });
    c.env.run_for(2s);
    CHECK(left == 1);
    CHECK(b.has_left());
    CHECK(a.find(b.self().id())->state() == member_state::left);
    const auto& seen = c.events[a.self().id()];
    REQUIRE(seen.size() >= 4);
    CHECK(seen.front().kind == what::joined);
    CHECK(seen.back().kind == what::left);

    a.close();
    b.close();
    CHECK(c.env.armed() == 0);
    CHECK(c.env.misused == 0);
    CHECK(c.env.logged > 0);
}

TEST_CASE("who is asked how busy it is says so to the others") {
    cluster c;
    std::uint8_t busy = 3;
    c.next_load = [&busy] { return mesh::load{busy, 1, 0, 0}; };
    driver& a = c.add(false);
    driver& b = c.add(false);
    const endpoint seed = a.self().address();
    b.join({&seed, 1});
    c.env.run_for(3s);
    CHECK(b.find(a.self().id())->load() == mesh::load{3, 1, 0, 0});
    busy = 12;
    c.env.run_for(3s);
    CHECK(b.find(a.self().id())->load() == mesh::load{12, 1, 0, 0});
}

TEST_CASE("drivers whose timers fire late ask less often, and suspect nobody") {
    const auto probes = [](duration late_by) {
        cluster c;
        for (int i = 0; i < 3; ++i) c.add(false);
        const endpoint seed = c.drivers[0]->self().address();
        for (auto& d : c.drivers) d->join({&seed, 1});
        c.env.run_for(3s);
        c.env.timers_late_by = late_by;
        c.env.run_for(20s);
        std::uint64_t sum = 0;
        for (auto& d : c.drivers) {
            CHECK(d->members()->members.size() == 3);
            CHECK(d->stats().suspicions == 0);
            sum += d->stats().probes;
        }
        return sum;
    };
    // A lag of less than half the time of a probe says nothing.
    const std::uint64_t prompt = probes(0ms);
    CHECK(probes(5ms) > prompt * 3 / 4);
    CHECK(probes(80ms) < prompt / 2);
}

TEST_CASE("peers with different seals do not hear each other") {
    cluster c;
    driver& a = c.add(true);
    driver& b = c.add(false);
    const endpoint seed = a.self().address();
    b.join({&seed, 1});
    c.env.run_for(2s);
    CHECK(a.rejections()[net::seal_rejection::unauthentic] > 0);
    CHECK(a.rejections().sealed() == a.rejections().total());
}

TEST_CASE("what the seal refuses is counted by reason, and said once a minute") {
    cluster c;
    driver& a = c.add(true);
    const endpoint at = a.self().address();
    const std::vector<std::byte> noise(100), whale(1401);
    for (int i = 0; i < 1000; ++i) c.env.inject(at, noise);
    for (int i = 0; i < 10; ++i) c.env.inject(at, whale);
    c.env.run_for(1s);
    mesh::rejection_counts counts = a.rejections();
    CHECK(counts[net::seal_rejection::unauthentic] == 1000);
    CHECK(counts[net::seal_rejection::oversized] == 10);
    CHECK(counts.total() == 1010);
    CHECK(c.env.lines("10.9.8.7:6 was thrown away") == 2);
    CHECK(c.env.lines("not authentic") == 1);
    c.env.run_for(61s);
    for (int i = 0; i < 1000; ++i) c.env.inject(at, noise);
    c.env.run_for(1s);
    CHECK(a.rejections()[net::seal_rejection::unauthentic] == 2000);
    CHECK(c.env.lines("not authentic") == 2);
    CHECK(c.env.lines("1001 so far") == 1);

    // What is opened may still be refused: those counts stand beside.
    std::vector<std::byte> opened(50, ~std::byte{});
    opened[0] = std::byte{0x5a};
    c.env.inject(at, opened);
    c.env.run_for(1s);
    counts = a.rejections();
    CHECK(counts[mesh::rejection::wrong_version] == 1);
    CHECK(counts.sealed() == 2010);
    CHECK(counts.total() == 2011);
    CHECK(a.self().epoch() == 1);
    CHECK(a.members()->members.size() == 1);
}

TEST_CASE("a key is exchanged while the drivers run; nothing is refused, nobody suspected, and all of it repeats") {
    const net::cluster_key old_key = net::cluster_key::parse(std::string(64, 'a'));
    const net::cluster_key new_key = net::cluster_key::parse(std::string(64, 'b'));
    const auto run = [&] {
        cluster c;
        c.keys = {old_key};
        for (int i = 0; i < 4; ++i) c.add(true);
        const endpoint seed = c.drivers[0]->self().address();
        for (auto& d : c.drivers) d->join({&seed, 1});
        c.env.run_for(3s);
        for (const std::vector<net::cluster_key>& ring :
             {std::vector{old_key, new_key}, std::vector{new_key, old_key}, std::vector{new_key}}) {
            // One after another: some are always a step behind.
            for (covey::detail::key_seal* s : c.key_seals) {
                s->set_keys(ring);
                c.env.run_for(700ms);
            }
        }
        c.env.run_for(5s);
        for (auto& d : c.drivers) {
            CHECK(d->members()->members.size() == 4);
            CHECK(d->rejections().total() == 0);
            CHECK(d->stats().suspicions == 0);
        }
        // One that missed it all speaks, and is not heard.
        c.keys = {old_key};
        driver& late = c.add(true);
        late.join({&seed, 1});
        c.env.run_for(3s);
        std::uint64_t unknown = 0;
        for (auto& d : c.drivers) unknown += d->rejections()[net::seal_rejection::unknown_key];
        CHECK(unknown > 0);
        CHECK(c.env.lines("sealed under a key that this peer does not have") > 0);
        const std::uint64_t trace = c.env.trace();
        for (auto& d : c.drivers) d->close();
        return trace;
    };
    CHECK(run() == run());
}

TEST_CASE("an address in use is refused") {
    cluster c;
    driver& a = c.add(false);
    driver b(c.env, mesh::profile::local(), info_of(9, 0), cluster_id::from_name("d"), {});
    try {
        b.open(a.self().address());
        FAIL("bound twice");
    } catch (const error& e) {
        CHECK(e.code() == errc::address_in_use);
    }
}

TEST_CASE("closing from within a callback makes that the last one") {
    cluster c;
    driver& a = c.add(false);
    const endpoint seed = a.self().address();
    int after_close = 0;
    driver* closing = nullptr;
    driver& b = c.add(false, [&](const membership_event&) {
        ++after_close;
        if (closing != nullptr) closing->close();
    });
    closing = &b;
    driver& d = c.add(false);
    d.join({&seed, 1});
    c.env.run_for(1s);
    b.join({&seed, 1});
    c.env.run_for(1s);
    CHECK(after_close == 1);
}

TEST_CASE("many threads, and no callback after close") {
    cluster c;
    std::atomic<bool> closed{false};
    std::atomic<int> late{0};
    std::atomic<int> concurrent{0};
    driver& a = c.add(false);
    const endpoint seed = a.self().address();
    driver& b = c.add(false, [&](const membership_event&) {
        if (concurrent.fetch_add(1) != 0) late += 1000;
        if (closed) ++late;
        concurrent.fetch_sub(1);
    });
    for (int i = 0; i < 4; ++i) c.add(false);
    for (auto& d : c.drivers) d->join({&seed, 1});
    const time_point end = c.env.now() + 20s;
    std::atomic<int> steps{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            // Nothing to do may only mean that the other threads have it in hand.
            for (int idle = 0; idle < 1000;) {
                if (!c.env.step(end)) {
                    ++idle;
                    std::this_thread::yield();
                    continue;
                }
                idle = 0;
                const int turn = ++steps;
                if (turn % 7 == t) b.report_connection_refused({static_cast<std::uint64_t>(turn % 6 + 1)});
                if (turn % 11 == t && b.members()->members.empty()) ++late;
                if (turn == 1000) {
                    b.close();
                    closed = true;
                }
            }
        });
    }
    for (auto& t : threads) t.join();
    CHECK(closed);
    CHECK(late == 0);
    CHECK(c.env.misused == 0);
    for (auto& d : c.drivers) d->close();
    CHECK(c.env.armed() == 0);
}
