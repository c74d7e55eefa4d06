// Requests to stop: std::inplace_stop_source, token and callback of C++26, with one addition: a source can have a parent.
#pragma once

#include <covey/task/work.hpp>

#include <atomic>
#include <new>
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
    stop_source() noexcept {}
    explicit stop_source(stop_token parent) noexcept : m_parent(parent) {}
    stop_source(const stop_source&) = delete;
    stop_source& operator=(const stop_source&) = delete;
    ~stop_source() {
        if (m_linked.load(std::memory_order_relaxed)) [[unlikely]]
            unlink_from_parent();
    }

    stop_token get_token() noexcept { return stop_token(this); }
    /// Follows the parent no more, which may then be destroyed first. Only after the last use of this source's tokens;
    /// `request_stop` may run beside it.
    void leave_parent() noexcept {
        if (m_linked.load(std::memory_order_acquire)) unlink_from_parent();
        m_linked.store(false, std::memory_order_relaxed);
        m_parent = {};
    }
    bool stop_requested() const noexcept {
        for (const stop_source* s = this; s != nullptr; s = s->m_parent.m_source) {
            if (s->m_requested.load(std::memory_order_acquire)) return true;
        }
        return false;
    }

    /// Runs the callbacks on this thread, those of the sources below included; true for the first request only.
    bool request_stop() noexcept {
        if (!begin_request(nullptr)) return false;
        // Sources may stand in chains as long as a recursion is deep, so this is a loop and not a recursion.
        for (stop_source* source = this; source != nullptr;) source = source->notify_one();
        return true;
    }

private:
    template <class F>
    friend class stop_callback;

    /// What a source registers with its parent.
    struct link : detail::stop_callback_base {
        explicit link(stop_source& s) noexcept : stop_callback_base(nullptr), source(s) {}
        stop_source& source;
    };

    void lock() const noexcept {
        while (m_lock.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    }
    void unlock() const noexcept { m_lock.store(false, std::memory_order_release); }

    /// False: it was requested before. `back`: whose callbacks go on after these.
    bool begin_request(stop_source* back) noexcept {
        lock();
        const bool first = !m_requested.load(std::memory_order_relaxed);
        if (first) {
            m_requested.store(true, std::memory_order_release);
            m_notifier = &detail::this_thread_state();
            m_back = back;
        }
        unlock();
        return first;
    }

    /// Runs one callback, or enters the source behind it; returns whose turn is next.
    stop_source* notify_one() noexcept {
        lock();
        detail::stop_callback_base* const callback = m_callbacks;
        if (callback == nullptr) {
            unlock();
            stop_source* const back = m_back;
            if (back != nullptr) m_link.m_done.store(true, std::memory_order_release);  // the last touch: see remove()
            return back;
        }
        unlink(*callback);
        bool destroyed = false;
        callback->m_destroyed = &destroyed;
        unlock();
        if (callback->m_run == nullptr) {
            callback->m_destroyed = nullptr;
            stop_source& below = static_cast<link*>(callback)->source;
            if (below.begin_request(this)) return &below;
            callback->m_done.store(true, std::memory_order_release);
            return this;
        }
        callback->m_run(*callback);
        if (!destroyed) {
            callback->m_destroyed = nullptr;
            callback->m_done.store(true, std::memory_order_release);
        }
        return this;
    }

    static void unlink(detail::stop_callback_base& callback) noexcept {
        *callback.m_previous = callback.m_next;
        if (callback.m_next) callback.m_next->m_previous = callback.m_previous;
        callback.m_previous = nullptr;
    }

    /// False: the stop was requested already, and the callback was not added.
    bool add(detail::stop_callback_base& callback) noexcept;
    bool add_here(detail::stop_callback_base& callback) noexcept;
    void remove(detail::stop_callback_base& callback) noexcept;

    COVEY_NOINLINE void unlink_from_parent() noexcept {
        m_parent.m_source->remove(m_link);
        m_link.~link();
    }

    // A join makes a source for its children, which few of them look at: what nobody looked at is not even initialised.
    mutable std::atomic<bool> m_lock{false};
    std::atomic<bool> m_requested{false};
    std::atomic<bool> m_linked{false};
    detail::stop_callback_base* m_callbacks = nullptr;
    stop_token m_parent;
    stop_source* m_back;     // set by a request
    const void* m_notifier;  // likewise: which thread runs the callbacks
    union {
        link m_link;  // made when m_linked is set
    };
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
    for (stop_source* s = this; s->m_parent.stop_possible() && !s->m_linked.exchange(true, std::memory_order_acq_rel);) {
        stop_source* const parent = s->m_parent.m_source;
        ::new (static_cast<void*>(&s->m_link)) link(*s);
        if (!parent->add_here(s->m_link)) {
            s->m_link.m_done.store(true, std::memory_order_relaxed);
            s->request_stop();
        }
        s = parent;
    }
    return add_here(callback);
}

inline bool stop_source::add_here(detail::stop_callback_base& callback) noexcept {
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
    const bool by_this_thread = m_notifier == &detail::this_thread_state();
    unlock();
    // It was taken out to be run. Either it destroys itself from inside, or it runs elsewhere and must be waited for.
    if (by_this_thread) {
        if (callback.m_destroyed) *callback.m_destroyed = true;
    } else {
        while (!callback.m_done.load(std::memory_order_acquire)) std::this_thread::yield();
    }
}

}  // namespace covey
