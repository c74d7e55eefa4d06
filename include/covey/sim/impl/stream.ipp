#pragma once

#include <covey/sim/simulation.hpp>
#include <covey/sim/stream.hpp>

#include <algorithm>
#include <cassert>

namespace covey::sim::detail {

COVEY_INLINE stream_pair::stream_pair(simulation& sim, host& client_host, const endpoint& client_local, host& server_host,
                                      const endpoint& server_local)
    : m_sim(sim) {
    m_ends[client].owner = &client_host;
    m_ends[client].local = client_local;
    m_ends[server].owner = &server_host;
    m_ends[server].local = server_local;
}

/// Runs a member function as an event of the host of end s.
COVEY_INLINE void stream_pair::on_host(unsigned s, duration delay, void (stream_pair::*what)(unsigned)) {
    event e;
    e.kind = event_kind::action;
    e.host = m_ends[s].owner->index();
    e.action = [self = shared_from_this(), s, what] { (self.get()->*what)(s); };
    m_sim.schedule(after(m_sim.now(), delay), std::move(e));
}

COVEY_INLINE void stream_pair::start(unsigned s, std::shared_ptr<stream_handler> handler) {
    end& e = m_ends[s];
    assert(!e.started && handler && "start is called once, with a handler");
    if (e.told) return;
    e.started = true;
    e.handler = std::move(handler);
    if (e.closing) {
        on_host(s, {}, &stream_pair::say_closed);
        return;
    }
    on_host(s, {}, &stream_pair::read);
    if (e.wants_room) on_host(s, {}, &stream_pair::say_writable);
}

COVEY_INLINE std::size_t stream_pair::write_some(unsigned s, bytes_view bytes) {
    end& e = m_ends[s];
    if (e.closing || e.told || e.gone || bytes.empty()) return 0;
    const std::size_t room = stream_window_bytes - e.unread;
    std::size_t n = std::min(room, bytes.size());
    if (n > 1 && m_sim.m_chaos.chance(1.0 / 16)) n = 1 + static_cast<std::size_t>(m_sim.m_chaos.below(n - 1));
    if (n < bytes.size()) e.wants_room = true;  // what is unread will be acknowledged, and that says that there is room
    if (n == 0) return 0;
    e.outbox.append(bytes.first(n));
    e.unread += n;
    flush(s);
    return n;
}

COVEY_INLINE void stream_pair::close(unsigned s) {
    end& e = m_ends[s];
    if (e.closing || e.told || e.gone) return;
    e.closing = true;
    e.ready.clear();
    if (e.started) on_host(s, {}, &stream_pair::say_closed);
    e.close_waiting = true;
    flush(s);
}

COVEY_INLINE void stream_pair::flush(unsigned s) {
    end& from = m_ends[s];
    end& to = m_ends[1 - s];
    if (from.retrying || from.gone || (from.outbox.empty() && !from.close_waiting && !from.probing)) return;
    const std::optional<duration> delay = m_sim.net().segment(from.owner->index(), to.owner->index(), from.outbox.size(), m_sim.now());
    if (!delay) {
        wait_for_path(s);
        return;
    }
    from.path_cut = from.probing = false;
    if (to.gone) {
        from.outbox.clear();
        on_host(s, *delay + m_sim.net().delay(to.owner->index(), from.owner->index()), &stream_pair::reset_by_other);
        return;
    }
    if (from.outbox.empty() && !from.close_waiting) return;
    segment next;
    next.bytes = std::move(from.outbox);
    next.last = from.close_waiting;
    from.close_waiting = false;
    push(1 - s, after(m_sim.now(), *delay), std::move(next));
}

/// The path is cut: try again, each time after twice as long, as TCP does.
COVEY_INLINE void stream_pair::wait_for_path(unsigned s) {
    end& e = m_ends[s];
    if (!e.path_cut) {
        e.path_cut = true;
        e.cut_since = m_sim.now();
        e.retry_after = network::retransmit_first;
    }
    e.retrying = true;
    event again;
    again.kind = event_kind::action;  // of no host: kernels retry for paused processes as well
    again.action = [self = shared_from_this(), s] { self->retry(s); };
    m_sim.schedule(after(m_sim.now(), e.retry_after), std::move(again));
    e.retry_after = std::min(e.retry_after * 2, network::retransmit_max);
}

COVEY_INLINE void stream_pair::retry(unsigned s) {
    end& e = m_ends[s];
    e.retrying = false;
    if (e.gone) return;
    if (m_sim.now() - e.cut_since < stream_give_up) {
        flush(s);
        return;
    }
    e.gone = true;
    e.outbox.clear();
    if (!e.closing) on_host(s, {}, &stream_pair::timed_out);
}

COVEY_INLINE void stream_pair::push(unsigned to, time_point when, segment what) {
    end& e = m_ends[to];
    e.last_arrival = std::max(e.last_arrival, when);  // in order, whatever the delays drawn
    e.arriving.push_back(std::move(what));
    on_host(to, e.last_arrival - m_sim.now(), &stream_pair::arrive);
}

COVEY_INLINE void stream_pair::arrive(unsigned s) {
    end& e = m_ends[s];
    if (e.arriving.empty()) return;
    segment next = std::move(e.arriving.front());
    e.arriving.pop_front();
    if (e.closing || e.told || e.ended) return;
    if (next.why) {
        end_with(s, next.why);
        return;
    }
    e.ready.append(next.bytes);
    e.ended = next.last;
    read(s);
}

/// Hands to the handler what has arrived, in pieces that the writer did not choose.
COVEY_INLINE void stream_pair::read(unsigned s) {
    end& e = m_ends[s];
    if (!e.started) return;
    const std::shared_ptr<stream_handler> handler = e.handler;
    if (!handler) return;
    while (!e.ready.empty() && !e.closing && !e.gone) {
        const std::span<std::byte> into = handler->read_buffer();
        assert(!into.empty() && "read_buffer is never empty");
        if (into.empty() || e.closing || e.gone) break;
        std::size_t n = std::min(into.size(), e.ready.size());
        if (n > 1 && m_sim.m_chaos.chance(1.0 / 8)) n = 1 + static_cast<std::size_t>(m_sim.m_chaos.below(n - 1));
        std::memcpy(into.data(), e.ready.data(), n);
        m_sim.m_trace.add(m_sim.now(), e.owner->index(), trace_kind::stream_read, n, content_hash(e.ready.view().first(n)));
        e.ready.consume(n);
        consumed(s, n);
        handler->on_read(n);
    }
    if (e.ended && e.ready.empty() && !e.closing && !e.told) say_closed(s);
}

/// n bytes were read at end s: the other end has that much more room, once it hears of it.
COVEY_INLINE void stream_pair::consumed(unsigned s, std::size_t n) {
    end& writer = m_ends[1 - s];
    if (writer.gone || writer.closing) return;
    writer.acknowledged += n;
    if (writer.acknowledging) return;
    writer.acknowledging = true;
    on_host(1 - s, m_sim.net().delay(m_ends[s].owner->index(), writer.owner->index()), &stream_pair::acknowledge);
}

COVEY_INLINE void stream_pair::acknowledge(unsigned s) {
    end& e = m_ends[s];
    e.acknowledging = false;
    assert(e.acknowledged <= e.unread);
    e.unread -= std::exchange(e.acknowledged, 0);
    if (!e.started) return;
    if (e.wants_room || m_sim.m_chaos.chance(1.0 / 32)) say_writable(s);  // spurious calls are part of the contract
}

COVEY_INLINE void stream_pair::say_writable(unsigned s) {
    end& e = m_ends[s];
    if (e.closing || e.told || e.gone || e.unread >= stream_window_bytes) return;
    e.wants_room = false;
    const std::shared_ptr<stream_handler> handler = e.handler;
    m_sim.m_trace.add(m_sim.now(), e.owner->index(), trace_kind::stream_writable, e.unread);
    if (handler) handler->on_writable();
}

COVEY_INLINE void stream_pair::say_closed(unsigned s) {
    end& e = m_ends[s];
    if (e.told || !e.started) return;
    e.told = true;
    if (!e.closing) e.gone = true;  // an end that closed by itself still has its last bytes on the way
    e.ready.clear();
    const std::shared_ptr<stream_handler> handler = std::move(e.handler);
    const std::error_code why = e.closing ? std::make_error_code(std::errc::operation_canceled) : e.why;
    m_sim.m_trace.add(m_sim.now(), e.owner->index(), trace_kind::stream_closed, static_cast<std::uint64_t>(why.value()));
    if (handler) handler->on_closed(why);
}

COVEY_INLINE void stream_pair::end_with(unsigned s, std::error_code why) {
    end& e = m_ends[s];
    if (e.told) return;
    e.gone = true;
    if (e.closing) return;  // say_closed is on its way
    e.ready.clear();
    e.ended = true;
    e.why = why;
    say_closed(s);
}

COVEY_INLINE void stream_pair::reset_by_other(unsigned s) { end_with(s, std::make_error_code(std::errc::connection_reset)); }

COVEY_INLINE void stream_pair::timed_out(unsigned s) { end_with(s, std::make_error_code(std::errc::timed_out)); }

COVEY_INLINE std::shared_ptr<stream_handler> stream_pair::power_off(unsigned s) {
    end& e = m_ends[s];
    end& other = m_ends[1 - s];
    e.gone = e.told = true;
    e.arriving.clear();
    e.ready.clear();
    e.outbox.clear();
    std::shared_ptr<stream_handler> handler = std::move(e.handler);
    if (other.gone || other.told) return handler;
    const std::optional<duration> delay = m_sim.net().segment(e.owner->index(), other.owner->index(), 0, m_sim.now());
    if (delay) {
        segment reset;
        reset.why = std::make_error_code(std::errc::connection_reset);
        push(1 - s, after(m_sim.now(), *delay), std::move(reset));
    } else if (other.unread > 0 && !other.retrying) {
        other.probing = true;  // what it wrote is never acknowledged: its kernel tries until it gives up or is told
        flush(1 - s);
    }
    return handler;
}

}  // namespace covey::sim::detail
