// Faults as plain data: what goes wrong, with whom, when and how badly. Drawn from a seed, printed, parsed, played by chaos.hpp.
#pragma once

#include <covey/core/time.hpp>
#include <covey/sim/trace.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace covey::sim {

/// What a fault does while it lasts. `a`, `b` and `amount` are those of `fault`.
enum class fault_kind : std::uint8_t {
    loss,          ///< everywhere: `amount` is the chance that a packet vanishes
    duplication,   ///< everywhere: the chance that it arrives twice
    delay,         ///< everywhere: every packet takes `amount` seconds, one way
    reorder,       ///< everywhere: exponential delays of that mean, so that packets overtake each other
    clog,          ///< what is sent between a[0] and b[0] arrives when it is over
    partition,     ///< no packet between a and b
    cut,           ///< no packet from a to b
    isolate,       ///< no packet between a[0] and anybody
    flip_flop,     ///< each of a is isolated for `amount` seconds, back for as long, and so on
    bad_link,      ///< a[0] loses that share of what it sends and gets
    pause,         ///< a[0] does nothing
    slow,          ///< every event takes a[0] `amount` seconds
    drift,         ///< the clock of a[0] gains `amount` microseconds a second, or loses
    clock_step,    ///< at once: the clock of a[0] jumps ahead by `amount` seconds
    crash,         ///< the processes of all of a are killed, and do not come back
    crash_same,    ///< they come back at the end, as who they were, having forgotten that they were there
    crash_epoch,   ///< they come back under the next epoch
    crash_new,     ///< others come back on their addresses
    leave,         ///< they say goodbye, and others come back on their addresses
    join,          ///< at once: processes start on all of a
    hostile,       ///< a[0] gets `amount` datagrams a second from somebody who holds no key
    mixed_digest,  ///< from the beginning: a has another function table
    count_         ///< not a kind
};

struct fault {
    duration at{};     ///< since the beginning of the safety phase
    duration lasts{};  ///< zero for what happens at once
    fault_kind kind{};
    std::vector<host_index> a, b;
    double amount = 0;

    friend bool operator==(const fault&, const fault&) = default;
};

/// In order of `at`.
using fault_schedule = std::vector<fault>;

std::string_view to_string(fault_kind kind) noexcept;
/// One fault: `at 3.5s for 8s partition 0,1 | 2,3,4`; `at 0s for 20s loss 0.25`; `at 2s for 4s crash_same 5,6`.
std::string to_string(const fault& f);
/// Faults separated by "; ": what `parse_schedule` reads.
std::string to_string(const fault_schedule& faults);
/// Reads faults separated by semicolons or line ends. Throws errc::bad_argument with the text that was not understood.
fault_schedule parse_schedule(std::string_view text);

/// The world that faults are drawn for.
struct fault_shape {
    host_index hosts = 10;                       ///< that run when the safety phase begins
    host_index newcomers = 0;                    ///< hosts behind those, for join; 0: no mass join
    host_index seeds = 3;                        ///< the first ones; who crashes among them comes back
    duration length = std::chrono::seconds(60);  ///< of the safety phase; every fault ends within it
    double loss_max = 0.3;
    double duplication_max = 0.5;
    duration delay_min = std::chrono::milliseconds(30);  ///< bounds of the mean delay
    duration delay_max = std::chrono::milliseconds(100);
    duration clog_max = std::chrono::seconds(5);
    duration slow_max = std::chrono::milliseconds(10);  ///< that an event takes a slow peer
    std::size_t faults_max = 40;
    /// Kinds that are never drawn, one bit each.
    std::uint32_t without = 0;
};

constexpr std::uint32_t fault_bit(fault_kind kind) noexcept { return std::uint32_t{1} << static_cast<unsigned>(kind); }

/// Swarm testing (Groce, Zhang, Eide, Chen, Regehr 2012): a random half of the kinds is left out altogether, so that some seeds
/// have few kinds, in large numbers, which a mixture of all would rarely bring about. The same seed and shape, the same schedule.
fault_schedule draw_schedule(std::uint64_t seed, const fault_shape& shape);

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/fault.ipp>
#endif
