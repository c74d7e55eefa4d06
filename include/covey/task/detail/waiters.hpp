// What channel, async_mutex, semaphore, latch and event share: coroutines that wait in line until they are granted what
// they wait for, or asked to stop.
#pragma once

#include <covey/task/schedule.hpp>

#include <atomic>
#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>

namespace covey::detail {

/// A lock for a few instructions: uncontended it costs one exchange and one store, less than half of a std::mutex (2.4 ns
/// against 6.1 where it was measured). Whoever holds it neither calls out nor suspends.
class spin_lock {
public:
    void lock() noexcept {
        if (m_locked.exchange(true, std::memory_order_acquire)) [[unlikely]]
            contend();
    }
    void unlock() noexcept { m_locked.store(false, std::memory_order_release); }

private:
    /// The holder needs some ten nanoseconds. One that is seen to take longer has lost its processor, and gets ours.
    static constexpr unsigned looks_before_yield = 64;

    COVEY_NOINLINE void contend() noexcept {
        do {
            for (unsigned looks = 0; m_locked.load(std::memory_order_relaxed); ++looks) {
                if (looks < looks_before_yield) {
                    pause();
                } else {
                    std::this_thread::yield();
                }
            }
        } while (m_locked.exchange(true, std::memory_order_acquire));
    }
    static void pause() noexcept {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }

    std::atomic<bool> m_locked{false};
};

class waiter_list;

/// Base of awaiters that may have to wait in a waiter_list. Three parties meet here, on as many threads:
///
/// - `await_suspend`, which puts the waiter in line, registers for a stop, and returns;
/// - who grants: takes the waiter out of the line under the owner's lock, and calls wake() after unlocking;
/// - who asks for a stop: takes it out of the line under the same lock, and wakes it.
///
/// Taking it out decides between the last two, so exactly one of them wakes it. The waker and the end of await_suspend then
/// arrive at a gate, and the later of them makes the coroutine go on: by `false` from await_suspend, or by a post to the
/// waiter's own scheduler. The stop callback is removed in await_resume, with no lock held, where the removal waits for a
/// callback that still runs; so that the owner must outlive its awaits, and the waiter sees no late callback.
class waiter {
public:
    waiter() noexcept = default;
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

    bool await_ready() const noexcept { return false; }

    /// Makes the coroutine go on. Called once, with no lock held, by who took it out of the line; it may be gone afterwards.
    void wake() noexcept {
        scheduler* const on = m_context->scheduler;
        const std::coroutine_handle<> handle = m_handle;
        if (m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) on->post(handle);
    }

protected:
    ~waiter() = default;

    /// The first thing in await_suspend. False: a stop was requested already; then await_suspend returns false.
    bool may_start(const task_context& context) noexcept {
        m_stopped = context.stop.stop_requested();
        return !m_stopped;
    }

    /// The last thing in await_suspend, and its result. Called with the lock held, which it releases. Throws when there is
    /// no scheduler to resume on.
    COVEY_NOINLINE bool park(spin_lock& lock, waiter_list& line, std::coroutine_handle<> self, const task_context& context) {
        if (context.scheduler == nullptr) {
            lock.unlock();
            throw_no_scheduler("waiting in line");
        }
        m_lock = &lock;
        m_handle = self;
        m_context = &context;
        stand_in(line);
        lock.unlock();
        if (context.stop.stop_possible()) m_on_stop.emplace(context.stop, on_stop{this});
        return m_gate.fetch_sub(1, std::memory_order_acq_rel) != 1;
    }

    /// The first thing in await_resume. Throws `stopped` if that is why it goes on.
    void resumed() {
        if (m_context != nullptr) [[unlikely]] {
            m_on_stop.reset();
            m_context->enter();
        }
        if (m_stopped) [[unlikely]]
            throw stopped{};
    }
    /// In await_resume: it had to wait, and a stop ended that.
    bool stopped_in_line() const noexcept { return m_context != nullptr && m_stopped; }

private:
    friend class waiter_list;
    friend class woken_list;

    struct on_stop {
        waiter* self;
        void operator()() const noexcept { self->stop_waiting(); }
    };
    void stand_in(waiter_list& line) noexcept;
    void stop_waiting() noexcept;

    waiter* m_next = nullptr;  // in line, or among the woken
    waiter* m_previous = nullptr;
    waiter_list* m_line = nullptr;  // null: taken out
    spin_lock* m_lock = nullptr;
    const task_context* m_context = nullptr;  // null: it never had to wait
    std::coroutine_handle<> m_handle;
    std::atomic<int> m_gate{2};
    bool m_stopped = false;
    std::optional<stop_callback<on_stop>> m_on_stop;
};

/// A line of waiters, oldest first. All its members are called under its owner's lock. The waiters are linked through
/// themselves, so it takes no memory however many they are.
class waiter_list {
public:
    explicit waiter_list(const char* owner) noexcept : m_owner(owner) {}
    waiter_list(const waiter_list&) = delete;
    waiter_list& operator=(const waiter_list&) = delete;
    ~waiter_list() {
        if (m_first != nullptr) [[unlikely]]
            destroyed_too_early(m_owner);
    }

    bool empty() const noexcept { return m_first == nullptr; }
    waiter* first() const noexcept { return m_first; }

    void push(waiter& w) noexcept {
        w.m_line = this;
        w.m_previous = m_last;
        (m_last != nullptr ? m_last->m_next : m_first) = &w;
        m_last = &w;
    }
    void remove(waiter& w) noexcept {
        (w.m_previous != nullptr ? w.m_previous->m_next : m_first) = w.m_next;
        (w.m_next != nullptr ? w.m_next->m_previous : m_last) = w.m_previous;
        w.m_next = nullptr;
        w.m_line = nullptr;
    }
    /// Takes out the one that has waited longest; null when nobody waits.
    waiter* pop() noexcept {
        waiter* const w = m_first;
        if (w != nullptr) remove(*w);
        return w;
    }

private:
    [[noreturn]] COVEY_NOINLINE static void destroyed_too_early(const char* owner) noexcept {
        std::fprintf(stderr, "covey: %s was destroyed while coroutines wait at it; stop or wake them, and await them, first\n", owner);
        std::abort();
    }

    const char* const m_owner;
    waiter* m_first = nullptr;
    waiter* m_last = nullptr;
};

/// Waiters that were taken out of the line under the lock, to be woken in that order after it was released.
class woken_list {
public:
    void add(waiter& w) noexcept {
        (m_last != nullptr ? m_last->m_next : m_first) = &w;
        m_last = &w;
    }
    void add_all(waiter_list& line) noexcept {
        while (waiter* w = line.pop()) add(*w);
    }
    void wake() noexcept {
        while (m_first != nullptr) {
            waiter& w = *m_first;
            m_first = w.m_next;  // before it wakes: then it may be gone
            w.wake();
        }
    }

private:
    waiter* m_first = nullptr;
    waiter* m_last = nullptr;
};

inline void waiter::stand_in(waiter_list& line) noexcept { line.push(*this); }

inline void waiter::stop_waiting() noexcept {
    m_lock->lock();
    const bool mine = m_line != nullptr;
    if (mine) {
        m_line->remove(*this);
        m_stopped = true;
    }
    m_lock->unlock();
    if (mine) wake();
}

}  // namespace covey::detail
