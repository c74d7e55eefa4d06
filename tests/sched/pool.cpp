#include <covey/sched/pool.hpp>

#include <task/support.hpp>

#include <covey/task/schedule.hpp>
#include <covey/task/scope.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/when_all.hpp>

#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace covey_test_sched_pool {

using namespace covey;
using namespace std::chrono_literals;
using covey_test::events;
using covey_test::patience;
using covey_test::repeats;
using covey_test::wait_until;

namespace {

/// A work item that counts how often it ran.
struct counted : work_item {
    counted() : work_item([](work_item* self) { static_cast<counted*>(self)->go(); }) {}
    void go() {
        runs.fetch_add(1, std::memory_order_relaxed);
        total->fetch_add(1, std::memory_order_release);
    }
    std::atomic<int> runs{0};
    std::atomic<std::size_t>* total = nullptr;
};

bool each_ran_once(const std::vector<counted>& items) {
    return std::all_of(items.begin(), items.end(), [](const counted& c) { return c.runs.load() == 1; });
}

/// A timer that notes when it fired, and who it was.
struct noted : timer {
    noted() : timer([](timer& t) noexcept { static_cast<noted&>(t).go(); }) {}
    void go() noexcept {
        fired_at = on->now();
        if (order != nullptr) {
            const std::lock_guard lock(order_mutex);
            order->push_back(name);
        }
        events* const counted_by = all;
        fired.fetch_add(1);  // the last touch, for a test may end this timer now
        if (counted_by != nullptr) counted_by->add();
    }
    scheduler* on = nullptr;
    static inline std::mutex order_mutex;
    std::vector<int>* order = nullptr;
    events* all = nullptr;
    int name = 0;
    time_point when{};
    time_point fired_at{};
    std::atomic<int> fired{0};
};

task<std::string> thread_name() {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    co_return name;
}
task<std::string> thread_name_slowly(std::atomic<unsigned>& here, unsigned all) {
    // Holds its thread until every thread has one of these, so that each is asked.
    ++here;
    static_cast<void>(wait_until([&] { return here.load() >= all; }));
    co_return co_await thread_name();
}
task<std::set<std::string>> all_thread_names(unsigned n) {
    std::atomic<unsigned> here{0};
    std::vector<task<std::string>> asked;
    for (unsigned i = 0; i < n; ++i) asked.push_back(thread_name_slowly(here, n));
    std::set<std::string> names;
    for (auto& name : co_await when_all(std::move(asked))) names.insert(name);
    co_return names;
}

task<void> posts_from_inside(std::vector<counted>& items, std::size_t first, std::size_t last) {
    scheduler& on = *(co_await get_context()).scheduler;
    for (std::size_t i = first; i < last; ++i) on.post(items[i].handle());
}
task<void> spread_posting(std::vector<counted>& items, std::size_t parts) {
    std::vector<task<void>> all;
    const std::size_t size = items.size() / parts;
    for (std::size_t p = 0; p < parts; ++p)
        all.push_back(posts_from_inside(items, p * size, p + 1 == parts ? items.size() : (p + 1) * size));
    static_cast<void>(co_await when_all(std::move(all)));
}

/// Goes round a ring of pools until the rounds are over. Each hop finds the next pool with nothing to do.
struct traveller : work_item {
    traveller() : work_item([](work_item* self) { static_cast<traveller*>(self)->go(); }) {}
    void go() {
        if (++hops == last) {
            done->add();
        } else {
            (*pools)[hops % pools->size()]->post(handle());
        }
    }
    std::vector<pool*>* pools = nullptr;
    std::size_t hops = 0;
    std::size_t last = 0;
    events* done = nullptr;
};

task<void> spins_until(const std::atomic<bool>& end, std::atomic<int>& spinning) {
    ++spinning;
    while (!end.load()) co_await schedule();
}
task<void> sets(std::atomic<bool>& flag) {
    flag = true;
    co_return;
}
task<void> sets_after(std::atomic<bool>& flag, duration d) {
    co_await schedule_after(d);
    flag = true;
}
task<bool> spins_beside_a_setter() {
    std::atomic<bool> flag{false};
    std::atomic<int> spinning{0};
    static_cast<void>(co_await when_all(spins_until(flag, spinning), sets(flag)));
    co_return flag.load();
}
task<bool> spins_beside_a_sleeper() {
    std::atomic<bool> flag{false};
    std::atomic<int> spinning{0};
    static_cast<void>(co_await when_all(sets_after(flag, 2ms), spins_until(flag, spinning), spins_until(flag, spinning)));
    co_return flag.load();
}
/// A long computation, as the pool sees it: holds its thread until the flag is set.
task<bool> holds_its_thread_until(const std::atomic<bool>& flag) {
    co_return wait_until([&] { return flag.load(); });
}
task<bool> computes_beside_a_sleeper(int yields) {
    std::atomic<bool> flag{false};
    scope s;
    s.spawn(sets_after(flag, 200us));
    for (int i = 0; i < yields; ++i) co_await schedule();
    const bool woken = co_await holds_its_thread_until(flag);
    co_await s.join();
    co_return woken;
}

std::chrono::nanoseconds cpu_time() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& t) { return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec); };
    return of(usage.ru_utime) + of(usage.ru_stime);
}

