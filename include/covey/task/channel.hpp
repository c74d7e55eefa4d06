// channel<T>: values that go from some coroutines to others, through a bounded queue.
#pragma once

#include <covey/task/detail/waiters.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace covey {

/// A bounded queue between any number of senders and receivers:
///
///     channel<int> c{64};
///     co_await c.send(1);                              // waits while 64 values are in it
///     while (auto m = co_await c.receive()) use(*m);   // until it is closed and empty
///     c.close();
///
/// Values arrive in the order in which they were sent; senders and receivers that must wait are served in the order in
/// which they came. A capacity of 0 makes a meeting place: a send waits until somebody receives that very value.
///
/// Each await throws `stopped` once its coroutine is asked to stop, also when it would not have to wait. No value is lost
/// by that: what was not sent is still where it was, and a value that a receiver was given is returned, even if it was
/// asked to stop meanwhile.
///
/// Thread-safe. Coroutines that waited go on on their own schedulers. Nothing is allocated after the constructor. Must
/// outlive all awaits at it; destroying it while somebody waits ends the program with a message. Values left in it are
/// destroyed with it.
template <class T>
class channel {
    static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>, "a channel carries objects: no references, no const");
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                  "a channel carries types whose move constructor does not throw, for values change hands under a lock; "
                  "wrap this one in a std::unique_ptr");

    struct sending : detail::waiter {
        explicit sending(T* value) noexcept : m_value(value) {}
        T* const m_value;
        bool m_sent = false;
    };
    struct receiving : detail::waiter {
        std::optional<T> m_value;
    };

public:
    /// Room for `capacity` values, allocated here. Throws std::bad_alloc.
    explicit channel(std::size_t capacity)
        : m_capacity(capacity), m_slots(capacity != 0 ? std::allocator<T>().allocate(capacity) : nullptr) {}
    channel(const channel&) = delete;
    channel& operator=(const channel&) = delete;
    ~channel() {
        while (m_size != 0) destroy_first();
        if (m_slots != nullptr) std::allocator<T>().deallocate(m_slots, m_capacity);
    }

    class [[nodiscard("a send does nothing until it is awaited")]] send_awaiter : sending {
    public:
        send_awaiter(channel& c, T& value) noexcept : sending(std::addressof(value)), m_channel(c) {}

        using sending::await_ready;
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            const task_context& context = detail::context_of(self);
            if (!this->may_start(context)) return false;
            channel& c = m_channel;
            c.m_lock.lock();
            detail::waiter* receiver = nullptr;
            if (c.m_closed || (this->m_sent = c.put(*this->m_value, receiver))) [[likely]] {
                c.m_lock.unlock();
                if (receiver != nullptr) receiver->wake();
                return false;
            }
            return this->park(c.m_lock, c.m_senders, self, context);
        }
        bool await_resume() {
            this->resumed();
            return this->m_sent;
        }

    private:
        channel& m_channel;
    };

    class [[nodiscard("a send does nothing until it is awaited")]] send_copy_awaiter {
    public:
        send_copy_awaiter(channel& c, const T& value) : m_copy(value), m_send(c, m_copy) {}
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            return m_send.await_suspend(self);
        }
        bool await_resume() { return m_send.await_resume(); }

    private:
        T m_copy;
        send_awaiter m_send;
    };

    class [[nodiscard("a receive does nothing until it is awaited")]] receive_awaiter : receiving {
    public:
        explicit receive_awaiter(channel& c) noexcept : m_channel(c) {}

        using receiving::await_ready;
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> self) {
            const task_context& context = detail::context_of(self);
            if (!this->may_start(context)) return false;
            channel& c = m_channel;
            c.m_lock.lock();
            detail::waiter* sender = nullptr;
            if (c.take(this->m_value, sender) || c.m_closed) [[likely]] {
                c.m_lock.unlock();
                if (sender != nullptr) sender->wake();
                return false;
            }
            return this->park(c.m_lock, c.m_receivers, self, context);
        }
        std::optional<T> await_resume() {
            this->resumed();
            return std::move(this->m_value);
        }

    private:
        channel& m_channel;
    };

    /// `co_await c.send(v)`: waits for room and gives true, or false if the channel is or gets closed. `v` is moved from
    /// only when it was sent: after false and after `stopped` it is still there.
    send_awaiter send(T&& value) noexcept { return send_awaiter(*this, value); }
    /// The same with a copy.
    send_copy_awaiter send(const T& value)
        requires std::copy_constructible<T>
    {
        return send_copy_awaiter(*this, value);
    }

    /// `co_await c.receive()`: the next value. Waits while there is none; std::nullopt once the channel is closed and empty.
    receive_awaiter receive() noexcept { return receive_awaiter(*this); }

    /// Sends if it need not wait; false if it must, or if the channel is closed: then `value` is untouched.
    bool try_send(T&& value) noexcept {
        detail::waiter* receiver = nullptr;
        m_lock.lock();
        const bool sent = !m_closed && put(value, receiver);
        m_lock.unlock();
        if (receiver != nullptr) receiver->wake();
        return sent;
    }
    bool try_send(const T& value)
        requires std::copy_constructible<T>
    {
        return try_send(T(value));
    }

    /// The next value, if there is one.
    std::optional<T> try_receive() noexcept {
        std::optional<T> value;
        detail::waiter* sender = nullptr;
        m_lock.lock();
        static_cast<void>(take(value, sender));
        m_lock.unlock();
        if (sender != nullptr) sender->wake();
        return value;
    }

    /// Nothing more can be sent; what is in the channel can still be received. Senders that wait are given false and keep
    /// their values, receivers that wait are given std::nullopt. Closing again does nothing.
    void close() noexcept {
        detail::woken_list woken;
        m_lock.lock();
        m_closed = true;
        woken.add_all(m_senders);
        woken.add_all(m_receivers);
        m_lock.unlock();
        woken.wake();
    }

    bool is_closed() const noexcept {
        const std::lock_guard lock(m_lock);
        return m_closed;
    }
    /// How many values are in it: never more than `capacity()`. Others may change it at any time.
    std::size_t size() const noexcept {
        const std::lock_guard lock(m_lock);
        return m_size;
    }
    std::size_t capacity() const noexcept { return m_capacity; }

