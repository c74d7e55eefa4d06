// The simulation: hosts, a virtual clock, and whatever happens to them. Everything follows from the seed.
#pragma once

#include <covey/sim/event_queue.hpp>
#include <covey/sim/host.hpp>
#include <covey/sim/network.hpp>
#include <covey/sim/trace.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace covey::sim {

/// One thread's worth of a whole cluster. Add hosts, start peers on them, run. It must outlive what runs on its hosts.
/// Not thread-safe; used from the thread that made it.
class simulation {
public:
    /// Events that may wait at the same moment; more, and `step` throws.
    static constexpr std::size_t pending_max = 8'000'000;

    explicit simulation(std::uint64_t seed, const faults& everywhere = {});
    ~simulation();
    simulation(const simulation&) = delete;
    simulation& operator=(const simulation&) = delete;

    /// A new host, switched on. Its address follows from its index: 10.0.0.1, 10.0.0.2, ... At most 16 million.
    host& add_host(std::string name = {});
    std::size_t host_count() const noexcept { return m_hosts.size(); }
    /// Throws errc::unknown_peer if there is none.
    host& at(host_index index);
    /// The host with that address, whatever the port; throws errc::unknown_peer if there is none.
    host& at(const endpoint& address);

    std::uint64_t seed() const noexcept { return m_seed; }
    time_point now() const noexcept { return m_now; }

    /// Runs the next event and moves the clock to it. False: nothing is left to happen. Throws what a handler throws,
    /// and errc::overloaded after `events_max` events or beyond `pending_max` waiting ones.
    bool step();
    /// Runs what happens within the next `span` and moves the clock to its end. True: more waits behind it.
    bool run_for(duration span);
    /// Runs until `done()`, asked before the first and after each event, or until `limit` has passed. Returns the last
    /// answer.
    template <std::predicate Done>
    bool run_until(Done&& done, duration limit) {
        const time_point end = after(m_now, limit);
        if (done()) return true;
        while (m_queue.next_time() <= end && step()) {
            if (done()) return true;
        }
        m_now = end == never ? m_now : end;
        return done();
    }
    /// The test's own plan: runs `what` at that time, outside every host.
    void call_after(duration delay, unique_function<void()> what);

    /// Ends the process on a host at once: timers and queued work are discarded (coroutines are dropped, not resumed;
    /// destroying them is their owner's business), sockets vanish, and the other ends of its connections see a reset
    /// after a network delay if a path is open. What it has sent before still arrives. A second kill does nothing.
    void kill(host& h);
    /// A fresh process on the same address: no socket, no timer, other random numbers. Precondition: killed before.
    void restart(host& h);
    /// As SIGSTOP and, after `span`, SIGCONT: its events wait and then run in order. Its kernel goes on: connections are
    /// taken, bytes arrive, datagrams fill the receive buffer.
    void pause(host& h, duration span);
    /// From now on each event of this process takes it that long, the next one waits; zero: no time, as at first.
    void slow(host& h, duration service) noexcept;

    /// Faults, partitions, clogs.
    network& net() noexcept { return m_network; }
    const event_trace& trace() const noexcept { return m_trace; }
    /// For the test's own choices: a stream of its own, so that drawing from it changes nothing else.
    random_source& random() noexcept { return m_random; }
    std::uint64_t events() const noexcept { return m_events; }
    /// After how many events `step` throws, as something then never comes to rest. Default: 200 million.
    void set_events_max(std::uint64_t most) noexcept { m_events_max = most; }

private:
    friend class host;
    friend class detail::stream_pair;
    friend class detail::connecting;

    event_queue::ticket schedule(time_point when, event what);
    host* find(const endpoint& address) noexcept;
    void run(event e);
    time_point admit(host& h) noexcept;
    void put_off(host& h, time_point until);
    bool on_this_thread() const noexcept { return std::this_thread::get_id() == m_thread; }
    byte_buffer take_buffer();

    std::uint64_t m_seed;
    std::thread::id m_thread = std::this_thread::get_id();
    // Not zero, so that a time_point nobody has set looks old rather than like now.
    time_point m_now = time_point{} + std::chrono::seconds(1000);
    random_source m_random;
    random_source m_chaos;  // for what streams do within their contract
    network m_network;
    event_trace m_trace;
    event_queue m_queue;
    std::vector<std::unique_ptr<host>> m_hosts;
    std::vector<byte_buffer> m_spare;  // of delivered datagrams; bounded
    std::uint64_t m_events = 0;
    std::uint64_t m_events_max = 200'000'000;
    bool m_over_full = false;
};

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/host.ipp>
#include <covey/sim/impl/simulation.ipp>
#include <covey/sim/impl/stream.ipp>
#endif
