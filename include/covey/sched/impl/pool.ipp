#pragma once

#include <covey/core/random.hpp>
#include <covey/sched/deque.hpp>
#include <covey/sched/parker.hpp>
#include <covey/sched/pool.hpp>
#include <covey/sched/timer_queue.hpp>
#include <covey/task/work.hpp>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <pthread.h>
#include <sched.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <mutex>
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

struct pool_worker {
    explicit pool_worker(unsigned i) : index(i), random(entropy()) {}

    const unsigned index;
    work_deque deque;
    parker sleep;
    random_source random;
    const void* owner = nullptr;
    std::coroutine_handle<> next;  // what a handler posted first; runs right after it, on this thread
    bool in_reactor = false;
    bool has_baton = false;
    unsigned tick = 0;
    std::uint64_t polled_at = 0;  // cycles
    std::thread thread;
};

COVEY_NOINLINE inline pool_worker*& this_worker() noexcept {
    static thread_local pool_worker* worker = nullptr;
    return worker;
}

}  // namespace detail

struct pool::state {
    using worker = detail::pool_worker;

    explicit state(unsigned threads) : tick(io) {
        for (unsigned i = 0; i < threads; ++i) workers.push_back(std::make_unique<worker>(i));
    }

    // ---- queues

    void post(std::coroutine_handle<> work) noexcept {
        worker* const self = detail::this_worker();
        if (self != nullptr && self->owner == this) {
            if (self->in_reactor && !self->next) {
                self->next = work;
                return;
            }
            self->deque.push(work);
        } else {
            inject(work);
        }
        wake_one();
    }

