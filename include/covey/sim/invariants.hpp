// What must hold at every moment of a fleet's run, whatever the faults.
#pragma once

#include <covey/sim/fleet.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace covey::sim {

/// Watches a fleet and keeps the first thing that must not be:
/// - a member sees somebody in an epoch that it has seen end, or sees an epoch end twice, unless it was itself declared dead
///   meanwhile: with its next life it forgets whom it held dead, not who left;
/// - somebody is seen with an epoch or an incarnation that it never had: only the subject raises them;
/// - the epoch of a process goes down, or its incarnation within one epoch;
/// - a datagram longer than config::packet_bytes_max;
/// - more datagrams out of one call into a member than config::outputs_max;
/// - a bound that a member breaks (mesh_node::broken_bound).
/// Its memory grows with the deaths that are seen: for fleets of up to a few thousand.
class invariants final : public fleet_watch {
public:
    explicit invariants(const fleet& f) : m_fleet(f) {}

    /// Empty: all is well.
    const std::string& failure() const noexcept { return m_failure; }

    void on_sighting(time_point now, host_index observer, const sighting& s) override;
    void on_datagram_sent(time_point now, host_index by, std::size_t bytes) override;
    void on_turn(time_point now, host_index h, const mesh_node& n) override;
    void on_started(time_point now, host_index h, const mesh_node& n) override;

private:
    struct life {
        epoch_t epoch = 0;
        std::uint32_t incarnation = 0;
        friend auto operator<=>(const life&, const life&) noexcept = default;
    };
    struct place {
        life now;
        std::size_t sent = 0;  // datagrams since the last turn
        std::uint32_t starts = 0;
    };

    struct ending {
        epoch_t epoch = 0;
        bool has_left = false;
    };

    void fail(time_point now, host_index h, const std::string& what);
    void forget_dead(std::uint64_t process);
    std::uint64_t process_of(host_index h) { return (std::uint64_t{h} << 32) | at(h).starts; }
    place& at(host_index h) {
        if (h >= m_places.size()) m_places.resize(h + std::size_t{1});
        return m_places[h];
    }

    const fleet& m_fleet;
    std::vector<place> m_places;
    std::map<peer_id, life> m_highest;                            // that the subject itself has reached
    std::map<std::pair<std::uint64_t, peer_id>, ending> m_ended;  // by observer's process and subject
    std::string m_failure;
};

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/invariants.ipp>
#endif
