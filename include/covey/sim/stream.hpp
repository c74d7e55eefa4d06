// One simulated connection: two ends, the bytes on their way, and what becomes of them when a path or a host fails.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/sim/event_queue.hpp>

#include <deque>
#include <memory>
#include <optional>

namespace covey::sim {

class host;
class simulation;

/// Bytes that one end may have written and the other end's handler not yet read.
inline constexpr std::size_t stream_window_bytes = 256 * 1024;
/// Bytes that wait on a cut path for that long break the connection (with std::errc::timed_out at the writing end).
inline constexpr duration stream_give_up = std::chrono::seconds(15);

namespace detail {

/// Shared by both sockets, and by the events on their way. Modelled after TCP: an end that is gone answers what reaches
/// it with a reset; an end that writes nothing does not notice that the path is cut; a close follows the data.
/// What a handler reads is cut and joined at random places, as a real stream's reads are, and now and then a write is
/// short although there is room, so that code which needs more than the contract fails here.
class stream_pair : public std::enable_shared_from_this<stream_pair> {
public:
    static constexpr unsigned client = 0;
    static constexpr unsigned server = 1;

    stream_pair(simulation& sim, host& client_host, const endpoint& client_local, host& server_host, const endpoint& server_local);

    void start(unsigned s, std::shared_ptr<stream_handler> handler);
    std::size_t write_some(unsigned s, bytes_view bytes);
    void close(unsigned s);
    const endpoint& local(unsigned s) const noexcept { return m_ends[s].local; }

    /// The process behind end s is gone; the other end gets a reset if the path is open. Returns the handler, for the
    /// caller to release when it is done.
    std::shared_ptr<stream_handler> power_off(unsigned s);

private:
    struct segment {
        byte_buffer bytes;
        bool last = false;      // the other end closed; nothing follows
        std::error_code why{};  // set: a reset
    };
    struct end {
        host* owner = nullptr;
        endpoint local{};
        std::shared_ptr<stream_handler> handler;
        bool started = false;
        bool closing = false;  // closed by its owner
        bool told = false;     // on_closed has begun
        bool gone = false;     // nothing answers here any more but resets
        // Towards this end.
        std::deque<segment> arriving;  // in order; one event each; bounded by the window
        time_point last_arrival{};
        byte_buffer ready;  // arrived, not yet read
        bool ended = false;
        std::error_code why{};
        // From this end.
        byte_buffer outbox;  // written, not yet sent because the path is cut
        bool close_waiting = false;
        std::size_t unread = 0;  // bytes of the window in use
        bool wants_room = false;
        std::size_t acknowledged = 0;
        bool acknowledging = false;
        bool retrying = false;
        bool probing = false;  // retry although there is nothing new: what was sent may be lost
        bool path_cut = false;
        time_point cut_since{};
        duration retry_after{};
    };

    void on_host(unsigned s, duration delay, void (stream_pair::*what)(unsigned));
    void flush(unsigned s);
    void wait_for_path(unsigned s);
    void retry(unsigned s);
    void push(unsigned to, time_point when, segment what);
    void arrive(unsigned s);
    void read(unsigned s);
    void acknowledge(unsigned s);
    void consumed(unsigned s, std::size_t n);
    void say_writable(unsigned s);
    void say_closed(unsigned s);
    void end_with(unsigned s, std::error_code why);
    void reset_by_other(unsigned s);
    void timed_out(unsigned s);

    simulation& m_sim;
    end m_ends[2];
};

/// What the owner of one end holds.
class stream_end final : public stream_socket {
public:
    stream_end(std::shared_ptr<stream_pair> pair, unsigned side) noexcept : m_pair(std::move(pair)), m_side(side) {}
    ~stream_end() override { m_pair->close(m_side); }

    void start(std::shared_ptr<stream_handler> handler) override { m_pair->start(m_side, std::move(handler)); }
    std::size_t write_some(bytes_view bytes) noexcept override { return m_pair->write_some(m_side, bytes); }
    void close() noexcept override { m_pair->close(m_side); }
    endpoint local() const override { return m_pair->local(m_side); }
    endpoint remote() const override { return m_pair->local(1 - m_side); }

private:
    std::shared_ptr<stream_pair> m_pair;
    unsigned m_side;
};

}  // namespace detail

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/host.hpp>  // which ends with the bodies of all three: host, stream and simulation know each other
#endif
