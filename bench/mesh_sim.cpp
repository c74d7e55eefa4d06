// The mesh at 10 to 10,000 peers, in simulation: machines only, one core, everything from the seed. Prints bootstrap time, who learns of a
// death when, how fast news spreads, false deaths, traffic, and how much faster than real time that ran.
//
//   mesh_sim [--peers 10,100,1000] [--seeds 5] [--first-seed 1] [--profile lan|local|wan] [--kills 5] [--loss 0] [--hurt 0|1] [--csv FILE]
//
// Bytes are those on the wire: payload, what sealing adds, and 28 bytes of IP and UDP headers for each datagram; table exchanges count
// their payload, in the second in which they are sent. Deaths are silent ones: the machine answers nothing any more.
#include "support/report.hpp"

#include <covey/net/seal.hpp>
#include <covey/sim/fleet.hpp>

#include <malloc.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <optional>

namespace sim = covey::sim;
using namespace std::chrono_literals;

namespace {

double in_seconds(covey::duration d) { return std::chrono::duration<double>(d).count(); }

/// The most memory this process has used since the last `forget_peak`, in MiB.
double peak_mib() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind("VmHWM:", 0) == 0) return std::strtod(line.c_str() + 6, nullptr) / 1024;
    }
    return 0;
}

void forget_peak() {
    malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5";
}

struct settings {
    std::string profile;
    covey::mesh::config how;
    unsigned kills = 5;
    double loss = 0;
    bool hurt = false;
};

/// One event that everybody should learn of: who knows, and when.
class awaited : public sim::fleet_watch {
public:
    void begin(covey::time_point now, sim::sighting::what kind, covey::peer_id subject) {
        m_began = now;
        m_kind = kind;
        m_subject = subject;
        m_times.clear();
    }
    void on_sighting(covey::time_point now, sim::host_index, const sim::sighting& s) override {
        if (s.kind == m_kind && s.subject == m_subject) m_times.push_back(now - m_began);
    }
    /// After how long the share `q` of all that had to know did; they are in the order of time.
    std::optional<double> share(double q, std::size_t all) const {
        const auto wanted = static_cast<std::size_t>(q * static_cast<double>(all) + 0.999999);
        if (wanted == 0 || m_times.size() < wanted) return std::nullopt;
        return in_seconds(m_times[wanted - 1]);
    }
    covey::time_point began() const { return m_began; }
    const std::vector<covey::duration>& times() const { return m_times; }

private:
    covey::time_point m_began{};
    sim::sighting::what m_kind{};
    covey::peer_id m_subject;
    std::vector<covey::duration> m_times;
};

/// What all seeds of one size gave.
struct results {
    bench::samples bootstrap_s, death_all_s, crash_all_s, update_99_s, update_all_s, join_all_s, join_sees_s;
    bench::samples hurt_gone, hurt_false;
    sim::histogram death_ms;  // by kill and peer that learnt of it
    sim::histogram idle, busy, gathering;
    std::uint64_t false_deaths = 0;
    std::size_t unfinished = 0;  // of what somebody never learned within two minutes
    double virtual_s = 0, real_s = 0;
    std::uint64_t events = 0, datagrams = 0;
    double peak_mib = 0;
};

/// One seed at one size.
class run {
public:
    run(const settings& how, sim::host_index peers, std::uint64_t seed, results& out)
        : m_settings(how), m_peers(peers), m_out(out), m_fleet(options(how, seed)) {
        m_fleet.watch(m_awaited);
    }

    void all() {
        gather();
        m_fleet.run_for(30s);  // until nobody has news of that to tell
        m_fleet.traffic().begin(m_fleet.now());
        m_fleet.run_for(20s);
        m_out.idle.merge(m_fleet.traffic().by_second());
        m_fleet.traffic().begin(m_fleet.now());
        for (unsigned k = 0; k < m_settings.kills; ++k) death(true);
        death(false);
        for (unsigned k = 0; k < m_settings.kills; ++k) update();
        m_out.busy.merge(m_fleet.traffic().by_second());
        m_out.false_deaths += m_fleet.false_deaths();
        if (m_settings.hurt) hurt();
        m_out.virtual_s += in_seconds(m_fleet.now() - m_began);
        m_out.events += m_fleet.events();
        m_out.datagrams += m_fleet.datagrams();
    }

private:
    static constexpr covey::duration patience = 120s;

