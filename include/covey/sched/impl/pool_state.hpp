// What a pool is made of.
#pragma once

#include <covey/core/random.hpp>
#include <covey/sched/concurrency.hpp>
#include <covey/sched/detail/processor.hpp>
#include <covey/sched/parker.hpp>
#include <covey/sched/pool.hpp>
#include <covey/sched/timer_queue.hpp>
#include <covey/task/local_queue.hpp>
#include <covey/task/work.hpp>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace covey {

struct pool::state {
    static constexpr unsigned after_max = 16;

    struct worker final : detail::local_queue {
        worker(state& s, covey::pool& p, unsigned i) : home(s), index(i), random(detail::entropy()) {
            owner = &p;
            hungry = &s.hungry;
            if (!s.can_fence_others) deque.keep_public();
        }
        void wake() noexcept override {
            if (home.sleepers.load(std::memory_order_relaxed) != 0) home.wake_one();
        }
        bool wanted_elsewhere() noexcept override { return home.is_wanted_elsewhere(*this); }

        state& home;
        const unsigned index;
        parker sleep;
        random_source random;
        std::coroutine_handle<> next;  // runs next, on this thread: what a handler posted first, or what was handed over
        bool in_reactor = false;
        bool looks_in = false;  // runs events though it has other work
        bool has_baton = false;
        bool is_busy = true;  // is counted in `busy`
        unsigned tick = 0;
        std::uint64_t looked_at = 0;    // at what has waited longest; cycles
        bool own_first = false;         // what it looks at first then
        std::uint64_t spin_cycles = 0;  // how long it searches before it sleeps: as long as that has paid off
        std::uint64_t idle_periods = 0;
        std::uint64_t starved_at = 0;  // cycles; 0: it has found work since. Somebody had work then that he kept to himself
        std::uint64_t resumed_at = 0;  // cycles: when what it runs began
        bool is_waiting = false;       // and has said so
        unsigned burst = 0;            // how often yet it looks for a second event after the first
        unsigned lone_events = 0;
        unsigned after_count = 0;                           // places of `after` that were filled
        std::atomic<std::uint64_t> after_since{0};          // cycles; 0: nothing is in `after`
        std::array<std::atomic<void*>, after_max> after{};  // what was given to post_after; whoever takes it leaves null
        std::thread thread;
    };

    state(pool& p, unsigned threads) : can_fence_others(detail::register_fence_of_others()), tick(io) {
        for (unsigned i = 0; i < threads; ++i) workers.push_back(std::make_unique<worker>(*this, p, i));
        busy.store(threads, std::memory_order_relaxed);
        asleep.reserve(threads);
        // Searching takes processor time from somebody else unless there are CPUs for all workers, and another for who sends.
        const unsigned cpus = available_cpus();
        most_spin_cycles = cpus > 1 && threads <= cpus ? 150'000 : 0;
        most_searching = std::max(1u, threads / 2);
    }

    worker* this_worker() const noexcept {
        detail::local_queue* const queue = detail::this_thread_state().queue;
        if (queue == nullptr) return nullptr;
        worker* const self = static_cast<worker*>(queue);  // nothing else installs queues
        return &self->home == this ? self : nullptr;
    }

    // ---- queues

    void post(std::coroutine_handle<> work) noexcept;
    void post_last(std::coroutine_handle<> work) noexcept;
    bool post_after(std::coroutine_handle<> work) noexcept;
    std::coroutine_handle<> take_after(worker& self) noexcept;
    /// What a worker that computes for long has put off.
    bool is_overdue(const worker& w) const noexcept {
        const std::uint64_t since = w.after_since.load(std::memory_order_relaxed);
        return since != 0 && detail::cycle_count() - since >= patience_cycles;
    }
    bool has_overdue() const noexcept {
        return std::any_of(workers.begin(), workers.end(), [this](const auto& w) { return is_overdue(*w); });
    }
    std::coroutine_handle<> take_overdue(const worker& self) noexcept;
    std::coroutine_handle<> take_injected() noexcept;
    /// Gives work to the worker that searches with an open hand. False: there is none.
    bool hand_over(std::coroutine_handle<> work) noexcept;
    /// Before that worker sleeps. True: it was given work, which it runs next.
    bool close_hand(worker& self) noexcept;
    void* open_hand() noexcept { return this; }
    std::coroutine_handle<> steal(worker& self) noexcept;
    bool has_work() const noexcept;
    /// Work that nobody keeps to himself, nor is just pushing.
    bool has_offers() const noexcept;
    /// Work that its owner neither shares nor comes back to, for it computes: taken after a while.
    std::coroutine_handle<> take_by_force(worker& self, worker& victim) noexcept;

    // ---- sleeping and waking

