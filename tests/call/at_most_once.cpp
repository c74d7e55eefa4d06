// Calls that must not run twice, over links that break: with real sockets, and in simulation.
//
// COVEY_SIM_SEED=17 runs one seed of the simulation, COVEY_SIM_SEEDS=1000 so many.
#include <covey/call/remote.hpp>

#include <covey/sim/simulation.hpp>
#include <covey/task/when_all.hpp>

#include <call/support.hpp>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace covey_test_at_most_once {

using namespace covey;
using namespace covey_test_call;
using namespace std::chrono_literals;

/// How often each call has run, anywhere.
class runs {
public:
    int count(std::uint64_t key) {
        const std::lock_guard lock(m_mutex);
        return ++m_counts[key];
    }
    int of(std::uint64_t key) const {
        const std::lock_guard lock(m_mutex);
        const auto at = m_counts.find(key);
        return at != m_counts.end() ? at->second : 0;
    }
    int most() const {
        const std::lock_guard lock(m_mutex);
        int n = 0;
        for (const auto& [key, count] : m_counts) n = std::max(n, count);
        return n;
    }
    void clear() {
        const std::lock_guard lock(m_mutex);
        m_counts.clear();
    }

private:
    mutable std::mutex m_mutex;
    std::map<std::uint64_t, int> m_counts;
};
runs all_runs;

task<std::uint64_t> counted(std::uint64_t key, std::uint32_t ms) {
    all_runs.count(key);
    if (ms != 0) co_await schedule_after(std::chrono::milliseconds(ms));
    co_return key * 3;
}
counter started_to_wait;
counter asked_to_stop;
task<void> waits(std::uint64_t key) {
    all_runs.count(key);
    started_to_wait.add();
    try {
        co_await schedule_after(24h);
    } catch (const stopped&) {
        asked_to_stop.add();
        throw;
    }
}
int fails_once(std::uint64_t key) {
    if (all_runs.count(key) == 1) throw std::out_of_range("the first time");
    return 0;
}

/// Breaks the link that this peer has to another one, and whatever is under way on it.
task<void> break_link(peer_id other) {
    const task_context& here = co_await get_context();
    const std::shared_ptr<call_channel> channel =
        co_await service_of<call_service>(*here.peer).connect(other, never, expose<counted>::entry);
    channel->link().abort(errc::link_lost, "a test");
}

}  // namespace covey_test_at_most_once

template struct covey::expose<covey_test_at_most_once::counted>;
template struct covey::expose<covey_test_at_most_once::waits>;
template struct covey::expose<covey_test_at_most_once::fails_once>;

