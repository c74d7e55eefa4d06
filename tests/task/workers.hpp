// Workers with queues of their own that the test turns by hand, on its own thread: who steals what is up to the test.
#pragma once

#include <task/support.hpp>

#include <covey/task/local_queue.hpp>

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <deque>
#include <exception>
#include <type_traits>
#include <utility>
#include <vector>

namespace covey_test {

/// A scheduler of `n` workers that stand still until the test makes one of them do something. What is posted by a worker goes
/// to its own queue, newest first; what is posted otherwise goes to worker 0. Timers fire when `fire_next` says so.
class hand_workers final : public covey::scheduler {
public:
    explicit hand_workers(std::size_t n) : m_queues(n) {
        for (queue& q : m_queues) {
            q.owner = this;
            q.hungry = &m_hungry;
        }
    }

    void post(std::coroutine_handle<> work) noexcept override {
        covey::detail::local_queue* const mine = covey::detail::this_thread_state().queue;
        (mine != nullptr && mine->owner == this ? *mine : m_queues[0]).push(work);
    }
    void post_last(std::coroutine_handle<> work) noexcept override { m_last.push_back(work); }
    covey::time_point now() const noexcept override { return m_now; }
    void arm(covey::timer& t, covey::time_point when) override { m_timers.push(t, when); }
    bool cancel(covey::timer& t) noexcept override { return m_timers.remove(t); }
    std::uint64_t random() noexcept override { return 4; }
    unsigned concurrency() const noexcept override { return static_cast<unsigned>(m_queues.size()); }

    /// Worker `w` runs the newest of its own queue, or else what was posted last. False: there was nothing.
    bool step(std::size_t w) {
        if (resume(w, m_queues[w].deque.pop())) return true;
        if (m_last.empty()) return false;
        const std::coroutine_handle<> work = m_last.front();
        m_last.pop_front();
        return resume(w, work);
    }
    /// Worker `thief` runs the oldest of `victim`'s queue.
    bool steal(std::size_t thief, std::size_t victim) { return resume(thief, m_queues[victim].deque.pop_oldest()); }
    /// Takes the oldest of a queue, as a thief does that has not begun yet; `resume` goes on with it.
    std::coroutine_handle<> take(std::size_t victim) { return m_queues[victim].deque.pop_oldest(); }
    bool resume(std::size_t w, std::coroutine_handle<> work) {
        if (!work) return false;
        covey::detail::thread_state& thread = covey::detail::this_thread_state();
        covey::detail::local_queue* const outer = std::exchange(thread.queue, &m_queues[w]);
        if (m_wanted) m_queues[w].pops_left = 1;
        covey::resume_work(work);
        thread.queue = outer;
        return true;
    }
    bool fire_next(std::size_t w) {
        if (m_timers.empty() || m_timers.earliest() == covey::never) return false;
        if (m_now < m_timers.earliest()) m_now = m_timers.earliest();
        covey::detail::thread_state& thread = covey::detail::this_thread_state();
        covey::detail::local_queue* const outer = std::exchange(thread.queue, &m_queues[w]);
        m_timers.pop_due(m_now)->fire();
        thread.queue = outer;
        return true;
    }
    /// Each worker in turn, its own queue only, and timers when there is nothing else, until nothing is left to do.
    void run() {
        for (bool any = true; any;) {
            any = false;
            for (std::size_t w = 0; w < m_queues.size(); ++w) any = step(w) || any;
            if (!any) any = fire_next(0);
        }
    }
    std::size_t timers() const noexcept { return m_timers.size(); }
    covey::task_context context() noexcept {
        covey::task_context result;
        result.scheduler = this;
        return result;
    }
    /// From now on the first pop at the end of a child finds nothing, as when the worker is wanted elsewhere.
    void want_elsewhere(bool wanted) noexcept { m_wanted = wanted; }

private:
    struct queue final : covey::detail::local_queue {
        queue() = default;
        void wake() noexcept override {}
        bool wanted_elsewhere() noexcept override { return static_cast<hand_workers*>(owner)->m_wanted; }
    };

    std::vector<queue> m_queues;
    std::deque<std::coroutine_handle<>> m_last;
    std::atomic<unsigned> m_hungry{0};
    bool m_wanted = false;
    covey::timer_queue m_timers;
    covey::time_point m_now{std::chrono::hours(1)};
};

/// A task that was started on hand_workers, and what became of it.
template <class T>
class started {
public:
    started(const covey::task_context& context, covey::task<T> t) : m_context(context), m_root(std::move(t)) {
        m_context.scheduler->post(m_root.bind(m_end.handle(), m_context));
    }
    bool ended() const noexcept { return m_end.ended; }
    T result() { return m_root.result(); }

private:
    covey::task_context m_context;
    end_flag m_end;
    covey::detail::root_task<T> m_root;
};

/// Runs `f` on a thread whose stack is small, so that what uses stack for each of many levels crashes; rethrows.
template <class F>
void on_small_stack(F f) {
    struct job {
        F& f;
        std::exception_ptr failure;
        static void* run(void* self) {
            job& j = *static_cast<job*>(self);
            try {
                j.f();
            } catch (...) {
                j.failure = std::current_exception();
            }
            return nullptr;
        }
    } work{f, nullptr};
    constexpr std::size_t bytes = repeats(256, 1024) * 1024;
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, bytes) == 0);
    pthread_t thread;
    // Catch takes assertions from one thread at a time: none here while that one runs.
    const int created = pthread_create(&thread, &attributes, &job::run, &work);
    const int joined = created == 0 ? pthread_join(thread, nullptr) : 0;
    pthread_attr_destroy(&attributes);
    REQUIRE(created == 0);
    REQUIRE(joined == 0);
    if (work.failure) std::rethrow_exception(work.failure);
}

}  // namespace covey_test
