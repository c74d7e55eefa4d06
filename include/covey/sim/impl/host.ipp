#pragma once

#include <covey/sim/host.hpp>
#include <covey/sim/simulation.hpp>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>

namespace covey::sim {

namespace detail {

/// A bound datagram port; shared by the socket's owner and the host. `owner` is null once it is closed.
struct datagram_port {
    host* owner = nullptr;
    std::uint16_t port = 0;
    endpoint local{};
    std::shared_ptr<datagram_handler> handler;

    void send(const endpoint& to, bytes_view bytes) const {
        if (owner != nullptr) owner->send(port, to, bytes);
    }
    void close() {
        if (owner != nullptr) std::exchange(owner, nullptr)->m_datagrams.erase(port);
        handler = nullptr;
    }
};

class datagram_end final : public datagram_socket {
public:
    explicit datagram_end(std::shared_ptr<datagram_port> port) noexcept : m_port(std::move(port)) {}
    ~datagram_end() override { m_port->close(); }

    endpoint local() const override { return m_port->local; }
    void send(const endpoint& to, bytes_view bytes) noexcept override { m_port->send(to, bytes); }

private:
    std::shared_ptr<datagram_port> m_port;
};

/// A listening port; `owner` is null once it is closed.
struct listening {
    host* owner = nullptr;
    std::uint16_t port = 0;
    endpoint local{};
    accept_callback accepted;
    std::size_t waiting = 0;  // connections that the process has not taken yet

    void close() {
        if (owner != nullptr) std::exchange(owner, nullptr)->m_listeners.erase(port);
    }
};

class listener_end final : public stream_listener {
public:
    explicit listener_end(std::shared_ptr<listening> listener) noexcept : m_listener(std::move(listener)) {}
    ~listener_end() override { m_listener->close(); }
    endpoint local() const override { return m_listener->local; }

private:
    std::shared_ptr<listening> m_listener;
};

/// One attempt to connect: knocks, again if the path is cut, until somebody answers or the time is over.
class connecting : public std::enable_shared_from_this<connecting> {
public:
    connecting(host& from, const endpoint& to, connect_callback done)
        : m_from(from), m_life(from.lives_lost()), m_to(to), m_done(std::move(done)) {}

    void begin(duration timeout) {
        m_timeout = later(timeout, m_from.index(), [](connecting& c) { c.finish(nullptr, std::make_error_code(std::errc::timed_out)); });
        if (m_from.is_here(m_to)) m_to = m_from.address(m_to.port);
        m_target = m_from.m_sim.find(m_to);
        if (m_target != nullptr) knock();
    }

private:
    template <class F>
    event_queue::ticket later(duration delay, host_index on, F what) {
        event e;
        e.kind = event_kind::action;
        e.host = on;
        e.action = [self = shared_from_this(), what] { what(*self); };
        simulation& sim = m_from.m_sim;
        return sim.schedule(after(sim.now(), delay), std::move(e));
    }

    bool over() const noexcept { return !m_done || m_from.lives_lost() != m_life; }

    void knock() {
        if (over()) return;
        simulation& sim = m_from.m_sim;
        if (const auto delay = sim.net().segment(m_from.index(), m_target->index(), 0, sim.now())) {
            later(*delay, no_host, [](connecting& c) { c.arrive(); });
        } else {
            knock_again();
        }
    }
    void knock_again() {
        later(m_pause, no_host, [](connecting& c) { c.knock(); });
        m_pause = std::min(m_pause * 2, network::retransmit_max);
    }