/// Sets an environment variable, and back at the end.
class environment_variable {
public:
    environment_variable(const char* name, const char* value) : m_name(name) {
        if (const char* old = std::getenv(name)) m_old = old;
        setenv(name, value, 1);
    }
    ~environment_variable() {
        if (m_old) {
            setenv(m_name, m_old->c_str(), 1);
        } else {
            unsetenv(m_name);
        }
    }

private:
    const char* m_name;
    std::optional<std::string> m_old;
};

}  // namespace

TEST_CASE("a pool has the threads it was asked for, and they have names", "[sched]") {
    pool three({.threads = 3, .name = "abc"});
    CHECK(three.concurrency() == 3);
    CHECK(sync_wait(three, all_thread_names(3)) == std::set<std::string>{"abc-0", "abc-1", "abc-2"});
    pool two({.threads = 2, .name = "a very long name"});
    CHECK(sync_wait(two, all_thread_names(2)) == std::set<std::string>{"a very long-0", "a very long-1"});
}

TEST_CASE("COVEY_THREADS sets the number of threads", "[sched]") {
    {
        const environment_variable set("COVEY_THREADS", "3");
        CHECK(default_concurrency() == 3);
        pool threads;
        CHECK(threads.concurrency() == 3);
        pool asked({.threads = 2});
        CHECK(asked.concurrency() == 2);
    }
    for (const char* nonsense : {"", "0", "-4", "many"}) {
        const environment_variable set("COVEY_THREADS", nonsense);
        CHECK(default_concurrency() >= 1);
        CHECK(default_concurrency() <= std::max(1u, std::thread::hardware_concurrency()));
    }
    const environment_variable set("COVEY_THREADS", "123456789");
    CHECK(default_concurrency() == 4096);
}

