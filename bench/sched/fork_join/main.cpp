// Fork-join beside oneTBB: the same recursions with covey's ordinary tasks and with tbb::task_group, in one run, their
// repetitions in turn; and the memory that the largest of them take. No recursion has a cut-off: every call is a task.
//   fork_join [--run fib,queens,skynet,uts1,uts3,matmul,memory] [--threads 1,2] [--repeat 5] [--fib 34] [--queens 12]
//             [--skynet 1000000] [--matmul 1024] [--leaf 16] [--csv FILE]
#include <support/report.hpp>

#include "recursions.hpp"

#include <covey/sched/pool.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/task.hpp>

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

namespace {

using namespace recursions;

long serial_fib(int n) { return n < 2 ? n : serial_fib(n - 1) + serial_fib(n - 2); }

// ---- the two sides

/// A pool, for as long as one benchmark needs it.
class covey_side {
public:
    explicit covey_side(unsigned threads) : m_pool({.threads = threads}) {}
    template <class T>
    T run(covey::task<T> t) {
        return covey::sync_wait(m_pool, std::move(t));
    }

private:
    covey::pool m_pool;
};

/// The calling thread is one of `threads`, as oneTBB has it.
class tbb_side {
public:
    explicit tbb_side(unsigned threads)
        : m_limit(tbb::global_control::max_allowed_parallelism, threads),
          m_stack(tbb::global_control::thread_stack_size, stack_bytes),
          m_arena(static_cast<int>(threads)) {}
    template <class F>
    auto run(const F& f) {
        return m_arena.execute(f);
    }