private:
    // Under the lock: receivers wait only while the channel is empty and no sender waits, senders only while it is full.

    bool put(T& value, detail::waiter*& woken) noexcept {
        if (!m_receivers.empty()) {
            auto* const receiver = static_cast<receiving*>(m_receivers.pop());
            receiver->m_value.emplace(std::move(value));
            woken = receiver;
            return true;
        }
        if (m_size == m_capacity) return false;
        append(value);
        return true;
    }
    bool take(std::optional<T>& value, detail::waiter*& woken) noexcept {
        const bool any = m_size != 0;
        if (any) [[likely]] {
            value.emplace(std::move(m_slots[m_first]));
            destroy_first();
        }
        if (m_senders.empty()) [[likely]]
            return any;
        auto* const sender = static_cast<sending*>(m_senders.pop());
        if (any) {
            append(*sender->m_value);
        } else {
            value.emplace(std::move(*sender->m_value));  // a capacity of 0
        }
        sender->m_sent = true;
        woken = sender;
        return true;
    }
    void append(T& value) noexcept {
        const std::size_t room_at_end = m_capacity - m_first;
        std::construct_at(m_slots + (m_size < room_at_end ? m_first + m_size : m_size - room_at_end), std::move(value));
        ++m_size;
    }
    void destroy_first() noexcept {
        std::destroy_at(m_slots + m_first);
        if (++m_first == m_capacity) m_first = 0;
        --m_size;
    }

    mutable detail::spin_lock m_lock;
    bool m_closed = false;
    std::size_t m_first = 0;
    std::size_t m_size = 0;
    const std::size_t m_capacity;
    T* const m_slots;
    detail::waiter_list m_senders{"a channel"};
    detail::waiter_list m_receivers{"a channel"};
};

}  // namespace covey
