// Calls to another process over loopback TCP, beside a plain Asio coroutine echo of as many bytes in the same placement and the
// same run: one at a time, and many under way; with what they allocate and what processor time they take.
//   call [--placement LIST] [--outstanding 1,16,64,256] [--rounds 20000] [--repeat 3] [--side both|plain|calls] [--csv FILE]
// Placements: one_core (both processes on CPU 0), two_cores (one each, asleep while nothing comes), searching (one each, none of
// them bound: threads look for events for a while, or all the time, before they sleep).
#include <call/sides.hpp>
#include <support/report.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<unsigned long> g_allocations{0};
}  // namespace

void* operator new(std::size_t size) {
    void* const p = std::malloc(size == 0 ? 1 : size);
    if (p == nullptr) throw std::bad_alloc();
    g_allocations.fetch_add(1, std::memory_order_relaxed);
    return p;
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace bench {

unsigned long allocations() noexcept { return g_allocations.load(std::memory_order_relaxed); }

double cpu_us() noexcept {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
           static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

}  // namespace bench

namespace {

struct placement {
    const char* name;
    int server_core;  ///< -1: any
    int client_core;
    bool is_polling;
};
constexpr placement placements[] = {{"one_core", 0, 0, false}, {"two_cores", 0, 1, false}, {"searching", -1, -1, true}};

void pin(int core) {
    if (core < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) std::perror("sched_setaffinity");
}

/// Runs `body(pipe)` in a process of its own.
template <class Body>
std::pair<pid_t, int> start(int core, Body body) {
    int ends[2];
    if (pipe(ends) != 0) std::exit(1);
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        pin(core);
        body(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    return {child, ends[0]};
}

bench::result run(const placement& where, const bench::work& how, bench::server serve, bench::client measure) {
    const auto [server, port_from] = start(where.server_core, [&](int to) { serve(how, to); });
    unsigned short port = 0;
    bench::require(read(port_from, &port, sizeof port) == sizeof port, "the server starts");
    const auto [client, result_from] = start(where.client_core, [&](int to) {
        const bench::result r = measure(how, port);
        static_cast<void>(!write(to, &r, sizeof r));
    });
    bench::result r;
    bench::require(read(result_from, &r, sizeof r) == sizeof r, "the client measures");
    close(port_from);
    close(result_from);
    int status = 0;
    waitpid(client, &status, 0);
    kill(server, SIGKILL);
    waitpid(server, &status, 0);
    return r;
}

/// One side, of all repetitions.
struct figures {
    bench::samples p50, p99, rate, client_news, server_news, client_cpu, server_cpu;
    void add(const bench::result& r) {
        p50.add(r.p50_us);
        p99.add(r.p99_us);
        rate.add(r.per_second);
        client_news.add(r.client_allocations);
        server_news.add(r.server_allocations);
        client_cpu.add(r.client_cpu_us);
        server_cpu.add(r.server_cpu_us);
    }
};

}  // namespace

int main(int argc, char** argv) {
    const bench::arguments given(argc, argv, {"--placement", "--outstanding", "--rounds", "--repeat", "--side", "--csv"});
    bench::report out("call", given);
    const unsigned repeat = given.number("--repeat", 3);
    const std::vector<std::string> wanted = given.list("--placement", "one_core,two_cores,searching");
    const std::string side = given.text("--side", "both");
    // A call is a header of 24 bytes and 64 of arguments or result: the plain echo sends as many.
    bench::work plain;
    plain.bytes = 88;
    bench::work calls;
    plain.rounds = calls.rounds = given.number("--rounds", 20000);
    std::printf("%s, %u CPUs, messages of %zu bytes, one thread a process, median of %u runs\n\n", bench::compiler().c_str(),
                covey::available_cpus(), plain.bytes, repeat);
    std::printf(
        "| placement | outstanding | | covey call | plain echo | ratio | goal | met | allocations a call, client; server | "
        "CPU time a call, client; server |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (const placement& where : placements) {
        if (std::find(wanted.begin(), wanted.end(), where.name) == wanted.end()) continue;
        for (const std::string& n : given.list("--outstanding", "1,16,64,256")) {
            plain.outstanding = calls.outstanding = static_cast<unsigned>(std::max(1, std::atoi(n.c_str())));
            plain.is_polling = where.is_polling;
            // As long a run for many at once as for one at a time.
            const unsigned factor = plain.outstanding == 1 ? 1 : 10;
            bench::work plain_now = plain;
            bench::work calls_now = calls;
            plain_now.rounds *= factor;
            calls_now.rounds *= factor;
            figures ours;
            figures theirs;
            for (unsigned i = 0; i < repeat; ++i) {
                if (side != "calls") theirs.add(run(where, plain_now, bench::serve_plain, bench::measure_plain));
                if (side != "plain") ours.add(run(where, calls_now, bench::serve_calls, bench::measure_calls));
            }
            const auto line = [&](const char* what, const char* unit, const bench::samples& mine, const bench::samples& other,
                                  bench::goal goal) {
                const bench::figure& f =
                    out.add(bench::compare(std::string(where.name) + " x" + n + " " + what, 1, unit, mine, other, "plain echo", goal));
                std::printf("| %s | %s | %s | %.1f %s | %.1f %s | %.2f | %s | %s | %.2f; %.2f | %.2f; %.2f us |\n", where.name, n.c_str(),
                            what, f.ours, unit, f.peer, unit, f.ratio(), f.goal_text().c_str(), f.verdict(), ours.client_news.median(),
                            ours.server_news.median(), ours.client_cpu.median(), ours.server_cpu.median());
                std::fflush(stdout);
            };
            if (plain.outstanding == 1) {
                line("p50", "us", ours.p50, theirs.p50, {bench::goal::kind::ratio_at_most, 1.25});
                line("p99", "us", ours.p99, theirs.p99, {bench::goal::kind::ratio_at_most, 2});
            } else {
                line("rate", "/s", ours.rate, theirs.rate, {});
            }
        }
    }
    return out.write();
}
