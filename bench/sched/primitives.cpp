// What one step costs: an await, a spawn on another worker, a timer, a channel, a mutex; and what is allocated in steady state.
//   primitives [--repeat 9] [--timers 100000] [--csv FILE]
#include <support/report.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/async_mutex.hpp>
#include <covey/task/channel.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/task.hpp>
#include <covey/task/when_all.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <thread>

// ---- every allocation of the program is counted

namespace {
std::atomic<std::uint64_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    void* const block = alignment == 0 ? std::malloc(size) : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (block == nullptr) throw std::bad_alloc();
    return block;
}
}  // namespace

void* operator new(std::size_t size) { return counted(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) { return counted(size, static_cast<std::size_t>(alignment)); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }

namespace {

using covey::task;

struct settings {
    unsigned repeat;
    unsigned timers;
};

// ---- what is measured: each returns after `n` steps

[[gnu::noinline]] task<int> ready(int i) { co_return i; }

task<void> await_ready_values(unsigned n) {
    int sum = 0;
    for (unsigned i = 0; i < n; ++i) sum += co_await ready(1);
    bench::require(sum == static_cast<int>(n), "the sum of ready values");
}

/// Not inlined: compilers may keep the answer across a suspension.
[[gnu::noinline]] std::thread::id here() { return std::this_thread::get_id(); }

/// Says that it has run, and whether on another thread than its parent.
task<void> visit(std::atomic<bool>& been, std::thread::id home, unsigned& elsewhere) {
    if (here() != home) ++elsewhere;
    been.store(true, std::memory_order_release);
    co_return;
}

/// The parent keeps its own worker busy until the child has run, so it runs on the other one.
task<void> spawn_and_join(unsigned n) {
    unsigned elsewhere = 0;
    covey::scope children;
    for (unsigned i = 0; i < n; ++i) {
        std::atomic<bool> been{false};
        children.spawn(visit(been, here(), elsewhere));
        while (!been.load(std::memory_order_acquire)) {}
        co_await children.join();
    }
    bench::require(elsewhere == n, "the number of children that ran on another worker");
}

struct quiet_timer : covey::timer {
    quiet_timer() : timer([](timer&) noexcept {}) {}
};

task<void> arm_and_cancel(covey::pool& on, unsigned n) {
    quiet_timer t;
    const covey::time_point now = on.now();
    std::uint64_t random = 1;
    for (unsigned i = 0; i < n; ++i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        on.arm(t, now + std::chrono::seconds(3600) + std::chrono::nanoseconds(random >> 22));  // within an hour and a bit
        bench::require(on.cancel(t), "a timer that was cancelled in time");
    }
    co_return;
}

task<void> send_and_receive(unsigned n) {
    covey::channel<int> c{64};
    int sum = 0;
    for (unsigned i = 0; i < n; ++i) {
        co_await c.send(1);
        const std::optional<int> got = co_await c.receive();
        sum += *got;
    }
    bench::require(sum == static_cast<int>(n), "the sum of what was received");
}

task<void> lock_and_unlock(unsigned n) {
    covey::async_mutex m;
    int sum = 0;
    for (unsigned i = 0; i < n; ++i) {
        const auto guard = co_await m.lock();
        ++sum;
    }
    bench::require(sum == static_cast<int>(n), "the sum under the lock");
}

task<long> fib(int n) {
    if (n < 2) co_return n;
    const auto [a, b] = co_await covey::when_all(fib(n - 1), fib(n - 2));
    co_return a + b;
}
task<void> fibs(unsigned n) {
    for (unsigned i = 0; i < n; ++i) bench::require(co_await fib(20) == 6765, "fib(20)");
}

// ---- how

void print(const bench::figure& f) {
    std::printf("| %s | %u | %.1f %s | %.1f | %s | %s |\n", f.benchmark.c_str(), f.threads, f.ours, f.unit, f.ours_least,
                f.goal_text().c_str(), f.verdict());
    std::fflush(stdout);
}

/// The time of one step of `make(n)`. `limit` 0: there is no goal.
template <class Make>
void measure_ns(const char* name, covey::pool& on, unsigned n, double limit, const settings& how, bench::report& out, const Make& make) {
    covey::sync_wait(on, make(n));
    bench::samples ns;
    for (unsigned i = 0; i < how.repeat; ++i) ns.add(bench::seconds([&] { covey::sync_wait(on, make(n)); }) * 1e9 / n);
    print(out.add({.benchmark = name,
                   .threads = on.concurrency(),
                   .unit = "ns",
                   .ours = ns.median(),
                   .ours_least = ns.least(),
                   .goal = {limit > 0 ? bench::goal::kind::at_most : bench::goal::kind::none, limit}}));
}

/// Allocations while `make(n)` runs, in steady state; without those of sync_wait, which are
/// those of a run of no steps.
template <class Make>
void measure_allocations(const char* name, covey::pool& on, unsigned n, const settings& how, bench::report& out, const Make& make) {
    for (unsigned i = 0; i < 3; ++i) covey::sync_wait(on, make(n));
    bench::samples counts;
    for (unsigned i = 0; i < how.repeat; ++i) {
        const std::uint64_t before = allocations.load();
        covey::sync_wait(on, make(0));
        const std::uint64_t between = allocations.load();
        covey::sync_wait(on, make(n));
        const std::uint64_t after = allocations.load();
        counts.add(std::max(0.0, static_cast<double>(after - between) - static_cast<double>(between - before)));
    }
    print(out.add({.benchmark = std::string(name) + " allocations",
                   .threads = on.concurrency(),
                   .unit = "",
                   .ours = counts.median(),
                   .ours_least = counts.least(),
                   .goal = {bench::goal::kind::at_most, 0}}));
}

}  // namespace

int main(int argc, char** argv) {
    const bench::arguments given(argc, argv, {"--repeat", "--timers", "--csv"});
    const settings how{given.number("--repeat", 9), given.number("--timers", 100'000)};
    bench::report out("primitives", given);
    std::printf("%s, %u CPUs, median of %u runs\n\n", bench::compiler().c_str(), covey::available_cpus(), how.repeat);
    std::printf("| step | threads | covey | least | goal | met |\n| --- | --- | --- | --- | --- | --- |\n");
    {
        covey::pool one({.threads = 1});
        measure_ns("await of a ready value", one, 2'000'000, 5, how, out, [](unsigned n) { return await_ready_values(n); });
        measure_ns("timer arm + cancel", one, 200'000, 150, how, out, [&](unsigned n) { return arm_and_cancel(one, n); });
        {
            // Due after the measurement, at different times.
            const auto others = std::make_unique<quiet_timer[]>(how.timers);
            const covey::time_point now = one.now();
            for (unsigned i = 0; i < how.timers; ++i) {
                one.arm(others[i], now + std::chrono::seconds(3600) + std::chrono::milliseconds(std::uint64_t{i} * 7919 % 3'600'000));
            }
            const std::string name = "timer arm + cancel among " + std::to_string(how.timers);
            measure_ns(name.c_str(), one, 200'000, 150, how, out, [&](unsigned n) { return arm_and_cancel(one, n); });
            for (unsigned i = 0; i < how.timers; ++i) one.cancel(others[i]);
        }
        measure_ns("channel send + receive", one, 500'000, 60, how, out, [](unsigned n) { return send_and_receive(n); });
        measure_ns("async_mutex lock + unlock", one, 500'000, 0, how, out, [](unsigned n) { return lock_and_unlock(n); });
        measure_allocations("fib", one, 20, how, out, [](unsigned n) { return fibs(n); });
        measure_allocations("channel", one, 10'000, how, out, [](unsigned n) { return send_and_receive(n); });
        measure_allocations("timer", one, 10'000, how, out, [&](unsigned n) { return arm_and_cancel(one, n); });
    }
    if (covey::available_cpus() > 1) {
        covey::pool two({.threads = 2});
        measure_ns("spawn + join on another worker", two, 20'000, 300, how, out, [](unsigned n) { return spawn_and_join(n); });
        measure_allocations("fib", two, 20, how, out, [](unsigned n) { return fibs(n); });
    }
    return out.write();
}
