// What happens next in a simulation: a binary heap by (time, sequence) from which any event can be taken out.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/core/endpoint.hpp>
#include <covey/core/function.hpp>
#include <covey/core/time.hpp>
#include <covey/sim/trace.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace covey::sim {

enum class event_kind : std::uint8_t {
    none,      ///< a free place
    work,      ///< resume the coroutine at `target`
    timer,     ///< fire the timer at `target`
    datagram,  ///< hand `bytes` to whoever is bound to `to_port`
    action,    ///< run `action`
};

/// Something that will happen. `host` says whose process runs it: it is put off while that host is paused and dropped
/// when the host is killed. Events of `no_host` belong to the network, to kernels, or to the test.
struct event {
    event_kind kind = event_kind::none;
    bool put_off = false;  // its host was paused when its time came
    host_index host = no_host;
    std::uint16_t to_port = 0;
    endpoint from{};
    void* target = nullptr;
    byte_buffer bytes{};
    unique_function<void()> action{};
};

/// Equal times run in the order in which they were added. Adding, taking and cancelling cost O(log n). One thread.
class event_queue {
public:
    /// Names an event as long as it waits.
    struct ticket {
        std::size_t index = 0;  // one-based; 0: none
        std::uint64_t order = 0;
    };

    bool empty() const noexcept { return m_heap.empty(); }
    std::size_t size() const noexcept { return m_heap.size(); }
    /// When the first event is due; `never` if there is none.
    time_point next_time() const noexcept { return m_heap.empty() ? never : m_heap.front().when; }
    const event& next() const noexcept { return m_slots[m_heap.front().slot].what; }

    ticket add(time_point when, event what);
    /// Takes the first event out. Precondition: not empty.
    event take();
    /// Moves the first event to a later time, behind what already waits for that time; says that it was put off.
    void put_off(time_point when);
    /// False: it has run, or was cancelled.
    bool cancel(ticket t) noexcept;
    /// The event at a one-based index, or nullptr.
    const event* find(std::size_t index) const noexcept;
    /// Takes out every event for which `test(event)` is true, in the order of its places.
    template <class Test>
    std::vector<event> take_if(Test&& test) {
        std::vector<event> taken;
        for (std::size_t i = 0; i < m_slots.size(); ++i) {
            if (m_slots[i].what.kind == event_kind::none || !test(std::as_const(m_slots[i].what))) continue;
            taken.push_back(std::move(m_slots[i].what));
            remove(m_slots[i].position);
        }
        return taken;
    }

private:
    struct node {
        time_point when;
        std::uint64_t order;
        std::size_t slot;

        bool before(const node& other) const noexcept { return when != other.when ? when < other.when : order < other.order; }
    };
    struct place {
        event what;
        std::size_t position = 0;
        std::uint64_t order = 0;
    };

    void remove(std::size_t position) noexcept;
    void up(std::size_t position) noexcept;
    void down(std::size_t position) noexcept;
    void set(std::size_t position, const node& n) noexcept {
        m_heap[position] = n;
        m_slots[n.slot].position = position;
    }

    std::vector<node> m_heap;
    std::vector<place> m_slots;
    std::vector<std::size_t> m_free;
    std::uint64_t m_order = 0;
};

}  // namespace covey::sim

#ifndef COVEY_COMPILED
#include <covey/sim/impl/event_queue.ipp>
#endif