namespace covey_test_at_most_once {

TEST_CASE("a call that must not run twice gives its result over a link that breaks", "[call][once]") {
    group peers(2);
    all_runs.clear();
    const auto both = [](peer_id to, bool once) -> task<std::uint64_t> {
        std::vector<task<std::uint64_t>> calls;
        const std::uint64_t key = once ? 1 : 2;
        calls.push_back(remote({.retries = 3, .target = to, .at_most_once = once}, counted, key, 300u));
        calls.push_back([](peer_id other, std::uint64_t k) -> task<std::uint64_t> {
            while (all_runs.of(k) == 0) co_await schedule_after(1ms);
            co_await break_link(other);
            co_return std::uint64_t{0};
        }(to, key));
        co_return (co_await when_all(std::move(calls)))[0];
    };
    CHECK(peers[0].run(both(peers.id(1), true)) == 3);
    CHECK(all_runs.of(1) == 1);
    // Without the option the same breaks make it run again.
    CHECK(peers[0].run(both(peers.id(1), false)) == 6);
    CHECK(all_runs.of(2) == 2);
}

TEST_CASE("an exception is remembered like a result", "[call][once]") {
    group peers(2);
    all_runs.clear();
    const outcome first = outcome_of(peers[0], remote({.target = peers.id(1), .at_most_once = true}, fails_once, 5u));
    CHECK(first.type == "std::out_of_range");
    CHECK(all_runs.of(5) == 1);
    // Another call is another one.
    CHECK(peers[0].run(remote({.target = peers.id(1), .at_most_once = true}, fails_once, 5u)) == 0);
    CHECK(all_runs.of(5) == 2);
}

TEST_CASE("without retries a lost link fails the call, which goes on until somebody stops it", "[call][once]") {
    group peers(2);
    all_runs.clear();
    started_to_wait.reset();
    asked_to_stop.reset();
    const auto both = [](peer_id to) -> task<void> {
        std::vector<task<void>> calls;
        calls.push_back(remote({.target = to, .at_most_once = true}, waits, 9u));
        calls.push_back([](peer_id other) -> task<void> {
            while (started_to_wait.value() == 0) co_await schedule_after(1ms);
            co_await break_link(other);
        }(to));
        co_await when_all(std::move(calls));
    };
    CHECK(outcome_of(peers[0], both(peers.id(1))).code == errc::link_lost);
    CHECK(asked_to_stop.value() == 0);
    CHECK_FALSE(peers[1].drain(0s));
    peers[1].close();
    CHECK(asked_to_stop.reaches(1));
    CHECK(peers[1].drain(patience));
}

TEST_CASE("a caller that gives up stops the call", "[call][once]") {
    group peers(2);
    started_to_wait.reset();
    asked_to_stop.reset();
    const outcome late =
        outcome_of(peers[0], remote({.deadline = 100ms, .retries = 3, .target = peers.id(1), .at_most_once = true}, waits, 10u));
    CHECK(late.code == errc::timed_out);
    CHECK(asked_to_stop.reaches(1));
}

// ---- in simulation

/// A coroutine that is started on a peer and looked at from outside.
class started final : work_item {
public:
    started(peer& on, task<void> t) : work_item([](work_item* self) { static_cast<started*>(self)->m_done = true; }), m_task(std::move(t)) {
        on.env().post(m_task.bind(handle(), on.root_context()));
    }
    started(const started&) = delete;
    started& operator=(const started&) = delete;
    bool done() const noexcept { return m_done; }
    void result() { m_task.result(); }

private:
    detail::root_task<void> m_task;
    bool m_done = false;
};

struct tally {
    int values = 0, errors = 0, wrong = 0;
};

/// Some calls, one after the other.
task<void> call_some(peer& self, std::vector<peer_id> others, std::uint64_t key, bool once, tally& sum) {
    for (int i = 0; i < 12; ++i, ++key) {
        const peer_id to = others[self.env().random() % others.size()];
        const auto ms = static_cast<std::uint32_t>(self.env().random() % 40);
        call_options options;
        options.deadline = 20s;
        options.retries = 6;
        options.target = to;
        options.at_most_once = once;
        try {
            const std::uint64_t back = co_await remote(options, counted, key, ms);
            ++sum.values;
            // It has a result, so it has run.
            sum.wrong += back != key * 3 || all_runs.of(key) == 0;
        } catch (const error&) {
            ++sum.errors;
        }
    }
}

/// Breaks links at random for a while, from this side.
task<void> break_some(peer& self, std::vector<peer_id> others) {
    for (int i = 0; i < 25; ++i) {
        co_await schedule_after(std::chrono::milliseconds(5 + self.env().random() % 40));
        try {
            co_await break_link(others[self.env().random() % others.size()]);
        } catch (const error&) {
            // It was broken already.
        }
    }
}

/// The most often that a call ran.
int run_seed(std::uint64_t seed, bool once, tally& sum) {
    all_runs.clear();
    sim::faults network;
    network.loss = 0.02;
    network.duplication = 0.02;
    network.delay_mean = 2ms;
    sim::simulation sim(seed, network);
    std::vector<std::unique_ptr<peer>> peers;
    for (std::size_t i = 0; i < 3; ++i) {
        peer_config config;
        config.bind = "127.0.0.1:7400";
        config.name = "h" + std::to_string(i);
        config.membership = mesh::profile::local();
        if (i != 0) config.join = {"10.0.0.1:7400"};
        peers.push_back(std::make_unique<peer>(sim.add_host(config.name), config));
    }
    REQUIRE(sim.run_until(
        [&] {
            for (const auto& p : peers) {
                if (p->members().size() != 3) return false;
            }
            return true;
        },
        60s));
    std::vector<std::unique_ptr<started>> work;
    std::uint64_t key = 1000;
    for (const auto& p : peers) {
        std::vector<peer_id> others;
        for (const auto& o : peers) {
            if (o != p) others.push_back(o->id());
        }
        for (int i = 0; i < 4; ++i, key += 100) work.push_back(std::make_unique<started>(*p, call_some(*p, others, key, once, sum)));
        work.push_back(std::make_unique<started>(*p, break_some(*p, others)));
    }
    CHECK(sim.run_until(
        [&] {
            for (const auto& w : work) {
                if (!w->done()) return false;
            }
            return true;
        },
        600s));
    for (const auto& w : work) w->result();
    for (const auto& p : peers) p->close();
    sim.run_for(30s);
    work.clear();
    peers.clear();
    sim.run_for(1s);
    return all_runs.most();
}

TEST_CASE("nothing runs twice in simulation, whatever breaks", "[call][once][sim]") {
    std::uint64_t first = 1, count = 25;
    if (const char* only = std::getenv("COVEY_SIM_SEED")) {
        first = std::strtoull(only, nullptr, 10);
        count = 1;
    } else if (const char* many = std::getenv("COVEY_SIM_SEEDS")) {
        count = std::strtoull(many, nullptr, 10);
    }
    tally sum;
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
        INFO("COVEY_SIM_SEED=" << seed);
        CHECK(run_seed(seed, true, sum) == 1);
        REQUIRE(sum.wrong == 0);
    }
    // Most calls come through: the links are broken often, but not always.
    CHECK(sum.values > 9 * sum.errors);
}

TEST_CASE("without the option the same breaks let calls run twice", "[call][once][sim]") {
    tally sum;
    int most = 0;
    for (std::uint64_t seed = 1; seed <= 5; ++seed) most = std::max(most, run_seed(seed, false, sum));
    CHECK(most > 1);
}

}  // namespace covey_test_at_most_once
