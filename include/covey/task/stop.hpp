// Requests to stop: std::inplace_stop_source, token and callback of C++26, with one addition: a source can have a parent.
#pragma once

#include <covey/core/config.hpp>

#include <atomic>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

namespace covey {

class stop_source;

namespace detail {

struct stop_callback_base {
    using function = void (*)(stop_callback_base&) noexcept;

    explicit stop_callback_base(function run) noexcept : m_run(run) {}
    stop_callback_base(const stop_callback_base&) = delete;
    stop_callback_base& operator=(const stop_callback_base&) = delete;

    function m_run;
    stop_callback_base* m_next = nullptr;
    stop_callback_base** m_previous = nullptr;  // null: not in a list
    bool* m_destroyed = nullptr;                // while it runs: set to tell the runner that it is gone
    std::atomic<bool> m_done{false};
};

}  // namespace detail

/// Asks whether a stop was requested. A pointer: cheap to copy, valid as long as its source. Default: never stops.
class stop_token {
public:
    stop_token() noexcept = default;

    bool stop_requested() const noexcept;
    bool stop_possible() const noexcept { return m_source != nullptr; }
    friend bool operator==(stop_token, stop_token) noexcept = default;

private:
    friend class stop_source;
    template <class F>
    friend class stop_callback;
    explicit stop_token(stop_source* source) noexcept : m_source(source) {}

    stop_source* m_source = nullptr;
};

/// Calls `f()` once, when the token's source is asked to stop: on the thread that asks, or at once in the constructor
/// when that has happened already. The destructor waits for a call running on another thread. `f` must not throw.
template <class F>
class stop_callback : detail::stop_callback_base {
public:
    template <class G>
    stop_callback(stop_token token, G&& f);
    ~stop_callback();

private:
    stop_source* m_source;
    F m_f;
};

template <class F>
stop_callback(stop_token, F) -> stop_callback<F>;

/// Where a stop is requested. With a parent, a request there counts here too: asking walks up the chain, and the source
/// registers with its parent only once somebody registers a callback here, so a source nobody listens to costs nothing.
/// Must outlive its tokens' use and its callbacks. Thread-safe.
class stop_source {
public:
    stop_source() noexcept = default;
    explicit stop_source(stop_token parent) noexcept : m_parent(parent) {}
    stop_source(const stop_source&) = delete;
    stop_source& operator=(const stop_source&) = delete;

    stop_token get_token() noexcept { return stop_token(this); }
    /// Follows the parent no more, which may then be destroyed first. Only after the last use of this source's tokens;
    /// `request_stop` may run beside it.
    void leave_parent() noexcept {
        m_link.reset();
        m_parent = {};
    }
    bool stop_requested() const noexcept { return m_requested.load(std::memory_order_acquire) || m_parent.stop_requested(); }

    /// Runs the callbacks on this thread; true for the first request only.
    bool request_stop() noexcept {
        lock();
        if (m_requested.load(std::memory_order_relaxed)) {
            unlock();
            return false;
        }
        m_requested.store(true, std::memory_order_release);
        m_notifier = std::this_thread::get_id();
        while (detail::stop_callback_base* callback = m_callbacks) {
            unlink(*callback);
            bool destroyed = false;
            callback->m_destroyed = &destroyed;
            unlock();
            callback->m_run(*callback);
            if (!destroyed) {
                callback->m_destroyed = nullptr;
                callback->m_done.store(true, std::memory_order_release);
            }
            lock();
        }
        unlock();
        return true;
    }

private:
    template <class F>
    friend class stop_callback;

    struct forward {
        stop_source* source;
        void operator()() const noexcept { source->request_stop(); }
    };

    void lock() const noexcept {
        while (m_lock.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    }
    void unlock() const noexcept { m_lock.store(false, std::memory_order_release); }

    static void unlink(detail::stop_callback_base& callback) noexcept {
        *callback.m_previous = callback.m_next;
        if (callback.m_next) callback.m_next->m_previous = callback.m_previous;
        callback.m_previous = nullptr;
    }

    /// False: the stop was requested already, and the callback was not added.
    bool add(detail::stop_callback_base& callback) noexcept;
    void remove(detail::stop_callback_base& callback) noexcept;

    mutable std::atomic<bool> m_lock{false};
    std::atomic<bool> m_requested{false};
    std::atomic<bool> m_linked{false};
    detail::stop_callback_base* m_callbacks = nullptr;
    std::thread::id m_notifier;
    stop_token m_parent;
    std::optional<stop_callback<forward>> m_link;
};

inline bool stop_token::stop_requested() const noexcept { return m_source != nullptr && m_source->stop_requested(); }

template <class F>
template <class G>
stop_callback<F>::stop_callback(stop_token token, G&& f)
    : stop_callback_base([](stop_callback_base& self) noexcept { static_cast<stop_callback&>(self).m_f(); }),
      m_source(token.m_source),
      m_f(std::forward<G>(f)) {
    static_assert(std::is_invocable_v<F&>);
    if (m_source != nullptr && !m_source->add(*this)) {
        m_source = nullptr;
        m_f();
    }
}

template <class F>
stop_callback<F>::~stop_callback() {
    if (m_source != nullptr) m_source->remove(*this);
}

inline bool stop_source::add(detail::stop_callback_base& callback) noexcept {
    // Several threads may add their first callbacks at once: one links. The others need not wait, for the link, once
    // made, finds their callbacks in the list.
    if (m_parent.stop_possible() && !m_linked.exchange(true, std::memory_order_acq_rel)) m_link.emplace(m_parent, forward{this});
    lock();
    const bool added = !m_requested.load(std::memory_order_relaxed);
    if (added) {
        callback.m_next = m_callbacks;
        callback.m_previous = &m_callbacks;
        if (m_callbacks) m_callbacks->m_previous = &callback.m_next;
        m_callbacks = &callback;
    }
    unlock();
    return added;
}

inline void stop_source::remove(detail::stop_callback_base& callback) noexcept {
    lock();
    if (callback.m_previous != nullptr) {
        unlink(callback);
        unlock();
        return;
    }
    const bool by_this_thread = m_notifier == std::this_thread::get_id();
    unlock();
    // It was taken out to be run. Either it destroys itself from inside, or it runs elsewhere and must be waited for.
    if (by_this_thread) {
        if (callback.m_destroyed) *callback.m_destroyed = true;
    } else {
        while (!callback.m_done.load(std::memory_order_acquire)) std::this_thread::yield();
    }
}

}  // namespace covey
