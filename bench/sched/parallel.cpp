// Loops beside oneTBB and beside a serial loop: parallel_for and parallel_reduce, tbb::parallel_for and tbb::parallel_reduce with
// their automatic partitioner, in one run, their repetitions in turn.
//   parallel [--run fill,small,sum,uneven,nested] [--threads 1,2] [--repeat 7] [--csv FILE]
#include <support/report.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/parallel.hpp>
#include <covey/task/sync_wait.hpp>

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_reduce.h>
#include <tbb/task_arena.h>

#include <cstdint>
#include <functional>
#include <thread>

namespace {

struct sides {
    explicit sides(unsigned threads)
        : pool({.threads = threads}), limit(tbb::global_control::max_allowed_parallelism, threads), arena(static_cast<int>(threads)) {}
    template <class T>
    T covey_run(covey::task<T> t) {
        return covey::sync_wait(pool, std::move(t));
    }
    template <class F>
    auto tbb_run(const F& f) {
        return arena.execute(f);
    }

    covey::pool pool;
    tbb::global_control limit;
    tbb::task_arena arena;
};

/// Measures the three in turn. `iterations`: how many one call makes.
template <class Serial, class Ours, class Theirs>
void compare(const std::string& name, unsigned threads, unsigned repeat, double iterations, bench::report& out, const Serial& serial,
             const Ours& ours, const Theirs& theirs) {
    sides s(threads);
    bench::samples serial_ms;
    bench::samples ours_ms;
    bench::samples theirs_ms;
    for (unsigned i = 0; i <= repeat; ++i) {
        const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(3)); };
        const double alone = bench::seconds(serial) * 1e3;
        pause();
        const double mine = bench::seconds([&] { ours(s); }) * 1e3;
        pause();
        const double other = bench::seconds([&] { theirs(s); }) * 1e3;
        pause();
        if (i == 0) continue;  // warm-up
        serial_ms.add(alone);
        ours_ms.add(mine);
        theirs_ms.add(other);
    }
    const bench::figure& f =
        out.add(bench::compare(name, threads, "ms", ours_ms, theirs_ms, "oneTBB", {bench::goal::kind::ratio_at_most, 1.05}));
    std::printf("| %s | %u | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %s | %s |\n", name.c_str(), threads,
                serial_ms.median() * 1e6 / iterations, serial_ms.median(), f.ours, f.ours / serial_ms.median(), f.peer,
                f.peer / serial_ms.median(), f.ratio(), f.goal_text().c_str(), f.verdict());
    std::fflush(stdout);
}

/// A bound that the compiler does not know: nor does it know those of a piece.
std::size_t unknown(std::size_t n) noexcept {
    bench::keep(n);
    return n;
}