    static sim::fleet_options options(const settings& how, std::uint64_t seed) {
        sim::fleet_options o;
        o.seed = seed;
        o.how = how.how;
        o.network.loss = how.loss;
        o.datagram_overhead = covey::net::sealer::overhead + 28;
        o.kept_events = 0;
        return o;
    }

    void gather() {
        m_began = m_fleet.now();
        for (sim::host_index h = 0; h < m_peers; ++h) {
            m_fleet.call_after(std::chrono::microseconds(m_fleet.random().below(1'000'000)), [this, h] { m_fleet.start(h); });
        }
        const auto done = [&] { return m_fleet.running() == m_peers && m_fleet.all_agree(); };
        const bool found = m_fleet.run_until(done, 20min);
        m_out.bootstrap_s.add(in_seconds(m_fleet.now() - m_began));
        m_out.gathering.merge(m_fleet.traffic().by_second());
        if (!found) {
            std::fprintf(stderr, "seed %llu, %u peers: %s\n", static_cast<unsigned long long>(m_fleet.seed()), m_peers,
                         m_fleet.disagreement().c_str());
            ++m_out.unfinished;
        }
    }

    /// One that runs and is no seed, unless there are too few.
    sim::host_index anybody() {
        for (;;) {
            const auto h = static_cast<sim::host_index>(m_fleet.random().below(m_peers));
            if (m_fleet.node(h) != nullptr && (h >= 3 || m_peers <= 10)) return h;
        }
    }

    /// Runs until all that run know; how long that took.
    std::optional<double> wait() {
        const std::size_t all = m_fleet.running();
        const bool known = m_fleet.run_until([&] { return m_awaited.times().size() >= all; }, patience);
        if (!known) ++m_out.unfinished;
        return m_awaited.share(1, all);
    }

    void death(bool silent) {
        const sim::host_index h = anybody();
        m_awaited.begin(m_fleet.now(), sim::sighting::what::dead, m_fleet.node(h)->id());
        m_fleet.kill(h);
        const sim::network::rule_id rule = silent ? m_fleet.net().isolate(h) : 0;
        const std::optional<double> all = wait();
        if (all) (silent ? m_out.death_all_s : m_out.crash_all_s).add(*all);
        if (silent) {
            for (const covey::duration d : m_awaited.times()) m_out.death_ms.add(static_cast<std::uint64_t>(d / 1ms));
        }
        if (rule != 0) m_fleet.net().heal(rule);
        replace(h);
    }

    /// The news of one member, told by itself.
    void update() {
        const sim::host_index h = anybody();
        m_awaited.begin(m_fleet.now(), sim::sighting::what::left, m_fleet.node(h)->id());
        m_fleet.leave(h);
        const std::size_t all = m_fleet.running();
        const std::optional<double> last = wait();
        if (const auto most = m_awaited.share(0.99, all)) m_out.update_99_s.add(*most);
        if (last) m_out.update_all_s.add(*last);
        replace(h);
    }

    /// Another process on the same machine, so that there are as many as before.
    void replace(sim::host_index h) {
        m_fleet.run_for(5s);
        m_fleet.start(h);
        m_awaited.begin(m_fleet.now(), sim::sighting::what::joined, m_fleet.node(h)->id());
        const std::size_t others = m_fleet.running() - 1;
        const bool known = m_fleet.run_until([&] { return m_awaited.times().size() >= others; }, patience);
        if (!known) ++m_out.unfinished;
        if (const auto last = m_awaited.share(1, others)) m_out.join_all_s.add(*last);
        const bool sees = m_fleet.run_until([&] { return m_fleet.node(h)->live_count() > others; }, patience);
        if (!sees) ++m_out.unfinished;
        m_out.join_sees_s.add(in_seconds(m_fleet.now() - m_awaited.began()));
        m_fleet.run_for(5s);
    }

