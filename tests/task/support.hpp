// What the tests of the tasks and of the pool share: a scheduler that the test turns by hand, and ways to wait.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/core/error.hpp>
#include <covey/sched/timer_queue.hpp>
#include <covey/task/task.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace covey_test {

/// How often to repeat: fewer times where a sanitizer makes each many times as slow.
constexpr std::size_t repeats(std::size_t plain, std::size_t sanitized) noexcept {
#if COVEY_SANITIZED
    static_cast<void>(plain);
    return sanitized;
#else
    static_cast<void>(sanitized);
    return plain;
#endif
}

/// How long a test waits for what must happen: longer than any machine needs, shorter than a test's limit.
inline constexpr std::chrono::seconds patience{60};

/// Things that happen on other threads, and the test's thread waiting for a number of them.
class events {
public:
    void add(std::size_t n = 1) noexcept {
        const std::lock_guard lock(m_mutex);
        m_count += n;
        m_changed.notify_all();
    }
    bool wait_for(std::size_t n) {
        std::unique_lock lock(m_mutex);
        return m_changed.wait_for(lock, patience, [&] { return m_count >= n; });
    }
    std::size_t count() {
        const std::lock_guard lock(m_mutex);
        return m_count;
    }

private:
    std::mutex m_mutex;
    std::condition_variable m_changed;
    std::size_t m_count = 0;
};

/// Waits, giving way, until `done()`; false when patience has ended.
template <class Condition>
bool wait_until(Condition done) {
    const auto limit = std::chrono::steady_clock::now() + patience;
    while (!done()) {
        if (std::chrono::steady_clock::now() > limit) return false;
        std::this_thread::yield();
    }
    return true;
}

/// Whether `f()` throws covey::error with that code.
template <class F>
bool throws_code(covey::errc code, F&& f) {
    try {
        static_cast<void>(std::forward<F>(f)());
    } catch (const covey::error& e) {
        return e.code() == code;
    } catch (...) {}
    return false;
}

/// One thread, the test's; oldest first; a clock that jumps to the next timer when there is nothing else to do.
class step_scheduler final : public covey::scheduler {
public:
    void post(std::coroutine_handle<> work) noexcept override { m_queue.push_back(work); }
    void post_last(std::coroutine_handle<> work) noexcept override { m_queue.push_back(work); }
    covey::time_point now() const noexcept override { return m_now; }
    void arm(covey::timer& t, covey::time_point when) override { m_timers.push(t, when); }
    bool cancel(covey::timer& t) noexcept override { return m_timers.remove(t); }
    std::uint64_t random() noexcept override { return m_random += 0x9e3779b97f4a7c15u; }
    unsigned concurrency() const noexcept override { return 1; }

    /// One resumption or, when none is queued, one timer. False: nothing is left to do.
    bool step() {
        if (!m_queue.empty()) {
            const std::coroutine_handle<> work = m_queue.front();
            m_queue.pop_front();
            covey::resume_work(work);
            return true;
        }
        if (m_timers.empty() || m_timers.earliest() == covey::never) return false;
        if (m_now < m_timers.earliest()) m_now = m_timers.earliest();
        m_timers.pop_due(m_now)->fire();
        return true;
    }
    void run() {
        while (step()) {}
    }
    std::size_t timers() const noexcept { return m_timers.size(); }
    covey::duration elapsed() const noexcept { return m_now - start; }

    covey::task_context context() noexcept {
        covey::task_context result;
        result.scheduler = this;
        return result;
    }

private:
    static constexpr covey::time_point start{std::chrono::hours(1)};
    std::deque<std::coroutine_handle<>> m_queue;
    covey::timer_queue m_timers;
    covey::time_point m_now = start;
    std::uint64_t m_random = 0;
};

/// Bind it to a task as what goes on at its end.
struct end_flag : covey::work_item {
    end_flag() : work_item([](work_item* self) { static_cast<end_flag*>(self)->ended = true; }) {}
    bool ended = false;
};

/// Runs a task on a step_scheduler until nothing is left to do; it must have ended by then.
template <class T>
T run(step_scheduler& on, const covey::task_context& context, covey::task<T> t) {
    end_flag end;
    covey::detail::root_task<T> root(std::move(t));
    on.post(root.bind(end.handle(), context));
    on.run();
    REQUIRE(end.ended);
    return root.result();
}
template <class T>
T run(step_scheduler& on, covey::task<T> t) {
    const covey::task_context context = on.context();
    return run(on, context, std::move(t));
}

/// Awaited, it tells where the frame of the awaiting coroutine is.
struct told_address {
    void*& out;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h) const noexcept {
        out = h.address();
        return false;
    }
    void await_resume() const noexcept {}
};

}  // namespace covey_test
