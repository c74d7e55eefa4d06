#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/driver.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace covey::mesh {

/// Shared by the driver, the timer while it is armed, and, weakly, by the socket's handler: whatever fires late finds it
/// alive and closed.
class driver::core : public std::enable_shared_from_this<driver::core> {
public:
    core(environment& env, const config& how, member_info self, const cluster_id& cluster, driver_callbacks callbacks,
         std::unique_ptr<datagram_seal> seal, std::shared_ptr<record_pool> records)
        : m_env(env),
          m_packet_bytes_max(how.packet_bytes_max),
          m_callbacks(std::move(callbacks)),
          m_seal(std::move(seal)),
          m_machine(how, std::move(self), cluster, env.random(), std::move(records)),
          m_timer(*this) {}

    endpoint open(const endpoint& bind) {
        auto socket = m_env.open_datagram(bind, std::make_shared<receiver>(weak_from_this()));
        const endpoint local = socket->local();
        const std::lock_guard lock(m_mutex);
        if (m_socket != nullptr || m_closed)
            throw error(errc::bad_argument, covey::detail::concat({"open was called twice, or after close, at ", to_string(bind)}));
        m_socket = std::move(socket);
        endpoint address = m_machine.self().address;
        if (address.is_unspecified()) address.address = local.address;
        if (address.port == 0) address.port = local.port;
        m_machine.set_address(address);
        return local;
    }

    /// Runs `action(machine, now)` under the lock, then sees to the timer and delivers what came of it.
    template <class F>
    void act(F&& action) {
        std::unique_lock lock(m_mutex);
        if (m_closed) return;
        action(m_machine, m_env.now());
        arm();
        deliver(lock);
    }

    template <class F>
    auto ask(F&& question) const {
        const std::lock_guard lock(m_mutex);
        return question(m_machine);
    }

    void leave(unique_function<void()> done) {
        std::unique_lock lock(m_mutex);
        if (m_closed) return;
        if (done) m_on_left = std::move(done);
        m_machine.leave(m_env.now());
        arm();
        deliver(lock);
    }

    std::shared_ptr<const view> members() const {
        const std::lock_guard lock(m_mutex);
        if (m_view == nullptr || m_view->number != m_machine.snapshot_number())
            m_view = std::make_shared<const view>(m_machine.make_view());
        return m_view;
    }

    rejection_counts rejections() const {
        rejection_counts counts;
        counts.protocol = ask([](const machine& m) { return m.stats().rejected; });
        for (std::size_t i = 0; i < m_rejected.size(); ++i) counts.seal[i] = m_rejected[i].count.load(std::memory_order_relaxed);
        return counts;
    }

    void close() noexcept {
        std::shared_ptr<core> kept;
        std::unique_ptr<datagram_socket> socket;
        driver_callbacks callbacks;
        unique_function<void()> on_left;
        std::unique_lock lock(m_mutex);
        m_closed = true;
        // A timer that cannot be cancelled any more waits for our lock, holds its own reference and will find us closed.
        if (m_armed && m_env.cancel(m_timer)) {
            m_armed = false;
            kept = std::move(m_kept_by_timer);
        }
        if (m_delivering && m_deliverer == std::this_thread::get_id()) {
            socket = std::move(m_socket);
            lock.unlock();
            return;
        }
        m_idle.wait(lock, [this] { return !m_delivering; });
        socket = std::move(m_socket);
        // What they capture must not outlive the return, and neither must their destructors run under the lock.
        std::swap(callbacks, m_callbacks);
        std::swap(on_left, m_on_left);
        lock.unlock();
    }

private:
    struct wake final : timer {
        explicit wake(core& c) noexcept : timer(&core::on_timer), owner(&c) {}
        core* owner;
    };
    struct receiver final : datagram_handler {
        explicit receiver(std::weak_ptr<core> c) noexcept : owner(std::move(c)) {}
        void on_datagram(const endpoint& from, bytes_view bytes) override {
            if (const auto c = owner.lock()) c->on_datagram(from, bytes);
        }
        std::weak_ptr<core> owner;
    };

