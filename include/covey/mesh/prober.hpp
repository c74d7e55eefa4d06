// The questions that wait for an answer, and how well this peer itself hears.
#pragma once

#include <covey/core/endpoint.hpp>
#include <covey/core/id.hpp>
#include <covey/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace covey::mesh {

/// A ping of ours without answer so far.
struct open_ping {
    enum class purpose : std::uint8_t {
        probe,    ///< our round robin: silence is held against the target
        check,    ///< nothing depends on it: a dead one retried, a suspect asked
        relay,    ///< for another member that could not reach the target
        confirm,  ///< after such a relay: silence confirms a suspicion, and begins none
    };
    purpose why{};
    std::uint32_t sequence = 0;
    peer_id target;
    time_point sent{};
    time_point due{};                      ///< when the next step is taken
    time_point give_up{};                  ///< when silence is final
    bool asked_helpers = false;            ///< probe
    bool stream_answered = false;          ///< probe: it lives, though no datagram says so
    std::vector<peer_id> helpers;          ///< probe
    std::size_t nacks = 0;                 ///< probe: helpers that answered that they could not reach the target either
    endpoint requester;                    ///< relay: who asked,
    std::uint32_t requester_sequence = 0;  ///< and under which number
};

/// Open pings, at most `open_max`, and the local health score (Lifeguard, section IV-A): a peer that misses answers to
/// everything suspects itself first, and gives everybody more time. Not thread-safe.
class prober {
public:
    static constexpr std::size_t open_max = 256;

    prober(std::uint32_t first_sequence, unsigned health_max) : m_sequence(first_sequence), m_health_max(health_max) {}

    /// Null when open_max are open. The pointer is good until the next call.
    open_ping* begin(open_ping::purpose why, peer_id target, time_point due, time_point give_up);
    open_ping* find(std::uint32_t sequence) noexcept;
    /// Is there an open ping of this target whose silence counts?
    bool asks(peer_id target) const noexcept;
    std::optional<open_ping> take(std::uint32_t sequence);
    /// The next step's time; `never` if nothing is open.
    time_point next() const noexcept;
    /// One that is due, or null; who gets it sets a later `due` or takes it out.
    open_ping* due(time_point now) noexcept;
    void shift(duration by);
    std::size_t open() const noexcept { return m_open.size(); }

    unsigned health() const noexcept { return m_health; }
    void heard() noexcept {
        if (m_health > 0) --m_health;
    }
    void missed() noexcept {
        if (m_health < m_health_max) ++m_health;
    }
    duration scaled(duration d) const noexcept { return d * (m_health + 1); }

private:
    std::uint32_t m_sequence;
    unsigned m_health_max;
    unsigned m_health = 0;  // 0 is best
    std::vector<open_ping> m_open;
};

}  // namespace covey::mesh

#ifndef COVEY_COMPILED
#include <covey/mesh/impl/prober.ipp>
#endif
