#include <covey/task/frame_pool.hpp>

#include <task/support.hpp>
#include <task/workers.hpp>

#include <covey/sched/pool.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/sync_wait.hpp>
#include <covey/task/task.hpp>
#include <covey/task/when_all.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace covey_test_task_frame_pool {

using namespace covey;
using covey_test::repeats;

namespace {

using cache = detail::frame_cache;

/// How many free frames of a class this thread keeps.
std::size_t kept(std::size_t size_class) {
    std::size_t n = 0;
    for (const cache::block* b = detail::frames().free[size_class]; b != nullptr; b = b->next) ++n;
    return n;
}
/// Frames on their way from who makes them to who ends them.
class hand_over {
public:
    void put(void* frame) {
        std::unique_lock lock(m_mutex);
        m_changed.wait(lock, [this] { return m_frames.size() < 64; });
        m_frames.push_back(frame);
        m_changed.notify_all();
    }
    void* take() {
        std::unique_lock lock(m_mutex);
        m_changed.wait(lock, [this] { return !m_frames.empty(); });
        void* const frame = m_frames.front();
        m_frames.pop_front();
        m_changed.notify_all();
        return frame;
    }

private:
    std::mutex m_mutex;
    std::condition_variable m_changed;
    std::deque<void*> m_frames;
};

constexpr std::size_t size = 500;
constexpr std::size_t size_class = cache::class_of(size);

task<int> number(int n) { co_return n; }
task<int> with_large_frame(int n) {
    std::array<char, 6000> block{};
    block[static_cast<std::size_t>(n)] = static_cast<char>(co_await number(n));
    co_return block[static_cast<std::size_t>(n)];
}

/// Frees a frame when its thread is all but gone: after the destructors of the thread-locals made after it.
struct frees_late {
    void* frame = nullptr;
    void* another = nullptr;
    ~frees_late() {
        if (frame == nullptr) return;
        detail::free_frame(frame, size);
        another = detail::allocate_frame(size);
        std::memset(another, 1, size);
        detail::free_frame(another, size);
    }
};
thread_local frees_late t_late;

}  // namespace

TEST_CASE("sizes and classes of frames fit each other", "[frame_pool]") {
    for (std::size_t n = 1; n <= 4096; ++n) {
        const std::size_t c = cache::class_of(n);
        REQUIRE(c < cache::classes);
        REQUIRE(cache::size_of(c) >= n);
        REQUIRE(cache::size_of(c) < n + cache::granule);
        REQUIRE(cache::most(c) >= 2);  // half of it goes to the depot at once
    }
    CHECK(cache::class_of(4097) >= cache::classes);
    STATIC_REQUIRE(sizeof(cache::block) <= cache::granule);
}

TEST_CASE("what was freed last is given first, and only to its own size", "[frame_pool]") {
    void* const a = detail::allocate_frame(size);
    void* const b = detail::allocate_frame(size);
    CHECK(a != b);
    detail::free_frame(a, size);
    detail::free_frame(b, size);
    void* const smaller = detail::allocate_frame(size - cache::granule);
    CHECK((smaller != a && smaller != b));
    CHECK(detail::allocate_frame(size - 1) == b);
    CHECK(detail::allocate_frame(size) == a);
    detail::free_frame(a, size);
    detail::free_frame(b, size);
    detail::free_frame(smaller, size - cache::granule);
}

TEST_CASE("frames are aligned as operator new aligns", "[frame_pool]") {
    std::vector<void*> all;
    for (std::size_t n = 1; n <= 5000; n += 77) all.push_back(detail::allocate_frame(n));
    for (void* p : all) CHECK(reinterpret_cast<std::uintptr_t>(p) % __STDCPP_DEFAULT_NEW_ALIGNMENT__ == 0);
    std::size_t n = 1;
    for (void* p : all) {
        detail::free_frame(p, n);
        n += 77;
    }
}

/// Takes all frames of a size that other tests have left, for as long as it lives.
struct emptied {
    explicit emptied(std::size_t bytes) : size(bytes) {
        for (std::size_t taken = 0; taken < std::size_t{2} << 20; taken += bytes) held.push_back(detail::allocate_frame(bytes));
    }
    emptied(const emptied&) = delete;
    emptied& operator=(const emptied&) = delete;
    ~emptied() {
        for (void* p : held) detail::free_frame(p, size);
    }
    std::size_t size;
    std::vector<void*> held;
};

TEST_CASE("a thread keeps 64 KiB of a size at most", "[frame_pool]") {
    const emptied before(size);
    const std::size_t n = 5 * cache::most(size_class);
    std::vector<void*> all;
    for (std::size_t i = 0; i < n; ++i) all.push_back(detail::allocate_frame(size));
    for (void* p : all) {
        detail::free_frame(p, size);
        REQUIRE(kept(size_class) <= cache::most(size_class));
    }
    CHECK(kept(size_class) >= cache::most(size_class) / 2);
    // What it does not keep it finds again, before the heap is asked; and no two frames are one.
    std::vector<void*> again;
    for (std::size_t i = 0; i < n; ++i) again.push_back(detail::allocate_frame(size));
    std::sort(all.begin(), all.end());
    std::sort(again.begin(), again.end());
    CHECK(all == again);
    for (void* p : again) detail::free_frame(p, size);
}

