#pragma once

#include <covey/core/error.hpp>
#include <covey/core/random.hpp>
#include <covey/sched/concurrency.hpp>
#include <covey/sched/parker.hpp>
#include <covey/sched/pool.hpp>
#include <covey/sched/timer_queue.hpp>
#include <covey/task/local_queue.hpp>
#include <covey/task/work.hpp>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace covey {

namespace detail {

inline std::uint64_t entropy() noexcept {
    std::uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        seed =
            static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^ static_cast<std::uint64_t>(getpid());
    }
    return seed;
}

/// A clock that costs a few nanoseconds and says about how much time has passed.
inline std::uint64_t cycle_count() noexcept {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// So that a searching core leaves its sibling and the memory bus alone.
inline void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// Whether this process may make all its running threads pass a full fence. Under ThreadSanitizer fences are modelled by
/// read-modify-writes of the threads themselves, so there it may not.
inline bool register_fence_of_others() noexcept {
    return COVEY_TSAN == 0 && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
inline void fence_others() noexcept { syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

}  // namespace detail

struct pool::state {
    struct worker final : detail::local_queue {
        worker(state& s, covey::pool& p, unsigned i) : home(s), index(i), random(detail::entropy()) {
            owner = &p;
            sleepers = &s.sleepers;
            sleepers_fence = s.can_fence_others;
        }
        void wake() noexcept override { home.wake_one(); }
        bool wanted_elsewhere() noexcept override { return home.is_wanted_elsewhere(*this); }

        state& home;
        const unsigned index;
        parker sleep;
        random_source random;
        std::coroutine_handle<> next;  // what a handler posted first; runs right after it, on this thread
        bool in_reactor = false;
        bool has_baton = false;
        unsigned tick = 0;
        std::uint64_t polled_at = 0;    // cycles
        std::uint64_t spin_cycles = 0;  // how long it searches before it sleeps: as long as that has paid off
        std::uint64_t idle_periods = 0;
        std::uint64_t events_seen = 0;
        unsigned quiet_naps = 0;  // naps since it last saw a new event
        unsigned burst = 0;       // how often yet it looks for a second event after the first
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

    void post(std::coroutine_handle<> work) noexcept {
        if (worker* const self = this_worker()) {
            if (self->in_reactor && !self->next) {
                self->next = work;
            } else {
                self->push(work);
            }
        } else {
            post_last(work);
        }
    }

    void post_last(std::coroutine_handle<> work) noexcept {
        {
            const std::lock_guard lock(injection_mutex);
            injection.push_back(work);
            injected.store(injection.size(), std::memory_order_relaxed);
        }
        full_fence();
        if (sleepers.load(std::memory_order_relaxed) != 0) wake_one();
    }

    std::coroutine_handle<> take_injected() noexcept {
        if (injected.load(std::memory_order_relaxed) == 0) return nullptr;
        const std::lock_guard lock(injection_mutex);
        if (injection.empty()) return nullptr;
        const std::coroutine_handle<> work = injection.front();
        injection.pop_front();
        injected.store(injection.size(), std::memory_order_relaxed);
        return work;
    }

    std::coroutine_handle<> steal(worker& self) noexcept {
        const std::size_t n = workers.size();
        const std::size_t start = n > 2 ? self.random.below(n) : 0;
        for (std::size_t i = 0; i < n; ++i) {
            worker& victim = *workers[(start + i) % n];
            if (&victim == &self) continue;
            // Losing a race says nothing about what is left, so try again while there is something.
            while (!victim.deque.empty()) {
                if (const std::coroutine_handle<> work = victim.deque.steal()) {
                    // Whoever pushed woke one thief at most; it wakes the next as long as there is more.
                    if (sleepers.load(std::memory_order_relaxed) != 0 && !victim.deque.empty()) wake_one();
                    return work;
                }
            }
        }
        return nullptr;
    }

    bool has_work() const noexcept {
        if (injected.load(std::memory_order_relaxed) != 0) return true;
        for (const auto& w : workers) {
            if (!w->deque.empty()) return true;
        }
        return false;
    }

    // ---- sleeping and waking
    //
    // A sleeper counts itself in `sleepers`, passes a fence, and looks for work once more; who has pushed work passes a
    // fence and looks at `sleepers`: one of them sees the other (Dekker). Pushes are many and sleeps are few, so with
    // membarrier(2) the sleeper makes every running thread of the process pass a fence, and a push needs none.

    /// The sleeper's fence. If nobody else is busy nobody can be in the midst of a push without a fence: whoever wakes up
    /// counts itself busy first, which is ordered after what this worker did before it counted itself out.
    void fence_before_sleep() noexcept {
        const bool others = busy.fetch_sub(1, std::memory_order_seq_cst) > 1;
        full_fence();
        if (others && can_fence_others) detail::fence_others();
    }
    void wake_up() noexcept { busy.fetch_add(1, std::memory_order_seq_cst); }

    /// Wakes a sleeper if there is one, else interrupts the worker that waits in the reactor.
    void wake_one() noexcept {
        worker* sleeper = nullptr;
        {
            const std::lock_guard lock(asleep_mutex);
            if (!asleep.empty()) {
                sleeper = asleep.back();
                asleep.pop_back();
                sleepers.fetch_sub(1, std::memory_order_seq_cst);
            }
        }
        if (sleeper != nullptr) {
            sleeper->sleep.unpark();
        } else if (end_wait()) {
            // If the one that waits has got an event meanwhile, the next to wait there returns at once and looks for work.
            asio::post(io, [] {});
        }
    }

    /// Nobody waits in the reactor any more, or is about to come back. True for one caller only.
    bool end_wait() noexcept {
        if (!waiting.exchange(false, std::memory_order_seq_cst)) return false;
        sleepers.fetch_sub(1, std::memory_order_seq_cst);
        return true;
    }

    void idle(worker& self) noexcept {
        if (search(self)) return;
        if (take_baton(self)) {
            wait_in_reactor(self);
        } else {
            park(self);
        }
    }

    /// Looks for work for a while before the worker sleeps, for waking up takes tens of microseconds. True: there is some, or
    /// an event was handled.
    bool search(worker& self) noexcept {
        if (most_spin_cycles == 0) return false;
        std::uint64_t& limit = self.spin_cycles;
        // What has not paid off is tried again now and then.
        if (++self.idle_periods % 64 == 0) limit = std::max(limit, most_spin_cycles / 4);
        if (limit < most_spin_cycles / 64) return false;
        if (searching.fetch_add(1, std::memory_order_relaxed) >= most_searching) {
            searching.fetch_sub(1, std::memory_order_relaxed);
            return false;
        }
        const std::uint64_t start = detail::cycle_count();
        bool found = false;
        while (!found && detail::cycle_count() - start < limit && !stopping.load(std::memory_order_relaxed)) {
            for (unsigned i = 0; i < 16 && !found; ++i) {
                detail::pause();
                found = has_work();
            }
            if (!found && io_users.load(std::memory_order_relaxed) != 0 && take_baton(self)) found = poll(self, true);
        }
        searching.fetch_sub(1, std::memory_order_relaxed);
        limit = found ? std::min(most_spin_cycles, limit * 2) : limit / 2;
        return found;
    }

    void park(worker& self) noexcept {
        {
            const std::lock_guard lock(asleep_mutex);
            asleep.push_back(&self);
            sleepers.fetch_add(1, std::memory_order_seq_cst);
        }
        fence_before_sleep();
        // The baton is looked at once more too: its holder may have let go of it before it could see us asleep.
        const bool stay = !has_work() && baton.load(std::memory_order_seq_cst) && !stopping.load(std::memory_order_relaxed);
        if (!stay ? !leave_sleepers(self) : !nap(self)) self.sleep.park();
        wake_up();
    }

    /// Sleeps until it is woken or, for one of the workers while events come, for a millisecond: it then takes the baton if
    /// its holder is still busy with what an event brought. So the holder need not wake anybody for every event.
    /// False: the token that wakes this worker is still to be waited for.
    bool nap(worker& self) noexcept {
        const std::uint64_t seen = events.load(std::memory_order_relaxed);
        self.quiet_naps = std::exchange(self.events_seen, seen) != seen ? 0 : self.quiet_naps + 1;
        if (self.quiet_naps > 10 || standby.exchange(true, std::memory_order_seq_cst)) return false;
        const bool woken = self.sleep.park_for(1'000'000);
        standby.store(false, std::memory_order_seq_cst);
        return woken || leave_sleepers(self);
    }

    /// False: somebody has taken it out of the list and is about to unpark it.
    bool leave_sleepers(worker& self) noexcept {
        const std::lock_guard lock(asleep_mutex);
        const auto place = std::find(asleep.begin(), asleep.end(), &self);
        if (place == asleep.end()) return false;
        asleep.erase(place);
        sleepers.fetch_sub(1, std::memory_order_seq_cst);
        return true;
    }

    // ---- reactor

    bool take_baton(worker& self) noexcept {
        if (baton.load(std::memory_order_relaxed) || baton.exchange(true, std::memory_order_seq_cst)) return false;
        self.has_baton = true;
        return true;
    }

    void release_baton(worker& self) noexcept {
        if (!std::exchange(self.has_baton, false)) return;
        baton.store(false, std::memory_order_seq_cst);
        full_fence();
        // Whoever found the baton taken and went to sleep must not be left without anybody to watch the reactor.
        if (sleepers.load(std::memory_order_relaxed) != 0 && !standby.load(std::memory_order_seq_cst)) wake_one();
    }

    /// With the baton: runs what is ready, up to a bound, without waiting. Afterwards this worker has not got the baton. True:
    /// something ran. `here`: the first coroutine that a handler resumes runs on this worker, next.
    bool poll(worker& self, bool here) noexcept {
        self.in_reactor = here;
        unsigned n = 0;
        while (n < events_at_once && (self.has_baton || take_baton(self)) && io.poll_one() != 0) ++n;
        self.in_reactor = false;
        release_baton(self);
        return n != 0;
    }

    /// With the baton: sleeps until an event, which is handled, or a wake-up.
    void wait_in_reactor(worker& self) noexcept {
        sleepers.fetch_add(1, std::memory_order_seq_cst);
        waiting.store(true, std::memory_order_seq_cst);
        fence_before_sleep();
        const bool stay = !has_work() && !stopping.load(std::memory_order_relaxed);
        self.in_reactor = true;
        if (stay) io.run_one();
        wake_up();
        if (self.has_baton) end_wait();
        // Events often come several at a time, and then other workers can have some of them. To look costs a system call.
        if (stay && self.burst != 0 && take_baton_again(self)) {
            unsigned n = 0;
            while (n < events_at_once && take_baton_again(self) && io.poll_one() != 0) ++n;
            self.burst = n != 0 ? events_at_once : self.burst - 1;
        } else if (++self.idle_periods % 16 == 0) {
            self.burst = std::max(1u, self.burst);
        }
        self.in_reactor = false;
        release_baton(self);
    }
    bool take_baton_again(worker& self) noexcept { return self.has_baton || take_baton(self); }

    /// A handler runs: somebody else may wait for the next event.
    void on_event() noexcept {
        worker* const self = this_worker();
        if (self == nullptr || !self->has_baton) return;
        events.store(events.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        end_wait();
        release_baton(*self);
    }

    // ---- workers

    void run(worker& self) noexcept {
        detail::this_thread_state().queue = &self;
        while (!stopping.load(std::memory_order_relaxed)) {
            if (const std::coroutine_handle<> work = find(self)) {
                resume_work(work);
            } else {
                idle(self);
            }
        }
        detail::this_thread_state().queue = nullptr;
    }

    bool should_poll(worker& self, bool fair) noexcept {
        if (io_users.load(std::memory_order_relaxed) == 0 || baton.load(std::memory_order_relaxed)) return false;
        const std::uint64_t now = detail::cycle_count();
        if (!fair && now - self.polled_at < poll_cycles) return false;
        self.polled_at = now;
        return true;
    }

    /// Asked by chains of coroutines that would otherwise never return to `run`.
    bool is_wanted_elsewhere(worker& self) noexcept {
        if (injected.load(std::memory_order_relaxed) != 0) return true;
        return io_users.load(std::memory_order_relaxed) != 0 && !baton.load(std::memory_order_relaxed) &&
               detail::cycle_count() - self.polled_at >= poll_cycles;
    }

    std::coroutine_handle<> find(worker& self) noexcept {
        // Newest first is fast but not fair: now and then what has waited longest is looked at before, by count for many
        // short resumptions, by time for few long ones.
        bool fair = ++self.tick % fairness_interval == 0;
        if (should_poll(self, fair)) {
            fair = true;
            if (take_baton(self)) poll(self, false);  // what it finds goes to the queue, for there is other work first
        }
        if (fair) {
            if (const auto work = take_injected()) return work;
            if (const auto work = self.deque.steal()) return work;
        }
        if (const auto work = std::exchange(self.next, nullptr)) return work;
        if (const auto work = self.deque.pop()) return work;
        if (const auto work = take_injected()) return work;
        return steal(self);
    }

    // ---- timers

    void arm(timer& t, time_point when) {
        const std::lock_guard lock(timers_mutex);
        timers.push(t, when);
        if (timers.earliest() < tick_at) set_tick();
    }

    bool cancel(timer& t) noexcept {
        const std::lock_guard lock(timers_mutex);
        return timers.remove(t);  // the tick stays: one early wake-up costs less than a system call for each cancel
    }

    /// With the lock held. One Asio timer stands for the whole queue.
    void set_tick() {
        if (tick_at == never && !timers.empty()) io_users.fetch_add(1, std::memory_order_relaxed);
        tick_at = timers.earliest();
        tick.expires_at(std::chrono::steady_clock::time_point(tick_at.time_since_epoch()));
        tick.async_wait([this, set_for = tick_at](const std::error_code& error) {
            if (!error) on_tick(set_for);
        });
    }

    void on_tick(time_point set_for) noexcept {
        on_event();
        // A bounded number at a time; if more are due the next tick is at once, after what else is ready.
        timer* due[64];
        std::size_t n = 0;
        {
            const std::lock_guard lock(timers_mutex);
            const time_point now{std::chrono::steady_clock::now().time_since_epoch()};
            while (n < std::size(due) && (due[n] = timers.pop_due(now)) != nullptr) ++n;
        }
        // A popped timer belongs to us until it has fired: `cancel` says false, so its owner waits.
        for (std::size_t i = 0; i < n; ++i) due[i]->fire();
        const std::lock_guard lock(timers_mutex);
        if (tick_at != set_for) return;  // somebody armed an earlier one meanwhile
        tick_at = never;
        io_users.fetch_sub(1, std::memory_order_relaxed);
        if (!timers.empty()) set_tick();
    }

    static constexpr unsigned fairness_interval = 61;
    static constexpr unsigned events_at_once = 16;           // each is short, and what they post can be stolen
    static constexpr std::uint64_t poll_cycles = 1'000'000;  // a third of a millisecond to a whole one

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

    std::mutex asleep_mutex;
    std::vector<worker*> asleep;
    alignas(64) std::atomic<unsigned> sleepers{0};  // those asleep, and the one that waits in the reactor
    alignas(64) std::atomic<unsigned> busy{0};      // workers that are neither
    std::atomic<unsigned> searching{0};

    std::atomic<bool> baton{false};    // held by the worker that watches the reactor
    std::atomic<bool> waiting{false};  // it is asleep there
    std::atomic<bool> standby{false};  // one of those asleep wakes up by itself and looks after the baton
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

COVEY_INLINE pool::pool(pool_options options)
    : m_state(std::make_unique<state>(*this, options.threads != 0 ? options.threads : default_concurrency())) {
    const std::string name = std::string(options.name).substr(0, 11) + "-";
    const auto start = [&](std::thread& thread, std::string_view suffix, auto run) {
        thread = std::thread(run);
        pthread_setname_np(thread.native_handle(), (name + std::string(suffix)).substr(0, 15).c_str());
    };
    try {
        if (options.io_thread) {
            m_state->baton.store(true, std::memory_order_relaxed);
            start(m_state->io_thread, "io", [s = m_state.get()] { s->io.run(); });
        }
        for (auto& worker : m_state->workers) {
            start(worker->thread, std::to_string(worker->index), [w = worker.get()] { w->home.run(*w); });
            if (!options.cpus.empty()) pin(worker->thread, options.cpus[worker->index % options.cpus.size()]);
        }
    } catch (const std::system_error& e) {
        stop();
        throw error(errc::overloaded, "cannot start " + std::to_string(concurrency()) + " worker threads: " + e.what());
    } catch (...) {
        stop();
        throw;
    }
}

COVEY_INLINE pool::~pool() {
    stop();
    // Sockets that were closed still have their last handlers queued, which let go of what they hold.
    m_state->io.restart();
    while (m_state->io.poll() != 0) {}
}

COVEY_INLINE void pool::stop() noexcept {
    m_state->stopping.store(true, std::memory_order_seq_cst);
    m_state->io.stop();
    for (auto& worker : m_state->workers) worker->sleep.unpark();
    for (auto& worker : m_state->workers) {
        if (worker->thread.joinable()) worker->thread.join();
    }
    if (m_state->io_thread.joinable()) m_state->io_thread.join();
}

COVEY_INLINE void pool::pin(std::thread& thread, unsigned cpu) {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (cpu < CPU_SETSIZE) CPU_SET(cpu, &mask);
    if (pthread_setaffinity_np(thread.native_handle(), sizeof mask, &mask) != 0) {
        throw error(errc::bad_argument, "a worker cannot be pinned to CPU " + std::to_string(cpu) + ": this process may not run there");
    }
}

COVEY_INLINE void pool::post(std::coroutine_handle<> work) noexcept { m_state->post(work); }
COVEY_INLINE void pool::post_last(std::coroutine_handle<> work) noexcept { m_state->post_last(work); }
COVEY_INLINE time_point pool::now() const noexcept { return time_point(std::chrono::steady_clock::now().time_since_epoch()); }
COVEY_INLINE void pool::arm(timer& t, time_point when) { m_state->arm(t, when); }
COVEY_INLINE bool pool::cancel(timer& t) noexcept { return m_state->cancel(t); }
COVEY_INLINE unsigned pool::concurrency() const noexcept { return static_cast<unsigned>(m_state->workers.size()); }
COVEY_INLINE asio::io_context& pool::io() noexcept { return m_state->io; }
COVEY_INLINE void pool::on_event() noexcept { m_state->on_event(); }
COVEY_INLINE void pool::add_io() noexcept { m_state->io_users.fetch_add(1, std::memory_order_relaxed); }
COVEY_INLINE void pool::remove_io() noexcept { m_state->io_users.fetch_sub(1, std::memory_order_relaxed); }

COVEY_INLINE std::uint64_t pool::random() noexcept {
    if (state::worker* const self = m_state->this_worker()) return self->random.next();
    const std::lock_guard lock(m_state->random_mutex);
    return m_state->random.next();
}

COVEY_INLINE bool pool::on_worker() const noexcept { return m_state->this_worker() != nullptr; }

}  // namespace covey