    /// At the other machine, in its kernel: also while the process there is paused.
    void arrive() {
        if (over()) return;
        simulation& sim = m_from.m_sim;
        const duration back = sim.net().delay(m_target->index(), m_from.index());
        const auto found = m_target->m_listeners.find(m_to.port);
        if (found == m_target->m_listeners.end()) {
            if (sim.net().blocked(m_target->index(), m_from.index())) {
                knock_again();
                return;
            }
            later(back, m_from.index(), [](connecting& c) { c.finish(nullptr, std::make_error_code(std::errc::connection_refused)); });
            return;
        }
        const std::shared_ptr<listening> listener = found->second;
        if (listener->waiting >= host::listen_backlog_max) {
            knock_again();
            return;
        }
        ++listener->waiting;
        const endpoint local = m_from.address(m_from.pick_port({}, "a connection", nullptr));
        m_pair = std::make_shared<stream_pair>(sim, m_from, local, *m_target, listener->local);
        m_from.add_stream(m_pair, stream_pair::client);
        m_target->add_stream(m_pair, stream_pair::server);
        event accept;
        accept.kind = event_kind::action;
        accept.host = m_target->index();
        accept.action = [&sim, listener, pair = m_pair] {
            --listener->waiting;
            if (listener->owner == nullptr) {
                pair->power_off(stream_pair::server);  // nobody listens any more: a reset
                return;
            }
            sim.m_trace.add(sim.now(), listener->owner->index(), trace_kind::stream_accepted, listener->port);
            listener->accepted(std::make_unique<stream_end>(pair, stream_pair::server));
        };
        sim.schedule(sim.now(), std::move(accept));
        later(back, m_from.index(), [](connecting& c) { c.established(); });
    }

    void established() {
        if (!m_done) {
            m_pair->power_off(stream_pair::client);  // too late: nobody waits for it
            return;
        }
        finish(std::make_unique<stream_end>(std::move(m_pair), stream_pair::client), {});
    }

    void finish(std::unique_ptr<stream_socket> socket, std::error_code why) {
        if (!m_done) return;
        simulation& sim = m_from.m_sim;
        sim.m_queue.cancel(m_timeout);
        sim.m_trace.add(sim.now(), m_from.index(), why ? trace_kind::stream_refused : trace_kind::stream_connected,
                        static_cast<std::uint64_t>(why.value()));
        const connect_callback done = std::move(m_done);
        m_done = nullptr;
        done(std::move(socket), why);
    }