    /// task_group recurses on its threads' stacks, deeply so in UTS T3. Only touched pages count as memory.
    static constexpr std::size_t stack_bytes = std::size_t{256} << 20;

private:
    tbb::global_control m_limit;
    tbb::global_control m_stack;
    tbb::task_arena m_arena;
};

struct settings {
    std::vector<std::string> run;
    std::vector<unsigned> threads;
    unsigned repeat;
    int fib;
    int queens;
    std::int64_t skynet;
    std::size_t matmul;
    std::size_t leaf;
};

/// Measures both sides in turn. `ours(covey_side&)` and `theirs(tbb_side&)` do the work once and check what comes out. `limit` 0:
/// there is no goal.
template <class Ours, class Theirs>
bench::figure measure(const std::string& name, unsigned threads, unsigned repeat, double limit, const Ours& ours, const Theirs& theirs) {
    covey_side covey(threads);
    tbb_side tbb(threads);
    bench::samples ours_ms;
    bench::samples theirs_ms;
    for (unsigned i = 0; i <= repeat; ++i) {
        // Idle workers of the side that has just run may still look for work for a moment.
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        const double mine = bench::seconds([&] { ours(covey); }) * 1e3;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        const double other = bench::seconds([&] { theirs(tbb); }) * 1e3;
        if (i == 0) continue;  // warm-up
        ours_ms.add(mine);
        theirs_ms.add(other);
    }
    return bench::compare(name, threads, "ms", ours_ms, theirs_ms, "oneTBB",
                          {limit > 0 ? bench::goal::kind::ratio_at_most : bench::goal::kind::none, limit});
}

/// `tasks`: how many one run makes.
void print(const bench::figure& f, double tasks) {
    std::printf("| %s | %u | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.2f | %s | %s |\n", f.benchmark.c_str(), f.threads, f.ours,
                f.ours_least, f.ours * 1e6 / tasks, f.peer, f.peer_least, f.peer * 1e6 / tasks, f.ratio(), f.goal_text().c_str(),
                f.verdict());
    std::fflush(stdout);
}

void run_benchmark(const std::string& name, unsigned threads, const settings& how, bench::report& out) {
    const auto compare = [&](const std::string& label, double tasks, double limit, const auto& ours, const auto& theirs) {
        print(out.add(measure(label, threads, how.repeat, limit, ours, theirs)), tasks);
    };
    if (name == "fib") {
        const int n = how.fib;
        const long right = serial_fib(n);
        const double calls = static_cast<double>(2 * serial_fib(n + 1) - 1);
        const std::string label = "fib(" + std::to_string(n) + ")";
        const auto ours = [&](covey_side& s) { bench::require(s.run(covey_fib(n)) == right, "covey fib"); };
        compare(label, calls, 0.24, ours, [&](tbb_side& s) { bench::require(s.run([&] { return tbb_fib(n); }) == right, "oneTBB fib"); });
        compare(label + " oneTBB half inline", calls, 0, ours,
                [&](tbb_side& s) { bench::require(s.run([&] { return tbb_fib_half(n); }) == right, "oneTBB fib, half inline"); });
    } else if (name == "queens") {
        static constexpr int answers[queens_max + 1] = {1,   1,   0,    0,     2,     10,     4,       40,      92,
                                                        352, 724, 2680, 14200, 73712, 365596, 2279184, 14772512};
        const int n = how.queens;
        const unsigned all = (1u << n) - 1;
        const double tasks = static_cast<double>(count_boards({}, 0, n));
        compare(
            "queens(" + std::to_string(n) + ")", tasks, 0.6,
            [&](covey_side& s) { bench::require(s.run(covey_queens({}, all)) == answers[n], "covey queens"); },
            [&](tbb_side& s) { bench::require(s.run([&] { return tbb_queens({}, all); }) == answers[n], "oneTBB queens"); });
        compare(
            "queens(" + std::to_string(n) + ") boards", tasks, 0,
            [&](covey_side& s) { bench::require(s.run(covey_boards({}, 0, n)) == answers[n], "covey boards"); },
            [&](tbb_side& s) { bench::require(s.run([&] { return tbb_boards({}, 0, n); }) == answers[n], "oneTBB boards"); });
    } else if (name == "skynet") {
        const std::int64_t n = how.skynet;
        const std::int64_t right = n * (n - 1) / 2;
        compare(
            "skynet(" + std::to_string(n) + ")", static_cast<double>(n) * 10 / 9, 0.35,
            [&](covey_side& s) { bench::require(s.run(covey_skynet(0, n)) == right, "covey skynet"); },
            [&](tbb_side& s) { bench::require(s.run([&] { return tbb_skynet(0, n); }) == right, "oneTBB skynet"); });
    } else if (name == "uts1" || name == "uts3") {
        const uts::tree& t = name == "uts1" ? uts::t1 : uts::t3;
        compare(
            name == "uts1" ? "UTS T1" : "UTS T3", static_cast<double>(t.expected.nodes), 1.0,
            [&](covey_side& s) { bench::require(s.run(covey_walk(t, uts::root_of(t))) == t.expected, "covey UTS"); },
            [&](tbb_side& s) { bench::require(s.run([&] { return tbb_walk(t, uts::root_of(t)); }) == t.expected, "oneTBB UTS"); });
    } else if (name == "matmul") {
        const std::size_t n = how.matmul;
        std::vector<double> a(n * n);
        std::vector<double> b(n * n);
        std::vector<double> c(n * n);
        // Small whole numbers: the sums are exact in every order.
        for (std::size_t i = 0; i < n * n; ++i) a[i] = static_cast<double>(i * 7 % 11), b[i] = static_cast<double>(i * 5 % 13);
        const square left{a.data(), n, n};
        const square right{b.data(), n, n};
        const square out_of{c.data(), n, n};
        double corner = 0;
        for (std::size_t k = 0; k < n; ++k) corner += a[(n - 1) * n + k] * b[k * n + n - 1];
        const auto check = [&](const char* who) {
            bench::require(c[n * n - 1] == corner, who);
            std::fill(c.begin(), c.end(), 0.0);
        };
        double tasks = 1;
        for (std::size_t size = n, level = 1; size > how.leaf; size /= 2) tasks += static_cast<double>(level *= 8);
        compare(
            "matmul(" + std::to_string(n) + ")", tasks, 1.0,
            [&](covey_side& s) {
                s.run(covey_multiply(left, right, out_of, how.leaf));
                check("covey matmul");
            },
            [&](tbb_side& s) {
                s.run([&] { tbb_multiply(left, right, out_of, how.leaf); });
                check("oneTBB matmul");
            });
    } else if (name != "memory") {
        std::fprintf(stderr, "no benchmark is named \"%s\"\n", name.c_str());
        std::exit(2);
    }
}

// ---- memory

/// The peak resident memory of a child process that calls f, in MiB.
template <class F>
double peak_mib(const F& f) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        f();
        _exit(0);
    }
    rusage usage{};
    int status = 0;
    bench::require(child > 0 && wait4(child, &status, 0, &usage) == child && status == 0, "the child that measures memory");
    return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// Before any thread is started in this process. What a child has that does nothing is taken off: the program and its libraries.
