// The simulated network's decisions: does this packet arrive, how often, and after how long. It holds no packet.
#pragma once

#include <covey/core/random.hpp>
#include <covey/core/time.hpp>
#include <covey/sim/trace.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace covey::sim {

/// How delays spread around their mean.
enum class jitter : std::uint8_t {
    exponential,  ///< minimum + Exp(mean - minimum): mostly short, sometimes very long
    uniform,      ///< between the minimum and as far above the mean
};

/// What a network does to packets. The default is a healthy local network. Packets overtake each other wherever the
/// delays differ: reordering needs no knob of its own.
struct faults {
    double loss = 0;         ///< 0..1: chance that a datagram vanishes; on streams it costs a retransmission
    double duplication = 0;  ///< 0..1: chance that a datagram arrives twice
    duration delay_min = std::chrono::microseconds(50);
    duration delay_mean = std::chrono::microseconds(200);  ///< one way; raised to the minimum where it is below
    jitter spread = jitter::exponential;
    std::uint64_t bandwidth = 0;  ///< bytes per second that one host can send; 0: no limit
};

/// Decides by rules and by its own random source. Hosts are indices; packets of a host to itself pass no network.
/// One thread. Errors: errc::bad_argument for a probability outside 0..1, errc::overloaded at a bound.
class network {
public:
    /// Names a rule, to lift it alone. Never used twice.
    using rule_id = std::uint64_t;

    /// Packets wait for the sender's line at most that long; then datagrams are dropped, as a full queue does.
    static constexpr duration line_wait_max = std::chrono::milliseconds(200);
    /// Partitions, cuts and clogs that may stand at the same moment.
    static constexpr std::size_t rules_max = 1024;
    /// The first retransmission of a stream segment comes after that long, each further one after twice as long ...
    static constexpr duration retransmit_first = std::chrono::milliseconds(200);
    /// ... up to this.
    static constexpr duration retransmit_max = std::chrono::seconds(2);

    explicit network(std::uint64_t seed, const faults& everywhere = {});

    /// From now on, for every packet that no host's own faults cover.
    void set_faults(const faults& everywhere);
    const faults& everywhere() const noexcept { return m_everywhere; }
    /// A host with a network of its own: for all it sends and receives (its sender's where both ends have one).
    void set_faults(host_index of, const faults& own);
    void clear_faults(host_index of);

    /// No packet passes between the two sets, either way. Partitions may overlap.
    rule_id partition(std::span<const host_index> a, std::span<const host_index> b);
    /// No packet passes from the first set to the second; the other way all is well.
    rule_id cut(std::span<const host_index> from, std::span<const host_index> to);
    /// No packet passes between the host and any other.
    rule_id isolate(host_index h);
    /// What is sent between the two before `until` arrives only after it.
    rule_id clog(host_index a, host_index b, time_point until);
    /// Lifts one rule; lifting it twice is harmless.
    void heal(rule_id rule);
    /// Lifts every rule. Faults stay.
    void heal();

    /// Whether a rule stops packets from one to the other.
    bool blocked(host_index from, host_index to) const noexcept;

    /// What becomes of one datagram: delay[i] for each of its copies.
    struct fate {
        unsigned copies = 0;
        std::array<duration, 2> delay{};
    };
    fate datagram(host_index from, host_index to, std::size_t bytes, time_point now);

    /// After how long a stream's segment arrives, lost ones retransmitted; nothing while the path is cut, in either
    /// direction, because a stream moves only with its acknowledgements.
    std::optional<duration> segment(host_index from, host_index to, std::size_t bytes, time_point now);

    /// A delay without loss, cuts or clogs: for answers that the simulation itself gives.
    duration delay(host_index from, host_index to);

private:
    struct rule {
        rule_id id = 0;
        std::vector<bool> a, b;  // by host; an isolated host is `a` alone with `b_is_rest`
        bool b_is_rest = false;
        bool one_way = false;
        bool is_clog = false;
        time_point until{};

        bool covers(host_index from, host_index to) const noexcept;
    };

    const faults& between(host_index from, host_index to) const noexcept;
    duration draw_delay(const faults& f);
    /// How long until the packet has left the sender's line. It takes the line, unless that is full and it may be dropped.
    duration line_wait(const faults& f, host_index from, std::size_t bytes, time_point now, bool may_drop);
    duration clogged_for(host_index from, host_index to, time_point now);
    rule_id add(rule r);

    random_source m_random;
    faults m_everywhere;
    std::vector<std::optional<faults>> m_own;
    std::vector<rule> m_rules;
    std::vector<time_point> m_line_free;
    rule_id m_next_rule = 1;
};

/// A draw from the exponential distribution with mean 1, by comparisons of uniform draws alone (von Neumann 1951): no
/// logarithm whose last bit differs between C libraries. At most 64.
double exponential(random_source& random) noexcept;

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/network.ipp>
#endif
