#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/mesh/detail/change_log.hpp>
#include <covey/mesh/driver.hpp>
#include <covey/mesh/seeds.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
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
          m_random(m_machine.self().id.value),
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

    void join(seed_list seeds) {
        act([&](machine& m, time_point now) {
            m_seeds = std::move(seeds);
            ++m_seed_list;
            m_next_name = m_seeds.name_count();
            m.join(now, m_seeds.addresses(machine::seeds_max, m_random), seeds_known());
        });
    }
    std::string seed_faults() const {
        const std::lock_guard lock(m_mutex);
        return m_seeds.faults();
    }

    void leave(unique_function<void()> done) {
        std::unique_lock lock(m_mutex);
        if (m_closed) return;
        if (done) m_on_left = std::move(done);
        m_machine.leave(m_env.now());
        arm();
        deliver(lock);
    }

    std::shared_ptr<const view> members(std::optional<duration> loads_age_max = {}) const {
        const std::lock_guard lock(m_mutex);
        // After the end there is perhaps no environment any more, and nothing changes.
        const bool is_old = loads_age_max && !m_closed && m_env.now() - m_view_made > *loads_age_max;
        if (m_view == nullptr || is_old || m_view->number != m_machine.snapshot_number()) {
            m_view = std::make_shared<const view>(m_machine.make_view());
            if (!m_closed) m_view_made = m_env.now();
        }
        return m_view;
    }

    std::uint64_t snapshot_number() const {
        return ask([](const machine& m) { return m.snapshot_number(); });
    }

    /// Keeps itself alive, so that who reads need not know when the driver goes.
    static stream<membership_change> follow(std::shared_ptr<core> self, std::uint64_t after) {
        using log = covey::detail::change_log;
        log::position at{after, 0};
        for (;;) {
            const std::uint64_t seen = self->m_changes.count();
            std::optional<membership_event> event;
            const log::found found = self->m_changes.read(at, event);
            if (found == log::found::end) co_return;
            if (found == log::found::nothing) {
                co_await self->m_changes.more_than(seen);
                continue;
            }
            membership_change change;
            if (found == log::found::change) {
                static_cast<membership_event&>(change) = std::move(*event);
            } else {
                change.now = self->members();
                change.kind = membership_event::what::missed;
                change.subject = change.now->members.front();
                change.number = at.after = change.now->number;
            }
            co_yield std::move(change);
        }
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
            m_changes.close();
            return;
        }
        m_idle.wait(lock, [this] { return !m_delivering; });
        socket = std::move(m_socket);
        // What they capture must not outlive the return, and neither must their destructors run under the lock.
        std::swap(callbacks, m_callbacks);
        std::swap(on_left, m_on_left);
        lock.unlock();
        m_changes.close();
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
            } else if (!m_lines.empty()) {
                const std::string line = std::move(m_lines.front());
                m_lines.pop_front();
                lock.unlock();
                m_env.log(log_level::warning, line);
                lock.lock();
            } else if (m_machine.has_joined() != m_joined) {
                m_joined = !m_joined;
                lock.unlock();
                if (m_joined && m_callbacks.on_joined) m_callbacks.on_joined();
                lock.lock();
            } else if (std::optional<look_up> next = next_look_up()) {
                lock.unlock();
                m_env.look_up(std::move(next->text), [weak = weak_from_this(), name = next->name, list = next->list](
                                                         std::vector<endpoint> found, std::string why) {
                    if (const auto c = weak.lock()) c->on_looked_up(name, list, found, std::move(why));
                });
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

    machine::seeds_known seeds_known() const noexcept {
        if (m_seeds.name_count() == 0) return machine::seeds_known::for_good;
        return m_seeds.is_complete() ? machine::seeds_known::for_now : machine::seeds_known::in_part;
    }
    struct look_up {
        std::size_t name;
        std::uint64_t list;
        std::string text;
    };
    /// Precondition: locked. Each name once for each round of asking seeds; a round that begins while names of the last one are
    /// still being looked up has none of its own.
    std::optional<look_up> next_look_up() {
        if (m_next_name == m_seeds.name_count() && m_looking_up == 0 && m_looked_up_in != m_machine.seed_rounds()) {
            m_looked_up_in = m_machine.seed_rounds();
            m_next_name = 0;
        }
        if (m_next_name == m_seeds.name_count() || m_looking_up == look_ups_at_once) return std::nullopt;
        ++m_looking_up;
        const std::size_t name = m_next_name++;
        return look_up{name, m_seed_list, m_seeds.name(name)};
    }
    void on_looked_up(std::size_t name, std::uint64_t list, std::span<const endpoint> found, std::string why) {
        act([&](machine& m, time_point) {
            --m_looking_up;
            if (list != m_seed_list) return;
            if (auto line = m_seeds.set_found(name, found, std::move(why), m.self().address)) m_lines.push_back(std::move(*line));
            m.set_seeds(m_seeds.addresses(machine::seeds_max, m_random), seeds_known());
        });
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
            m_changes.add(*e);
        } else {
            const note& n = std::get<note>(o);
            m_env.log(n.level, n.line);
        }
    }

    static constexpr duration log_interval = std::chrono::minutes(1);
    static constexpr unsigned look_ups_at_once = 4;
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
    bool m_joined = true;
    random_source m_random;
    seed_list m_seeds;
    std::uint64_t m_seed_list = 0;     // how many lists there were
    std::uint64_t m_looked_up_in = 0;  // of machine::seed_rounds
    std::size_t m_next_name = 0;
    unsigned m_looking_up = 0;
    std::deque<std::string> m_lines;  // to be logged; one for each look-up that has just ended
    mutable std::shared_ptr<const view> m_view;
    mutable time_point m_view_made{};
    covey::detail::change_log m_changes;

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

COVEY_INLINE void driver::join(std::span<const std::string> seeds) { m_core->join(seed_list(seeds)); }

COVEY_INLINE std::string driver::seed_faults() const { return m_core->seed_faults(); }

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

COVEY_INLINE std::shared_ptr<const view> driver::members(duration loads_age_max) const { return m_core->members(loads_age_max); }

COVEY_INLINE stream<membership_change> driver::changes() { return core::follow(m_core, m_core->snapshot_number()); }

COVEY_INLINE stream<membership_change> driver::changes(std::uint64_t after) {
    const std::uint64_t newest = m_core->snapshot_number();
    if (after > newest) {
        throw error(errc::bad_argument,
                    covey::detail::concat({"changes after view ", after, " were asked for, and this peer's newest is ", newest}));
    }
    return core::follow(m_core, after);
}

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
