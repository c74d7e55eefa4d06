// Counts what goes to the heap: prints a line for each kind of work, and fails where work that has warmed up still allocates.
#include <covey/core/config.hpp>
#include <covey/sched/pool.hpp>
#include <covey/task/channel.hpp>
#include <covey/task/fork.hpp>
#include <covey/task/frame_pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/stream.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <malloc.h>
#include <new>
#include <vector>

namespace {
std::atomic<std::size_t> g_allocations{0};
std::atomic<std::size_t> g_live_bytes{0};
}  // namespace

#if !COVEY_SANITIZED  // those have their own
void* operator new(std::size_t size) {
    void* const p = std::malloc(size);
    if (p == nullptr) throw std::bad_alloc();
    g_allocations.fetch_add(1, std::memory_order_relaxed);
    g_live_bytes.fetch_add(malloc_usable_size(p), std::memory_order_relaxed);
    return p;
}
void operator delete(void* p) noexcept {
    if (p == nullptr) return;
    g_live_bytes.fetch_sub(malloc_usable_size(p), std::memory_order_relaxed);
    std::free(p);
}
void operator delete(void* p, std::size_t) noexcept { operator delete(p); }
#endif

namespace {

using namespace covey;
using namespace std::chrono_literals;

task<long> fib(int n) {
    if (n < 2) co_return n;
    auto both = co_await when_all(fib(n - 1), fib(n - 2));
    co_return std::get<0>(both) + std::get<1>(both);
}
task<long> forked_fib(int n) {
    if (n < 2) co_return n;
    auto a = co_await fork(forked_fib(n - 1));
    const long b = co_await forked_fib(n - 2);
    co_return co_await a.join() + b;
}
task<int> one() { co_return 1; }
task<int> awaits(int n) {
    int sum = 0;
    for (int i = 0; i < n; ++i) sum += co_await one();
    co_return sum;
}
task<void> sends(channel<int>& to, int n) {
    for (int i = 0; i < n; ++i) co_await to.send(i);
    to.close();
}
// An empty body would be an illegal instruction with GCC 12: it miscompiles loops that await in their condition and do nothing.
task<int> receives(channel<int>& from) {
    int n = 0;
    while (co_await from.receive()) ++n;
    co_return n;
}
task<void> passes(int n) {
    channel<int> between(16);
    static_cast<void>(co_await when_all(sends(between, n), receives(between)));
}
task<void> sleeps(int n) {
    for (int i = 0; i < n; ++i) co_await schedule_after(10us);
}
task<void> yields(int n) {
    for (int i = 0; i < n; ++i) co_await schedule();
}
task<void> limits(int n) {
    for (int i = 0; i < n; ++i) static_cast<void>(co_await timeout(one(), 1h));
}
task<void> races(int n) {
    for (int i = 0; i < n; ++i) static_cast<void>(co_await when_any(one(), one()));
}
task<void> spawns(int n) {
    for (int i = 0; i < n; ++i) {
        scope s;
        s.spawn(one());
        s.spawn(one());
        co_await s.join();
    }
}
stream<int> numbers(int n) {
    for (int i = 0; i < n; ++i) co_yield i;
}
task<int> reads(int n) {
    int sum = 0;
    stream<int> all = numbers(n);
    while (auto next = co_await all.next()) sum += *next;
    co_return sum;
}
task<void> many_children(int n) {
    for (int i = 0; i < n; ++i) {
        std::vector<task<int>> all;
        all.reserve(64);
        for (int k = 0; k < 64; ++k) all.push_back(one());
        static_cast<void>(co_await when_all(std::move(all)));
    }
}

bool g_failed = false;
unsigned g_threads = 1;

/// Runs `f` until it has warmed up, then again, and prints how often it allocated for each of its `units`.
template <class F>
void measure(const char* name, double units, double most_a_unit, F f) {
    for (int i = 0; i < 20; ++i) f();
    double best = 1e300;
    for (int i = 0; i < 5; ++i) {
        const std::size_t before = g_allocations.load();
        f();
        const double count = static_cast<double>(g_allocations.load() - before);
        if (count < best) best = count;
    }
    // To wake a worker that waits in the reactor costs Asio an allocation. sync_wait does so, for it comes from outside; between
    // workers it is a matter of luck how often that happens, so there this only tells a few from one each.
    const double to_wake_the_pool = 2 + (g_threads == 1 ? 0 : units / 20);
    const bool good = best <= most_a_unit * units + to_wake_the_pool;
    std::printf("%-34s %10.0f allocations for %8.0f of them%s\n", name, best, units, good ? "" : ": too many");
    if (!good) g_failed = true;
}

void depot_is_bounded() {
    constexpr std::size_t size = 1024;
    constexpr std::size_t bound = (std::size_t{16} << 20) + (std::size_t{1} << 20);
    std::vector<void*> all;
    all.reserve(64 * 1024);
    const std::size_t before = g_live_bytes.load();
    for (std::size_t i = 0; i < all.capacity(); ++i) all.push_back(detail::allocate_frame(size));
    const std::size_t most = g_live_bytes.load() - before;
    for (void* p : all) detail::free_frame(p, size);
    const std::size_t kept = g_live_bytes.load() - before;
    const bool good = most >= all.size() * size && kept <= bound;
    std::printf("of %zu bytes of frames that ended %zu are kept%s\n", most, kept, good ? "" : ": too many");
    if (!good) g_failed = true;
}

}  // namespace

int main() {
    if (COVEY_SANITIZED != 0) {
        std::puts("under sanitizers frames come from the heap");
        return 0;
    }
    for (const unsigned threads : {1u, 2u}) {
        std::printf("%u threads\n", threads);
        g_threads = threads;
        pool on({.threads = threads});
        measure("fib(18) with when_all", 8361, 0, [&] { static_cast<void>(sync_wait(on, fib(18))); });
        measure("fib(18) with fork", 8361, 0, [&] { static_cast<void>(sync_wait(on, forked_fib(18))); });
        measure("awaits of a ready task", 10'000, 0, [&] { static_cast<void>(sync_wait(on, awaits(10'000))); });
        measure("messages through a channel", 10'000, 0, [&] { sync_wait(on, passes(10'000)); });
        measure("values of a stream", 10'000, 0, [&] { static_cast<void>(sync_wait(on, reads(10'000))); });
        measure("schedule()", 10'000, 0.02, [&] { sync_wait(on, yields(10'000)); });
        measure("schedule_after()", 200, 0.1, [&] { sync_wait(on, sleeps(200)); });
        measure("limits that are not reached", 1'000, 0, [&] { sync_wait(on, limits(1'000)); });
        measure("when_any of two", 1'000, 0, [&] { sync_wait(on, races(1'000)); });
        measure("scopes of two tasks", 1'000, 0, [&] { sync_wait(on, spawns(1'000)); });
        measure("when_all of a vector of 64", 200, 2, [&] { sync_wait(on, many_children(200)); });
    }
    depot_is_bounded();
    return g_failed ? 1 : 0;
}
