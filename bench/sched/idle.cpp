// What a pool costs that has nothing to do: its share of a core and its context switches, first as it is, then with a timer armed
// and a socket listening. Some work runs right before, so that what the pool does after work counts too.
//   idle [--threads 1,2,4] [--seconds 5] [--csv FILE]
#include <support/report.hpp>

#include <covey/sched/pool.hpp>
#include <covey/sched/use_task.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/task.hpp>
#include <covey/task/when_all.hpp>

#include <asio/ip/tcp.hpp>

#include <sys/resource.h>

#include <thread>

namespace {

using asio::ip::tcp;

covey::task<long> fib(int n) {
    if (n < 2) co_return n;
    const auto [a, b] = co_await covey::when_all(fib(n - 1), fib(n - 2));
    co_return a + b;
}

covey::task<void> sleep_long() { co_await covey::schedule_after(std::chrono::hours(1)); }

covey::task<void> accept_one(tcp::acceptor& acceptor) {
    const tcp::socket accepted = co_await acceptor.async_accept(covey::use_task);
    bench::require(!accepted.is_open(), "nobody connects");
}

struct cost {
    double cpu_s;
    double switches;

    static cost now() {
        rusage u{};
        getrusage(RUSAGE_SELF, &u);
        const auto seconds_of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
        return {seconds_of(u.ru_utime) + seconds_of(u.ru_stime), static_cast<double>(u.ru_nvcsw + u.ru_nivcsw)};
    }
};

void measure(const char* name, unsigned threads, unsigned seconds, covey::pool& on, bench::report& out) {
    bench::require(covey::sync_wait(on, fib(22)) == 17711, "fib(22)");
    const cost before = cost::now();
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
    const cost after = cost::now();
    const double share = (after.cpu_s - before.cpu_s) / seconds * 100;
    const double switches = (after.switches - before.switches) / seconds;
    const bench::figure& f = out.add({.benchmark = name,
                                      .threads = threads,
                                      .unit = "% of a core",
                                      .ours = share,
                                      .ours_least = share,
                                      .goal = {bench::goal::kind::at_most, 0.2}});
    out.add({.benchmark = std::string(name) + " switches", .threads = threads, .unit = "1/s", .ours = switches, .ours_least = switches});
    std::printf("| %s | %u | %.4f%% | %.1f | %s | %s |\n", name, threads, share, switches, f.goal_text().c_str(), f.verdict());
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    const bench::arguments given(argc, argv, {"--threads", "--seconds", "--csv"});
    bench::report out("idle", given);
    const unsigned seconds = given.number("--seconds", 5);
    std::printf("%s, %u CPUs, %u s each\n\n", bench::compiler().c_str(), covey::available_cpus(), seconds);
    std::printf("| an idle pool | threads | processor time | context switches/s | goal | met |\n| --- | --- | --- | --- | --- | --- |\n");
    for (const std::string& text : given.list("--threads", "1,2,4")) {
        const unsigned threads = static_cast<unsigned>(std::max(1, std::atoi(text.c_str())));
        covey::pool on({.threads = threads});
        measure("idle", threads, seconds, on, out);

        tcp::acceptor acceptor(on.io(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        covey::scope waiting(on);
        waiting.spawn(sleep_long());
        waiting.spawn(accept_one(acceptor));
        measure("idle with a timer and a socket", threads, seconds, on, out);
        waiting.request_stop();
        const auto join = [](covey::scope& s) -> covey::task<void> { co_await s.join(); };
        covey::sync_wait(on, join(waiting));
    }
    return out.write();
}
