// Thousands of members without coroutines and sockets: mesh machines driven straight from an event heap.
#pragma once

#include <covey/core/function.hpp>
#include <covey/core/random.hpp>
#include <covey/sim/agenda.hpp>
#include <covey/sim/clock.hpp>
#include <covey/sim/mesh_node.hpp>
#include <covey/sim/network.hpp>
#include <covey/sim/trace.hpp>
#include <covey/sim/traffic.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace covey::sim {

/// How a process that was killed comes back on its address.
enum class comeback : std::uint8_t {
    never,
    same_epoch,  ///< as who it was, having forgotten that it was there before
    new_epoch,   ///< as who it was, one epoch later
    new_id,      ///< as somebody else
};

/// Told of everything that happens in a fleet. It must not throw and must not call the fleet's changing functions.
class fleet_watch {
public:
    virtual ~fleet_watch() = default;
    virtual void on_sighting(time_point, host_index /*observer*/, const sighting&) {}
    virtual void on_datagram_sent(time_point, host_index /*by*/, std::size_t /*bytes*/) {}
    /// After each call into a member, when its outputs are taken.
    virtual void on_turn(time_point, host_index, const mesh_node&) {}
    virtual void on_started(time_point, host_index, const mesh_node&) {}
    /// A process ended; it had left properly, or was killed.
    virtual void on_ended(time_point, host_index, bool /*had_left*/) {}
};

struct fleet_options {
    std::uint64_t seed = 1;
    mesh::config how = mesh::profile::lan();
    faults network{};
    /// The first ones, through which everybody joins.
    host_index seeds = 3;
    /// Every machine's clock begins at a time of its own and drifts by up to 200 ppm: a moment that travels would show.
    bool own_clocks = true;
    /// Counted as sent with each datagram: headers and what sealing adds.
    std::size_t datagram_overhead = 0;
    /// Events kept in words for `trace().tail()`.
    std::size_t kept_events = 256;
};

/// Everything follows from the options. A host is a machine with an address; at most one process, a member, runs on it.
/// Hosts that do not exist yet come into being when they are named, 16 million at most. One thread; watches outlive it.
class fleet {
public:
    static constexpr std::uint16_t port = 7400;
    /// Datagrams that wait for a paused or slow process; what comes on top is lost.
    static constexpr std::size_t receive_buffer_bytes = 208 * 1024;
    /// A stream over a cut path fails after that long.
    static constexpr duration connect_timeout = std::chrono::seconds(5);
    /// Entries that may wait; more, and `step` throws.
    static constexpr std::size_t pending_max = 64'000'000;

    explicit fleet(const fleet_options& options);
    fleet(const fleet&) = delete;
    fleet& operator=(const fleet&) = delete;

    void watch(fleet_watch& w) { m_watches.push_back(&w); }
    void unwatch(fleet_watch& w) { std::erase(m_watches, &w); }

    /// Starts a process on a host, for the first time as a member with a new id. It joins through the seeds.
    /// Without effect where one runs.
    void start(host_index h, comeback how = comeback::new_id);
    /// The process is gone at once; its machine refuses connections. To make a machine silent, isolate it as well.
    void kill(host_index h);
    /// It says goodbye; its process ends when that is said.
    void leave(host_index h);
    /// It does nothing for that long; its kernel goes on.
    void pause(host_index h, duration span);
    /// From now on every event takes it `service`, and the next one waits; zero: no time, as at first. What it has taken
    /// already keeps its moment.
    void slow(host_index h, duration service) { at(h).service = service; }
    /// Throws errc::bad_argument beyond drifting_clock::drift_ppm_max.
    void set_drift(host_index h, std::int64_t ppm);
    void step_clock(host_index h, duration forward);
    /// What processes that start on this host say about their function table.
    void set_table_digest(host_index h, std::uint64_t digest) { at(h).table_digest = digest; }
    /// Hands a datagram that no member sent to whoever runs there, as if it came from `from`.
    void forge(host_index h, host_index from, bytes_view bytes);
    /// As somebody without a key would: noise, cut-off datagrams, old ones again.
    void forge(host_index h);

    bool step();
    /// Runs what happens within the next `span` and moves the clock to its end.
    void run_for(duration span);
    /// Runs until `done()`, asked before the first and after each event, or until `limit` has passed: the last answer.
    template <std::predicate Done>
    bool run_until(Done&& done, duration limit) {
        const time_point end = after(m_now, limit);
        if (done()) return true;
        while (m_agenda.next_time() <= end && step()) {
            if (done()) return true;
        }
        m_now = end;
        return done();
    }
    void call_after(duration delay, unique_function<void()> what);