    /// For a minute one in a hundred loses 80% of its packets, and one in a hundred is away for 20 seconds, there for 20, away for 20.
    void hurt() {
        const sim::host_index few = std::max<sim::host_index>(1, m_peers / 100);
        std::vector<sim::host_index> order;
        for (sim::host_index h = 3; h < m_peers; ++h) {
            if (m_fleet.node(h) != nullptr) order.push_back(h);
        }
        m_fleet.random().shuffle(std::span(order));
        std::vector<bool> is_hurt(m_peers + 1);
        order.resize(std::min<std::size_t>(order.size(), 2 * few));
        for (const sim::host_index h : order) is_hurt[h] = true;
        healthy_deaths watch(m_fleet, is_hurt);
        m_fleet.watch(watch);
        sim::faults lossy = m_fleet.net().everywhere();
        lossy.loss = 0.8;
        for (std::size_t i = 0; i < order.size() / 2; ++i) m_fleet.net().set_faults(order[i], lossy);
        for (int third = 0; third < 3; ++third) {
            std::vector<sim::network::rule_id> away;
            for (std::size_t i = order.size() / 2; i < order.size() && third != 1; ++i) away.push_back(m_fleet.net().isolate(order[i]));
            m_fleet.run_for(20s);
            for (const sim::network::rule_id rule : away) m_fleet.net().heal(rule);
        }
        std::size_t gone = 0;
        for (const sim::host_index h : order) gone += removed(h, is_hurt);
        m_out.hurt_gone.add(100.0 * static_cast<double>(gone) / static_cast<double>(std::max<std::size_t>(1, order.size())));
        m_out.hurt_false.add(static_cast<double>(watch.deaths));
        m_fleet.unwatch(watch);
    }

    struct healthy_deaths : sim::fleet_watch {
        healthy_deaths(const sim::fleet& f, const std::vector<bool>& hurt) : fleet(f), is_hurt(hurt) {}
        void on_sighting(covey::time_point, sim::host_index observer, const sim::sighting& s) override {
            const sim::host_index subject = sim::fleet::host_of(s.subject);
            deaths +=
                s.kind == sim::sighting::what::dead && !is_hurt[observer] && !is_hurt[subject] && fleet.is_running(s.subject, s.epoch);
        }
        const sim::fleet& fleet;
        const std::vector<bool>& is_hurt;
        std::size_t deaths = 0;
    };

    /// More than half of the healthy ones hold it for dead, or for flaky.
    bool removed(sim::host_index h, const std::vector<bool>& is_hurt) const {
        const sim::mesh_node* subject = m_fleet.node(h);
        std::size_t healthy = 0, without = 0;
        for (sim::host_index o = 0; o < m_peers; ++o) {
            const sim::mesh_node* n = m_fleet.node(o);
            if (n == nullptr || is_hurt[o]) continue;
            ++healthy;
            without += n->state_of(subject->id()) == "dead" || n->holds_flaky(subject->id());
        }
        return 2 * without > healthy;
    }

    const settings& m_settings;
    sim::host_index m_peers;
    results& m_out;
    sim::fleet m_fleet;
    awaited m_awaited;
    covey::time_point m_began{};
};

/// The limit for this many peers: the one given for the next larger size; 0 if there is none.
double goal_at(unsigned peers, std::initializer_list<std::pair<unsigned, double>> limits) {
    for (const auto& [size, limit] : limits) {
        if (peers <= size) return limit;
    }
    return 0;
}

class table {
public:
    table(bench::report& report, unsigned peers, bool has_goals) : m_report(report), m_peers(peers), m_has_goals(has_goals) {
        std::printf("  %-44s %12s %12s  %-14s %-4s %s\n", "", "median", "worst", "goal", "met", "published");
    }
    /// `worst` is what the goal is about.
    void line(const char* name, const char* unit, double median, double worst, double limit = -1, double peer = 0,
              const char* peer_name = "") {
        bench::figure f;
        f.benchmark = std::string(name) + " at " + std::to_string(m_peers) + " peers";
        f.unit = unit;
        f.ours = worst;
        f.ours_least = median;
        f.peer = peer;
        f.peer_least = peer;
        f.peer_name = peer_name;
        if (m_has_goals && limit >= 0) f.goal = {bench::goal::kind::at_most, limit};
        m_report.add(f);
        std::printf("  %-44s %12s %12s  %-14s %-4s %s\n", name, number(median, unit).c_str(), number(worst, unit).c_str(),
                    f.goal_text().c_str(), f.verdict(), peer > 0 ? (number(peer, unit) + " " + peer_name).c_str() : "");
    }
    void line(const char* name, const char* unit, const bench::samples& s, double limit = -1, double peer = 0, const char* peer_name = "") {
        if (!s.empty()) line(name, unit, s.median(), s.quantile(1), limit, peer, peer_name);
    }

private:
    static std::string number(double value, const char* unit) {
        char text[48];
        std::snprintf(text, sizeof text, value >= 1000 ? "%.0f %s" : "%.3g %s", value, unit);
        return text;
    }

    bench::report& m_report;
    unsigned m_peers;
    bool m_has_goals;
};