    /// Before the worker pushes anything again.
    void wake_up(worker& self) noexcept {
        if (!std::exchange(self.is_busy, true)) busy.fetch_add(1, std::memory_order_seq_cst);
    }
    /// It is busy no longer. True: others are.
    bool count_out(worker& self) noexcept;
    /// Wakes a sleeper if there is one, else interrupts the worker that waits in the reactor.
    void wake_one() noexcept;
    /// Nobody waits in the reactor any more, or is about to come back. True for one caller only.
    bool end_wait() noexcept;
    void idle(worker& self) noexcept;
    /// Looks for work for a while before the worker sleeps, for waking up takes tens of microseconds. True: there is some, or
    /// an event was handled.
    bool search(worker& self) noexcept;
    void park(worker& self) noexcept;
    /// Sleeps until it is woken. One of those asleep stands by as long as anybody is busy: it looks around every millisecond.
    /// False: the token that wakes this worker is still to be waited for.
    bool nap(worker& self) noexcept;
    /// False: somebody has taken it out of the list and is about to unpark it.
    bool leave_sleepers(worker& self) noexcept;

    // ---- reactor

    bool take_baton(worker& self) noexcept;
    void release_baton(worker& self) noexcept;
    /// With the baton: runs events that are there, without waiting. Afterwards this worker has not got the baton. True: something
    /// ran. `here`: the first coroutine that a handler resumes runs on this worker, next.
    bool run_events(worker& self, bool here) noexcept;
    /// The same in two steps. After true comes `end_events`.
    bool run_event(worker& self, bool here) noexcept;
    void end_events(worker& self, unsigned least) noexcept;
    /// Events often come several at a time, and then other workers can have some of them. To look costs a system call, so
    /// after a while in which they came alone it is done now and then only.
    void run_more_events(worker& self, unsigned least) noexcept;
    /// With the baton: sleeps until an event, which is handled, or a wake-up.
    void wait_in_reactor(worker& self) noexcept;
    /// A handler runs: somebody else may wait for the next event.
    void on_event() noexcept;

    // ---- workers

    void run(worker& self) noexcept;
    /// Asked by chains of coroutines that would otherwise never return to `run`.
    bool is_wanted_elsewhere(worker& self) noexcept;
    std::coroutine_handle<> find(worker& self) noexcept;

    // ---- timers

    void arm(timer& t, time_point when);
    bool cancel(timer& t) noexcept;
    /// With the lock held. One Asio timer stands for the whole queue.
    void set_tick();
    void on_tick(time_point set_for) noexcept;

    // ---- members

    static constexpr unsigned fairness_interval = 61;
    static constexpr unsigned events_at_once = 16;            // each is short, and what they post can be stolen
    static constexpr std::uint64_t patience_cycles = 60'000;  // some 20 us: a fence on another processor costs 3 to 10
    static constexpr std::uint64_t poll_cycles = 1'000'000;   // a third of a millisecond to a whole one

    const bool can_fence_others;
    asio::io_context io;
    asio::executor_work_guard<asio::io_context::executor_type> io_stays{io.get_executor()};  // run_one waits, also for nothing
    std::vector<std::unique_ptr<worker>> workers;
    std::thread io_thread;
    std::uint64_t most_spin_cycles = 0;
    unsigned most_searching = 1;

    std::mutex injection_mutex;
    std::deque<std::coroutine_handle<>> injection;
    std::atomic<std::size_t> injected{0};
    std::atomic<unsigned> posting{0};  // threads that are inside post_last

    std::mutex asleep_mutex;
    std::vector<worker*> asleep;
    alignas(64) std::atomic<unsigned> hungry{0};    // workers without work: those that search, and the sleepers
    alignas(64) std::atomic<unsigned> sleepers{0};  // those asleep, and the one that waits in the reactor
    alignas(64) std::atomic<unsigned> busy{0};      // workers that are neither
    std::atomic<unsigned> searching{0};
    /// Null; `open_hand()` while one of those that search holds its hand open; then that work. It saves a steal, which costs as
    /// much as the rest of the way to another worker.
    alignas(64) std::atomic<void*> hand{nullptr};

    std::atomic<bool> baton{false};    // held by the worker that watches the reactor
    std::atomic<bool> waiting{false};  // it is asleep there
    std::atomic<bool> standby{false};  // one of those asleep wakes up by itself and looks around
    std::atomic<std::uint64_t> events{0};
    std::atomic<bool> stopping{false};
    std::atomic<std::size_t> io_users{0};

    std::mutex timers_mutex;
    timer_queue timers;
    time_point tick_at = never;
    // Bound to the context's own executor: the default one is type-erased.
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, asio::io_context::executor_type>
        tick;

    std::mutex random_mutex;
    random_source random{detail::entropy()};
};

}  // namespace covey