    host& m_from;
    std::uint32_t m_life;
    endpoint m_to;
    connect_callback m_done;
    host* m_target = nullptr;
    event_queue::ticket m_timeout{};
    duration m_pause = network::retransmit_first;
    std::shared_ptr<stream_pair> m_pair;
};

/// Marks a timer that was armed when its host was switched off, or afterwards: armed, to its owner, and in no queue.
inline constexpr std::size_t dead_timer = ~std::size_t{0};

}  // namespace detail

COVEY_INLINE host::host(simulation& sim, host_index index, std::string name)
    : m_sim(sim), m_index(index), m_name(std::move(name)), m_clock(sim.now()) {
    switch_on();
}

COVEY_INLINE host::~host() = default;

COVEY_INLINE endpoint host::address(std::uint16_t port) const noexcept {
    const std::uint32_t number = m_index + 1;
    return endpoint::v4(10, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                        static_cast<std::uint8_t>(number), port);
}

COVEY_INLINE bool host::paused() const noexcept { return m_paused_until > m_sim.now(); }

COVEY_INLINE void host::set_clock(duration offset, std::int64_t drift_ppm) { m_clock.set(m_sim.now(), offset, drift_ppm); }

COVEY_INLINE void host::set_drift(std::int64_t drift_ppm) { m_clock.set_drift(m_sim.now(), drift_ppm); }

COVEY_INLINE time_point host::now() const noexcept { return m_clock.local(m_sim.now()); }

COVEY_INLINE void host::post(std::coroutine_handle<> work) noexcept {
    assert(m_sim.on_this_thread() && work);
    if (!m_on) return;
    event e;
    e.kind = event_kind::work;
    e.host = m_index;
    e.target = work.address();
    m_sim.schedule(m_sim.now() + post_step, std::move(e));
}

COVEY_INLINE void host::arm(timer& t, time_point when) {
    assert(m_sim.on_this_thread() && (t.slot.index == 0 || t.slot.index == detail::dead_timer) && "the timer is armed already");
    if (!m_on) {
        t.slot.index = detail::dead_timer;
        return;
    }
    event e;
    e.kind = event_kind::timer;
    e.host = m_index;
    e.target = &t;
    const event_queue::ticket ticket = m_sim.schedule(m_clock.global(when), std::move(e));
    t.slot = {when, ticket.order, ticket.index};
}

COVEY_INLINE bool host::cancel(timer& t) noexcept {
    assert(m_sim.on_this_thread());
    if (t.slot.index == 0) return false;
    if (t.slot.index == detail::dead_timer) {
        t.slot.index = 0;
        return true;  // it was armed and will never fire
    }
    const bool found = m_sim.m_queue.cancel({t.slot.index, t.slot.order});
    assert(found && "an armed timer is in the queue");
    t.slot.index = 0;
    return found;
}

COVEY_INLINE bool host::is_here(const endpoint& e) const noexcept {
    return e.is_loopback() || e.is_unspecified() || e.address == address().address;
}

COVEY_INLINE void host::require_on(const char* what) const {
    if (!m_on) throw error(errc::shut_down, std::string(what) + " on " + m_name + ", which is switched off; restart it first");
}

/// The port asked for, or a free one. `taken` is null where ports need not be free.
COVEY_INLINE std::uint16_t host::pick_port(const endpoint& local, const char* what, bool (host::*taken)(std::uint16_t) const) {
    if (!is_here(local)) {
        throw error(errc::bad_address,
                    to_string(local) + " is no address of " + m_name + "; bind to " + to_string(address(local.port)) + " or 0.0.0.0");
    }
    if (local.port != 0) {
        if (taken == nullptr || !(this->*taken)(local.port)) return local.port;
        throw error(errc::address_in_use,
                    to_string(local) + " is bound on " + m_name + " already, for " + what + "; take another port, or 0 for a free one");
    }
    constexpr std::uint16_t first = 49152;
    for (int i = 0; i <= 65535 - first; ++i) {
        const std::uint16_t port = m_next_port;
        m_next_port = port == 65535 ? first : static_cast<std::uint16_t>(port + 1);
        if (taken == nullptr || !(this->*taken)(port)) return port;
    }
    throw error(errc::address_in_use, "no port is free on " + m_name + " for " + what);
}

COVEY_INLINE std::unique_ptr<datagram_socket> host::open_datagram(const endpoint& local, std::shared_ptr<datagram_handler> handler) {
    require_on("open_datagram");
    auto port = std::make_shared<detail::datagram_port>();
    port->port = pick_port(local, "datagrams", &host::datagram_port_taken);
    port->local = address(port->port);
    port->owner = this;
    port->handler = std::move(handler);
    m_datagrams.emplace(port->port, port);
    return std::make_unique<detail::datagram_end>(std::move(port));
}

COVEY_INLINE std::unique_ptr<stream_listener> host::listen(const endpoint& local, accept_callback accepted) {
    require_on("listen");
    auto listener = std::make_shared<detail::listening>();
    listener->port = pick_port(local, "streams", &host::stream_port_taken);
    listener->local = address(listener->port);
    listener->owner = this;
    listener->accepted = std::move(accepted);
    m_listeners.emplace(listener->port, listener);
    return std::make_unique<detail::listener_end>(std::move(listener));
}

COVEY_INLINE void host::connect(const endpoint& to, duration timeout, connect_callback done) {
    require_on("connect");
    std::make_shared<detail::connecting>(*this, to, std::move(done))->begin(timeout);
}

COVEY_INLINE std::vector<endpoint> host::resolve(std::string_view host_and_port) { return {endpoint::parse(host_and_port)}; }

COVEY_INLINE void host::log(log_level level, std::string_view line) noexcept {
    m_sim.m_trace.add(m_sim.now(), m_index, trace_kind::log, static_cast<std::uint64_t>(level), 0, line);
    static const bool verbose = std::getenv("COVEY_SIM_VERBOSE") != nullptr;
    if (!verbose) return;
    static constexpr const char* levels[] = {"debug", "info", "warning", "error"};
    std::fprintf(stderr, "%12.6f s  %-10s %-7s %.*s\n", static_cast<double>(m_sim.now().time_since_epoch().count()) * 1e-9, m_name.c_str(),
                 levels[static_cast<std::size_t>(level)], static_cast<int>(line.size()), line.data());
}

COVEY_INLINE void host::send(std::uint16_t from_port, const endpoint& to, bytes_view bytes) {
    constexpr std::size_t datagram_bytes_max = 65507;
    host* target = is_here(to) ? this : m_sim.find(to);
    network::fate fate;
    if (target != nullptr && bytes.size() <= datagram_bytes_max) {
        fate = m_sim.net().datagram(m_index, target->index(), bytes.size(), m_sim.now());
    }
    if (fate.copies == 0) m_sim.m_trace.add(m_sim.now(), m_index, trace_kind::datagram_lost, bytes.size());
    for (unsigned i = 0; i < fate.copies; ++i) {
        event e;
        e.kind = event_kind::datagram;
        e.host = target->index();
        e.to_port = to.port;
        e.from = address(from_port);
        e.bytes = m_sim.take_buffer();
        e.bytes.append(bytes);
        m_sim.schedule(after(m_sim.now(), fate.delay[i]), std::move(e));
    }
}

COVEY_INLINE void host::deliver(std::uint16_t to_port, const endpoint& from, bytes_view bytes) {
    const auto found = m_datagrams.find(to_port);
    if (found == m_datagrams.end()) {
        m_sim.m_trace.add(m_sim.now(), m_index, trace_kind::datagram_lost, bytes.size());
        return;
    }
    m_sim.m_trace.add(m_sim.now(), m_index, trace_kind::datagram, bytes.size(), content_hash(bytes));
    const std::shared_ptr<datagram_handler> handler = found->second->handler;  // it may close its socket
    handler->on_datagram(from, bytes);
}

COVEY_INLINE void host::add_stream(const std::shared_ptr<detail::stream_pair>& pair, unsigned side) {
    if (m_streams.size() >= m_streams_prune_at) {
        std::erase_if(m_streams, [](const stream_place& p) { return p.pair.expired(); });
        m_streams_prune_at = std::max<std::size_t>(64, m_streams.size() * 2);
    }
    m_streams.push_back({pair, side});
}

COVEY_INLINE void host::switch_off() {
    if (!m_on) return;
    m_on = false;
    ++m_lives_lost;
    m_paused_until = m_free_at = {};
    m_put_off_bytes = 0;
    // Everything that the process held is only collected here and destroyed at the end of the scope, when this host is
    // whole again: destructors of handlers and callbacks may come back.
    const auto ports = std::exchange(m_datagrams, {});
    const auto listeners = std::exchange(m_listeners, {});
    const auto streams = std::exchange(m_streams, {});
    std::vector<std::shared_ptr<void>> released;
    std::vector<accept_callback> callbacks;
    const std::vector<event> dropped = m_sim.m_queue.take_if([this](const event& e) {
        return e.host == m_index && (e.kind != event_kind::datagram || e.put_off);  // what is on the wire still arrives
    });
    for (const event& e : dropped) {
        if (e.kind == event_kind::timer) static_cast<timer*>(e.target)->slot.index = detail::dead_timer;
    }
    for (const auto& [number, port] : ports) {
        port->owner = nullptr;
        released.push_back(std::move(port->handler));
    }
    for (const auto& [number, listener] : listeners) {
        listener->owner = nullptr;
        callbacks.push_back(std::move(listener->accepted));
    }
    for (const stream_place& place : streams) {
        if (const auto pair = place.pair.lock()) released.push_back(pair->power_off(place.side));
    }
}

COVEY_INLINE void host::switch_on() {
    m_on = true;
    m_random = random_source(hash_combine(hash_combine(m_sim.seed(), 1000 + m_index), m_lives_lost));
}

}  // namespace covey::sim
