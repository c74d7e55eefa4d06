#include <call/sides.hpp>
#include <support/report.hpp>

#include <covey/covey.hpp>

#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <vector>

namespace bench {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

double us_since(clock::time_point begin) { return std::chrono::duration<double, std::micro>(clock::now() - begin).count(); }

using message = std::array<char, 64>;

}  // namespace

message echo(message m) { return m; }
std::array<double, 2> usage() { return {static_cast<double>(allocations()), cpu_us()}; }

namespace {

covey::peer_config config(const char* role) {
    covey::peer_config c;
    c.threads = 1;
    c.name = role;
    return c;
}

/// Calls one after the other.
covey::task<void> call(covey::peer_id to, unsigned rounds, samples* us) {
    const message text{};
    for (unsigned i = 0; i < rounds; ++i) {
        const auto begin = us != nullptr ? clock::now() : clock::time_point();
        const message back = co_await covey::remote(covey::on(to), echo, text);
        if (us != nullptr) us->add(us_since(begin));
        require(back == text, "an echo is what was sent");
    }
}

/// That many at once.
covey::task<void> call_side_by_side(covey::peer_id to, const work& how, unsigned rounds) {
    std::vector<covey::task<void>> all;
    for (unsigned i = 0; i < how.outstanding; ++i) all.push_back(call(to, rounds / how.outstanding, nullptr));
    co_await covey::when_all(std::move(all));
}

covey::task<void> measure(covey::peer& self, const work& how, result& out) {
    co_await self.wait_for_members(2, 10s);
    const covey::peer_id other = self.members()[1].id();
    samples us;
    co_await call_side_by_side(other, how, how.rounds / 10 + how.outstanding);
    const auto [server_news, server_cpu] = co_await covey::remote(covey::on(other), usage);
    us.reserve(how.rounds);
    const auto client_news = static_cast<double>(allocations());
    const double client_cpu = cpu_us();
    const auto begin = clock::now();
    if (how.outstanding == 1) {
        co_await call(other, how.rounds, &us);
    } else {
        co_await call_side_by_side(other, how, how.rounds);
    }
    out.per_second = how.rounds / us_since(begin) * 1e6;
    out.client_cpu_us = (cpu_us() - client_cpu) / how.rounds;
    out.client_allocations = (static_cast<double>(allocations()) - client_news) / how.rounds;
    const auto [server_news_after, server_cpu_after] = co_await covey::remote(covey::on(other), usage);
    out.server_allocations = (server_news_after - server_news) / how.rounds;
    out.server_cpu_us = (server_cpu_after - server_cpu) / how.rounds;
    out.p50_us = us.quantile(0.5);
    out.p99_us = us.quantile(0.99);
}

}  // namespace

void serve_calls(const work&, int ready) {
    covey::peer_config c = config("server");
    c.role = covey::member_role::serve;
    covey::peer self(std::move(c));
    const unsigned short port = self.address().port;
    static_cast<void>(!write(ready, &port, sizeof port));
    self.run([]() -> covey::task<void> { co_await covey::schedule_after(1h); }());
}

result measure_calls(const work& how, unsigned short port) {
    covey::peer_config c = config("client");
    c.join = {"127.0.0.1:" + std::to_string(port)};
    covey::peer self(std::move(c));
    result out;
    self.run(measure(self, how, out));
    return out;
}

}  // namespace bench

template struct covey::expose<bench::echo>;
template struct covey::expose<bench::usage>;