void measure_memory(unsigned threads, const settings& how, bench::report& out) {
    const double nothing = peak_mib([] {});
    const auto compare = [&](const char* name, const auto& ours, const auto& theirs) {
        bench::samples mine;
        bench::samples other;
        for (unsigned i = 0; i < std::min(3u, how.repeat); ++i) {
            mine.add(peak_mib([&] {
                         covey_side s(threads);
                         ours(s);
                     }) -
                     nothing);
            other.add(peak_mib([&] {
                          tbb_side s(threads);
                          theirs(s);
                      }) -
                      nothing);
        }
        const bench::figure& f = out.add(
            bench::compare(std::string(name) + " memory", threads, "MiB", mine, other, "oneTBB", {bench::goal::kind::ratio_at_most, 1.5}));
        std::printf("| %s | %u | %.2f | %.2f | %.2f | %s | %s |\n", name, threads, f.ours, f.peer, f.ratio(), f.goal_text().c_str(),
                    f.verdict());
        std::fflush(stdout);
    };
    const std::int64_t n = how.skynet;
    compare("skynet", [&](covey_side& s) { s.run(covey_skynet(0, n)); }, [&](tbb_side& s) { s.run([&] { return tbb_skynet(0, n); }); });
    compare(
        "UTS T3", [&](covey_side& s) { s.run(covey_walk(uts::t3, uts::root_of(uts::t3))); },
        [&](tbb_side& s) { s.run([&] { return tbb_walk(uts::t3, uts::root_of(uts::t3)); }); });
}

int run_all(const bench::arguments& given) {
    const settings how{
        .run = given.list("--run", "fib,queens,skynet,uts1,uts3,matmul,memory"),
        .threads = given.threads(),
        .repeat = given.number("--repeat", 5),
        .fib = static_cast<int>(std::min(45u, given.number("--fib", 34))),
        .queens = static_cast<int>(std::min(static_cast<unsigned>(queens_max), given.number("--queens", 12))),
        .skynet = given.number("--skynet", 1'000'000),
        .matmul = given.number("--matmul", 1024),
        .leaf = given.number("--leaf", 16),
    };
    bench::report out("fork_join", given);
    std::printf("%s, %u CPUs, median of %u runs (least in the second column)\n\n", bench::compiler().c_str(), covey::available_cpus(),
                how.repeat);
    if (std::find(how.run.begin(), how.run.end(), "memory") != how.run.end()) {
        std::printf(
            "| peak memory | threads | covey MiB | oneTBB MiB | ratio | goal | met |\n| --- | --- | --- | --- | --- | --- | --- "
            "|\n");
        for (const unsigned threads : how.threads) measure_memory(threads, how, out);
        std::printf("\n");
    }
    std::printf("| benchmark | threads | covey ms | least | ns a task | oneTBB ms | least | ns a task | ratio | goal | met |\n");
    std::printf("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (const std::string& name : how.run) {
        for (const unsigned threads : how.threads) run_benchmark(name, threads, how, out);
    }
    return out.write();
}

}  // namespace

int main(int argc, char** argv) {
    const bench::arguments given(argc, argv,
                                 {"--run", "--threads", "--repeat", "--fib", "--queens", "--skynet", "--matmul", "--leaf", "--csv"});
    // oneTBB uses the caller's stack as that of a worker, so the caller is a thread with as large a one.
    struct call {
        const bench::arguments* given;
        int status = 1;
    } whole{&given};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, tbb_side::stack_bytes);
    pthread_t driver;
    const int failure = pthread_create(
        &driver, &attributes,
        [](void* p) -> void* {
            auto& c = *static_cast<call*>(p);
            c.status = run_all(*c.given);
            return nullptr;
        },
        &whole);
    pthread_attr_destroy(&attributes);
    if (failure != 0) {
        std::fprintf(stderr, "no thread with a stack of %zu MiB: %s\n", tbb_side::stack_bytes >> 20, std::strerror(failure));
        return 1;
    }
    pthread_join(driver, nullptr);
    return whole.status;
}
