// The mesh in real processes on loopback, beside Serf's in the same run: how soon all see all, how soon a death, a silence and a
// newcomer are known everywhere, and what a process costs that has nothing to do.
//
//   mesh_real [--peers 50] [--rounds 5] [--joins 4] [--settle 30] [--idle 20] [--profile local] [--serf local,lan] [--lock FILE] [--csv FILE]
//
// Each round starts all processes of one side anew, then those of the next; Serf gets half of the joins, and `--serf none` leaves it
// out. All run in a network namespace of their own where that is allowed, which is also how bytes are counted: IP headers, TCP and
// acknowledgements included.
// --lock FILE: each round of a side holds flock on it, for machines where builds hold it too.
#include <mesh_real/child.hpp>
#include <mesh_real/network.hpp>
#include <mesh_real/population.hpp>
#include <mesh_real/trial.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace {

using namespace mesh_real;

struct contender {
    std::unique_ptr<side> what;
    settings how;
    results got{};
};

/// Held from the constructor to the destructor; no file, no lock.
class machine_lock {
public:
    explicit machine_lock(const std::string& file) {
        if (file.empty()) return;
        m_file = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (m_file < 0) throw std::system_error(errno, std::generic_category(), file);
        while (flock(m_file, LOCK_EX) != 0) look_for_interrupt();
    }
    ~machine_lock() {
        if (m_file >= 0) close(m_file);
    }
    machine_lock(const machine_lock&) = delete;
    machine_lock& operator=(const machine_lock&) = delete;

private:
    int m_file = -1;
};

/// A round of Serf that fails is said and left out; ours must not fail.
void run(contender& c, const std::string& lock, bool is_ours) {
    const machine_lock held(lock);
    try {
        run_round(*c.what, c.how, c.got);
    } catch (const interrupted&) {
        throw;
    } catch (const std::exception& e) {
        if (is_ours) throw;
        std::fprintf(stderr, "this round of %s is incomplete: %s\n", c.what->name().c_str(), e.what());
    }
}

class table {
public:
    table(bench::report& report, const std::vector<contender>& all) : m_report(report), m_all(all) {
        std::printf("%-34s %18s %-20s %-4s", "", m_all[0].what->name().c_str(), "goal", "met");
        for (std::size_t i = 1; i < m_all.size(); ++i) std::printf(" %18s", m_all[i].what->name().c_str());
        std::printf("\n");
    }

    /// The goal is about the worst of all rounds; negative: there is none.
    void line(const char* name, const char* unit, bench::samples results::* which, double limit = -1) {
        const bench::samples& ours = m_all[0].got.*which;
        bench::figure f;
        f.benchmark = name;
        f.unit = unit;
        f.ours = ours.quantile(1);
        f.ours_least = ours.median();
        if (limit >= 0) f.goal = {bench::goal::kind::at_most, limit};
        // Of several profiles of Serf, the one that does best.
        for (std::size_t i = 1; i < m_all.size(); ++i) {
            const bench::samples& theirs = m_all[i].got.*which;
            if (theirs.empty() || (f.peer_name[0] != '\0' && f.peer <= theirs.quantile(1))) continue;
            f.peer = theirs.quantile(1);
            f.peer_least = theirs.median();
            f.peer_name = "Serf";
        }
        std::printf("%-34s %18s %-20s %-4s", (std::string(name) + ", " + unit).c_str(), pair(ours).c_str(), f.goal_text().c_str(),
                    ours.empty() ? "" : f.verdict());
        for (std::size_t i = 1; i < m_all.size(); ++i) std::printf(" %18s", pair(m_all[i].got.*which).c_str());
        std::printf("\n");
        if (!ours.empty()) m_report.add(f);
    }

private:
    static std::string pair(const bench::samples& s) {
        if (s.empty()) return "";
        char text[48];
        const char* const digits = s.quantile(1) >= 100 ? "%.0f, %.0f" : "%.3g, %.3g";
        std::snprintf(text, sizeof text, digits, s.median(), s.quantile(1));
        return text;
    }

    bench::report& m_report;
    const std::vector<contender>& m_all;
};

void print(const std::vector<contender>& all, const settings& how, double bound_s, unsigned rounds, bench::report& report) {
    std::printf("\n%u processes, %u rounds, %s; median, worst. A stopped process must be noticed within %.2f s (profile).\n\n", how.peers,
                rounds, bench::compiler().c_str(), bound_s);
    table t(report, all);
    t.line("all see all", "s", &results::all_see_all_s, 0.6);
    t.line("newcomer known to all", "s", &results::newcomer_s, 0.5);
    t.line("killed, known to all", "s", &results::killed_s, 1.5);
    t.line("stopped, known to all", "s", &results::stopped_s, bound_s);
    t.line("idle: processor", "% of a core", &results::cpu_percent, 0.2);
    t.line("idle: the busiest", "% of a core", &results::cpu_percent_most);
    t.line("idle: switches", "1/s", &results::switches_per_s);
    t.line("idle: traffic", "B/s", &results::bytes_per_s, 300);
    t.line("resident", "MB", &results::resident_mb, 10);
    t.line("resident, shared pages divided", "MB", &results::share_mb);
    t.line("resident, own pages", "MB", &results::own_mb);
    t.line("unnoticed", "times", &results::unnoticed, 0);
    t.line("false deaths", "times", &results::false_deaths, 0);
}

int measure(int argc, char** argv) {
    const bench::arguments given(
        argc, argv, {"--peers", "--rounds", "--joins", "--settle", "--idle", "--profile", "--serf", "--first-seed", "--lock", "--csv"});
    bench::report report("mesh_real", given);
    settings how;
    how.peers = std::max(given.number("--peers", 50), 5u);
    how.joins = given.number("--joins", 4);
    how.settle_s = given.number("--settle", 30);
    how.idle_s = given.number("--idle", 20);
    const unsigned rounds = given.number("--rounds", 5);
    const unsigned first_seed = given.number("--first-seed", 1);
    const std::string profile = given.text("--profile", "local");
    const std::string lock = given.text("--lock", "");

    std::vector<contender> all;
    all.push_back({covey_side(profile), how});
    const std::string serf = find_program("serf");
    for (const std::string& p : given.list("--serf", "local,lan")) {
        if (p == "none") continue;
        if (serf.empty()) {
            std::printf("serf is not in PATH (Debian: serf): nothing to compare with\n");
            break;
        }
        static_cast<void>(numbers_of(p));  // as profiles, the names are the same
        settings fewer_joins = how;
        fewer_joins.joins = (how.joins + 1) / 2;  // each takes half a minute now and then
        all.push_back({serf_side(serf, p), fewer_joins});
    }
    const bool is_private = enter_private_network();
    if (!is_private) std::printf("no network namespace is allowed here: bytes are not counted\n");
    for (unsigned r = 0; r < rounds; ++r) {
        for (contender& c : all) {
            c.how.counts_bytes = is_private;
            c.how.seed = first_seed + r;
            run(c, lock, &c == &all.front());
            // How busy the machine was, which nothing here can tell from our own doing.
            double load[1] = {};
            static_cast<void>(getloadavg(load, 1));
            std::printf("round %u of %u: %s is done, load average %.1f\n", r + 1, rounds, c.what->name().c_str(), load[0]);
            std::fflush(stdout);
        }
    }
    print(all, how, silence_bound_s(numbers_of(profile), how.peers), rounds, report);
    return report.write();
}

}  // namespace

int main(int argc, char** argv) {
    if (is_peer(argc, argv)) return be_peer(argv);
    try {
        catch_interrupts();
        return measure(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "mesh_real: %s\n", e.what());
        return 1;
    }
}
