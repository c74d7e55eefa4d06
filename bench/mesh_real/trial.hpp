// One round of one side, from the first start to the end of all, and the figures of all rounds.
#pragma once

#include <support/report.hpp>

#include <mesh_real/side.hpp>

namespace mesh_real {

struct settings {
    unsigned peers = 50;
    unsigned joins = 4;    ///< newcomers in each round
    double settle_s = 30;  ///< between the start of all and the idle time: links that only the start needed are closed by then
    double idle_s = 20;
    unsigned seed = 1;          ///< says who is killed and stopped
    bool counts_bytes = false;  ///< the loopback is ours alone
    double patience_s = 90;     ///< then a thing has not happened
};

/// One value a round, but for newcomers. Seconds from the cause until the last process that had to notice did.
struct results {
    bench::samples all_see_all_s, newcomer_s, killed_s, stopped_s;
    bench::samples cpu_percent, cpu_percent_most, switches_per_s, bytes_per_s;
    bench::samples resident_mb, share_mb, own_mb;
    bench::samples unnoticed, false_deaths;
};

/// Throws what population does, and then leaves in `out` what it had until then.
void run_round(const side& what, const settings& how, results& out);

/// For how long a stopped process may be held for a member by somebody in a mesh of so many. Its turn to be probed comes with the
/// second interval at the latest, the suspicion counts from that ping and lasts its shortest time (there are enough to confirm it),
/// and the news of the death is passed on as often as news is.
double silence_bound_s(const covey::mesh::config& how, unsigned peers);

}  // namespace mesh_real
