#pragma once

#include <covey/sched/impl/pool_state.hpp>

#include <asio/post.hpp>

namespace covey {

// ---- sleeping and waking
//
// A worker without work counts itself as hungry and asks all deques (work_deque::want); before it sleeps it counts itself in
// `sleepers`, passes a fence, and looks for work once more. Who pushes work looks afterwards whether its deque is asked, and if
// so, at `sleepers`. There are many more pushes than sleeps, so a push passes no fence, and for the nanoseconds that its write
// waits in the processor it may miss a worker that is just going to sleep, and be missed by it. Nothing is lost by that: the
// next push will not miss it, for a deque stays asked while anybody is hungry (local_queue::offer); and while anybody is busy,
// one of the sleepers stands by, and looks around every millisecond. The last to fall asleep sees that nobody else is busy, so
// nobody can be in the midst of a push. Posts from other threads do pass a fence.

COVEY_INLINE bool pool::state::count_out(worker& self) noexcept {
    self.is_busy = false;
    const bool others = busy.fetch_sub(1, std::memory_order_seq_cst) > 1;
    full_fence();
    return others;
}

COVEY_INLINE void pool::state::wake_one() noexcept {
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

COVEY_INLINE bool pool::state::end_wait() noexcept {
    if (!waiting.exchange(false, std::memory_order_seq_cst)) return false;
    sleepers.fetch_sub(1, std::memory_order_seq_cst);
    return true;
}

COVEY_INLINE void pool::state::idle(worker& self) noexcept {
    // Where events are the work, there is another one as a rule.
    if (io_users.load(std::memory_order_relaxed) != 0 && take_baton(self) && run_events(self, true)) return;
    hungry.fetch_add(1, std::memory_order_seq_cst);
    for (const auto& w : workers) {
        if (w.get() != &self) w->deque.want();
    }
    if (!search(self)) {
        if (take_baton(self)) {
            wait_in_reactor(self);
        } else {
            park(self);
        }
    }
    hungry.fetch_sub(1, std::memory_order_seq_cst);
}

COVEY_INLINE bool pool::state::search(worker& self) noexcept {
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
    void* closed = nullptr;
    const bool opened = hand.compare_exchange_strong(closed, open_hand(), std::memory_order_relaxed);
    bool event = false;
    bool found = false;
    do {
        if (io_users.load(std::memory_order_relaxed) != 0 && take_baton(self)) found = event = run_event(self, true);
        for (unsigned i = 0; i < 8 && !found; ++i) {
            detail::pause();
            found = (opened && hand.load(std::memory_order_relaxed) != open_hand()) || has_offers();
        }
        if (!found) found = has_work();
    } while (!found && detail::cycle_count() - start < limit && !stopping.load(std::memory_order_relaxed));
    if (opened && close_hand(self)) found = true;
    searching.fetch_sub(1, std::memory_order_relaxed);
    if (event) end_events(self, 1);  // others may search meanwhile
    limit = found ? std::min(most_spin_cycles, limit * 2) : limit / 2;
    return found;
}

COVEY_INLINE bool pool::state::close_hand(worker& self) noexcept {
    void* const given = hand.exchange(nullptr, std::memory_order_acq_rel);
    if (given == open_hand()) return false;
    const auto work = std::coroutine_handle<>::from_address(given);
    if (self.next) {
        self.push(work);  // there was an event too
    } else {
        self.next = work;
    }
    return true;
}

COVEY_INLINE void pool::state::park(worker& self) noexcept {
    {
        const std::lock_guard lock(asleep_mutex);
        asleep.push_back(&self);
        sleepers.fetch_add(1, std::memory_order_seq_cst);
    }
    count_out(self);
    // The baton is looked at once more too: its holder may have let go of it before it could see us asleep.
    const bool stay = !has_work() && baton.load(std::memory_order_seq_cst) && !stopping.load(std::memory_order_relaxed);
    if (!stay ? !leave_sleepers(self) : !nap(self)) self.sleep.park();
    wake_up(self);
}

COVEY_INLINE bool pool::state::nap(worker& self) noexcept {
    if (standby.exchange(true, std::memory_order_seq_cst)) return false;
    bool woken = false;
    bool needed = false;
    std::uint64_t seen = events.load(std::memory_order_relaxed);
    for (unsigned quiet = 0; !woken && !needed && (quiet < 10 || busy.load(std::memory_order_seq_cst) != 0);) {
        woken = self.sleep.park_for(1'000'000);
        const bool events_came = std::exchange(seen, events.load(std::memory_order_relaxed)) != seen;
        quiet = events_came ? 0 : quiet + 1;
        // The last watcher of the reactor may have been away for long with what an event brought; where events come, it has not.
        needed = has_work() || has_overdue() || (!events_came && !baton.load(std::memory_order_relaxed));
    }
    standby.store(false, std::memory_order_seq_cst);
    full_fence();
    // Look again at what somebody who relied on this worker may have left.
    if (!woken && !needed && !has_work() && baton.load(std::memory_order_seq_cst)) return false;
    const bool has_left = woken || leave_sleepers(self);
    // The others rely on somebody who stands by, also if this one is about to be woken for work.
    if (sleepers.load(std::memory_order_seq_cst) != 0 && busy.load(std::memory_order_seq_cst) != 0) wake_one();
    return has_left;
}

COVEY_INLINE bool pool::state::leave_sleepers(worker& self) noexcept {
    const std::lock_guard lock(asleep_mutex);
    const auto place = std::find(asleep.begin(), asleep.end(), &self);
    if (place == asleep.end()) return false;
    asleep.erase(place);
    sleepers.fetch_sub(1, std::memory_order_seq_cst);
    return true;
}

// ---- reactor

COVEY_INLINE bool pool::state::take_baton(worker& self) noexcept {
    if (baton.load(std::memory_order_relaxed) || baton.exchange(true, std::memory_order_seq_cst)) return false;
    self.has_baton = true;
    return true;
}

COVEY_INLINE void pool::state::release_baton(worker& self) noexcept {
    if (!std::exchange(self.has_baton, false)) return;
    baton.store(false, std::memory_order_release);
    full_fence();
    // Whoever found the baton taken and went to sleep must not be left without anybody to watch the reactor.
    if (sleepers.load(std::memory_order_relaxed) != 0 && !standby.load(std::memory_order_seq_cst)) wake_one();
}

COVEY_INLINE bool pool::state::run_events(worker& self, bool here) noexcept {
    if (!run_event(self, here)) return false;
    end_events(self, here ? 1 : events_at_once);
    return true;
}

COVEY_INLINE bool pool::state::run_event(worker& self, bool here) noexcept {
    self.in_reactor = here;
    if (io.poll_one() != 0) return true;
    self.in_reactor = false;
    release_baton(self);
    return false;
}

COVEY_INLINE void pool::state::end_events(worker& self, unsigned least) noexcept {
    run_more_events(self, least);
    self.in_reactor = false;
    release_baton(self);
}

COVEY_INLINE void pool::state::run_more_events(worker& self, unsigned least) noexcept {
    unsigned most = least;
    if (self.burst != 0 || ++self.lone_events % 16 == 0) most = events_at_once;
    unsigned n = 1;
    while (n < most && (self.has_baton || take_baton(self)) && io.poll_one() != 0) ++n;
    if (most > 1) self.burst = n > 1 ? events_at_once : self.burst - (self.burst != 0 ? 1 : 0);
}

COVEY_INLINE void pool::state::wait_in_reactor(worker& self) noexcept {
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    waiting.store(true, std::memory_order_seq_cst);
    self.is_waiting = true;
    const bool others = count_out(self);
    const auto may_stay = [this] { return !has_work() && !has_overdue() && !stopping.load(std::memory_order_relaxed); };
    bool stay = may_stay();
    self.in_reactor = true;
    // Nobody stands by for what others push at this moment: it looks once more itself.
    const bool ran = stay && others && io.run_one_for(std::chrono::milliseconds(1)) != 0;
    if (stay && others && !ran) stay = may_stay();
    if (stay && !ran) io.run_one();
    wake_up(self);
    if (std::exchange(self.is_waiting, false)) end_wait();
    if (stay && !self.has_baton) run_more_events(self, 1);
    self.in_reactor = false;
    release_baton(self);
}

COVEY_INLINE void pool::state::on_event() noexcept {
    worker* const self = this_worker();
    if (self == nullptr || !self->has_baton) return;
    // io_context::run_one is still to return, but from here on this worker may push.
    wake_up(*self);
    events.store(events.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (std::exchange(self->is_waiting, false)) end_wait();
    release_baton(*self);
}

}  // namespace covey
