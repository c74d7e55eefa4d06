// future<T>: the result of a task that already runs.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/task.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

namespace covey {

namespace detail {

/// Shared by a future and the task that fills it; the last of them frees it.
template <class T>
class future_state {
public:
    explicit future_state(const task_context& parent) : m_stop(parent.stop), m_context(parent) { m_context.stop = m_stop.get_token(); }

    const task_context& context() const noexcept { return m_context; }
    void request_stop() noexcept { m_stop.request_stop(); }

    bool is_ready() const noexcept { return m_phase.load(std::memory_order_acquire) == phase::ready; }
    /// False when the result is already there.
    COVEY_NOINLINE bool wait(std::coroutine_handle<> waiter, scheduler* resume_on) noexcept {
        m_waiter = waiter;
        m_resume_on = resume_on;
        phase expected = phase::running;
        return m_phase.compare_exchange_strong(expected, phase::waited, std::memory_order_acq_rel);
    }
    void finish() noexcept {
        m_stop.leave_parent();  // the future may outlive the scope that the parent belongs to
        if (m_phase.exchange(phase::ready, std::memory_order_acq_rel) == phase::waited) m_resume_on->post(m_waiter);
    }

    outcome<T> ended;

private:
    enum class phase : unsigned char { running, waited, ready };

    stop_source m_stop;
    task_context m_context;
    std::coroutine_handle<> m_waiter;
    scheduler* m_resume_on = nullptr;
    std::atomic<phase> m_phase{phase::running};
};

}  // namespace detail

/// Movable, storable, awaitable once: `int y = co_await std::move(fut)`. Destroying one that was not awaited asks its task
/// to stop; the task's scope still waits for it. So does a stop of the coroutine that awaits it.
template <class T>
class [[nodiscard("destroying a future cancels its task")]] future {
public:
    future() noexcept = default;
    explicit future(std::shared_ptr<detail::future_state<T>> state) noexcept : m_state(std::move(state)) {}
    future(future&&) noexcept = default;
    future& operator=(future&& other) noexcept {
        future(std::move(other)).m_state.swap(m_state);
        return *this;
    }
    ~future() {
        if (m_state && !m_state->is_ready()) m_state->request_stop();
    }

    explicit operator bool() const noexcept { return m_state != nullptr; }
    /// The result is there; awaiting it will not suspend.
    bool is_ready() const noexcept { return m_state && m_state->is_ready(); }
    void request_stop() noexcept {
        if (m_state) m_state->request_stop();
    }

    struct awaiter {
        struct on_stop {
            detail::future_state<T>* state;
            void operator()() const noexcept { state->request_stop(); }
        };

        std::shared_ptr<detail::future_state<T>> m_state;
        const task_context* m_context = nullptr;
        std::optional<stop_callback<on_stop>> m_on_stop{};

        bool await_ready() const {
            if (!m_state) throw error(errc::bad_argument, "this future is empty or was awaited before");
            return m_state->is_ready();
        }
        template <class Promise>
        COVEY_NOINLINE bool await_suspend(std::coroutine_handle<Promise> self) {
            m_context = &detail::context_of(self);
            if (m_context->scheduler == nullptr) throw error(errc::no_peer, "awaiting a future needs a scheduler");
            if (m_context->stop.stop_possible()) m_on_stop.emplace(m_context->stop, on_stop{m_state.get()});
            return m_state->wait(self, m_context->scheduler);
        }
        T await_resume() {
            m_on_stop.reset();
            if (m_context != nullptr) m_context->enter();
            return take(m_state->ended);
        }
    };
    awaiter operator co_await() && noexcept { return {std::move(m_state)}; }

private:
    std::shared_ptr<detail::future_state<T>> m_state;
};

/// A future, and the function that turns the task it stands for into one that fills it: `delivery(task)` is then spawned.
template <class T>
auto make_future(const task_context& parent) {
    auto state = std::make_shared<detail::future_state<T>>(parent);
    struct delivery {
        std::shared_ptr<detail::future_state<T>> state;

        task<void> operator()(task<T> t) && { return fill(std::move(state), std::move(t)); }

        static task<void> fill(std::shared_ptr<detail::future_state<T>> s, task<T> t) {
            try {
                if constexpr (std::is_void_v<T>) {
                    co_await detail::with_context(t, s->context());
                } else {
                    s->ended.set(co_await detail::with_context(t, s->context()));
                }
            } catch (...) {
                s->ended.failure = std::current_exception();
            }
            t = {};
            s->finish();
        }
    };
    future<T> value(state);
    return std::pair<future<T>, delivery>(std::move(value), delivery{std::move(state)});
}

}  // namespace covey
