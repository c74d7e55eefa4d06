// Counts what calls take from the heap, on both sides together: prints a line for each kind of call, and fails where calls that have
// warmed up still allocate.
#include <covey/covey.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace {
std::atomic<std::size_t> g_allocations{0};
}  // namespace

#if !COVEY_SANITIZED  // those have their own
void* operator new(std::size_t size) {
    void* const p = std::malloc(size == 0 ? 1 : size);
    if (p == nullptr) throw std::bad_alloc();
    g_allocations.fetch_add(1, std::memory_order_relaxed);
    return p;
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
#endif

namespace covey_test_allocations {

using namespace covey;
using namespace std::chrono_literals;
using message = std::array<char, 64>;

message echo(message m) { return m; }
task<int> gives_way(int x) {
    co_await schedule();
    co_return x;
}
void nothing() {}

task<void> echoes(peer_id to, int n) {
    const message m{};
    for (int i = 0; i < n; ++i) static_cast<void>(co_await remote(on(to), echo, m));
}
task<void> limited_echoes(peer_id to, int n) {
    const message m{};
    for (int i = 0; i < n; ++i) static_cast<void>(co_await remote(on(to, {.deadline = 1h}), echo, m));
}
task<void> ways_given(peer_id to, int n) {
    for (int i = 0; i < n; ++i) static_cast<void>(co_await remote(on(to), gives_way, i));
}
task<void> nothings(peer_id to, int n) {
    for (int i = 0; i < n; ++i) co_await remote(on(to), nothing);
}
task<void> lambdas(peer_id to, int n) {
    for (int i = 0; i < n; ++i) static_cast<void>(co_await remote(on(to), [i](int x) { return x + i; }, 1));
}
task<void> many_echoes(peer_id to, int side_by_side, int n) {
    std::vector<task<void>> all;
    all.reserve(static_cast<std::size_t>(side_by_side));
    for (int i = 0; i < side_by_side; ++i) all.push_back(echoes(to, n / side_by_side));
    co_await when_all(std::move(all));
}

bool failed = false;

/// Runs `f` until it has warmed up, then again. The membership works beside it and sends a message now and then, and `run` comes from
/// outside, which wakes the pool: so a few allocations are not for the calls, and the best of several runs counts.
template <class F>
void measure(const char* name, peer& on, int calls, F f) {
    for (int i = 0; i < 10; ++i) on.run(f(calls));
    std::size_t best = SIZE_MAX;
    for (int i = 0; i < 5; ++i) {
        const std::size_t before = g_allocations.load();
        on.run(f(calls));
        best = std::min(best, g_allocations.load() - before);
    }
    const bool good = best <= static_cast<std::size_t>(calls) / 50;
    std::printf("%-32s %8zu allocations for %6d of them%s\n", name, best, calls, good ? "" : ": too many");
    failed = failed || !good;
}

}  // namespace covey_test_allocations

template struct covey::expose<covey_test_allocations::echo>;
template struct covey::expose<covey_test_allocations::gives_way>;
template struct covey::expose<covey_test_allocations::nothing>;

int main() {
    using namespace covey_test_allocations;
    if (COVEY_SANITIZED != 0) {
        std::puts("under sanitizers frames come from the heap");
        return 0;
    }
    peer server(peer_config{.threads = 1});
    peer client(peer_config{.join = {to_string(server.address())}, .threads = 1});
    client.run(client.wait_for_members(2, 30s));
    const peer_id to = server.id();
    measure("calls", client, 5000, [to](int n) { return echoes(to, n); });
    measure("calls with a deadline", client, 5000, [to](int n) { return limited_echoes(to, n); });
    measure("calls of a coroutine", client, 5000, [to](int n) { return ways_given(to, n); });
    measure("calls without arguments", client, 5000, [to](int n) { return nothings(to, n); });
    measure("calls of a lambda", client, 5000, [to](int n) { return lambdas(to, n); });
    measure("calls, 64 side by side", client, 20000, [to](int n) { return many_echoes(to, 64, n); });
    measure("calls, 256 side by side", client, 20000, [to](int n) { return many_echoes(to, 256, n); });
    return failed ? 1 : 0;
}