    time_point now() const noexcept { return m_now; }
    std::uint64_t seed() const noexcept { return m_options.seed; }
    host_index host_count() const noexcept { return static_cast<host_index>(m_seats.size()); }
    /// The member that runs there, or nullptr.
    const mesh_node* node(host_index h) const noexcept { return h < m_seats.size() ? m_seats[h].node.get() : nullptr; }
    /// Members that run and have not begun to leave.
    std::size_t running() const noexcept { return m_expected_count; }
    /// Members among those whose view holds exactly those.
    std::size_t agreed();
    bool all_agree() { return agreed() == m_expected_count; }
    /// Why somebody does not agree, for a person; empty if all do.
    std::string disagreement();
    /// Is this the id, in this epoch, of a process that runs?
    bool is_running(peer_id id, epoch_t epoch) const noexcept;
    /// The host whose processes could have that id.
    static host_index host_of(peer_id id) noexcept { return static_cast<host_index>((id.value & 0xffffff) - 1); }
    static endpoint address_of(host_index h) noexcept {
        const std::uint32_t number = h + 1;
        return endpoint::v4(10, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                            static_cast<std::uint8_t>(number), port);
    }

    network& net() noexcept { return m_network; }
    traffic_meter& traffic() noexcept { return m_traffic; }
    const event_trace& trace() const noexcept { return m_trace; }
    const fleet_options& options() const noexcept { return m_options; }
    /// For the test's own choices: a stream of its own, so that drawing from it changes nothing else.
    random_source& random() noexcept { return m_random; }
    std::uint64_t events() const noexcept { return m_events; }
    std::uint64_t datagrams() const noexcept { return m_datagrams; }
    std::uint64_t streams() const noexcept { return m_streams; }
    std::uint64_t stream_bytes() const noexcept { return m_stream_bytes; }
    /// Sightings of a death whose subject was running.
    std::uint64_t false_deaths() const noexcept { return m_false_deaths; }

private:
    enum class happening : std::uint8_t { action, timer, datagram, stream, stream_failed };

    struct seat {
        std::unique_ptr<mesh_node> node;
        drifting_clock clock;
        time_point armed = never;  // the timer entry that counts; others are stale
        time_point paused_until{};
        time_point free_at{};  // a slow process is done with what it has taken
        duration service{};
        std::size_t waiting_bytes = 0;  // datagrams put off
        std::uint64_t table_digest = 0x1234;
        std::uint64_t counted_digest = 0;  // what it adds to the expected digest
        std::uint32_t life = 0;            // processes started here; also marks what belongs to one of them
        peer_id id;
        epoch_t epoch = 0;
        bool is_expected = false;  // runs and does not leave
        bool is_right = false;     // its view is the expected one
    };
    /// Something on its way: the bytes of a datagram or of a stream, or a failure with nothing in it.
    struct parcel {
        byte_buffer bytes;
        host_index from = no_host;  // of a failure: to whom it was sent
        std::uint32_t life = 0;     // of its receiver, where only that one may have it; else 0
        std::uint8_t copies = 1;
        bool refused = false;
    };
    struct drain_sink;

    seat& at(host_index h);
    time_point schedule(time_point when, happening kind, host_index h, std::uint32_t payload = 0, bool put_off = false);
    void run(const agenda::entry& e);
    /// False: it was put off to when its host has time, or lost on the way there.
    bool admit(const agenda::entry& e, seat& s);
    void deliver(const agenda::entry& e, seat& s);
    void settle(host_index h);
    void end_process(host_index h, bool had_left);
    void expect(seat& s, bool expected);
    void send_datagram(host_index from, const endpoint& to, byte_buffer&& bytes);
    void send_stream(host_index from, const endpoint& to, byte_buffer&& bytes);
    void fail_stream(host_index sender, host_index to, bool refused, time_point when);
    void saw(host_index observer, const sighting& s);
    host_index host_at(const endpoint& e) const noexcept;
    std::uint32_t put(parcel&& p);
    void release(std::uint32_t index);

    fleet_options m_options;
    mesh_node::common m_common = mesh_node::make_common();
    time_point m_now = time_point{} + std::chrono::seconds(1000);
    random_source m_random;
    network m_network;
    event_trace m_trace;
    traffic_meter m_traffic;
    agenda m_agenda;
    std::vector<seat> m_seats;
    std::vector<parcel> m_parcels;
    std::vector<std::uint32_t> m_free_parcels;
    std::vector<unique_function<void()>> m_actions;
    std::vector<std::uint32_t> m_free_actions;
    std::vector<fleet_watch*> m_watches;
    byte_buffer m_sample;  // one of the datagrams that were sent
    random_source m_forger;
    std::uint64_t m_expected_digest = 0;
    std::size_t m_expected_count = 0;
    std::size_t m_right = 0;
    bool m_recount = false;
    std::uint64_t m_events = 0;
    std::uint64_t m_datagrams = 0;
    std::uint64_t m_streams = 0;
    std::uint64_t m_stream_bytes = 0;
    std::uint64_t m_false_deaths = 0;
};

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/fleet.ipp>
#endif
