// Waiting for the membership to change.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/context.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace covey::detail {

/// Coroutines that wait for the next change of the membership.
class change_list {
public:
    class awaiter {
    public:
        /// Waits until there were more than `seen` changes.
        awaiter(change_list& list, std::uint64_t seen) noexcept : m_list(list), m_seen(seen) {}
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        COVEY_NOINLINE bool await_suspend(std::coroutine_handle<Promise> self) {
            m_context = &context_of(self);
            m_waiter = self;
            if (!m_list.add(*this)) return false;
            if (m_context->stop.stop_possible()) m_on_stop.emplace(m_context->stop, on_stop{this});
            return m_gate.fetch_sub(1, std::memory_order_acq_rel) != 1;
        }
        void await_resume() {
            m_on_stop.reset();
            m_context->enter();
            if (m_stopped) throw stopped{};
        }

    private:
        friend class change_list;
        struct on_stop {
            awaiter* self;
            void operator()() const noexcept {
                if (!self->m_list.remove(*self)) return;
                self->m_stopped = true;
                self->arrive();
            }
        };
        void arrive() noexcept {
            scheduler* const resume_on = m_context->scheduler;
            const std::coroutine_handle<> waiter = m_waiter;
            if (m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) resume_on->post(waiter);
        }

        change_list& m_list;
        const std::uint64_t m_seen;
        const task_context* m_context = nullptr;
        std::coroutine_handle<> m_waiter;
        std::atomic<int> m_gate{2};
        std::optional<stop_callback<on_stop>> m_on_stop;
        bool m_stopped = false;
    };

    /// How many changes there were.
    std::uint64_t count() const {
        const std::lock_guard lock(m_mutex);
        return m_count;
    }
    void changed() {
        std::vector<awaiter*> waiting;
        {
            const std::lock_guard lock(m_mutex);
            ++m_count;
            waiting.swap(m_waiting);
        }
        for (awaiter* a : waiting) a->arrive();
    }

private:
    bool add(awaiter& a) {
        const std::lock_guard lock(m_mutex);
        if (m_count > a.m_seen) return false;
        m_waiting.push_back(&a);
        return true;
    }
    bool remove(awaiter& a) {
        const std::lock_guard lock(m_mutex);
        return std::erase(m_waiting, &a) != 0;
    }

    mutable std::mutex m_mutex;
    std::uint64_t m_count = 0;
    std::vector<awaiter*> m_waiting;  // bounded by the coroutines that wait
};

}  // namespace covey::detail
