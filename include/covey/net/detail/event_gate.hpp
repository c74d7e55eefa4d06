// A gate that events pass through: once it is closed, none is under way and none comes any more.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace covey::net::detail {

class event_gate {
public:
    /// One event. `if (event_gate::pass p{gate})` is false when the gate is closed.
    class pass {
    public:
        explicit pass(event_gate& gate) noexcept : m_gate(&gate), m_open(gate.enter()) {
            if (!m_open) return;
            m_outer = top();
            top() = this;
        }
        pass(const pass&) = delete;
        pass& operator=(const pass&) = delete;
        ~pass() {
            if (!m_open) return;
            top() = m_outer;
            m_gate->leave();
        }
        explicit operator bool() const noexcept { return m_open; }

    private:
        friend class event_gate;

        event_gate* m_gate;
        pass* m_outer = nullptr;
        bool m_open;
    };

    /// Lets nobody in any more and waits until all are out; does not wait when called from inside, for it would wait for ever.
    void close() noexcept {
        m_state.fetch_or(closed);
        for (const pass* p = top(); p != nullptr; p = p->m_outer) {
            if (p->m_gate == this) return;
        }
        std::unique_lock lock(m_mutex);
        m_left.wait(lock, [this] { return m_state.load() == closed; });
    }

private:
    static constexpr std::uint64_t closed = std::uint64_t{1} << 63;

    bool enter() noexcept {
        if ((m_state.fetch_add(1) & closed) == 0) return true;
        leave();
        return false;
    }
    void leave() noexcept {
        if (((m_state.fetch_sub(1) - 1) & closed) == 0) return;
        const std::lock_guard lock(m_mutex);
        m_left.notify_all();
    }

    /// The events that the calling thread is inside of, innermost first.
    [[gnu::noinline]] static pass*& top() noexcept {
        static thread_local pass* innermost = nullptr;
        return innermost;
    }

    std::atomic<std::uint64_t> m_state{0};  // how many are inside, and the closed bit
    std::mutex m_mutex;
    std::condition_variable m_left;
};

}  // namespace covey::net::detail