TEST_CASE("a thread that only makes frames and one that only ends them need no more memory in the end than in the beginning",
          "[frame_pool]") {
    hand_over way;
    constexpr std::size_t n = repeats(200'000, 20'000);
    std::vector<void*> seen;
    std::thread consumer([&] {
        for (std::size_t i = 0; i < n; ++i) detail::free_frame(way.take(), size);
    });
    seen.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
        void* const frame = detail::allocate_frame(size);
        std::memset(frame, 0x5a, size);
        seen.push_back(frame);
        way.put(frame);
    }
    consumer.join();
    // Only so many are on their way, and kept by the two threads; the others were used again. (The consumer gives back half a list
    // at a time, and the producer takes what was given back before it asks the heap.)
    std::sort(seen.begin(), seen.end());
    const auto different = static_cast<std::size_t>(std::unique(seen.begin(), seen.end()) - seen.begin());
    CHECK(different <= 6 * cache::most(size_class));
}

TEST_CASE("many threads make and end each other's frames", "[frame_pool]") {
    hand_over ring[4];
    constexpr std::size_t n = repeats(20'000, 2'000);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < n; ++i) {
                const std::size_t bytes = 64 * (1 + i % 70);
                auto* const frame = static_cast<std::size_t*>(detail::allocate_frame(bytes));
                std::memset(frame, static_cast<int>(t), bytes);
                frame[0] = bytes;
                ring[t].put(frame);
                auto* const other = static_cast<std::size_t*>(ring[(t + 1) % 4].take());
                detail::free_frame(other, other[0]);
            }
        });
    }
    for (std::thread& t : threads) t.join();
}

TEST_CASE("a thread that ends gives its frames to the others", "[frame_pool]") {
    constexpr std::size_t odd = 2'000;  // a size that nothing else here uses
    constexpr std::size_t odd_class = cache::class_of(odd);
    const emptied before(odd);
    std::vector<void*> theirs;
    std::thread([&] {
        for (int i = 0; i < 10; ++i) theirs.push_back(detail::allocate_frame(odd));
        for (void* p : theirs) detail::free_frame(p, odd);
    }).join();
    std::vector<void*> mine;
    std::thread([&] {
        for (int i = 0; i < 10; ++i) mine.push_back(detail::allocate_frame(odd));
        CHECK(kept(odd_class) == 0);
        for (void* p : mine) detail::free_frame(p, odd);
    }).join();
    std::sort(theirs.begin(), theirs.end());
    std::sort(mine.begin(), mine.end());
    CHECK(theirs == mine);
}

TEST_CASE("frames may end after their thread's lists", "[frame_pool]") {
    for (int i = 0; i < 50; ++i) {
        std::thread([] {
            t_late.frame = nullptr;  // made before the lists, so destroyed after them
            t_late.frame = detail::allocate_frame(size);
            detail::free_frame(detail::allocate_frame(size), size);
        }).join();
    }
}

TEST_CASE("coroutines with frames of any size run on any thread", "[frame_pool]") {
    pool threads({.threads = 3});
    struct body {
        static task<int> go(int n) {
            int sum = 0;
            for (int i = 0; i < n; ++i) {
                auto both = co_await when_all(with_large_frame(i % 50), number(1));
                sum += std::get<0>(both) + std::get<1>(both);
            }
            co_return sum;
        }
    };
    CHECK(sync_wait(threads, body::go(500)) == 500 + 10 * (49 * 50 / 2));
}

TEST_CASE("the frame of a task is the one that the last of its kind had", "[frame_pool]") {
    // Under AddressSanitizer frames come from the heap each time, so that what is used after its end is seen.
    struct body {
        static task<void> tell(void*& out) { co_await covey_test::told_address{out}; }
        static task<std::size_t> go(int n) {
            std::vector<void*> seen;
            for (int i = 0; i < n; ++i) {
                void* address = nullptr;
                co_await tell(address);
                seen.push_back(address);
            }
            std::sort(seen.begin(), seen.end());
            co_return static_cast<std::size_t>(std::unique(seen.begin(), seen.end()) - seen.begin());
        }
    };
    covey_test::step_scheduler scheduler;
    const std::size_t different = covey_test::run(scheduler, body::go(1000));
    if (!COVEY_SANITIZED || COVEY_TSAN) CHECK(different == 1);
    CHECK(different >= 1);
}

TEST_CASE("what runs again and again allocates nothing, and memory has a bound", "[frame_pool]") {
    // A program of its own, which counts what goes to the heap.
    REQUIRE(std::system(COVEY_BIN_DIR "/task_allocations") == 0);
}

}  // namespace covey_test_task_frame_pool
