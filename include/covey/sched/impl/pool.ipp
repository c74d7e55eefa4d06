#pragma once

#include <covey/core/error.hpp>
#include <covey/sched/impl/pool_state.hpp>
#include <covey/task/work.hpp>

#include <pthread.h>
#include <sched.h>

#include <string>
#include <string_view>

namespace covey {

// ---- queues

COVEY_INLINE void pool::state::post(std::coroutine_handle<> work) noexcept {
    if (worker* const self = this_worker(); self != nullptr && !self->looks_in) {
        if (self->in_reactor && !self->next) {
            self->next = work;
        } else if (!hand_over(work)) {
            self->push(work);
        }
    } else {
        post_last(work);
    }
}

COVEY_INLINE bool pool::state::hand_over(std::coroutine_handle<> work) noexcept {
    void* none = open_hand();
    if (hand.load(std::memory_order_relaxed) != none) return false;
    return hand.compare_exchange_strong(none, work.address(), std::memory_order_acq_rel, std::memory_order_relaxed);
}

COVEY_INLINE void pool::state::post_last(std::coroutine_handle<> work) noexcept {
    // What is posted may run, and whoever waits for it destroy the pool, before a thread of somebody else's is out of here.
    posting.fetch_add(1, std::memory_order_relaxed);
    {
        const std::lock_guard lock(injection_mutex);
        injection.push_back(work);
        injected.store(injection.size(), std::memory_order_relaxed);
    }
    full_fence();
    if (sleepers.load(std::memory_order_relaxed) != 0) wake_one();
    posting.fetch_sub(1, std::memory_order_release);
}

COVEY_INLINE bool pool::state::post_after(std::coroutine_handle<> work) noexcept {
    worker* const self = this_worker();
    if (self == nullptr || self->after_count == after_max) return false;
    if (!self->next && self->deque.empty() && injected.load(std::memory_order_relaxed) == 0) return false;
    const std::uint64_t now = detail::cycle_count();
    if (now - self->resumed_at >= patience_cycles) return false;  // what runs here takes long, and so may the next
    self->after[self->after_count++].store(work.address(), std::memory_order_release);
    if (self->after_since.load(std::memory_order_relaxed) == 0) self->after_since.store(now, std::memory_order_relaxed);
    return true;
}

COVEY_INLINE std::coroutine_handle<> pool::state::take_after(worker& self) noexcept {
    while (self.after_count != 0) {
        void* const work = self.after[--self.after_count].exchange(nullptr, std::memory_order_acq_rel);
        if (self.after_count == 0) self.after_since.store(0, std::memory_order_relaxed);
        if (work != nullptr) return std::coroutine_handle<>::from_address(work);
    }
    return nullptr;
}

COVEY_INLINE std::coroutine_handle<> pool::state::take_overdue(const worker& self) noexcept {
    for (const auto& w : workers) {
        if (w.get() == &self || !is_overdue(*w)) continue;
        for (std::atomic<void*>& place : w->after) {
            if (place.load(std::memory_order_relaxed) == nullptr) continue;
            if (void* const work = place.exchange(nullptr, std::memory_order_acq_rel)) return std::coroutine_handle<>::from_address(work);
        }
    }
    return nullptr;
}

COVEY_INLINE std::coroutine_handle<> pool::state::take_injected() noexcept {
    if (injected.load(std::memory_order_relaxed) == 0) return nullptr;
    const std::lock_guard lock(injection_mutex);
    if (injection.empty()) return nullptr;
    const std::coroutine_handle<> work = injection.front();
    injection.pop_front();
    injected.store(injection.size(), std::memory_order_relaxed);
    return work;
}

COVEY_INLINE std::coroutine_handle<> pool::state::steal(worker& self) noexcept {
    const std::size_t n = workers.size();
    const std::size_t start = n > 2 ? self.random.below(n) : 0;
    worker* withholding = nullptr;
    for (std::size_t i = 0; i < n; ++i) {
        worker& victim = *workers[(start + i) % n];
        if (&victim == &self || victim.deque.empty()) continue;
        if (const std::coroutine_handle<> work = victim.deque.steal()) {
            // Whoever pushed woke one thief at most; it wakes the next as long as there is more.
            if (sleepers.load(std::memory_order_relaxed) != 0 && victim.deque.has_public()) wake_one();
            return work;
        }
        withholding = &victim;
    }
    if (withholding != nullptr) return take_by_force(self, *withholding);
    self.starved_at = 0;  // nobody had any
    return take_overdue(self);
}

COVEY_INLINE std::coroutine_handle<> pool::state::take_by_force(worker& self, worker& victim) noexcept {
    const std::uint64_t now = detail::cycle_count();
    if (self.starved_at == 0) self.starved_at = now;
    if (now - self.starved_at < patience_cycles) {
        detail::pause();
        return nullptr;
    }
    self.starved_at = 0;  // whether it succeeds or not: not again at once
    return victim.deque.force(detail::fence_others);
}

COVEY_INLINE bool pool::state::has_work() const noexcept {
    if (injected.load(std::memory_order_relaxed) != 0) return true;
    for (const auto& w : workers) {
        if (!w->deque.empty()) return true;
    }
    return false;
}

COVEY_INLINE bool pool::state::has_offers() const noexcept {
    if (injected.load(std::memory_order_relaxed) != 0) return true;
    for (const auto& w : workers) {
        if (w->deque.has_public()) return true;
    }
    return false;
}

// ---- workers

COVEY_INLINE void pool::state::run(worker& self) noexcept {
    detail::this_thread_state().queue = &self;
    while (!stopping.load(std::memory_order_relaxed)) {
        if (const std::coroutine_handle<> work = find(self)) {
            self.starved_at = 0;
            resume_work(work);
        } else {
            idle(self);
        }
    }
    while (const std::coroutine_handle<> work = take_after(self)) resume_work(work);
    detail::this_thread_state().queue = nullptr;
}

COVEY_INLINE bool pool::state::is_wanted_elsewhere(worker& self) noexcept {
    // By time too, whatever waits: chains of joins may never end, and what was queued before them must run meanwhile.
    return injected.load(std::memory_order_relaxed) != 0 || detail::cycle_count() - self.looked_at >= poll_cycles;
}

COVEY_INLINE std::coroutine_handle<> pool::state::find(worker& self) noexcept {
    // Newest first is fast but not fair: now and then what has waited longest is looked at before, by count for many
    // short resumptions, by time for few long ones.
    const std::uint64_t now = detail::cycle_count();
    self.resumed_at = now;
    if (const auto work = std::exchange(self.next, nullptr)) return work;  // which nobody can steal
    if (self.after_count != 0 && now - self.after_since.load(std::memory_order_relaxed) >= patience_cycles) {
        if (const auto work = take_after(self)) return work;
    }
    if (++self.tick % fairness_interval == 0 || now - self.looked_at >= poll_cycles) {
        self.looked_at = now;
        if (io_users.load(std::memory_order_relaxed) != 0 && take_baton(self)) {
            // What events bring goes to the common queue: in its own, this worker would put newer work before it.
            self.looks_in = true;
            run_events(self, false);
            self.looks_in = false;
        }
        // By turns, for either alone could keep a worker busy.
        self.own_first = !self.own_first;
        if (self.own_first) {
            if (const auto work = self.deque.pop_oldest()) return work;
        }
        if (const auto work = take_injected()) return work;
        if (const auto work = self.deque.pop_oldest()) return work;
    }
    if (self.deque.wanted()) self.offer();
    if (const auto work = self.deque.pop()) return work;
    if (const auto work = take_injected()) return work;
    if (const auto work = take_after(self)) return work;
    return steal(self);
}

// ---- timers

COVEY_INLINE void pool::state::arm(timer& t, time_point when) {
    const std::lock_guard lock(timers_mutex);
    timers.push(t, when);
    if (timers.earliest() < tick_at) set_tick();
}

COVEY_INLINE bool pool::state::cancel(timer& t) noexcept {
    const std::lock_guard lock(timers_mutex);
    return timers.remove(t);  // the tick stays: one early wake-up costs less than a system call for each cancel
}

COVEY_INLINE void pool::state::set_tick() {
    if (tick_at == never && !timers.empty()) io_users.fetch_add(1, std::memory_order_relaxed);
    tick_at = timers.earliest();
    tick.expires_at(std::chrono::steady_clock::time_point(tick_at.time_since_epoch()));
    tick.async_wait([this, set_for = tick_at](const std::error_code& error) {
        if (!error) on_tick(set_for);
    });
}

COVEY_INLINE void pool::state::on_tick(time_point set_for) noexcept {
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

// ---- pool

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
    while (m_state->posting.load(std::memory_order_acquire) != 0) std::this_thread::yield();
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
COVEY_INLINE bool pool::post_after(std::coroutine_handle<> work) noexcept { return m_state->post_after(work); }
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