void print(const results& r, unsigned peers, unsigned seeds, const settings& how, bench::report& report) {
    std::printf("\n%u peers, %s profile, %u seeds, loss %g\n", peers, how.profile.c_str(), seeds, how.loss);
    table t(report, peers, how.profile == "lan");
    const double rapid_s = peers == 2000 ? 47 : 0;
    const double bootstrap_limit = goal_at(peers, {{2000, 20}, {10000, 60}});
    const double death_limit = goal_at(peers, {{100, 12}, {1000, 16}, {10000, 20}});
    t.line("bootstrap: all see all", "s", r.bootstrap_s, bootstrap_limit, rapid_s, "Rapid");
    const auto ms = [&](double q) { return static_cast<double>(r.death_ms.quantile(q)) / 1000; };
    t.line("silent death: known to one - p50", "s", ms(0.5), ms(0.5));
    t.line("silent death: known to one - p99", "s", ms(0.99), ms(0.99));
    t.line("silent death: known to all", "s", r.death_all_s, death_limit);
    t.line("dead process on a live machine: known to all", "s", r.crash_all_s);
    t.line("one update: at 99% of peers", "s", r.update_99_s, 1.8);
    t.line("one update: at all", "s", r.update_all_s);
    t.line("a newcomer: known to all", "s", r.join_all_s);
    t.line("a newcomer: sees all", "s", r.join_sees_s);
    t.line("false deaths", "", static_cast<double>(r.false_deaths), static_cast<double>(r.false_deaths), 0);
    t.line("not known to all after two minutes", "", static_cast<double>(r.unfinished), static_cast<double>(r.unfinished), 0);
    const auto traffic = [&](const char* mean, const char* p99, const char* most, const sim::histogram& h, bool has_goal) {
        t.line(mean, "B/s", h.mean(), h.mean(), has_goal ? 1000 : -1);
        t.line(p99, "B/s", static_cast<double>(h.quantile(0.99)), static_cast<double>(h.quantile(0.99)));
        t.line(most, "B/s", static_cast<double>(h.max()), static_cast<double>(h.max()), has_goal ? 8000 : -1);
    };
    traffic("idle: sent by a peer: mean", "idle: p99 peer-second", "idle: largest peer-second", r.idle, true);
    traffic("deaths and joins: sent by a peer: mean", "deaths and joins: p99 peer-second", "deaths and joins: largest peer-second", r.busy,
            true);
    traffic("bootstrap: sent by a peer: mean", "bootstrap: p99 peer-second", "bootstrap: largest peer-second", r.gathering, false);
    if (how.hurt) {
        t.line("hurt 1%+1%: not removed after 60 s", "%", 100 - r.hurt_gone.median(), 100 - r.hurt_gone.least(), 0);
        t.line("hurt 1%+1%: healthy ones removed", "", r.hurt_false, 0);
    }
    t.line("peak memory", "MiB", r.peak_mib, r.peak_mib, 24 * 1024);
    std::printf("  %.0f s of virtual time in %.1f s: %.3g times real time; %.3g million events, %.2f us each; %.3g million datagrams\n",
                r.virtual_s, r.real_s, r.virtual_s / r.real_s, static_cast<double>(r.events) * 1e-6,
                r.real_s * 1e6 / static_cast<double>(r.events), static_cast<double>(r.datagrams) * 1e-6);
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    const bench::arguments given(argc, argv, {"--peers", "--seeds", "--first-seed", "--profile", "--kills", "--loss", "--hurt", "--csv"});
    bench::report report("mesh_sim", given);
    settings how;
    how.profile = given.text("--profile", "lan");
    if (how.profile == "lan") {
        how.how = covey::mesh::profile::lan();
    } else if (how.profile == "local") {
        how.how = covey::mesh::profile::local();
    } else if (how.profile == "wan") {
        how.how = covey::mesh::profile::wan();
    } else {
        std::fprintf(stderr, "--profile is lan, local or wan\n");
        return 2;
    }
    how.kills = given.number("--kills", 5);
    how.loss = std::strtod(given.text("--loss", "0").c_str(), nullptr);
    how.hurt = given.text("--hurt", "0") == "1";
    const unsigned seeds = given.number("--seeds", 5);
    const unsigned first = given.number("--first-seed", 1);
    for (const std::string& size : given.list("--peers", "10,100,1000")) {
        const unsigned peers = static_cast<unsigned>(std::max(2, std::atoi(size.c_str())));
        results r;
        forget_peak();
        for (unsigned s = first; s < first + seeds; ++s) {
            r.real_s += bench::seconds([&] { run(how, peers, s, r).all(); });
        }
        r.peak_mib = peak_mib();
        print(r, peers, seeds, how, report);
    }
    return report.write();
}
