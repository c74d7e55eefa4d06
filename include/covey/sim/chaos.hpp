// Faults at work: a schedule played on a world, and the two phases of a run: safety while they last, liveness after.
#pragma once

#include <covey/core/function.hpp>
#include <covey/sim/fault.hpp>
#include <covey/sim/fleet.hpp>
#include <covey/sim/network.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace covey::sim {

/// What faults are done to: a fleet, or whole peers on a simulation. Hosts that the world does not have are not named.
class fault_world {
public:
    virtual ~fault_world() = default;
    virtual network& net() = 0;
    virtual time_point now() const = 0;
    virtual void call_after(duration delay, unique_function<void()> what) = 0;
    /// Without effect where nothing runs, or where something runs already.
    virtual void kill(host_index h) = 0;
    virtual void start(host_index h, comeback how) = 0;
    virtual void leave(host_index h) = 0;
    virtual void pause(host_index h, duration span) = 0;
    virtual void slow(host_index h, duration service) = 0;
    virtual void set_drift(host_index h, std::int64_t ppm) = 0;
    virtual void step_clock(host_index h, duration forward) = 0;
    virtual void set_table_digest(host_index h, std::uint64_t digest) = 0;
    /// A datagram from somebody without a key.
    virtual void forge(host_index h) = 0;
};

/// Plays one schedule. It outlives what it has planned in the world, which is all over after `length`.
class fault_player {
public:
    /// Faults that would last longer than `length` end then.
    fault_player(fault_world& world, fault_schedule faults, duration length);
    fault_player(const fault_player&) = delete;
    fault_player& operator=(const fault_player&) = delete;

    /// What holds from the beginning: to be called before any process starts.
    void prepare();
    /// Now the safety phase begins.
    void begin();
    /// Ends what still lasts. The network is then as it was at `begin`.
    void heal();

private:
    void begin_fault(std::size_t i);
    void end_fault(std::size_t i);
    void flip(std::size_t i, time_point until);
    void forge(std::size_t i, time_point until);
    void set_network();
    void lift(std::size_t i);
    template <class Action>
    void later(duration after, Action action);

    fault_world& m_world;
    fault_schedule m_faults;
    std::vector<char> m_lasts;                           // by fault
    std::vector<std::vector<network::rule_id>> m_rules;  // by fault
    std::vector<host_index> m_bad_links;
    faults m_base;
    std::shared_ptr<char> m_alive = std::make_shared<char>();
};

struct chaos_options {
    fleet_options fleet{};
    host_index peers = 10;
    fault_schedule faults{};
    duration length = std::chrono::seconds(60);          ///< of the safety phase
    duration agree_within = std::chrono::seconds(180);   ///< after healing
    duration gather_within = std::chrono::seconds(120);  ///< before the first fault
    /// How long traffic is measured before the faults and after agreement, and how long after agreement that begins.
    duration measured = std::chrono::seconds(20);
    duration rest = std::chrono::seconds(45);
    /// Bytes a second and peer afterwards may be that many times those before, and that many more.
    double traffic_factor = 2;
    double traffic_more = 200;
};

struct chaos_result {
    std::string failure;  ///< empty: all is well
    std::uint64_t hash = 0;
    std::uint64_t events = 0;
    double gathered_s = 0;                     ///< until all knew each other, before the faults
    double agreed_s = 0;                       ///< after healing
    double bytes_before = 0, bytes_after = 0;  ///< a second and peer
    std::uint64_t false_deaths = 0;            ///< sightings; of those that faults kept from answering, too
    std::string tail;                          ///< of a failure: the last events
};

/// One run: members gather without faults; the schedule is played and the invariants are checked at every event; all is
/// healed, and in time all views must be right and stay so, and traffic must be back where it was. Everything follows from
/// the options.
chaos_result run_chaos(const chaos_options& options);

/// For a person: the failure, the seed, the schedule, a shorter one that fails as well (found by running it up to
/// `tries_max` times), and commands that replay both: `command` behind COVEY_SIM_SEED and COVEY_SIM_FAULTS.
std::string explain(const chaos_options& options, const chaos_result& result, std::string_view command, std::size_t tries_max = 60);

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/chaos.ipp>
#endif
