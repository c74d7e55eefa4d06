// A call to another process over loopback TCP, beside a plain Asio coroutine echo of as many bytes in the same placement
// and the same run: median, 99th percentile, and the ratio. Usage: call_latency [--calls N] [--bytes N]
#include <covey/covey.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using namespace std::chrono_literals;

std::string echo(std::string text) { return text; }
template struct covey::expose<echo>;

namespace {

struct options {
    int calls = 20000;
    std::size_t bytes = 64;
};

struct figures {
    double p50_us = 0;
    double p99_us = 0;
};

/// Both processes on one core, or each on its own.
struct placement {
    const char* name;
    int server_core;
    int client_core;
};

void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) std::perror("call_latency: sched_setaffinity");
}

figures summarise(std::vector<double>& us) {
    std::sort(us.begin(), us.end());
    return {us[us.size() / 2], us[us.size() * 99 / 100]};
}

/// Runs `serve(write_end)` in a child process, which reports a port; then `measure(port)` here; then ends the child.
template <class Serve, class Measure>
figures beside(const placement& where, Serve serve, Measure measure) {
    int ready[2];
    if (pipe(ready) != 0) std::exit(1);
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[0]);
        pin(where.server_core);
        serve(ready[1]);
        _exit(0);
    }
    close(ready[1]);
    unsigned short port = 0;
    if (read(ready[0], &port, sizeof port) != sizeof port) std::exit(1);
    close(ready[0]);
    // The measuring side is a process of its own as well, so that pinning and threads end with it.
    int result[2];
    if (pipe(result) != 0) std::exit(1);
    const pid_t client = fork();
    if (client == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(result[0]);
        pin(where.client_core);
        const figures f = measure(port);
        static_cast<void>(!write(result[1], &f, sizeof f));
        _exit(0);
    }
    close(result[1]);
    figures f;
    if (read(result[0], &f, sizeof f) != sizeof f) std::fprintf(stderr, "call_latency: the measuring process failed\n");
    close(result[0]);
    int status = 0;
    waitpid(client, &status, 0);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return f;
}

figures asio_echo(const placement& where, const options& how) {
    using asio::ip::tcp;
    const auto serve = [&](int ready) {
        asio::io_context io(1);
        tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
        const unsigned short port = acceptor.local_endpoint().port();
        static_cast<void>(!write(ready, &port, sizeof port));
        asio::co_spawn(
            io,
            [&]() -> asio::awaitable<void> {
                tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
                socket.set_option(tcp::no_delay(true));
                std::vector<char> buffer(how.bytes);
                for (;;) {
                    co_await asio::async_read(socket, asio::buffer(buffer), asio::use_awaitable);
                    co_await asio::async_write(socket, asio::buffer(buffer), asio::use_awaitable);
                }
            },
            asio::detached);
        io.run();
    };
    const auto measure = [&](unsigned short port) {
        asio::io_context io(1);
        std::vector<double> us;
        asio::co_spawn(
            io,
            [&]() -> asio::awaitable<void> {
                tcp::socket socket(io);
                co_await socket.async_connect({asio::ip::address_v4::loopback(), port}, asio::use_awaitable);
                socket.set_option(tcp::no_delay(true));
                std::vector<char> buffer(how.bytes, 'x');
                for (int i = -how.calls / 10; i < how.calls; ++i) {
                    const auto begin = std::chrono::steady_clock::now();
                    co_await asio::async_write(socket, asio::buffer(buffer), asio::use_awaitable);
                    co_await asio::async_read(socket, asio::buffer(buffer), asio::use_awaitable);
                    if (i >= 0) us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
                }
            },
            asio::detached);
        io.run();
        return summarise(us);
    };
    return beside(where, serve, measure);
}

figures covey_call(const placement& where, const options& how) {
    const auto serve = [&](int ready) {
        covey::peer self(covey::peer_config{.threads = 1, .role = covey::member_role::serve});
        const unsigned short port = self.address().port;
        static_cast<void>(!write(ready, &port, sizeof port));
        self.run([]() -> covey::task<void> { co_await covey::schedule_after(1h); }());
    };
    const auto measure = [&](unsigned short port) {
        covey::peer self(covey::peer_config{.join = {"127.0.0.1:" + std::to_string(port)}, .threads = 1});
        std::vector<double> us;
        const auto run = [](covey::peer& p, const options& o, std::vector<double>& times) -> covey::task<void> {
            co_await p.wait_for_members(2, 10s);
            const covey::peer_id other = p.members()[1].id();
            const std::string text(o.bytes, 'x');
            for (int i = -o.calls / 10; i < o.calls; ++i) {
                const auto begin = std::chrono::steady_clock::now();
                const std::string back = co_await covey::remote(covey::on(other), echo, text);
                if (i >= 0) times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
                if (back.size() != text.size()) throw std::runtime_error("the echo is not what was sent");
            }
        };
        self.run(run(self, how, us));
        return summarise(us);
    };
    return beside(where, serve, measure);
}

}  // namespace

int main(int argc, char** argv) {
    options how;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (std::strcmp(argv[i], "--calls") == 0) how.calls = std::max(100, std::atoi(argv[i + 1]));
        if (std::strcmp(argv[i], "--bytes") == 0) how.bytes = static_cast<std::size_t>(std::max(1, std::atoi(argv[i + 1])));
    }
    std::printf("%d round trips of %zu bytes, one at a time, loopback TCP, one thread a process\n\n", how.calls, how.bytes);
    std::printf("| placement | Asio echo p50 | p99 | covey call p50 | p99 | ratio p50 |\n| --- | --- | --- | --- | --- | --- |\n");
    bool good = true;
    for (const placement& where : {placement{"one core", 0, 0}, placement{"two cores, blocking", 0, 1}}) {
        const figures plain = asio_echo(where, how);
        const figures ours = covey_call(where, how);
        std::printf("| %s | %.1f us | %.1f us | %.1f us | %.1f us | %.2f |\n", where.name, plain.p50_us, plain.p99_us, ours.p50_us,
                    ours.p99_us, ours.p50_us / plain.p50_us);
        good = good && plain.p50_us > 0 && ours.p50_us > 0;
    }
    return good ? 0 : 1;
}
