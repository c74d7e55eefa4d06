// One machine of a simulation: an environment, as peers know it, with an address of its own.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/core/random.hpp>
#include <covey/sim/clock.hpp>
#include <covey/sim/event_queue.hpp>
#include <covey/sim/stream.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace covey::sim {

class simulation;

namespace detail {

struct datagram_port;
struct listening;
class connecting;

}  // namespace detail

/// A simulated machine with one process on it. Everything is used from the simulation's thread alone; `arm` and `post`
/// check that by assertion. Its address is 10.x.y.z; binding to that, to 0.0.0.0 or to 127.0.0.1 (or to :: and ::1)
/// all mean this host. While it is switched off (`simulation::kill`) work and timers are discarded (`cancel` is true for
/// those: they were armed and will never fire), what is sent goes nowhere, and opening sockets throws errc::shut_down.
class host final : public environment {
public:
    /// Work that is posted runs that much later, one after another: so a loop that posts itself moves the clock.
    static constexpr duration post_step = std::chrono::nanoseconds(200);
    /// Datagrams that wait for a paused process, as in a kernel's receive buffer; what comes on top is lost.
    static constexpr std::size_t receive_buffer_bytes = 208 * 1024;
    /// Connections that wait to be accepted; what comes on top is not answered.
    static constexpr std::size_t listen_backlog_max = 128;

    ~host() override;

    host_index index() const noexcept { return m_index; }
    const std::string& name() const noexcept { return m_name; }
    /// Its own address with that port.
    endpoint address(std::uint16_t port = 0) const noexcept;
    /// Switched on.
    bool on() const noexcept { return m_on; }
    bool paused() const noexcept;
    /// How often it was killed.
    std::uint32_t lives_lost() const noexcept { return m_lives_lost; }

    /// From now on its clock shows `offset` more than the simulation's and gains `drift_ppm` microseconds a second
    /// (loses, if negative; at most 10,000 either way). Timers that are armed keep their moment. Do not go back behind
    /// what the clock has shown: it is a steady one.
    void set_clock(duration offset, std::int64_t drift_ppm = 0);
    /// The drift alone, from now on; or a jump ahead.
    void set_drift(std::int64_t drift_ppm);
    void step_clock(duration forward) noexcept { m_clock.step(forward); }

    // scheduler
    void post(std::coroutine_handle<> work) noexcept override;
    time_point now() const noexcept override;
    void arm(timer& t, time_point when) override;
    bool cancel(timer& t) noexcept override;
    std::uint64_t random() noexcept override { return m_random.next(); }
    unsigned concurrency() const noexcept override { return 1; }

    // environment
    std::unique_ptr<datagram_socket> open_datagram(const endpoint& local, std::shared_ptr<datagram_handler> handler) override;
    std::unique_ptr<stream_listener> listen(const endpoint& local, accept_callback accepted) override;
    /// Refused after a round trip where the machine is there and nobody listens (also when it is switched off: its
    /// kernel answers; isolate it as well to make it silent). Times out where no path leads.
    void connect(const endpoint& to, duration timeout, connect_callback done) override;
    /// Numeric addresses only.
    std::vector<endpoint> resolve(std::string_view host_and_port) override;
    void log(log_level level, std::string_view line) noexcept override;

private:
    friend class simulation;
    friend class detail::connecting;
    friend struct detail::datagram_port;
    friend struct detail::listening;

    struct stream_place {
        std::weak_ptr<detail::stream_pair> pair;
        unsigned side = 0;
    };

    host(simulation& sim, host_index index, std::string name);

    bool is_here(const endpoint& e) const noexcept;
    std::uint16_t pick_port(const endpoint& local, const char* what, bool (host::*taken)(std::uint16_t) const);
    bool datagram_port_taken(std::uint16_t port) const { return m_datagrams.count(port) != 0; }
    bool stream_port_taken(std::uint16_t port) const { return m_listeners.count(port) != 0; }
    void require_on(const char* what) const;
    void send(std::uint16_t from_port, const endpoint& to, bytes_view bytes);
    void deliver(std::uint16_t to_port, const endpoint& from, bytes_view bytes);
    void add_stream(const std::shared_ptr<detail::stream_pair>& pair, unsigned side);
    void switch_off();
    void switch_on();

    simulation& m_sim;
    host_index m_index;
    std::string m_name;
    random_source m_random{0};
    bool m_on = true;
    std::uint32_t m_lives_lost = 0;
    time_point m_paused_until{};
    std::size_t m_put_off_bytes = 0;  // datagrams that wait for the end of the pause
    std::uint16_t m_next_port = 49152;
    std::map<std::uint16_t, std::shared_ptr<detail::datagram_port>> m_datagrams;
    std::map<std::uint16_t, std::shared_ptr<detail::listening>> m_listeners;
    std::vector<stream_place> m_streams;  // pruned of dead ones whenever it has doubled
    std::size_t m_streams_prune_at = 64;
    drifting_clock m_clock;
    duration m_service{};    // that each event takes
    time_point m_free_at{};  // when it is done with what it has taken
};

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/simulation.hpp>  // which ends with the bodies of all three: host, stream and simulation
#endif
