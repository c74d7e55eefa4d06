#include <mesh_real/network.hpp>
#include <mesh_real/population.hpp>
#include <mesh_real/trial.hpp>

#include <algorithm>
#include <cmath>
#include <random>

namespace mesh_real {

namespace {

constexpr unsigned seeds = 3;
/// Between one thing and the next, so that the news of the former has been passed on to the end.
constexpr double pause_s = 2;

class round_of {
public:
    round_of(const side& what, const settings& how, results& out) : m_how(how), m_out(out), m_random(how.seed), m_mesh(what) {}

    void all() {
        gather();
        m_mesh.run_for(m_how.settle_s);
        idle();
        for (unsigned j = 0; j < m_how.joins; ++j) join();
        lose(&population::kill, m_out.killed_s);
        lose(&population::stop, m_out.stopped_s);
        m_out.unnoticed.add(m_unnoticed);
        m_out.false_deaths.add(m_mesh.false_deaths());
    }

private:
    template <class Done>
    bool happens(Done done) {
        const bool did = m_mesh.wait_until(done, m_how.patience_s);
        if (!did) ++m_unnoticed;
        return did;
    }
    static double seconds_between(std::int64_t from, std::int64_t to) { return static_cast<double>(to - from) * 1e-9; }

    /// The seeds one after the other, then all others at once.
    void gather() {
        std::int64_t last_start = 0;
        while (m_mesh.started() < m_how.peers) {
            last_start = m_mesh.start(seeds);
            const unsigned newest = m_mesh.started() - 1;
            if (newest >= seeds) continue;
            if (!m_mesh.wait_until([&] { return m_mesh.listens(newest); }, m_how.patience_s))
                throw std::runtime_error("a seed does not start");
        }
        if (happens([&] { return m_mesh.all_see_all(); })) m_out.all_see_all_s.add(seconds_between(last_start, m_mesh.last_change()));
    }

    void idle() {
        const std::vector<usage> before = m_mesh.measure();
        const double bytes = loopback_bytes();
        const std::int64_t begin = now_ns();
        m_mesh.run_for(m_how.idle_s);
        const double lasted_s = seconds_between(begin, now_ns());
        const double all = static_cast<double>(before.size());
        if (m_how.counts_bytes) m_out.bytes_per_s.add((loopback_bytes() - bytes) / lasted_s / all);
        const std::vector<usage> after = m_mesh.measure();
        usage sum;
        double most = 0;
        for (std::size_t i = 0; i < after.size(); ++i) {
            const double cpu = after[i].cpu_s - before[i].cpu_s;
            most = std::max(most, cpu);
            sum.cpu_s += cpu;
            sum.switches += after[i].switches - before[i].switches;
            sum.resident_mb += after[i].resident_mb;
            sum.share_mb += after[i].share_mb;
            sum.own_mb += after[i].own_mb;
        }
        m_out.cpu_percent.add(100 * sum.cpu_s / lasted_s / all);
        m_out.cpu_percent_most.add(100 * most / lasted_s);
        m_out.switches_per_s.add(sum.switches / lasted_s / all);
        m_out.resident_mb.add(sum.resident_mb / all);
        m_out.share_mb.add(sum.share_mb / all);
        m_out.own_mb.add(sum.own_mb / all);
    }

    void join() {
        const std::int64_t begin = m_mesh.start(seeds);
        const unsigned newest = m_mesh.started() - 1;
        if (happens([&] { return m_mesh.is_here_for_all(newest); })) {
            m_out.newcomer_s.add(seconds_between(begin, m_mesh.last_change_about(newest)));
        }
        m_mesh.run_for(pause_s);
    }

    void lose(void (population::*how)(unsigned), bench::samples& out) {
        unsigned who = 0;
        do {
            who = std::uniform_int_distribution<unsigned>(seeds, m_mesh.started() - 1)(m_random);
        } while (who == m_lost);
        m_lost = who;
        const std::int64_t begin = now_ns();
        (m_mesh.*how)(who);
        if (happens([&] { return m_mesh.is_gone_for_all(who); })) out.add(seconds_between(begin, m_mesh.last_change_about(who)));
        m_mesh.run_for(pause_s);
    }

    const settings& m_how;
    results& m_out;
    std::mt19937 m_random;
    population m_mesh;
    unsigned m_lost = 0;
    unsigned m_unnoticed = 0;
};

}  // namespace

void run_round(const side& what, const settings& how, results& out) { round_of(what, how, out).all(); }

double silence_bound_s(const covey::mesh::config& how, unsigned peers) {
    const auto seconds = [](covey::duration d) { return std::chrono::duration<double>(d).count(); };
    const double n = peers;
    const double suspicion_s =
        std::max(seconds(how.suspicion_floor), how.suspicion_multiplier * std::max(1.0, std::log10(n)) * seconds(how.probe_interval));
    const double sends = how.retransmit_multiplier * (1 + std::ceil(std::log10(n + 1)));
    return 2 * seconds(std::max(how.probe_interval, how.quiet_probe_interval)) + suspicion_s + sends * seconds(how.gossip_interval);
}

}  // namespace mesh_real
