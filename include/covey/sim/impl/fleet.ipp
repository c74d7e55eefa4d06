#pragma once

#include <covey/core/error.hpp>
#include <covey/sim/fleet.hpp>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>

namespace covey::sim {

COVEY_INLINE fleet::fleet(const fleet_options& options)
    : m_options(options),
      m_random(hash_combine(options.seed, 1)),
      m_network(hash_combine(options.seed, 3), options.network),
      m_trace(options.kept_events),
      m_forger(hash_combine(options.seed, 6)) {
    m_traffic.begin(m_now);
}

COVEY_INLINE fleet::seat& fleet::at(host_index h) {
    constexpr host_index hosts_max = (1u << 24) - 2;
    if (h >= hosts_max) throw error(errc::overloaded, "a fleet has room for " + std::to_string(hosts_max) + " hosts");
    while (h >= m_seats.size()) {
        const auto index = static_cast<host_index>(m_seats.size());
        seat& s = m_seats.emplace_back();
        s.clock = drifting_clock(m_now);
        if (!m_options.own_clocks) continue;
        random_source own(hash_combine(hash_combine(m_options.seed, 4), index));
        // One draw a statement: compilers differ in the order in which they evaluate arguments.
        const std::chrono::seconds offset(own.below(100'000));
        s.clock.set(m_now, offset, static_cast<std::int64_t>(own.below(401)) - 200);
    }
    return m_seats[h];
}

COVEY_INLINE void fleet::start(host_index h, comeback how) {
    seat& s = at(h);
    if (s.node) return;
    ++s.life;
    const std::uint64_t own_seed = hash_combine(hash_combine(m_options.seed, 1000 + h), s.life);
    if (how == comeback::new_id || how == comeback::never || !s.id) {
        s.id = peer_id{(mix64(own_seed) << 24) | (std::uint64_t{h} + 1)};
        s.epoch = 1;
    } else if (how == comeback::new_epoch) {
        ++s.epoch;
    }
    mesh_identity who;
    who.id = s.id;
    who.epoch = s.epoch;
    who.address = address_of(h);
    who.name = "host" + std::to_string(h);
    who.table_digest = s.table_digest;
    s.node = std::make_unique<mesh_node>(m_options.how, who, own_seed, m_common);
    m_trace.add(m_now, h, s.life == 1 ? trace_kind::host_added : trace_kind::host_restarted, s.id.value);
    expect(s, true);
    std::array<endpoint, 16> seeds;
    const host_index count = std::min<host_index>(m_options.seeds, static_cast<host_index>(seeds.size()));
    for (host_index i = 0; i < count; ++i) seeds[i] = address_of(i);
    for (fleet_watch* w : m_watches) w->on_started(m_now, h, *s.node);
    s.node->start(s.clock.local(m_now), std::span(seeds).first(count));
    settle(h);
}

COVEY_INLINE void fleet::kill(host_index h) {
    if (node(h) == nullptr) return;
    m_trace.add(m_now, h, trace_kind::host_killed);
    end_process(h, false);
}

COVEY_INLINE void fleet::end_process(host_index h, bool had_left) {
    seat& s = m_seats[h];
    expect(s, false);
    s.node = nullptr;
    ++s.life;  // what waits for the process that was there is for nobody
    s.armed = never;
    s.paused_until = s.free_at = {};
    s.waiting_bytes = 0;
    for (fleet_watch* w : m_watches) w->on_ended(m_now, h, had_left);
}

COVEY_INLINE void fleet::leave(host_index h) {
    if (node(h) == nullptr || !m_seats[h].is_expected) return;
    seat& s = m_seats[h];
    expect(s, false);
    s.node->leave(s.clock.local(m_now));
    settle(h);
}

COVEY_INLINE void fleet::pause(host_index h, duration span) {
    if (node(h) == nullptr) return;
    m_trace.add(m_now, h, trace_kind::host_paused, static_cast<std::uint64_t>(span.count()));
    m_seats[h].paused_until = std::max(m_seats[h].paused_until, after(m_now, span));
}

COVEY_INLINE void fleet::set_drift(host_index h, std::int64_t ppm) {
    at(h).clock.set_drift(m_now, ppm);
    if (m_seats[h].node) settle(h);
}

COVEY_INLINE void fleet::step_clock(host_index h, duration forward) {
    at(h).clock.step(forward);
    if (m_seats[h].node) settle(h);
}

COVEY_INLINE void fleet::expect(seat& s, bool expected) {
    if (s.is_expected == expected) return;
    if (s.is_right) --m_right;
    s.is_right = false;
    s.is_expected = expected;
    if (expected) s.counted_digest = s.node->own_digest();
    m_expected_digest ^= s.counted_digest;
    m_expected_count += expected ? 1 : static_cast<std::size_t>(-1);
    m_recount = true;
}

COVEY_INLINE std::size_t fleet::agreed() {
    if (m_recount) {
        m_recount = false;
        m_right = 0;
        for (seat& s : m_seats) {
            s.is_right = s.is_expected && s.node->live_count() == m_expected_count && s.node->view_digest() == m_expected_digest;
            m_right += s.is_right;
        }
    }
    return m_right;
}

COVEY_INLINE std::string fleet::disagreement() {
    if (all_agree()) return {};
    std::string text = std::to_string(m_right) + " of " + std::to_string(m_expected_count) + " members see exactly each other";
    for (host_index h = 0; h < host_count(); ++h) {
        const seat& s = m_seats[h];
        if (!s.is_expected || s.is_right) continue;
        text += "; host " + std::to_string(h) + " sees " + std::to_string(s.node->live_count());
        std::size_t named = 0;
        for (host_index other = 0; other < host_count() && named < 4; ++other) {
            const seat& o = m_seats[other];
            if (other == h || !o.id) continue;
            const std::string_view state = s.node->state_of(o.id);
            const bool is_live = state == "alive" || state == "suspect";
            if (is_live == o.is_expected) continue;
            text += ", holds host " + std::to_string(other) + " (" + to_string(o.id) + ") for " + std::string(state);
            ++named;
        }
        if (named == 0) text += ", and differs in epochs or in lives that are over";
        return text;
    }
    return text;
}

COVEY_INLINE bool fleet::is_running(peer_id id, epoch_t epoch) const noexcept {
    const mesh_node* n = node(host_of(id));
    return n != nullptr && n->id() == id && n->epoch() == epoch;
}

COVEY_INLINE host_index fleet::host_at(const endpoint& e) const noexcept {
    if (!e.is_v4() || e.address[12] != 10 || e.port != port) return no_host;
    const std::uint32_t number = (std::uint32_t{e.address[13]} << 16) | (std::uint32_t{e.address[14]} << 8) | e.address[15];
    return number == 0 || number > m_seats.size() ? no_host : number - 1;
}

COVEY_INLINE std::uint32_t fleet::put(parcel&& p) {
    if (m_free_parcels.empty()) {
        m_parcels.emplace_back();
        m_free_parcels.push_back(static_cast<std::uint32_t>(m_parcels.size() - 1));
    }
    const std::uint32_t index = m_free_parcels.back();
    m_free_parcels.pop_back();
    m_parcels[index] = std::move(p);
    return index;
}

COVEY_INLINE void fleet::release(std::uint32_t index) {
    parcel& p = m_parcels[index];
    if (--p.copies != 0) return;
    p.bytes = {};
    m_free_parcels.push_back(index);
}

COVEY_INLINE time_point fleet::schedule(time_point when, happening kind, host_index h, std::uint32_t payload, bool put_off) {
    when = std::max(when, m_now);
    m_agenda.add({when, static_cast<std::uint8_t>(kind), put_off, h, payload});
    return when;
}

COVEY_INLINE void fleet::call_after(duration delay, unique_function<void()> what) {
    if (m_free_actions.empty()) {
        m_actions.emplace_back();
        m_free_actions.push_back(static_cast<std::uint32_t>(m_actions.size() - 1));
    }
    const std::uint32_t index = m_free_actions.back();
    m_free_actions.pop_back();
    m_actions[index] = std::move(what);
    schedule(after(m_now, delay), happening::action, no_host, index);
}

COVEY_INLINE bool fleet::step() {
    if (m_agenda.empty()) return false;
    if (m_agenda.size() > pending_max) {
        throw error(errc::overloaded, "the fleet with seed " + std::to_string(m_options.seed) + " has " + std::to_string(m_agenda.size()) +
                                          " events waiting: something never comes to rest; read its trace");
    }
    const agenda::entry e = m_agenda.take();
    m_now = e.when;
    m_traffic.advance(m_now, [this](host_index h) { return node(h) != nullptr; });
    run(e);
    return true;
}

COVEY_INLINE void fleet::run_for(duration span) {
    const time_point end = after(m_now, span);
    while (m_agenda.next_time() <= end && step()) {}
    m_now = end;
}

COVEY_INLINE void fleet::run(const agenda::entry& e) {
    const auto kind = static_cast<happening>(e.kind);
    if (kind == happening::action) {
        ++m_events;
        m_trace.add(m_now, no_host, trace_kind::action);
        const unique_function<void()> action = std::move(m_actions[e.payload]);
        m_free_actions.push_back(e.payload);
        action();
        return;
    }
    seat& s = m_seats[e.host];
    if (kind == happening::timer) {
        if (e.when != s.armed) return;  // it was armed anew since
    } else if (kind == happening::stream && (s.node == nullptr || m_parcels[e.payload].life != s.life)) {
        // Whoever took the connection is gone: its machine resets it.
        ++m_events;
        fail_stream(m_parcels[e.payload].from, e.host, false, after(m_now, m_network.delay(e.host, m_parcels[e.payload].from)));
        release(e.payload);
        return;
    } else if (s.node == nullptr || (m_parcels[e.payload].life != 0 && m_parcels[e.payload].life != s.life)) {
        ++m_events;
        if (kind == happening::datagram) m_trace.add(m_now, e.host, trace_kind::datagram_lost, m_parcels[e.payload].bytes.size());
        release(e.payload);
        return;
    }
    if (!admit(e, s)) return;
    ++m_events;
    deliver(e, s);
    settle(e.host);
}

COVEY_INLINE bool fleet::admit(const agenda::entry& e, seat& s) {
    const auto kind = static_cast<happening>(e.kind);
    time_point begin = std::max(m_now, s.paused_until);
    if (!e.put_off) {
        begin = std::max(begin, s.free_at);
        if (s.service != duration{}) s.free_at = begin + s.service;
    }
    if (begin == m_now) {
        if (e.put_off && kind == happening::datagram) s.waiting_bytes -= m_parcels[e.payload].bytes.size();
        return true;
    }
    std::uint32_t payload = e.payload;
    if (kind == happening::timer) {
        s.armed = begin;
    } else if (kind == happening::datagram && !e.put_off) {
        const std::size_t bytes = m_parcels[payload].bytes.size();
        if (s.waiting_bytes + bytes > receive_buffer_bytes) {
            m_trace.add(m_now, e.host, trace_kind::datagram_lost, bytes);
            release(payload);
            return false;
        }
        s.waiting_bytes += bytes;
        if (m_parcels[payload].copies > 1) {
            // The other copy may find the process in time; this one is now in its receive buffer and goes with it.
            parcel own;
            own.bytes.append(m_parcels[payload].bytes);
            own.from = m_parcels[payload].from;
            release(payload);
            payload = put(std::move(own));
        }
        m_parcels[payload].life = s.life;
    }
    schedule(begin, kind, e.host, payload, true);
    return false;
}

COVEY_INLINE void fleet::deliver(const agenda::entry& e, seat& s) {
    const time_point local = s.clock.local(m_now);
    switch (static_cast<happening>(e.kind)) {
        case happening::action: break;
        case happening::timer:
            s.armed = never;
            if (s.node->next_wakeup() > local) break;  // it needs less than it did: settle arms it for later
            m_trace.add(m_now, e.host, trace_kind::timer);
            s.node->on_time(local);
            break;
        case happening::datagram: {
            const parcel& p = m_parcels[e.payload];
            m_trace.add(m_now, e.host, trace_kind::datagram, p.bytes.size(), content_hash(p.bytes));
            s.node->on_datagram(local, address_of(p.from), p.bytes);
            release(e.payload);
            break;
        }
        case happening::stream: {
            const parcel& p = m_parcels[e.payload];
            m_trace.add(m_now, e.host, trace_kind::stream_read, p.bytes.size(), content_hash(p.bytes));
            s.node->on_stream(local, address_of(p.from), p.bytes);
            release(e.payload);
            break;
        }
        case happening::stream_failed: {
            const host_index to = m_parcels[e.payload].from;
            const bool refused = m_parcels[e.payload].refused;
            release(e.payload);
            m_trace.add(m_now, e.host, trace_kind::stream_refused, to);
            s.node->on_stream_failed(local, address_of(to), refused);
            break;
        }
    }
}

struct fleet::drain_sink {
    fleet& f;
    host_index h;

    void datagram(const endpoint& to, byte_buffer&& bytes) { f.send_datagram(h, to, std::move(bytes)); }
    void stream(const endpoint& to, byte_buffer&& bytes) { f.send_stream(h, to, std::move(bytes)); }
    void seen(const sighting& s) { f.saw(h, s); }
    void said(log_level level, std::string_view line) {
        f.m_trace.add(f.m_now, h, trace_kind::log, static_cast<std::uint64_t>(level), 0, line);
        static const bool verbose = std::getenv("COVEY_SIM_VERBOSE") != nullptr;
        if (!verbose) return;
        std::fprintf(stderr, "%12.6f s  host%-6u %.*s\n", static_cast<double>(f.m_now.time_since_epoch().count()) * 1e-9,
                     static_cast<unsigned>(h), static_cast<int>(line.size()), line.data());
    }
};

/// After each call into a member: sends what it has to say, and sets its timer.
COVEY_INLINE void fleet::settle(host_index h) {
    seat& s = m_seats[h];
    mesh_node& n = *s.node;
    n.drain(drain_sink{*this, h});
    if (n.epoch() != s.epoch || s.is_expected) {
        s.epoch = n.epoch();
        if (s.is_expected) {
            const std::uint64_t digest = n.own_digest();
            if (digest != s.counted_digest) {
                m_expected_digest ^= s.counted_digest ^ digest;
                s.counted_digest = digest;
                m_recount = true;
            }
            const bool right = n.live_count() == m_expected_count && n.view_digest() == m_expected_digest;
            m_right += static_cast<std::size_t>(right) - static_cast<std::size_t>(s.is_right);
            s.is_right = right;
        }
    }
    for (fleet_watch* w : m_watches) w->on_turn(m_now, h, n);
    if (n.has_left()) return end_process(h, true);
    const time_point wanted = n.next_wakeup();
    if (wanted == never) return;
    const time_point when = std::max(s.clock.global(wanted), m_now);
    if (when < s.armed) s.armed = schedule(when, happening::timer, h);
}

COVEY_INLINE void fleet::saw(host_index observer, const sighting& s) {
    if (s.kind == sighting::what::dead && is_running(s.subject, s.epoch)) ++m_false_deaths;
    for (fleet_watch* w : m_watches) w->on_sighting(m_now, observer, s);
}

COVEY_INLINE void fleet::send_datagram(host_index from, const endpoint& to, byte_buffer&& bytes) {
    if (m_datagrams++ % 64 == 0) {
        m_sample.clear();
        m_sample.append(bytes);
    }
    m_traffic.sent(from, bytes.size() + m_options.datagram_overhead);
    for (fleet_watch* w : m_watches) w->on_datagram_sent(m_now, from, bytes.size());
    const host_index target = host_at(to);
    network::fate fate;
    if (target != no_host) fate = m_network.datagram(from, target, bytes.size(), m_now);
    if (fate.copies == 0) {
        m_trace.add(m_now, from, trace_kind::datagram_lost, bytes.size());
        return;
    }
    parcel p;
    p.bytes = std::move(bytes);
    p.from = from;
    p.copies = static_cast<std::uint8_t>(fate.copies);
    const std::uint32_t index = put(std::move(p));
    for (unsigned i = 0; i < fate.copies; ++i) schedule(after(m_now, fate.delay[i]), happening::datagram, target, index);
}

COVEY_INLINE void fleet::forge(host_index h, host_index from, bytes_view bytes) {
    at(h);
    parcel p;
    p.bytes.append(bytes);
    p.from = from;
    schedule(m_now, happening::datagram, h, put(std::move(p)));
}

COVEY_INLINE void fleet::forge(host_index h) {
    byte_buffer bytes;
    mesh_node::forge(m_forger, m_sample, bytes);
    forge(h, static_cast<host_index>(m_forger.below(host_count())), bytes);
}

COVEY_INLINE void fleet::fail_stream(host_index sender, host_index to, bool refused, time_point when) {
    if (node(sender) == nullptr) return;
    parcel p;
    p.from = to;
    p.refused = refused;
    p.life = m_seats[sender].life;
    schedule(when, happening::stream_failed, sender, put(std::move(p)));
}

COVEY_INLINE void fleet::send_stream(host_index from, const endpoint& to, byte_buffer&& bytes) {
    ++m_streams;
    m_stream_bytes += bytes.size();
    m_traffic.sent(from, bytes.size());
    const host_index target = host_at(to);
    if (target == no_host) return fail_stream(from, 0, false, after(m_now, connect_timeout));
    // A round trip for the connection; then a window of ten segments that doubles with each round trip.
    constexpr std::size_t segment_bytes = 1400;
    const auto leg = [&] { return m_network.segment(from, target, std::min(bytes.size(), segment_bytes), m_now); };
    const std::optional<duration> knock = leg();
    if (!knock) return fail_stream(from, target, false, after(m_now, connect_timeout));
    duration total = *knock + m_network.delay(target, from);
    if (m_seats[target].node == nullptr) return fail_stream(from, target, true, after(m_now, total));
    std::size_t window = 10 * segment_bytes;
    for (std::size_t sent = 0;;) {
        total += leg().value_or(duration{});
        sent += window;
        window *= 2;
        if (sent >= bytes.size()) break;
        total += m_network.delay(target, from);
    }
    parcel p;
    p.bytes = std::move(bytes);
    p.from = from;
    p.life = m_seats[target].life;
    schedule(after(m_now, total), happening::stream, target, put(std::move(p)));
}

}  // namespace covey::sim
