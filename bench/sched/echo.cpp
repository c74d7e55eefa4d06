// A TCP echo server and its clients, written once for both: with covey's tasks (covey/sched/use_task.hpp) and with
// asio::awaitable, over loopback in one process, on as many threads, in turn. One connection for the round trip, many for the rate.
//   echo [--threads 1,2] [--repeat 5] [--calls 10000] [--bytes 64] [--connections 100] [--rounds 300] [--csv FILE]
#include <support/report.hpp>

#include <covey/sched/pool.hpp>
#include <covey/sched/use_task.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/task.hpp>
#include <covey/task/when_all.hpp>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <latch>
#include <thread>

namespace {

using asio::ip::tcp;

/// A pool and its reactor.
class covey_side {
public:
    using job = covey::task<void>;
    static constexpr const covey::use_task_t& token = covey::use_task;

    explicit covey_side(unsigned threads) : m_pool({.threads = threads}) {}
    asio::io_context& io() noexcept { return m_pool.io(); }
    void run(std::vector<job> jobs) { covey::sync_wait(m_pool, covey::when_all(std::move(jobs))); }

private:
    covey::pool m_pool;
};

/// An io_context and the threads that run it.
class asio_side {
public:
    using job = asio::awaitable<void>;
    static constexpr const asio::use_awaitable_t<>& token = asio::use_awaitable;

    explicit asio_side(unsigned threads) : m_io(static_cast<int>(threads)), m_stays(m_io.get_executor()) {
        for (unsigned i = 0; i < threads; ++i) m_threads.emplace_back([this] { m_io.run(); });
    }
    asio_side(const asio_side&) = delete;
    asio_side& operator=(const asio_side&) = delete;
    ~asio_side() {
        m_stays.reset();
        for (std::thread& t : m_threads) t.join();
    }
    asio::io_context& io() noexcept { return m_io; }
    void run(std::vector<job> jobs) {
        std::latch left(static_cast<std::ptrdiff_t>(jobs.size()));
        for (job& j : jobs) {
            asio::co_spawn(m_io, std::move(j), [&left](const std::exception_ptr& failure) {
                if (failure) std::rethrow_exception(failure);
                left.count_down();
            });
        }
        left.wait();
    }

private:
    asio::io_context m_io;
    asio::executor_work_guard<asio::io_context::executor_type> m_stays;
    std::vector<std::thread> m_threads;
};

struct connection {
    explicit connection(asio::io_context& io) : client(io), server(io) {
        tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        client.connect(acceptor.local_endpoint());
        acceptor.accept(server);
        client.set_option(tcp::no_delay(true));
        server.set_option(tcp::no_delay(true));
    }
    tcp::socket client;
    tcp::socket server;
};

template <class Side>
typename Side::job serve(tcp::socket& socket) {
    std::vector<char> buffer(64 << 10);
    try {
        for (;;) {
            const std::size_t n = co_await socket.async_read_some(asio::buffer(buffer), Side::token);
            co_await asio::async_write(socket, asio::buffer(buffer.data(), n), Side::token);
        }
    } catch (const std::system_error& e) {
        if (e.code() != asio::error::eof) throw;
    }
}

/// Notes the time of each round trip, in us, if `us` is not null.
template <class Side>
typename Side::job call(tcp::socket& socket, std::size_t bytes, unsigned rounds, bench::samples* us) {
    std::vector<char> buffer(bytes, 'x');
    for (unsigned i = 0; i < rounds; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        co_await asio::async_write(socket, asio::buffer(buffer), Side::token);
        co_await asio::async_read(socket, asio::buffer(buffer), Side::token);
        if (us != nullptr) us->add(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
    }
    socket.shutdown(tcp::socket::shutdown_send);
}

/// The seconds it takes.
template <class Side>
double run(Side& side, unsigned connections, std::size_t bytes, unsigned rounds, bench::samples* us) {
    std::vector<connection> open;
    std::vector<typename Side::job> jobs;
    open.reserve(connections);
    for (unsigned i = 0; i < connections; ++i) open.emplace_back(side.io());
    for (connection& c : open) {
        jobs.push_back(serve<Side>(c.server));
        jobs.push_back(call<Side>(c.client, bytes, rounds, us));
    }
    return bench::seconds([&] { side.run(std::move(jobs)); });
}

/// Of one side, from all repetitions.
struct figures {
    bench::samples p50_us;
    bench::samples p99_us;
    bench::samples calls_per_s;
};

template <class Side>
void measure(Side& side, const bench::arguments& given, bool note, figures& out) {
    const std::size_t bytes = given.number("--bytes", 64);
    const unsigned connections = given.number("--connections", 100);
    const unsigned rounds = given.number("--rounds", 300);
    bench::samples us;
    run(side, 1, bytes, given.number("--calls", 10000), &us);
    const double seconds = run(side, connections, bytes, rounds, nullptr);
    if (!note) return;
    out.p50_us.add(us.quantile(0.5));
    out.p99_us.add(us.quantile(0.99));
    out.calls_per_s.add(static_cast<double>(connections) * rounds / seconds);
}

}  // namespace

int main(int argc, char** argv) {
    const bench::arguments given(argc, argv, {"--threads", "--repeat", "--calls", "--bytes", "--connections", "--rounds", "--csv"});
    bench::report out("echo", given);
    const unsigned repeat = given.number("--repeat", 5);
    const unsigned connections = given.number("--connections", 100);
    std::printf("%s, %u CPUs, %u bytes, median of %u runs\n\n", bench::compiler().c_str(), covey::available_cpus(),
                given.number("--bytes", 64), repeat);
    std::printf("| echo | threads | covey | asio::awaitable | ratio | goal | met |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (const unsigned threads : given.threads()) {
        figures ours;
        figures theirs;
        {
            covey_side covey(threads);
            asio_side asio(threads);
            for (unsigned i = 0; i <= repeat; ++i) {
                measure(covey, given, i > 0, ours);
                measure(asio, given, i > 0, theirs);
            }
        }
        const auto line = [&](std::string name, const char* unit, const bench::samples& mine, const bench::samples& other,
                              bench::goal goal) {
            const bench::figure& f = out.add(bench::compare(std::move(name), threads, unit, mine, other, "asio::awaitable", goal));
            std::printf("| %s | %u | %.1f %s | %.1f %s | %.2f | %s | %s |\n", f.benchmark.c_str(), threads, f.ours, unit, f.peer, unit,
                        f.ratio(), f.goal_text().c_str(), f.verdict());
        };
        line("echo p50", "us", ours.p50_us, theirs.p50_us, {bench::goal::kind::ratio_at_most, 1.1});
        line("echo p99", "us", ours.p99_us, theirs.p99_us, {});
        line("echo x" + std::to_string(connections), "calls/s", ours.calls_per_s, theirs.calls_per_s,
             {bench::goal::kind::ratio_at_least, 1.0});
    }
    return out.write();
}