constexpr std::uint64_t mixed(std::uint64_t x) noexcept {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/// Steps of a sequence that ends soon for most starts and late for a few.
std::uint64_t collatz(std::uint64_t n) noexcept {
    std::uint64_t steps = 0;
    for (; n > 1; ++steps) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    return steps;
}

void run_benchmark(const std::string& name, unsigned threads, unsigned repeat, bench::report& out) {
    using range = tbb::blocked_range<std::size_t>;
    if (name == "fill" || name == "small") {
        // One loop over much, or many loops over little.
        const std::size_t n = name == "fill" ? 1 << 22 : 1 << 12;
        const unsigned times = name == "fill" ? 8 : 4096;
        std::vector<std::uint64_t> v(n);
        const auto one = [&](std::size_t i) { v[i] = mixed(i + v[i]); };
        const auto tbb_one = [&](const range& r) {
            for (std::size_t i = r.begin(); i != r.end(); ++i) one(i);
        };
        const auto loops = [&](unsigned count) -> covey::task<void> {
            for (unsigned t = 0; t < count; ++t) co_await covey::parallel_for(std::size_t{0}, n, one);
        };
        compare(
            "for, " + std::to_string(n) + " x " + std::to_string(times), threads, repeat, static_cast<double>(n) * times, out,
            [&] {
                for (unsigned t = 0; t < times; ++t) {
                    for (std::size_t i = 0, end = unknown(n); i != end; ++i) one(i);
                    bench::keep(v[0]);
                }
            },
            [&](sides& s) { s.covey_run(loops(times)); },
            [&](sides& s) {
                s.tbb_run([&] {
                    for (unsigned t = 0; t < times; ++t) tbb::parallel_for(range(0, n), tbb_one);
                });
            });
    } else if (name == "sum") {
        const std::size_t n = 1 << 25;
        std::uint64_t right = 0;
        compare(
            "reduce, " + std::to_string(n), threads, repeat, static_cast<double>(n), out,
            [&] {
                std::uint64_t sum = 0;
                for (std::size_t i = 0, end = unknown(n); i != end; ++i) sum += mixed(i);
                bench::keep(sum);
                right = sum;
            },
            [&](sides& s) {
                const auto sum = s.covey_run(
                    covey::parallel_reduce(std::size_t{0}, n, std::uint64_t{0}, std::plus{}, [](std::size_t i) { return mixed(i); }));
                bench::require(sum == right, "covey reduce");
            },
            [&](sides& s) {
                const auto sum = s.tbb_run([&] {
                    return tbb::parallel_reduce(
                        range(0, n), std::uint64_t{0},
                        [](const range& r, std::uint64_t so_far) {
                            for (std::size_t i = r.begin(); i != r.end(); ++i) so_far += mixed(i);
                            return so_far;
                        },
                        std::plus{});
                });
                bench::require(sum == right, "oneTBB reduce");
            });
    } else if (name == "uneven") {
        // All the work is in the last quarter of the places.
        const std::size_t n = 1 << 20;
        std::uint64_t right = 0;
        const auto one = [](std::size_t i) { return i < n / 4 * 3 ? i : collatz(i); };
        compare(
            "reduce, uneven", threads, repeat, static_cast<double>(n), out,
            [&] {
                std::uint64_t sum = 0;
                for (std::size_t i = 0, end = unknown(n); i != end; ++i) sum += one(i);
                bench::keep(sum);
                right = sum;
            },
            [&](sides& s) {
                const auto sum = s.covey_run(covey::parallel_reduce(std::size_t{0}, n, std::uint64_t{0}, std::plus{}, one));
                bench::require(sum == right, "covey uneven");
            },
            [&](sides& s) {
                const auto sum = s.tbb_run([&] {
                    return tbb::parallel_reduce(
                        range(0, n), std::uint64_t{0},
                        [&](const range& r, std::uint64_t so_far) {
                            for (std::size_t i = r.begin(); i != r.end(); ++i) so_far += one(i);
                            return so_far;
                        },
                        std::plus{});
                });
                bench::require(sum == right, "oneTBB uneven");
            });
    } else if (name == "nested") {
        const std::size_t n = 1 << 11;
        std::vector<std::uint64_t> grid(n * n);
        const auto at = [&](std::size_t y, std::size_t x) { grid[y * n + x] = mixed(y * n + x + grid[y * n + x]); };
        const auto row = [&](std::size_t y) { return covey::parallel_for(std::size_t{0}, n, [&at, y](std::size_t x) { at(y, x); }); };
        compare(
            "for in for, " + std::to_string(n) + " x " + std::to_string(n), threads, repeat, static_cast<double>(n * n), out,
            [&] {
                for (std::size_t y = 0; y != n; ++y) {
                    for (std::size_t x = 0, end = unknown(n); x != end; ++x) at(y, x);
                }
                bench::keep(grid[0]);
            },
            [&](sides& s) { s.covey_run(covey::parallel_for(std::size_t{0}, n, row)); },
            [&](sides& s) {
                s.tbb_run([&] {
                    tbb::parallel_for(std::size_t{0}, n,
                                      [&](std::size_t y) { tbb::parallel_for(std::size_t{0}, n, [&](std::size_t x) { at(y, x); }); });
                });
            });
    } else {
        std::fprintf(stderr, "no benchmark is named \"%s\"\n", name.c_str());
        std::exit(2);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const bench::arguments given(argc, argv, {"--run", "--threads", "--repeat", "--csv"});
    const unsigned repeat = given.number("--repeat", 7);
    bench::report out("parallel", given);
    std::printf("%s, %u CPUs, median of %u runs\n\n", bench::compiler().c_str(), covey::available_cpus(), repeat);
    std::printf(
        "| loop | threads | serial ns an iteration | serial ms | covey ms | / serial | oneTBB ms | / serial | ratio | goal | met |\n");
    std::printf("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (const std::string& name : given.list("--run", "fill,small,sum,uneven,nested")) {
        for (const unsigned threads : given.threads()) run_benchmark(name, threads, repeat, out);
    }
    return out.write();
}