    void inject(std::coroutine_handle<> work) noexcept {
        const std::lock_guard lock(injection_mutex);
        injection.push_back(work);
        injected.store(injection.size(), std::memory_order_relaxed);
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
        const std::size_t start = self.random.below(n);
        for (std::size_t i = 0; i < n; ++i) {
            worker& victim = *workers[(start + i) % n];
            if (&victim == &self) continue;
            // Losing a race says nothing about what is left, so try again while there is something.
            while (!victim.deque.empty()) {
                if (const std::coroutine_handle<> work = victim.deque.steal()) return work;
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

    /// Wakes a sleeper if there is one, else interrupts the worker that waits in the reactor.
    void wake_one() noexcept {
        full_fence();
        if (sleepers.load(std::memory_order_relaxed) != 0) {
            worker* sleeper = nullptr;
            {
                const std::lock_guard lock(sleepers_mutex);
                if (!asleep.empty()) {
                    sleeper = asleep.back();
                    asleep.pop_back();
                    sleepers.store(asleep.size(), std::memory_order_relaxed);
                }
            }
            if (sleeper != nullptr) {
                sleeper->sleep.unpark();
                return;
            }
        }
        interrupt();
    }

    void interrupt() noexcept {
        if (polling.load(std::memory_order_relaxed) && !interrupted.exchange(true, std::memory_order_acq_rel))
            asio::post(io, [this] { interrupt_handled(); });
    }

    /// The posted handler runs in the poll that it ends, as a rule. If that poll had let go of the baton before, the one that
    /// blocks now was not interrupted at all.
    void interrupt_handled() noexcept {
        const worker* const self = detail::this_worker();
        if (self != nullptr && self->has_baton) return;
        interrupted.store(false, std::memory_order_relaxed);
        full_fence();
        if (has_work()) interrupt();
    }

    void idle(worker& self) noexcept {
        if (!baton.exchange(true, std::memory_order_acquire)) {
            self.has_baton = true;
            poll(self, true);
            return;
        }
        {
            const std::lock_guard lock(sleepers_mutex);
            asleep.push_back(&self);
            sleepers.store(asleep.size(), std::memory_order_relaxed);
        }
        full_fence();
        // The baton is looked at once more too: its holder may have let go of it before it could see us asleep.
        if (has_work() || !baton.load(std::memory_order_relaxed) || stopping.load(std::memory_order_relaxed)) {
            const std::lock_guard lock(sleepers_mutex);
            const auto place = std::find(asleep.begin(), asleep.end(), &self);
            if (place != asleep.end()) {
                asleep.erase(place);
                sleepers.store(asleep.size(), std::memory_order_relaxed);
                return;
            }
            // Somebody has taken us out and is about to unpark us: take that token below.
        }
        self.sleep.park();
    }

    /// Runs one event, waiting for it if `wait`. The caller has the baton; afterwards nobody or somebody else has.
    void poll(worker& self, bool wait) noexcept {
        self.in_reactor = wait;  // a busy worker has other work first: what it finds is for the deque
        if (wait) {
            polling.store(true, std::memory_order_relaxed);
            full_fence();
            if (has_work() || stopping.load(std::memory_order_relaxed)) wait = false;
        }
        if (wait) {
            io.run_one();
        } else {
            // A few at a time: each is short, and what they post can be stolen.
            for (unsigned n = 0; n < 16 && io.poll_one() != 0; ++n) {}
        }
        self.in_reactor = false;
        if (!self.has_baton) return;
        release_baton(self);
        // Whoever found the baton taken and went to sleep must not be left without anybody to watch the reactor.
        full_fence();
        if (sleepers.load(std::memory_order_relaxed) != 0) wake_one();
    }

    void release_baton(worker& self) noexcept {
        self.has_baton = false;
        polling.store(false, std::memory_order_relaxed);
        interrupted.store(false, std::memory_order_relaxed);
        baton.store(false, std::memory_order_release);
    }

    /// A handler runs: let somebody else wait for the next event.
    void on_event() noexcept {
        worker* const self = detail::this_worker();
        if (self == nullptr || self->owner != this || !self->has_baton) return;
        release_baton(*self);
        full_fence();
        if (sleepers.load(std::memory_order_relaxed) != 0) wake_one();
    }

    // ---- workers

    void run(worker& self) noexcept {
        self.owner = this;
        detail::this_worker() = &self;
        while (!stopping.load(std::memory_order_relaxed)) {
            if (const std::coroutine_handle<> work = find(self)) {
                resume_work(work);
            } else {
                idle(self);
            }
        }
        detail::this_worker() = nullptr;
    }

    std::coroutine_handle<> find(worker& self) noexcept {
        // Newest first is fast but not fair: now and then what has waited longest is looked at before, by count for many
        // short resumptions, by time for few long ones.
        bool fair = ++self.tick % fairness_interval == 0;
        if (io_users.load(std::memory_order_relaxed) != 0) {
            const std::uint64_t now = detail::cycle_count();
            if (fair || now - self.polled_at > poll_cycles) {
                self.polled_at = now;
                fair = true;
                if (!baton.exchange(true, std::memory_order_acquire)) {
                    self.has_baton = true;
                    poll(self, false);
                }
            }
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
    static constexpr std::uint64_t poll_cycles = 1'000'000;  // a third of a millisecond to a whole one

    asio::io_context io;
    asio::executor_work_guard<asio::io_context::executor_type> io_stays{io.get_executor()};  // run_one waits, also for nothing
    std::vector<std::unique_ptr<worker>> workers;

    std::mutex injection_mutex;
    std::deque<std::coroutine_handle<>> injection;
    std::atomic<std::size_t> injected{0};

    std::mutex sleepers_mutex;
    std::vector<worker*> asleep;
    std::atomic<std::size_t> sleepers{0};

    std::atomic<bool> baton{false};        // held by the worker that waits in the reactor
    std::atomic<bool> polling{false};      // the holder may be blocked
    std::atomic<bool> interrupted{false};  // and has been told to come back
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
    : m_state(std::make_unique<state>(options.threads != 0 ? options.threads : default_concurrency())) {
    m_state->asleep.reserve(m_state->workers.size());
    for (auto& worker : m_state->workers) {
        worker->thread = std::thread([this, w = worker.get()] { m_state->run(*w); });
        const std::string name = std::string(options.name).substr(0, 11) + "-" + std::to_string(worker->index);
        pthread_setname_np(worker->thread.native_handle(), name.substr(0, 15).c_str());
    }
}

COVEY_INLINE pool::~pool() {
    m_state->stopping.store(true, std::memory_order_seq_cst);
    m_state->io.stop();
    for (auto& worker : m_state->workers) worker->sleep.unpark();
    for (auto& worker : m_state->workers) worker->thread.join();
    // Sockets that were closed still have their last handlers queued, which let go of what they hold.
    m_state->io.restart();
    while (m_state->io.poll() != 0) {}
}

COVEY_INLINE void pool::post(std::coroutine_handle<> work) noexcept { m_state->post(work); }
COVEY_INLINE void pool::post_last(std::coroutine_handle<> work) noexcept {
    m_state->inject(work);
    m_state->wake_one();
}
COVEY_INLINE time_point pool::now() const noexcept { return time_point(std::chrono::steady_clock::now().time_since_epoch()); }
COVEY_INLINE void pool::arm(timer& t, time_point when) { m_state->arm(t, when); }
COVEY_INLINE bool pool::cancel(timer& t) noexcept { return m_state->cancel(t); }
COVEY_INLINE unsigned pool::concurrency() const noexcept { return static_cast<unsigned>(m_state->workers.size()); }
COVEY_INLINE asio::io_context& pool::io() noexcept { return m_state->io; }
COVEY_INLINE void pool::on_event() noexcept { m_state->on_event(); }
COVEY_INLINE void pool::add_io() noexcept { m_state->io_users.fetch_add(1, std::memory_order_relaxed); }
COVEY_INLINE void pool::remove_io() noexcept { m_state->io_users.fetch_sub(1, std::memory_order_relaxed); }

COVEY_INLINE std::uint64_t pool::random() noexcept {
    detail::pool_worker* const worker = detail::this_worker();
    if (worker != nullptr && worker->owner == m_state.get()) return worker->random.next();
    const std::lock_guard lock(m_state->random_mutex);
    return m_state->random.next();
}

COVEY_INLINE bool pool::on_worker() const noexcept {
    const detail::pool_worker* const worker = detail::this_worker();
    return worker != nullptr && worker->owner == m_state.get();
}

COVEY_INLINE unsigned default_concurrency() noexcept {
    if (const char* text = std::getenv("COVEY_THREADS")) {
        const int wanted = std::atoi(text);
        if (wanted > 0) return static_cast<unsigned>(std::min(wanted, 4096));
    }
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) return static_cast<unsigned>(std::max(1, CPU_COUNT(&mask)));
    return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace covey
