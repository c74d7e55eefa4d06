#pragma once

#include <covey/sim/simulation.hpp>
#include <covey/task/work.hpp>

#include <algorithm>
#include <cassert>

namespace covey::sim {

COVEY_INLINE simulation::simulation(std::uint64_t seed, const faults& everywhere)
    : m_seed(seed), m_random(hash_combine(seed, 1)), m_chaos(hash_combine(seed, 2)), m_network(hash_combine(seed, 3), everywhere) {}

COVEY_INLINE simulation::~simulation() {
    for (const auto& h : m_hosts) h->switch_off();
    const std::vector<event> dropped = m_queue.take_if([](const event&) { return true; });  // while the hosts still stand
}

COVEY_INLINE host& simulation::add_host(std::string name) {
    constexpr std::size_t hosts_max = (1u << 24) - 2;
    if (m_hosts.size() >= hosts_max) throw error(errc::overloaded, "a simulation has room for " + std::to_string(hosts_max) + " hosts");
    const auto index = static_cast<host_index>(m_hosts.size());
    if (name.empty()) name = "host" + std::to_string(index);
    m_hosts.push_back(std::unique_ptr<host>(new host(*this, index, std::move(name))));
    m_trace.add(m_now, index, trace_kind::host_added);
    return *m_hosts.back();
}

COVEY_INLINE host& simulation::at(host_index index) {
    if (index < m_hosts.size()) return *m_hosts[index];
    throw error(errc::unknown_peer, "host " + std::to_string(index) + " of a simulation of " + std::to_string(m_hosts.size()));
}

COVEY_INLINE host& simulation::at(const endpoint& address) {
    if (host* h = find(address)) return *h;
    throw error(errc::unknown_peer, "no simulated host has the address " + to_string(address));
}

COVEY_INLINE host* simulation::find(const endpoint& address) noexcept {
    if (!address.is_v4() || address.address[12] != 10) return nullptr;
    const std::uint32_t number =
        (std::uint32_t{address.address[13]} << 16) | (std::uint32_t{address.address[14]} << 8) | address.address[15];
    return number == 0 || number > m_hosts.size() ? nullptr : m_hosts[number - 1].get();
}

COVEY_INLINE event_queue::ticket simulation::schedule(time_point when, event what) {
    if (m_queue.size() >= pending_max) {
        m_over_full = true;  // some callers may not throw; step does
        return {};
    }
    return m_queue.add(std::max(when, m_now), std::move(what));
}

COVEY_INLINE bool simulation::step() {
    assert(on_this_thread());
    const time_point when = m_queue.next_time();
    if (when == never) return false;
    if (m_over_full || m_events >= m_events_max) {
        throw error(errc::overloaded, "the simulation with seed " + std::to_string(m_seed) + " stopped after " + std::to_string(m_events) +
                                          " events with " + std::to_string(m_queue.size()) +
                                          " waiting: something never comes to rest; read its trace, or raise events_max");
    }
    ++m_events;
    m_now = std::max(m_now, when);
    const host_index h = m_queue.next().host;
    const time_point begin = h == no_host ? m_now : admit(*m_hosts[h]);
    if (begin > m_now) {
        put_off(*m_hosts[h], begin);
    } else {
        run(m_queue.take());
    }
    return true;
}

/// When the next event, which is this host's, can be taken: after its pause, and in a slow process after those before it.
COVEY_INLINE time_point simulation::admit(host& h) noexcept {
    time_point begin = std::max(m_now, h.m_paused_until);
    if (m_queue.next().put_off) return begin;
    begin = std::max(begin, h.m_free_at);
    if (h.m_service != duration{}) h.m_free_at = begin + h.m_service;
    return begin;
}

/// Moves the next event to then, or loses it when the receive buffer is full.
COVEY_INLINE void simulation::put_off(host& h, time_point until) {
    const event& next = m_queue.next();
    if (next.kind == event_kind::datagram && !next.put_off) {
        if (h.m_put_off_bytes + next.bytes.size() > host::receive_buffer_bytes) {
            m_trace.add(m_now, h.index(), trace_kind::datagram_lost, next.bytes.size());
            m_queue.take();
            return;
        }
        h.m_put_off_bytes += next.bytes.size();
    }
    m_queue.put_off(until);
}

COVEY_INLINE void simulation::run(event e) {
    switch (e.kind) {
        case event_kind::none: break;
        case event_kind::work:
            m_trace.add(m_now, e.host, trace_kind::work);
            resume_work(std::coroutine_handle<>::from_address(e.target));
            break;
        case event_kind::timer: {
            m_trace.add(m_now, e.host, trace_kind::timer);
            timer& t = *static_cast<timer*>(e.target);
            t.slot.index = 0;
            t.fire();
            break;
        }
        case event_kind::datagram: {
            constexpr std::size_t spare_max = 256;
            host& h = *m_hosts[e.host];
            if (e.put_off) h.m_put_off_bytes -= e.bytes.size();
            h.deliver(e.to_port, e.from, e.bytes);
            e.bytes.clear();
            if (m_spare.size() < spare_max) m_spare.push_back(std::move(e.bytes));
            break;
        }
        case event_kind::action: e.action(); break;
    }
}

COVEY_INLINE byte_buffer simulation::take_buffer() {
    if (m_spare.empty()) return {};
    byte_buffer buffer = std::move(m_spare.back());
    m_spare.pop_back();
    return buffer;
}

COVEY_INLINE bool simulation::run_for(duration span) {
    const time_point end = after(m_now, span);
    while (m_queue.next_time() <= end && step()) {}
    if (end != never) m_now = end;
    return m_queue.next_time() != never;
}

COVEY_INLINE void simulation::call_after(duration delay, unique_function<void()> what) {
    event e;
    e.kind = event_kind::action;
    e.action = [this, run_it = std::move(what)] {
        m_trace.add(m_now, no_host, trace_kind::action);
        run_it();
    };
    schedule(after(m_now, delay), std::move(e));
}

COVEY_INLINE void simulation::kill(host& h) {
    if (!h.on()) return;
    m_trace.add(m_now, h.index(), trace_kind::host_killed);
    h.switch_off();
}

COVEY_INLINE void simulation::restart(host& h) {
    assert(!h.on() && "restart follows kill");
    if (h.on()) return;
    m_trace.add(m_now, h.index(), trace_kind::host_restarted);
    h.switch_on();
}

COVEY_INLINE void simulation::pause(host& h, duration span) {
    if (!h.on()) return;
    m_trace.add(m_now, h.index(), trace_kind::host_paused, static_cast<std::uint64_t>(span.count()));
    h.m_paused_until = std::max(h.m_paused_until, after(m_now, span));
}

COVEY_INLINE void simulation::slow(host& h, duration service) noexcept { h.m_service = service; }

}  // namespace covey::sim