    void on_datagram(const endpoint& from, bytes_view bytes) {
        if (m_seal == nullptr) return act([&](machine& m, time_point now) { m.on_datagram(now, from, bytes); });
        byte_buffer plain;
        std::optional<net::seal_rejection> why;
        if (bytes.size() > m_packet_bytes_max) {
            why = net::seal_rejection::oversized;
        } else {
            why = m_seal->open(bytes, plain);
        }
        if (why) return reject(from, *why);
        act([&](machine& m, time_point now) { m.on_datagram(now, from, plain); });
    }

    /// Counts; and says so now and then, for a peer with a wrong key would otherwise be silence.
    void reject(const endpoint& from, net::seal_rejection why) {
        rejected& r = m_rejected[static_cast<std::size_t>(why)];
        const std::uint64_t count = r.count.fetch_add(1, std::memory_order_relaxed) + 1;
        const time_point now = m_env.now();
        if (now < r.next_line) return;
        r.next_line = after(now, log_interval);
        m_env.log(log_level::warning, covey::detail::concat({"a datagram from ", to_string(from), " was thrown away: ", to_string(why),
                                                             " (", count, " so far for this reason)"}));
    }

    static void on_timer(timer& t) noexcept {
        core& self = *static_cast<wake&>(t).owner;
        std::shared_ptr<core> kept;  // released last, after the lock
        std::unique_lock lock(self.m_mutex);
        kept = std::move(self.m_kept_by_timer);
        self.m_armed = false;
        if (self.m_closed) return;
        const time_point now = self.m_env.now();
        // What keeps the timer waiting (busy workers, a busy machine) keeps the answers to our pings waiting as well.
        if (now > self.m_due) self.m_machine.on_lag(now, now - self.m_due);
        if (self.m_callbacks.current_load) self.m_machine.set_load(self.m_callbacks.current_load());
        self.m_machine.on_time(now);
        self.arm();
        self.deliver(lock);
    }

    /// Precondition: locked. A timer armed too early costs one empty call; it is moved only to an earlier time.
    void arm() {
        const time_point wanted = m_machine.next_wakeup();
        if (wanted == never) return;
        if (m_armed) {
            if (wanted >= m_armed_for) return;
            // False: it fires right now, waits for our lock, and will arm itself.
            if (!m_env.cancel(m_timer)) return;
        }
        m_armed = true;
        m_armed_for = wanted;
        m_due = std::max(wanted, m_env.now());  // what is wanted may be overdue: that is no lag
        m_kept_by_timer = shared_from_this();
        m_env.arm(m_timer, wanted);
    }

    /// Precondition: locked. One thread at a time carries out the outputs, in order and without the lock; what others (or
    /// the callbacks themselves) cause meanwhile is carried out by it as well.
    void deliver(std::unique_lock<std::mutex>& lock) {
        if (m_delivering) return;
        m_delivering = true;
        m_deliverer = std::this_thread::get_id();
        while (!m_closed) {
            if (std::optional<output> o = m_machine.next_output()) {
                lock.unlock();
                carry_out(*o);
                lock.lock();
            } else if (m_machine.has_left() && m_on_left) {
                unique_function<void()> done = std::move(m_on_left);
                m_on_left = nullptr;
                lock.unlock();
                done();
                done = nullptr;  // without the lock, like the call
                lock.lock();
            } else {
                break;
            }
        }
        m_delivering = false;
        m_idle.notify_all();
    }

    /// By the delivering thread only: so socket and callbacks, which close() takes away when nobody delivers, are there.
    void carry_out(output& o) noexcept {
        if (auto* d = std::get_if<send_datagram>(&o)) {
            if (m_socket == nullptr) return;
            if (m_seal == nullptr) return m_socket->send(d->to, d->bytes);
            byte_buffer sealed;
            m_seal->seal(d->bytes, sealed);
            m_socket->send(d->to, sealed);
        } else if (auto* s = std::get_if<send_stream>(&o)) {
            if (m_callbacks.send_stream) m_callbacks.send_stream(s->to, std::move(s->bytes));
        } else if (auto* e = std::get_if<membership_event>(&o)) {
            if (m_callbacks.on_event) m_callbacks.on_event(*e);
        } else {
            const note& n = std::get<note>(o);
            m_env.log(n.level, n.line);
        }
    }