TEST_CASE("all work runs exactly once, posted from outside", "[sched]") {
    pool threads({.threads = 3});
    std::vector<counted> items(repeats(1'000'000, 100'000));
    std::atomic<std::size_t> total{0};
    for (auto& item : items) item.total = &total;
    std::vector<std::thread> posters;
    for (std::size_t p = 0; p < 3; ++p) {
        posters.emplace_back([&, p] {
            for (std::size_t i = p; i < items.size(); i += 3) threads.post(items[i].handle());
        });
    }
    for (auto& p : posters) p.join();
    REQUIRE(wait_until([&] { return total.load() == items.size(); }));
    CHECK(each_ran_once(items));
}

TEST_CASE("all work runs exactly once, posted from inside", "[sched]") {
    for (const unsigned n : {1u, 4u}) {
        pool threads({.threads = n});
        std::vector<counted> items(repeats(1'000'000, 100'000));
        std::atomic<std::size_t> total{0};
        for (auto& item : items) item.total = &total;
        sync_wait(threads, spread_posting(items, 7));
        REQUIRE(wait_until([&] { return total.load() == items.size(); }));
        CHECK(each_ran_once(items));
    }
}

TEST_CASE("no wake-up is lost between pools that are idle again and again", "[sched]") {
    for (const unsigned n : {1u, 2u, 3u}) {
        INFO(n << " threads each");
        pool a({.threads = n});
        pool b({.threads = n});
        std::vector<pool*> ring{&a, &b};
        events done;
        std::vector<traveller> travellers(2);
        for (auto& t : travellers) {
            t.pools = &ring;
            t.last = repeats(10'000, 2'000);
            t.done = &done;
        }
        // One alone, which finds everybody asleep at each hop; then two, who meet threads about to fall asleep.
        a.post(travellers[0].handle());
        REQUIRE(done.wait_for(1));
        travellers[0].hops = 0;
        a.post(travellers[0].handle());
        a.post(travellers[1].handle());
        REQUIRE(done.wait_for(3));
    }
}

TEST_CASE("no wake-up is lost between an ordinary thread and a pool", "[sched]") {
    for (const unsigned n : {1u, 2u, 4u}) {
        pool threads({.threads = n});
        events done;
        for (std::size_t round = 1; round <= repeats(2'000, 500); ++round) {
            struct one : work_item {
                explicit one(events& to) : work_item([](work_item* self) { static_cast<one*>(self)->m_to->add(); }), m_to(&to) {}
                events* m_to;
            } item(done);
            threads.post(item.handle());
            for (std::size_t i = 0; i < round % 7; ++i) std::this_thread::yield();
            REQUIRE(done.wait_for(round));
        }
    }
}

TEST_CASE("timers fire once, in order, and not early", "[sched]") {
    for (const unsigned n : {1u, 3u}) {
        pool threads({.threads = n});
        constexpr int count = 200;
        std::vector<int> order;
        std::vector<noted> timers(count);
        // Only timers that are all armed before the first is due come in order; a busy machine may need another try.
        for (duration ahead = 10ms;; ahead *= 2) {
            REQUIRE(ahead < patience);
            events all;
            const time_point begin = threads.now() + ahead;
            for (int i = 0; i < count; ++i) {
                // 77 and 200 have no common divisor: every place once, in a mixed order.
                const int place = i * 77 % count;
                noted& t = timers[static_cast<std::size_t>(place)];
                t.on = &threads;
                t.all = &all;
                t.name = place;
                t.order = &order;
                t.fired = 0;
                t.when = begin + place * 50us;
                threads.arm(t, t.when);
            }
            const bool in_time = threads.now() < begin;
            REQUIRE(all.wait_for(count));
            if (in_time) break;
            order.clear();
        }
        REQUIRE(order.size() == count);
        for (int i = 0; i < count; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
        for (const noted& t : timers) {
            CHECK(t.fired.load() == 1);
            CHECK(t.fired_at >= t.when);
            CHECK_FALSE(threads.cancel(const_cast<noted&>(t)));
        }
    }
}

TEST_CASE("a timer armed for an earlier moment than the others fires first", "[sched]") {
    pool threads({.threads = 2});
    events all;
    noted late;
    noted soon;
    noted at_once;
    for (noted* t : {&late, &soon, &at_once}) {
        t->on = &threads;
        t->all = &all;
    }
    threads.arm(late, threads.now() + 24h);
    threads.arm(soon, threads.now() + 1ms);
    REQUIRE(all.wait_for(1));
    threads.arm(at_once, threads.now() - 1h);
    REQUIRE(all.wait_for(2));
    CHECK(late.fired.load() == 0);
    CHECK(threads.cancel(late));
    CHECK_FALSE(threads.cancel(late));
    noted endless;
    threads.arm(endless, never);
    CHECK(threads.cancel(endless));
}

TEST_CASE("a hundred thousand timers armed and cancelled", "[sched]") {
    pool threads({.threads = 2});
    const std::size_t n = repeats(100'000, 20'000);
    const std::unique_ptr<noted[]> timers(new noted[n]);
    for (std::size_t i = 0; i < n; ++i) {
        timers[i].on = &threads;
        threads.arm(timers[i], threads.now() + 1h + std::chrono::microseconds(i * 7'919 % n));
    }
    std::size_t cancelled = 0;
    for (std::size_t i = 0; i < n; ++i) cancelled += threads.cancel(timers[i]);
    CHECK(cancelled == n);
    noted one;
    for (std::size_t i = 0; i < n; ++i) {
        threads.arm(one, threads.now() + 1h);
        cancelled += threads.cancel(one);
    }
    CHECK(cancelled == 2 * n);
}

TEST_CASE("a timer is either cancelled or fires", "[sched]") {
    pool threads({.threads = 2});
    const std::size_t rounds = repeats(8'000, 2'000);
    std::size_t wrong = 0;
    for (std::size_t round = 0; round < rounds; ++round) {
        noted t;
        t.on = &threads;
        threads.arm(t, threads.now() + std::chrono::microseconds(round % 30));
        for (std::size_t i = 0; i < round % 11; ++i) std::this_thread::yield();
        if (threads.cancel(t)) {
            wrong += t.fired.load() != 0;
        } else {
            wrong += !wait_until([&] { return t.fired.load() == 1; });
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("a timer may be armed again by its own firing", "[sched]") {
    struct periodic : timer {
        periodic(pool& on, events& to) : timer([](timer& t) noexcept { static_cast<periodic&>(t).go(); }), m_on(on), m_to(to) {}
        void go() noexcept {
            // The last act: after the hundredth event the test may destroy this timer.
            if (++m_count < 100) m_on.arm(*this, m_on.now() + 10us);
            m_to.add();
        }
        pool& m_on;
        events& m_to;
        int m_count = 0;
    };
    pool threads({.threads = 2});
    events fired;
    periodic t(threads, fired);
    threads.arm(t, threads.now());
    REQUIRE(fired.wait_for(100));
    CHECK_FALSE(threads.cancel(t));
}

TEST_CASE("timers that re-arm for moments that have passed do not hold up other work", "[sched]") {
    struct endless : timer {
        explicit endless(pool& on) : timer([](timer& t) noexcept { static_cast<endless&>(t).go(); }), m_on(on) {}
        void go() noexcept {
            if (m_end.load()) {
                m_last = true;
            } else {
                m_on.arm(*this, m_on.now());
            }
        }
        pool& m_on;
        std::atomic<bool> m_end{false};
        std::atomic<bool> m_last{false};
    };
    pool one({.threads = 1});
    endless t(one);
    one.arm(t, one.now());
    std::atomic<std::size_t> total{0};
    counted item;
    item.total = &total;
    one.post(item.handle());
    CHECK(wait_until([&] { return total.load() == 1; }));
    t.m_end = true;
    REQUIRE(wait_until([&] { return t.m_last.load() || one.cancel(t); }));
}

TEST_CASE("pools come and go, idle, busy and with armed timers", "[sched]") {
    for (std::size_t round = 0; round < repeats(200, 50); ++round) {
        pool threads({.threads = 1 + static_cast<unsigned>(round % 4)});
        if (round % 2 == 0) continue;  // destroyed while its threads start
        std::atomic<std::size_t> total{0};
        counted item;
        item.total = &total;
        threads.post(item.handle());
        noted unfired;
        unfired.on = &threads;
        threads.arm(unfired, threads.now() + 1h);
        REQUIRE(wait_until([&] { return total.load() == 1; }));
        REQUIRE(threads.cancel(unfired));
    }
}

TEST_CASE("an idle pool uses almost no processor time", "[sched]") {
    pool threads({.threads = 4});
    events fired;
    noted end;
    end.on = &threads;
    end.all = &fired;
    const auto before = cpu_time();
    threads.arm(end, threads.now() + 300ms);
    REQUIRE(fired.wait_for(1));
    const auto used = cpu_time() - before;
    CHECK(used < 100ms);  // one spinning thread alone would use 300
}

TEST_CASE("endless yielding starves neither timers nor work from outside", "[sched]") {
    for (const unsigned n : {1u, 2u, 3u}) {
        INFO(n << " threads");
        pool threads({.threads = n});
        std::atomic<bool> end{false};
        std::atomic<int> spinning{0};
        scope s{threads};
        for (unsigned i = 0; i < 2 * n; ++i) s.spawn(spins_until(end, spinning));
        REQUIRE(wait_until([&] { return spinning.load() == static_cast<int>(2 * n); }));
        std::atomic<std::size_t> total{0};
        counted item;
        item.total = &total;
        threads.post(item.handle());
        CHECK(wait_until([&] { return total.load() == 1; }));
        events fired;
        noted t;
        t.on = &threads;
        t.all = &fired;
        threads.arm(t, threads.now() + 1ms);
        CHECK(fired.wait_for(1));
        end = true;
        struct joining {
            static task<void> go(scope& all) { co_await all.join(); }
        };
        sync_wait(threads, joining::go(s));
    }
}

TEST_CASE("a coroutine that gives way lets those before it run, on one thread too", "[sched]") {
    for (const unsigned n : {1u, 2u}) {
        pool threads({.threads = n});
        CHECK(sync_wait(threads, spins_beside_a_setter()));
        CHECK(sync_wait(threads, spins_beside_a_sleeper()));
    }
}

TEST_CASE("while one thread computes, another that has nothing to do serves the timers", "[sched]") {
    pool threads({.threads = 2});
    std::size_t late = 0;
    for (std::size_t round = 0; round < repeats(3'000, 500) && late == 0; ++round) {
        late += !sync_wait(threads, computes_beside_a_sleeper(static_cast<int>(round % 5)));
    }
    CHECK(late == 0);
}

TEST_CASE("what is put off runs after the other work of its thread", "[sched]") {
    struct noting : work_item {
        noting(std::vector<int>& to, int n) : work_item([](work_item* self) { static_cast<noting*>(self)->go(); }), all(to), name(n) {}
        void go() { all.push_back(name); }
        std::vector<int>& all;
        int name;
    };
    pool one({.threads = 1});
    std::vector<int> ran;
    noting first(ran, 1), second(ran, 2), last(ran, 3);
    CHECK_FALSE(one.post_after(last.handle()));  // this thread is none of the pool's
    const auto round = [](pool& on, noting& a, noting& b, noting& z) -> task<bool> {
        co_await schedule();
        const bool alone = on.post_after(z.handle());
        on.post(a.handle());
        on.post(b.handle());
        const bool among_others = on.post_after(z.handle());
        const std::size_t all = among_others ? 3 : 2;
        while (z.all.size() < all) co_await schedule();
        co_return !alone && among_others;
    };
    // A thread that others did not let run for 20 us puts nothing off, or ends what it has put off earlier: that is no failure, but it
    // is not what all of many rounds see.
    int put_off = 0;
    for (int i = 0; i < 10'000 && put_off < 100; ++i) {
        ran.clear();
        if (!sync_wait(one, round(one, first, second, last))) continue;
        REQUIRE(ran.size() == 3);
        REQUIRE(std::count(ran.begin(), ran.end(), 3) == 1);
        if (ran.back() == 3) ++put_off;
    }
    CHECK(put_off == 100);
}

TEST_CASE("what is put off runs elsewhere when its own thread computes", "[sched]") {
    pool two({.threads = 2});
    const auto round = [](pool& on, counted& put_off, counted& other, std::size_t& all) -> task<bool> {
        on.post(other.handle());
        all = on.post_after(put_off.handle()) ? 2 : 1;
        // Holds this thread, as a long computation would.
        co_return wait_until([&] { return put_off.total->load() == all; });
    };
    std::size_t accepted = 0;
    for (std::size_t i = 0; i < repeats(300, 50); ++i) {
        std::atomic<std::size_t> total{0};
        counted put_off, other;
        put_off.total = other.total = &total;
        std::size_t all = 0;
        REQUIRE(sync_wait(two, round(two, put_off, other, all)));
        accepted += all - 1;
    }
    CHECK(accepted > 0);
}

TEST_CASE("what is put off runs when the pool ends", "[sched]") {
    struct putting_off : work_item {
        explicit putting_off(pool& p) : work_item([](work_item* self) { static_cast<putting_off*>(self)->go(); }), on(p) {}
        void go() {
            on.post(other.handle());
            accepted = on.post_after(last.handle());
            done.add();
        }
        pool& on;
        counted other, last;
        bool accepted = false;
        events done;
    };
    for (std::size_t i = 0; i < repeats(300, 50); ++i) {
        std::optional<pool> threads(std::in_place, pool_options{.threads = 1 + static_cast<unsigned>(i % 2)});
        std::atomic<std::size_t> total{0};
        putting_off start(*threads);
        start.other.total = start.last.total = &total;
        threads->post(start.handle());
        REQUIRE(start.done.wait_for(1));
        threads.reset();
        CHECK(start.last.runs.load() == (start.accepted ? 1 : 0));
    }
}

TEST_CASE("random numbers differ, on workers and outside", "[sched]") {
    pool threads({.threads = 2});
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 100; ++i) seen.insert(threads.random());
    struct drawing {
        static task<std::uint64_t> go() { co_return (co_await get_context()).scheduler->random(); }
    };
    for (int i = 0; i < 100; ++i) seen.insert(sync_wait(threads, drawing::go()));
    CHECK(seen.size() == 200);
}

TEST_CASE("a worker knows its own pool", "[sched]") {
    pool a({.threads = 1});
    pool b({.threads = 1});
    struct asking {
        static task<bool> go(pool& mine, pool& other) { co_return mine.on_worker() && !other.on_worker(); }
    };
    CHECK_FALSE(a.on_worker());
    CHECK(sync_wait(a, asking::go(a, b)));
    CHECK(sync_wait(b, asking::go(b, a)));
}

}  // namespace covey_test_sched_pool
