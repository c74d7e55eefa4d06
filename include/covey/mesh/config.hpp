// The numbers of the membership protocol, and three sets of them.
#pragma once

#include <covey/core/time.hpp>

#include <cstddef>

namespace covey::mesh {

/// Lifetimes, rates and bounds. Times are durations, sizes are bytes. The defaults are those of `profile::lan()`. All peers of
/// a cluster should use the same.
struct config {
    // Finding out who does not answer.
    duration probe_interval = std::chrono::milliseconds(1000);        ///< one member is pinged each
    duration quiet_probe_interval = std::chrono::milliseconds(1000);  ///< while nothing has happened for ten of those; if longer
    duration probe_timeout = std::chrono::milliseconds(500);          ///< then others are asked to ping it too, and a stream is tried
    duration probe_give_up = std::chrono::milliseconds(1000);         ///< then it is suspected; counted from the first ping
    unsigned indirect_probes = 3;                                     ///< members asked
    unsigned inconclusive_max = 3;  ///< so many probes in a row, of which no helper said a word, conclude nothing
    unsigned health_max = 8;        ///< how often a peer that hears too little itself adds `probe_interval` and the timeouts to themselves

    // From suspect to dead: shortest = max(suspicion_floor, multiplier * log10(members) * probe_interval), at once
    // factor times as long, shrinking to the shortest as `multiplier - 2` other members come to suspect the same.
    unsigned suspicion_multiplier = 4;
    unsigned suspicion_factor_max = 6;
    duration suspicion_floor = std::chrono::milliseconds(0);

    // Who is not to be relied on. A mark counts half after each half life.
    duration mark_half_life = std::chrono::seconds(60);
    unsigned flaky_marks = 6;    ///< a cleared suspicion is one mark, a death that was none three; flaky from here on,
    unsigned steady_marks = 2;   ///< steady again from here on
    unsigned accuser_marks = 4;  ///< whose accusations were refuted so often is not believed without a probe of our own

    // Spreading what is new.
    duration gossip_interval = std::chrono::milliseconds(200);
    unsigned gossip_fanout = 3;                          ///< members told each time
    unsigned retransmit_multiplier = 4;                  ///< each news is sent multiplier * (1 + ceil(log10(members + 1))) times
    duration gossip_to_dead = std::chrono::seconds(30);  ///< for so long the dead are told too, lest they live
    duration load_interval = std::chrono::seconds(1);    ///< a changed load is told at most once each

    // Comparing tables, over a stream.
    duration push_pull_interval = std::chrono::seconds(30);        ///< with a random member; stretched above 32 members
    std::size_t exchange_bytes = std::size_t{256} << 10;           ///< one answer while the mesh forms; the rest is got elsewhere
    std::size_t exchange_bytes_per_second = std::size_t{4} << 20;  ///< all answers then; when many ask, each gets less
    std::size_t settled_bytes = 3072;  ///< all answers of three seconds otherwise, by and large: a newcomer asks many for a little

    // Joining and leaving.
    unsigned join_fanout = 3;                                    ///< seeds asked at the same time
    duration join_retry_first = std::chrono::milliseconds(500);  ///< doubles, jittered, up to
    duration join_retry_max = std::chrono::seconds(10);
    duration leave_linger = std::chrono::seconds(1);  ///< a leaving peer still answers for so long at most

    // The dead.
    duration dead_retry =
        std::chrono::seconds(5);  ///< one of them is tried each (less often where many would), so that split halves find each other
    duration split_memory = std::chrono::minutes(10);  ///< for so long the dead count as perhaps cut off, see view::members_at_most
    duration tombstone_time = std::chrono::hours(24);  ///< for so long a dead or left id is remembered

    // Bounds.
    std::size_t packet_bytes_max = 1400;  ///< sealed; a plain one is shorter by datagram_seal::overhead
    std::size_t members_max = 20000;      ///< more are not taken in; counted
    std::size_t tombstones_max = 20000;   ///< beyond, the oldest is forgotten
    std::size_t broadcasts_max = 256;     ///< news waiting; beyond, the one sent most often is dropped, and found by comparing tables
    std::size_t outputs_max = 65536;      ///< datagrams and notes waiting for the caller; beyond, they are dropped; counted
};

namespace profile {

/// Many processes on one busy machine. Probes are quick, but a death by silence takes at least 2.5 s, so that a process
/// that got no processor for a second is not taken for dead. (A process that is gone is found by its refused connection.)
inline config local() noexcept {
    using std::chrono::milliseconds;
    config c;
    c.probe_interval = milliseconds(200);
    c.quiet_probe_interval = milliseconds(750);
    c.probe_timeout = milliseconds(120);
    c.probe_give_up = milliseconds(400);
    c.suspicion_floor = milliseconds(2500);
    c.gossip_interval = milliseconds(50);
    c.gossip_to_dead = std::chrono::seconds(10);
    c.push_pull_interval = std::chrono::seconds(30);
    c.join_retry_first = milliseconds(100);
    c.join_retry_max = std::chrono::seconds(2);
    c.dead_retry = std::chrono::seconds(1);
    return c;
}

/// One data centre. The values of memberlist's profile of that name.
inline config lan() noexcept { return {}; }

/// Between sites.
inline config wan() noexcept {
    using std::chrono::milliseconds;
    config c;
    c.probe_interval = milliseconds(5000);
    c.quiet_probe_interval = milliseconds(5000);
    c.probe_timeout = milliseconds(3000);
    c.probe_give_up = milliseconds(5000);
    c.suspicion_multiplier = 6;
    c.mark_half_life = std::chrono::minutes(5);
    c.gossip_interval = milliseconds(500);
    c.gossip_fanout = 4;
    c.gossip_to_dead = std::chrono::seconds(60);
    c.load_interval = std::chrono::seconds(5);
    c.push_pull_interval = std::chrono::seconds(60);
    c.join_retry_first = milliseconds(1000);
    c.join_retry_max = std::chrono::seconds(30);
    c.leave_linger = std::chrono::seconds(3);
    c.dead_retry = std::chrono::seconds(15);
    return c;
}

}  // namespace profile

}  // namespace covey::mesh
