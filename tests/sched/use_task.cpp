#include <covey/sched/use_task.hpp>

#include <task/support.hpp>

#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/timeout.hpp>
#include <covey/task/when_all.hpp>
#include <covey/task/when_any.hpp>

#include <asio/buffer.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace covey_test_sched_use_task {

using namespace covey;
using namespace std::chrono_literals;
using asio::ip::tcp;
using covey_test::repeats;

namespace {

/// Two connected sockets.
struct wire {
    explicit wire(pool& p) : left(p.io()), right(p.io()) {
        tcp::acceptor acceptor(p.io(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        left.connect(acceptor.local_endpoint());
        acceptor.accept(right);
        left.set_option(tcp::no_delay(true));  // otherwise small writes wait for the last one's acknowledgement
        right.set_option(tcp::no_delay(true));
    }
    tcp::socket left;
    tcp::socket right;
};

task<void> echo(tcp::socket& socket) {
    std::array<char, 512> bytes;
    try {
        for (;;) {
            const std::size_t n = co_await socket.async_read_some(asio::buffer(bytes), use_task);
            co_await asio::async_write(socket, asio::buffer(bytes, n), use_task);
        }
    } catch (const std::system_error& e) {
        if (e.code() != asio::error::eof) throw;
    }
}

task<std::size_t> round_trips(tcp::socket& socket, std::size_t count, std::size_t size) {
    const std::string sent(size, 'x');
    std::string got(size, '-');
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
        bytes += co_await asio::async_write(socket, asio::buffer(sent), use_task);
        const std::size_t n = co_await asio::async_read(socket, asio::buffer(got), use_task);
        if (n != size || got != sent) co_return std::size_t{0};
    }
    socket.shutdown(tcp::socket::shutdown_send);
    co_return bytes;
}

task<std::size_t> read_some(tcp::socket& socket) {
    std::array<char, 16> bytes;
    co_return co_await socket.async_read_some(asio::buffer(bytes), use_task);
}

task<std::size_t> read_all(tcp::socket& socket, std::size_t size) {
    std::vector<char> bytes(size);
    co_return co_await asio::async_read(socket, asio::buffer(bytes), use_task);
}

task<void> write_text(tcp::socket& socket, std::string text) { co_await asio::async_write(socket, asio::buffer(text), use_task); }

template <class T>
std::error_code failure(pool& p, task<T> t) {
    try {
        static_cast<void>(sync_wait(p, std::move(t)));
    } catch (const std::system_error& e) {
        return e.code();
    }
    return {};
}

/// Whether a task ended because it was asked to stop.
task<bool> ends_stopped(task<std::size_t> t) {
    try {
        co_await std::move(t);
    } catch (const stopped&) {
        co_return true;
    }
    co_return false;
}

}  // namespace

TEST_CASE("use_task: what one side writes the other reads", "[use_task]") {
    const unsigned threads = GENERATE(1u, 2u, 4u);
    pool p({.threads = threads});
    wire w(p);
    const std::size_t count = repeats(2000, 200);
    const auto [nothing, bytes] = sync_wait(p, when_all(echo(w.right), round_trips(w.left, count, 300)));
    static_cast<void>(nothing);
    CHECK(bytes == count * 300);
}

TEST_CASE("use_task: many connections on several threads", "[use_task]") {
    pool p({.threads = 4});
    std::vector<wire> wires;
    std::vector<task<void>> servers;
    std::vector<task<std::size_t>> clients;
    const std::size_t count = repeats(200, 20);
    for (int i = 0; i < 20; ++i) wires.emplace_back(p);
    for (wire& w : wires) {
        servers.push_back(echo(w.right));
        clients.push_back(round_trips(w.left, count, 64));
    }
    const auto [nothing, bytes] = sync_wait(p, when_all(detail::as_task(when_all(std::move(servers))),  //
                                                        detail::as_task(when_all(std::move(clients)))));
    CHECK(nothing.size() == 20);
    CHECK(bytes == std::vector<std::size_t>(20, count * 64));
}

TEST_CASE("use_task: a value that is no number, and a completion without one", "[use_task]") {
    pool p({.threads = 2});
    tcp::acceptor acceptor(p.io(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    tcp::socket client(p.io());
    const auto accept_one = [](tcp::acceptor& on) -> task<tcp::endpoint> {
        const tcp::socket accepted = co_await on.async_accept(use_task);
        co_return accepted.remote_endpoint();
    };
    const auto connect_to = [](tcp::socket& socket, tcp::endpoint where) -> task<tcp::endpoint> {
        co_await socket.async_connect(where, use_task);
        co_return socket.local_endpoint();
    };
    const auto [seen, own] = sync_wait(p, when_all(accept_one(acceptor), connect_to(client, acceptor.local_endpoint())));
    CHECK(seen == own);

    asio::steady_timer timer(p.io(), 1ms);
    const auto wait_for = [](asio::steady_timer& t) -> task<bool> {
        co_await t.async_wait(use_task);
        co_return t.expiry() <= std::chrono::steady_clock::now();
    };
    CHECK(sync_wait(p, wait_for(timer)));
}

TEST_CASE("use_task: nothing starts before the await", "[use_task]") {
    pool p({.threads = 1});
    wire w(p);
    const auto twice = [](wire& both) -> task<std::size_t> {
        std::array<char, 16> bytes;
        auto never_awaited = both.left.async_read_some(asio::buffer(bytes), use_task);
        static_cast<void>(never_awaited);
        auto later = both.left.async_read_some(asio::buffer(bytes), use_task);
        co_await write_text(both.right, "hello");
        co_return co_await std::move(later);
    };
    CHECK(sync_wait(p, twice(w)) == 5);
}

TEST_CASE("use_task: errors are thrown, or given with as_tuple", "[use_task]") {
    pool p({.threads = 2});
    wire w(p);

    SECTION("the other side closed in order") {
        w.right.close();
        CHECK(failure(p, read_some(w.left)) == asio::error::eof);
    }
    SECTION("the connection was reset") {
        w.right.set_option(asio::socket_base::linger(true, 0));
        w.right.close();
        CHECK(failure(p, read_some(w.left)) == asio::error::connection_reset);
    }
    SECTION("it is reset while the read waits") {
        const auto reset = [](tcp::socket& socket) -> task<void> {
            co_await schedule_after(5ms);
            socket.set_option(asio::socket_base::linger(true, 0));
            socket.close();
        };
        const auto both = [](task<std::size_t> read, task<void> end) -> task<void> { co_await when_all(std::move(read), std::move(end)); };
        CHECK(failure(p, both(read_some(w.left), reset(w.right))) == asio::error::connection_reset);
    }
    SECTION("the socket is not open") {
        w.left.close();
        CHECK(failure(p, read_some(w.left)) == asio::error::bad_descriptor);
    }
    SECTION("somebody else cancels: that is an error, for nobody asked the coroutine to stop") {
        const auto cancel = [](tcp::socket& socket) -> task<void> {
            co_await schedule_after(5ms);
            socket.cancel();
        };
        const auto both = [](task<std::size_t> read, task<void> end) -> task<void> { co_await when_all(std::move(read), std::move(end)); };
        CHECK(failure(p, both(read_some(w.left), cancel(w.left))) == asio::error::operation_aborted);
    }
    SECTION("as_tuple") {
        sync_wait(p, write_text(w.right, "hello"));
        w.right.close();
        const auto read = [](tcp::socket& socket, std::size_t size) -> task<std::tuple<std::error_code, std::size_t>> {
            std::vector<char> bytes(size);
            co_return co_await asio::async_read(socket, asio::buffer(bytes), asio::experimental::as_tuple(use_task));
        };
        CHECK(sync_wait(p, read(w.left, 2)) == std::tuple(std::error_code(), std::size_t{2}));
        CHECK(sync_wait(p, read(w.left, 10)) == std::tuple(std::error_code(asio::error::eof), std::size_t{3}));
    }
}

TEST_CASE("use_task: a limit cancels the operation and nothing else on the socket", "[use_task]") {
    const unsigned threads = GENERATE(1u, 2u);
    pool p({.threads = threads});
    wire w(p);
    CHECK(covey_test::throws_code(errc::timed_out, [&] { return sync_wait(p, timeout(read_some(w.left), 5ms)); }));
    // A composed operation that has had a part.
    sync_wait(p, write_text(w.right, "part"));
    CHECK(covey_test::throws_code(errc::timed_out, [&] { return sync_wait(p, timeout(read_all(w.left, 1000), 5ms)); }));
    // The socket works on.
    const auto [n, nothing] = sync_wait(p, when_all(read_some(w.left), write_text(w.right, "more")));
    static_cast<void>(nothing);
    CHECK(n == 4);
    // What comes in time is given.
    sync_wait(p, write_text(w.right, "quick"));
    CHECK(sync_wait(p, timeout(read_some(w.left), 10s)) == 5);
}

TEST_CASE("use_task: a stop ends it as stopped, whenever it comes", "[use_task]") {
    pool p({.threads = 2});
    wire w(p);
    stop_source source;
    task_context context;
    context.scheduler = &p;
    context.stop = source.get_token();

    SECTION("before") {
        source.request_stop();
        CHECK(sync_wait(context, ends_stopped(read_some(w.left))));
    }
    SECTION("from another thread, while it waits") {
        std::thread other([&] {
            std::this_thread::sleep_for(5ms);
            source.request_stop();
        });
        CHECK(sync_wait(context, ends_stopped(read_all(w.left, 100))));
        other.join();
    }
    SECTION("after: nothing is left registered") {
        sync_wait(p, write_text(w.right, "hello"));
        CHECK(sync_wait(context, read_some(w.left)) == 5);
        CHECK(source.request_stop());
    }
}

TEST_CASE("use_task: the losers of when_any are cancelled and awaited", "[use_task]") {
    pool p({.threads = 2});
    wire first(p);
    wire second(p);
    sync_wait(p, write_text(first.right, "hello"));
    const auto winner = sync_wait(p, when_any(read_some(first.left), read_some(second.left)));
    CHECK(winner.index() == 0);
    const auto [n, nothing] = sync_wait(p, when_all(read_some(second.left), write_text(second.right, "later")));
    static_cast<void>(nothing);
    CHECK(n == 5);
}

TEST_CASE("use_task: stop and completion race, and each await ends once", "[use_task]") {
    pool p({.threads = 4});
    wire w(p);
    const std::size_t rounds = repeats(2000, 300);
    std::size_t had = 0;
    std::size_t stops = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        stop_source source;
        task_context context;
        context.scheduler = &p;
        context.stop = source.get_token();
        std::atomic<bool> go{false};
        std::thread other([&] {
            while (!go.load(std::memory_order_acquire)) {}
            source.request_stop();
        });
        const auto race = [](wire& both, std::atomic<bool>& start) -> task<bool> {
            start.store(true, std::memory_order_release);
            std::error_code ignored;
            static_cast<void>(both.right.write_some(asio::buffer("x", 1), ignored));
            co_return co_await ends_stopped(read_all(both.left, 1));
        };
        if (sync_wait(context, race(w, go))) {
            ++stops;
        } else {
            ++had;
        }
        other.join();
        // What was not read is still there, or on its way: nothing was lost with the cancelled read.
        REQUIRE(covey_test::wait_until([&] { return w.left.available() == stops; }));
        if (stops > 100) {
            REQUIRE(sync_wait(p, read_all(w.left, stops)) == stops);
            stops = 0;
        }
    }
    CHECK(had + stops > 0);
}

TEST_CASE("use_task: a busy pool still sees its sockets", "[use_task]") {
    pool p({.threads = 1});
    wire w(p);
    std::atomic<bool> done{false};
    const auto spin = [](std::atomic<bool>& end) -> task<void> {
        while (!end.load()) co_await schedule();
    };
    const auto read = [](tcp::socket& socket, std::atomic<bool>& end) -> task<std::size_t> {
        const std::size_t n = co_await read_some(socket);
        end.store(true);
        co_return n;
    };
    std::thread other([&] {
        std::this_thread::sleep_for(5ms);
        w.right.write_some(asio::buffer("hello", 5));
    });
    const auto [nothing, n] = sync_wait(p, when_all(spin(done), read(w.left, done)));
    static_cast<void>(nothing);
    CHECK(n == 5);
    other.join();
}

TEST_CASE("use_task: only on a pool", "[use_task]") {
    pool p({.threads = 1});
    wire w(p);
    covey_test::step_scheduler steps;
    CHECK(covey_test::throws_code(errc::no_peer, [&] { return covey_test::run(steps, read_some(w.left)); }));
}

}  // namespace covey_test_sched_use_task
