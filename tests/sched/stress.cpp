// Long runs of the deque and of the pool's sleeping and waking, on real threads.

#include <covey/sched/detail/processor.hpp>
#include <covey/sched/pool.hpp>
#include <covey/task/deque.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/when_all.hpp>

#include <task/support.hpp>

#include <covey/core/random.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

namespace covey_test_sched_stress {

using namespace covey;
using covey_test::repeats;
using covey_test::wait_until;

namespace {

/// Which numbers somebody got. One thread.
class number_set {
public:
    explicit number_set(std::size_t n) : m_words(n / 64 + 1) {}
    void add(std::size_t i) {
        std::uint64_t& word = m_words[i / 64];
        const std::uint64_t bit = std::uint64_t{1} << (i % 64);
        m_twice += (word & bit) != 0;
        word |= bit;
        ++m_count;
    }
    void add(const number_set& other) {
        for (std::size_t i = 0; i < m_words.size(); ++i) {
            m_twice += (m_words[i] & other.m_words[i]) != 0;
            m_words[i] |= other.m_words[i];
        }
        m_twice += other.m_twice;
        m_count += other.m_count;
    }
    std::size_t count() const { return m_count; }
    std::size_t twice() const { return m_twice; }

private:
    std::vector<std::uint64_t> m_words;
    std::size_t m_count = 0;
    std::size_t m_twice = 0;
};

std::coroutine_handle<> item(std::size_t n) { return std::coroutine_handle<>::from_address(reinterpret_cast<void*>((n + 1) * 8)); }
std::size_t number(std::coroutine_handle<> h) { return reinterpret_cast<std::size_t>(h.address()) / 8 - 1; }

/// Pushes `n` items in bursts of all sizes, pops about half of them; three thieves. Returns how many were stolen.
std::size_t push_pop_and_steal(std::size_t n, std::uint64_t seed) {
    work_deque d;
    if (!detail::register_fence_of_others()) d.keep_public();
    std::atomic<bool> done{false};
    std::vector<number_set> got(4, number_set(n));
    std::vector<std::thread> thieves;
    for (std::size_t t = 1; t <= 3; ++t) {
        thieves.emplace_back([&, t] {
            number_set& mine = got[t];
            for (std::size_t failed = 0;;) {
                const bool was_done = done.load();
                if (const auto h = d.steal()) {
                    mine.add(number(h));
                } else if (was_done && d.empty()) {
                    break;
                } else if (++failed % 16 != 0 || d.empty()) {
                    std::this_thread::yield();
                } else if (const auto forced = d.force(detail::fence_others)) {
                    mine.add(number(forced));
                }
            }
        });
    }
    random_source random(seed);
    const auto pop = [&] {
        const auto h = d.pop();
        if (h) got[0].add(number(h));
        return static_cast<bool>(h);
    };
    for (std::size_t next = 0; next < n;) {
        // Mostly around the last item, where owner and thieves meet; now and then more than the ring holds.
        const std::uint64_t kind = random.below(1'000);
        const std::size_t burst = kind == 0 ? 5'000 : kind < 50 ? 100 : 1 + random.below(4);
        for (std::size_t i = 0; i < burst && next < n; ++i) d.push(item(next++));
        if (d.wanted()) d.share();
        for (std::size_t i = random.below(burst + 2); i > 0 && pop(); --i) {}
    }
    while (pop()) {}
    done = true;
    for (auto& t : thieves) t.join();
    std::size_t stolen = 0;
    for (std::size_t t = 1; t <= 3; ++t) {
        stolen += got[t].count();
        got[0].add(got[t]);
    }
    CHECK(got[0].count() == n);
    CHECK(got[0].twice() == 0);
    return stolen;
}

struct noted_run : work_item {
    noted_run() : work_item([](work_item* self) { static_cast<noted_run*>(self)->runs.fetch_add(1, std::memory_order_release); }) {}
    std::atomic<std::size_t> runs{0};
};

task<int> fib(int n) {
    if (n < 2) co_return n;
    auto both = co_await when_all(fib(n - 1), fib(n - 2));
    co_return std::get<0>(both) + std::get<1>(both);
}

void spin(std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) asm volatile("" ::: "memory");
}

/// Posts from a worker, which then computes until another one has run what was posted.
struct poster : work_item {
    explicit poster(pool& p) : work_item([](work_item* self) { static_cast<poster*>(self)->go(); }), on(p) {}
    void go() {
        for (std::size_t i = 0; i < n && !late; ++i) {
            on.post(inner.handle());
            // Giving way is no await: this worker stays busy, and somebody who slept has to come.
            late = !wait_until([&] { return inner.runs.load(std::memory_order_acquire) == i + 1; });
            spin(random.below(1 + (i % 64 == 0 ? 200'000 : 2'000)));
        }
        ended.store(true, std::memory_order_release);
    }
    pool& on;
    std::size_t n = 0;
    bool late = false;
    noted_run inner;
    random_source random{1};
    std::atomic<bool> ended{false};
};

}  // namespace

TEST_CASE("stress: a hundred million pushes, pops and steals", "[sched][stress]") {
    const std::size_t rounds = 10;
    const std::size_t n = repeats(6'000'000, 600'000);
    std::size_t stolen = 0;
    for (std::size_t round = 1; round <= rounds; ++round) stolen += push_pop_and_steal(n, round);
    std::printf("stress: deque: %zu operations, %zu of them steals\n", 2 * rounds * n, stolen);
    CHECK(stolen > rounds * 100);
}

TEST_CASE("stress: work from outside finds a worker, however deep all sleep", "[sched][stress]") {
    for (const unsigned threads : {1u, 2u, 3u}) {
        INFO(threads << " workers");
        pool on({.threads = threads});
        random_source random(threads);
        noted_run posted;
        const std::size_t n = repeats(150'000, 20'000);
        bool late = false;
        for (std::size_t i = 0; i < n && !late; ++i) {
            on.post(posted.handle());
            late = !wait_until([&] { return posted.runs.load(std::memory_order_acquire) == i + 1; });
            // From right at the edge of falling asleep to long after.
            spin(random.below(1 + (i % 64 == 0 ? 200'000 : 2'000)));
            if (i % 128 == 0) REQUIRE(sync_wait(on, fib(8)) == 21);
        }
        CHECK_FALSE(late);
    }
}

TEST_CASE("stress: what a busy worker posts is done by one that slept", "[sched][stress]") {
    for (const unsigned threads : {2u, 3u}) {
        INFO(threads << " workers");
        pool on({.threads = threads});
        poster p(on);
        p.n = repeats(150'000, 20'000);
        on.post(p.handle());
        while (!p.ended.load(std::memory_order_acquire)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        CHECK_FALSE(p.late);
    }
}

}  // namespace covey_test_sched_stress
