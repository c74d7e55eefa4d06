#include <call/sides.hpp>
#include <support/report.hpp>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <unistd.h>

#include <chrono>
#include <vector>

namespace bench {

namespace {

using asio::ip::tcp;
using clock = std::chrono::steady_clock;

constexpr std::size_t read_bytes = std::size_t{64} * 1024;

double us_since(clock::time_point begin) { return std::chrono::duration<double, std::micro>(clock::now() - begin).count(); }

void run(asio::io_context& io, bool is_polling) {
    if (!is_polling) {
        io.run();
        return;
    }
    while (!io.stopped()) io.poll();
}

asio::awaitable<void> echo(tcp::acceptor& acceptor) {
    tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
    socket.set_option(tcp::no_delay(true));
    std::vector<char> buffer(read_bytes);
    for (;;) {
        const std::size_t n = co_await socket.async_read_some(asio::buffer(buffer), asio::use_awaitable);
        co_await asio::async_write(socket, asio::buffer(buffer.data(), n), asio::use_awaitable);
    }
}

/// One message at a time.
asio::awaitable<void> call(tcp::socket& socket, const work& how, result& out) {
    std::vector<char> buffer(how.bytes, 'x');
    samples us;
    const unsigned before = how.rounds / 10;
    auto first = clock::now();
    for (unsigned i = 0; i < before + how.rounds; ++i) {
        const auto begin = clock::now();
        if (i == before) first = begin;
        co_await asio::async_write(socket, asio::buffer(buffer), asio::use_awaitable);
        co_await asio::async_read(socket, asio::buffer(buffer), asio::use_awaitable);
        if (i >= before) us.add(us_since(begin));
    }
    out.per_second = how.rounds / us_since(first) * 1e6;
    out.p50_us = us.quantile(0.5);
    out.p99_us = us.quantile(0.99);
}

/// As many messages under way as asked for: what came back goes out again, in one piece.
asio::awaitable<void> pump(tcp::socket& socket, const work& how, result& out) {
    std::vector<char> buffer(std::max(read_bytes, how.bytes * how.outstanding), 'x');
    const std::size_t before = how.bytes * (how.rounds / 10);
    const std::size_t all = before + how.bytes * how.rounds;
    std::size_t to_send = how.bytes * how.outstanding;
    auto begin = clock::now();
    double cpu_begin = 0;
    for (std::size_t received = 0; received < all;) {
        co_await asio::async_write(socket, asio::buffer(buffer.data(), to_send), asio::use_awaitable);
        to_send = co_await socket.async_read_some(asio::buffer(buffer), asio::use_awaitable);
        if (received < before && received + to_send >= before) {
            begin = clock::now();
            cpu_begin = cpu_us();
        }
        received += to_send;
    }
    out.per_second = how.rounds / us_since(begin) * 1e6;
    out.client_cpu_us = (cpu_us() - cpu_begin) / how.rounds;
}

}  // namespace

void serve_plain(const work& how, int ready) {
    asio::io_context io(1);
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    const unsigned short port = acceptor.local_endpoint().port();
    static_cast<void>(!write(ready, &port, sizeof port));
    asio::co_spawn(io, echo(acceptor), asio::detached);
    run(io, how.is_polling);
}

result measure_plain(const work& how, unsigned short port) {
    asio::io_context io(1);
    tcp::socket socket(io);
    socket.connect({asio::ip::address_v4::loopback(), port});
    socket.set_option(tcp::no_delay(true));
    result out;
    asio::co_spawn(io, how.outstanding == 1 ? call(socket, how, out) : pump(socket, how, out), asio::detached);
    run(io, how.is_polling);
    return out;
}

}  // namespace bench