    static constexpr duration log_interval = std::chrono::minutes(1);
    struct rejected {
        std::atomic<std::uint64_t> count{0};
        time_point next_line{};  // touched by the socket's serialised callbacks only
    };

    environment& m_env;
    const std::size_t m_packet_bytes_max;
    std::array<rejected, static_cast<std::size_t>(net::seal_rejection::count_)> m_rejected;
    mutable std::mutex m_mutex;
    std::condition_variable m_idle;
    driver_callbacks m_callbacks;
    std::unique_ptr<datagram_seal> m_seal;
    std::unique_ptr<datagram_socket> m_socket;
    unique_function<void()> m_on_left;
    machine m_machine;
    mutable std::shared_ptr<const view> m_view;

    wake m_timer;
    bool m_armed = false;
    time_point m_armed_for = never;
    time_point m_due = never;
    std::shared_ptr<core> m_kept_by_timer;

    bool m_closed = false;
    bool m_delivering = false;
    std::thread::id m_deliverer;
};

COVEY_INLINE driver::driver(environment& env, const config& how, member_info self, const cluster_id& cluster, driver_callbacks callbacks,
                            std::unique_ptr<datagram_seal> seal, std::shared_ptr<record_pool> records)
    : m_core(std::make_shared<core>(env, how, std::move(self), cluster, std::move(callbacks), std::move(seal), std::move(records))) {}

COVEY_INLINE driver::~driver() { close(); }

COVEY_INLINE endpoint driver::open(const endpoint& bind) { return m_core->open(bind); }

COVEY_INLINE void driver::start() {
    m_core->act([](machine& m, time_point now) { m.start(now); });
}

COVEY_INLINE void driver::join(std::span<const endpoint> seeds) {
    m_core->act([&](machine& m, time_point now) { m.join(now, seeds); });
}

COVEY_INLINE void driver::leave(unique_function<void()> done) { m_core->leave(std::move(done)); }

COVEY_INLINE void driver::on_stream_message(const endpoint& from, bytes_view message) {
    m_core->act([&](machine& m, time_point now) { m.on_stream_message(now, from, message); });
}

COVEY_INLINE void driver::on_stream_failed(const endpoint& to) {
    m_core->act([&](machine& m, time_point now) { m.on_stream_failed(now, to); });
}

COVEY_INLINE void driver::report_connection_refused(peer_id id) {
    m_core->act([&](machine& m, time_point now) { m.report_connection_refused(now, id); });
}

COVEY_INLINE void driver::describe(description what) {
    m_core->act([&](machine& m, time_point now) { m.describe(now, std::move(what)); });
}

COVEY_INLINE void driver::set_load(const load& now) {
    m_core->act([&](machine& m, time_point) { m.set_load(now); });
}

COVEY_INLINE void driver::on_lag(duration lag) {
    m_core->act([&](machine& m, time_point now) { m.on_lag(now, lag); });
}

COVEY_INLINE std::shared_ptr<const view> driver::members() const { return m_core->members(); }

COVEY_INLINE std::optional<member> driver::find(peer_id id) const {
    return m_core->ask([&](const machine& m) { return m.find(id); });
}

COVEY_INLINE member driver::self() const {
    return m_core->ask([](const machine& m) { return *m.find(m.self().id); });
}

COVEY_INLINE bool driver::has_joined() const {
    return m_core->ask([](const machine& m) { return m.has_joined(); });
}

COVEY_INLINE bool driver::has_left() const {
    return m_core->ask([](const machine& m) { return m.has_left(); });
}

COVEY_INLINE statistics driver::stats() const {
    return m_core->ask([](const machine& m) { return m.stats(); });
}

COVEY_INLINE rejection_counts driver::rejections() const { return m_core->rejections(); }

COVEY_INLINE void driver::close() noexcept { m_core->close(); }

}  // namespace covey::mesh
