// A pool whose threads are all busy still serves its sockets and timers soon.
#include <covey/sched/use_task.hpp>

#include <task/support.hpp>

#include <covey/task/fork.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/when_all.hpp>

#include <asio/ip/udp.hpp>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

namespace covey_test_sched_fairness {

using namespace covey;
using namespace std::chrono_literals;
using asio::ip::udp;
using covey_test::repeats;

namespace {

using delays = std::vector<std::chrono::nanoseconds>;

/// Sorts, prints and checks. A machine that has other things to do may take a worker's CPU for a long time; what is checked is
/// far above what is printed on one that has not, and far below what an unfair pool would need, which is for ever.
void judge(const char* what, delays all) {
    REQUIRE_FALSE(all.empty());
    std::sort(all.begin(), all.end());
    const auto at = [&](std::size_t percent) { return all[(all.size() - 1) * percent / 100]; };
    const auto ms = [](std::chrono::nanoseconds d) { return static_cast<double>(d.count()) / 1e6; };
    std::printf("%-58s p50 %7.3f ms  p99 %7.3f ms  most %7.3f ms\n", what, ms(at(50)), ms(at(99)), ms(all.back()));
    CHECK(at(50) < 50ms);
    CHECK(all.back() < 10s);
}

// ---- loads

task<long> fib(int n) {
    if (n < 2) co_return n;
    auto both = co_await when_all(fib(n - 1), fib(n - 2));
    co_return std::get<0>(both) + std::get<1>(both);
}
task<long> forked_fib(int n) {
    if (n < 2) co_return n;
    auto child = co_await fork(forked_fib(n - 1));
    const long b = co_await forked_fib(n - 2);
    co_return co_await child.join() + b;
}
task<void> joins_for_ever(const std::atomic<bool>& end) {
    while (!end.load(std::memory_order_relaxed)) static_cast<void>(co_await fib(26));
}
task<void> forks_for_ever(const std::atomic<bool>& end) {
    while (!end.load(std::memory_order_relaxed)) static_cast<void>(co_await forked_fib(26));
}
task<void> computes_and_gives_way(const std::atomic<bool>& end) {
    while (!end.load(std::memory_order_relaxed)) {
        const auto until = std::chrono::steady_clock::now() + 200us;
        while (std::chrono::steady_clock::now() < until) {}
        co_await schedule();
    }
}

using load = task<void> (*)(const std::atomic<bool>&);

/// Keeps both workers of a pool busy as long as it lives.
class busy_pool {
public:
    busy_pool(load each, bool io_thread = false) : threads({.threads = 2, .io_thread = io_thread}), m_scope(threads) {
        for (int i = 0; i < 4; ++i) m_scope.spawn(each(m_end));
    }
    busy_pool(const busy_pool&) = delete;
    busy_pool& operator=(const busy_pool&) = delete;
    ~busy_pool() {
        m_end = true;
        sync_wait(threads, joined(m_scope));
    }
    pool threads;

private:
    static task<void> joined(scope& s) { co_await s.join(); }
    std::atomic<bool> m_end{false};
    scope m_scope;
};

// ---- what is to be served

std::chrono::nanoseconds wall_clock() {
    timespec t{};
    clock_gettime(CLOCK_REALTIME, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}
/// Reads one datagram and says when the kernel had it.
std::chrono::nanoseconds receive(int fd, char& byte) {
    iovec buffer{&byte, 1};
    alignas(cmsghdr) char control[256];
    msghdr message{};
    message.msg_iov = &buffer;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(fd, &message, MSG_DONTWAIT) != 1) return {};
    for (const cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, const_cast<cmsghdr*>(c))) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            timespec t{};
            std::memcpy(&t, CMSG_DATA(c), sizeof t);
            return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
        }
    }
    return {};
}
/// Answers `n` datagrams, and notes how long each had been there.
task<delays> answers(udp::socket& socket, udp::endpoint client, std::size_t n) {
    delays all;
    while (all.size() < n) {
        co_await socket.async_wait(udp::socket::wait_read, use_task);
        char byte = 0;
        const auto arrived = receive(socket.native_handle(), byte);
        if (arrived == 0ns) continue;
        all.push_back(wall_clock() - arrived);
        co_await socket.async_send_to(asio::buffer(&byte, 1), client, use_task);
    }
    co_return all;
}
task<delays> sleeps(std::size_t n) {
    scheduler& on = *(co_await get_context()).scheduler;
    delays all;
    for (std::size_t i = 0; i < n; ++i) {
        const time_point when = on.now() + 1ms;
        co_await schedule_at(when);
        all.push_back(on.now() - when);
    }
    co_return all;
}

/// One client on a thread of its own, which waits a little between question and question.
void measure_socket(const char* what, load each, bool io_thread = false) {
    constexpr std::size_t n = repeats(400, 50);
    busy_pool busy(each, io_thread);
    const udp::endpoint loopback(asio::ip::address_v4::loopback(), 0);
    udp::socket server(busy.threads.io(), loopback);
    const int on = 1;
    REQUIRE(setsockopt(server.native_handle(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0);
    asio::io_context other;
    udp::socket client(other, loopback);
    delays round_trips;
    std::thread asking([&, to = server.local_endpoint()] {
        for (std::size_t i = 0; i < n; ++i) {
            std::this_thread::sleep_for(std::chrono::microseconds(500 + 37 * (i % 40)));
            const auto start = std::chrono::steady_clock::now();
            char byte = static_cast<char>(i);
            client.send_to(asio::buffer(&byte, 1), to);
            client.receive(asio::buffer(&byte, 1));
            round_trips.push_back(std::chrono::steady_clock::now() - start);
        }
    });
    delays ready = sync_wait(busy.threads, answers(server, client.local_endpoint(), n));
    asking.join();
    CHECK(ready.size() == n);
    judge((std::string(what) + ", ready socket").c_str(), std::move(ready));
    judge((std::string(what) + ", round trip").c_str(), std::move(round_trips));
}
void measure_timers(const char* what, load each, bool io_thread = false) {
    busy_pool busy(each, io_thread);
    judge((std::string(what) + ", timer").c_str(), sync_wait(busy.threads, sleeps(repeats(400, 50))));
}

}  // namespace

TEST_CASE("sockets are served while every worker joins and forks", "[sched]") {
    measure_socket("when_all", joins_for_ever);
    measure_socket("fork", forks_for_ever);
}

TEST_CASE("sockets are served while every worker computes and gives way", "[sched]") {
    measure_socket("200 us and schedule()", computes_and_gives_way);
}

TEST_CASE("timers fire while every worker is busy", "[sched]") {
    measure_timers("when_all", joins_for_ever);
    measure_timers("fork", forks_for_ever);
    measure_timers("200 us and schedule()", computes_and_gives_way);
}

TEST_CASE("with an I/O thread sockets and timers are served too", "[sched]") {
    measure_socket("when_all, I/O thread", joins_for_ever, true);
    measure_timers("when_all, I/O thread", joins_for_ever, true);
}

}  // namespace covey_test_sched_fairness
