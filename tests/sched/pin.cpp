// Where the threads of a pool are, and what they are called.
#include <covey/sched/pool.hpp>

#include <task/support.hpp>

#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/when_all.hpp>

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace covey_test_sched_pin {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::throws_code;
using covey_test::wait_until;

namespace {

std::vector<unsigned> cpus_of(pthread_t thread) {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    // No assertion, for this is called on several threads at once; no CPUs is an answer that no test expects.
    if (pthread_getaffinity_np(thread, sizeof mask, &mask) != 0) return {};
    std::vector<unsigned> cpus;
    for (unsigned i = 0; i < CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &mask)) cpus.push_back(i);
    }
    return cpus;
}

/// The names of this process's threads that begin so.
std::multiset<std::string> thread_names(const std::string& prefix) {
    std::multiset<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string name;
        std::getline(std::ifstream(entry.path() / "comm"), name);  // nothing, if the thread has ended meanwhile
        if (name.compare(0, prefix.size(), prefix) == 0) names.insert(name);
    }
    return names;
}

struct seen {
    std::string name;
    std::vector<unsigned> cpus;
};
/// Holds its thread until every worker has one of these.
task<seen> looks(std::atomic<unsigned>& here, unsigned all) {
    ++here;
    static_cast<void>(wait_until([&] { return here.load() >= all; }));
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    co_return seen{name, cpus_of(pthread_self())};
}
task<std::vector<seen>> look_at_all(unsigned n) {
    std::atomic<unsigned> here{0};
    std::vector<task<seen>> all;
    for (unsigned i = 0; i < n; ++i) all.push_back(looks(here, n));
    co_return co_await when_all(std::move(all));
}
task<bool> sleeps(duration d) {
    const time_point start = (co_await get_context()).scheduler->now();
    co_await schedule_after(d);
    co_return (co_await get_context()).scheduler->now() - start >= d;
}
task<long> fib(int n) {
    if (n < 2) co_return n;
    auto both = co_await when_all(fib(n - 1), fib(n - 2));
    co_return std::get<0>(both) + std::get<1>(both);
}

}  // namespace

TEST_CASE("workers have names that tools show", "[sched]") {
    {
        const pool threads({.threads = 3, .name = "weaver"});
        // A new thread carries its maker's name for a moment.
        CHECK(wait_until([] { return thread_names("weaver-") == std::multiset<std::string>{"weaver-0", "weaver-1", "weaver-2"}; }));
    }
    CHECK(thread_names("weaver-").empty());
    {
        const pool threads({.threads = 1, .name = "a-name-that-is-too-long"});
        CHECK(wait_until([] { return thread_names("a-name-that-0").size() + thread_names("a-name-that-").size() >= 1; }));
        CHECK(thread_names("a-name-that-is").empty());
    }
    {
        const pool threads({.threads = 1, .name = "waits", .io_thread = true});
        CHECK(wait_until([] { return thread_names("waits-") == std::multiset<std::string>{"waits-0", "waits-io"}; }));
    }
}

TEST_CASE("workers are pinned in turn to the CPUs given", "[sched]") {
    const std::vector<unsigned> mine = cpus_of(pthread_self());
    const std::vector<unsigned> given{mine.back(), mine.front()};
    pool threads({.threads = 3, .name = "pinned", .cpus = given});
    const std::vector<seen> all = sync_wait(threads, look_at_all(3));
    REQUIRE(all.size() == 3);
    std::set<std::string> names;
    for (const seen& s : all) {
        names.insert(s.name);
        const auto worker = static_cast<std::size_t>(s.name.back() - '0');
        CHECK(s.cpus == std::vector<unsigned>{given[worker % given.size()]});
    }
    CHECK(names == std::set<std::string>{"pinned-0", "pinned-1", "pinned-2"});
    CHECK(cpus_of(pthread_self()) == mine);
    CHECK(sync_wait(threads, fib(15)) == 610);
}

TEST_CASE("without CPUs given, workers may run where the program may", "[sched]") {
    pool threads({.threads = 2});
    for (const seen& s : sync_wait(threads, look_at_all(2))) CHECK(s.cpus == cpus_of(pthread_self()));
}

TEST_CASE("a CPU that is not there is an error, and no thread stays", "[sched]") {
    const std::vector<unsigned> mine = cpus_of(pthread_self());
    for (const unsigned wrong : {static_cast<unsigned>(CPU_SETSIZE) - 1, static_cast<unsigned>(CPU_SETSIZE), 1'000'000u}) {
        CAPTURE(wrong);
        if (std::find(mine.begin(), mine.end(), wrong) != mine.end()) continue;
        const std::vector<unsigned> given{mine.front(), wrong};
        CHECK(throws_code(errc::bad_argument, [&] {
            pool threads({.threads = 3, .name = "nowhere", .cpus = given});
            return threads.concurrency();
        }));
        CHECK(thread_names("nowhere-").empty());
    }
    try {
        const std::vector<unsigned> given{1'000'000u};
        const pool threads({.threads = 1, .cpus = given});
        FAIL("a pool on a CPU that is not there");
    } catch (const error& e) {
        CHECK(std::string(e.what()).find("1000000") != std::string::npos);
    }
}

TEST_CASE("with an I/O thread the pool computes, sleeps and ends as without", "[sched]") {
    for (int round = 0; round < 3; ++round) {
        pool threads({.threads = 2, .name = "io", .io_thread = true});
        CHECK(threads.concurrency() == 2);
        CHECK(sync_wait(threads, fib(15)) == 610);
        CHECK(sync_wait(threads, sleeps(2ms)));
        auto both = sync_wait(threads, when_all(sleeps(1ms), fib(12)));
        CHECK(std::get<0>(both));
        CHECK(std::get<1>(both) == 144);
    }
}

TEST_CASE("with an I/O thread timers fire while all workers compute", "[sched]") {
    struct fires : timer {
        fires() : timer([](timer& t) noexcept { static_cast<fires&>(t).fired = true; }) {}
        std::atomic<bool> fired{false};
    };
    struct busy {
        static task<bool> until(const std::atomic<bool>& flag) {
            co_return wait_until([&] { return flag.load(); });
        }
    };
    pool threads({.threads = 1, .io_thread = true});
    fires t;
    threads.arm(t, after(threads.now(), 5ms));
    CHECK(sync_wait(threads, busy::until(t.fired)));
}

}  // namespace covey_test_sched_pin
