// blocking: functions that wait or compute for long, on threads of their own.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/co_invoke.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/task.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

namespace covey {

namespace detail {

/// One call that waits for a thread of the side pool, or runs there. It is a link of the pool's queue itself.
class side_request {
public:
    /// Called once, on a thread of the pool. It may destroy the request.
    using function = void (*)(side_request&) noexcept;

    side_request(function run, function refuse) noexcept : m_run(run), m_refuse(refuse) {}
    side_request(const side_request&) = delete;
    side_request& operator=(const side_request&) = delete;

private:
    friend class side_pool;
    function m_run;
    function m_refuse;  // called instead when the pool is closed before it has run
    side_request* m_next = nullptr;
    side_request* m_previous = nullptr;
    bool m_queued = false;
};

/// Threads for functions that block. One is started whenever a request finds none idle, up to a bound; beyond it requests
/// wait in line, oldest first, which takes no memory. Threads without work for a while end. Thread-safe.
class side_pool {
public:
    static constexpr unsigned most_threads = 64;
    static constexpr std::chrono::seconds default_idle_limit{5};

    /// `threads` is at most most_threads.
    explicit side_pool(unsigned threads = most_threads, std::chrono::nanoseconds idle_limit = default_idle_limit) noexcept
        : m_limit(threads), m_idle_limit(idle_limit) {}
    side_pool(const side_pool&) = delete;
    side_pool& operator=(const side_pool&) = delete;
    ~side_pool() { close(); }

    /// The pool of the process. It is closed at exit, before the destruction of any static that was made before its first use,
    /// and never destroyed, so that who still uses it then is refused.
    static side_pool& of_process();

    /// Throws errc::overloaded if there is no thread and none can be started, errc::shut_down after `close`.
    void submit(side_request& request);
    /// True: it was still in line, and will neither run nor be refused.
    bool cancel(side_request& request) noexcept;
    /// Refuses those in line, waits for those that run, and for the ends of the threads; of the calling one not, should it
    /// be one of them.
    void close() noexcept;

    /// Threads that run at the moment.
    unsigned threads() const noexcept;
    /// Those of them that wait for something to do.
    unsigned idle_threads() const noexcept;

private:
    bool start_thread(std::exception_ptr& why) noexcept;
    void run(unsigned index) noexcept;
    void push(side_request& request) noexcept;
    void unlink(side_request& request) noexcept;

    const unsigned m_limit;
    const std::chrono::nanoseconds m_idle_limit;

    mutable std::mutex m_mutex;
    std::condition_variable m_work;
    std::condition_variable m_thread_ended;
    side_request* m_first = nullptr;
    side_request* m_last = nullptr;
    std::size_t m_queued = 0;
    unsigned m_running = 0;
    unsigned m_idle = 0;
    bool m_closed = false;
    std::array<std::thread, most_threads> m_threads;  // those that run; the index is in their names
    std::thread m_ended;                              // the last that ended: joined by the next, or by close
};

/// The wait for a call on the side pool. The end of await_suspend and that of the call (or a stop before it has begun, or
/// a refusal) arrive at a gate; the later one makes the coroutine go on. Who takes the request out of the pool's queue decides
/// which of the latter it is.
template <class F, class T>
class blocking_awaiter : side_request {
public:
    blocking_awaiter(F& f, side_pool& on) noexcept : side_request(&call, &refuse), m_f(f), m_pool(on) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> self) {
        return suspend(self, context_of(self));
    }
    T await_resume() {
        m_on_stop.reset();
        m_context->enter();
        if (m_stopped) throw stopped{};
        return take(m_outcome);
    }

private:
    struct on_stop {
        blocking_awaiter* self;
        void operator()() const noexcept {
            if (self->m_pool.cancel(*self)) {
                self->m_stopped = true;
                self->arrive();
            }
        }
    };

    COVEY_NOINLINE bool suspend(std::coroutine_handle<> self, const task_context& context) {
        if (context.scheduler == nullptr) throw_no_scheduler("blocking()");
        m_waiter = self;
        m_context = &context;
        if (context.stop.stop_requested()) {
            m_stopped = true;
            return false;
        }
        m_pool.submit(*this);
        if (context.stop.stop_possible()) m_on_stop.emplace(context.stop, on_stop{this});
        return m_gate.fetch_sub(1, std::memory_order_acq_rel) != 1;
    }
    static void call(side_request& request) noexcept {
        auto& self = static_cast<blocking_awaiter&>(request);
        try {
            if constexpr (std::is_void_v<T>) {
                self.m_f();
            } else {
                self.m_outcome.set(self.m_f());
            }
        } catch (...) {
            self.m_outcome.failure = std::current_exception();
        }
        self.arrive();
    }
    static void refuse(side_request& request) noexcept;
    void arrive() noexcept {
        scheduler* const on = m_context->scheduler;
        const std::coroutine_handle<> waiter = m_waiter;
        if (m_gate.fetch_sub(1, std::memory_order_acq_rel) == 1) on->post(waiter);
    }

    F& m_f;
    side_pool& m_pool;
    outcome<T> m_outcome;
    const task_context* m_context = nullptr;
    std::coroutine_handle<> m_waiter;
    std::atomic<int> m_gate{2};
    bool m_stopped = false;
    std::optional<stop_callback<on_stop>> m_on_stop;
};

/// What a request ends with that the closing pool refuses.
std::exception_ptr side_pool_closed() noexcept;

template <class F, class T>
void blocking_awaiter<F, T>::refuse(side_request& request) noexcept {
    auto& self = static_cast<blocking_awaiter&>(request);
    self.m_outcome.failure = side_pool_closed();
    self.arrive();
}

/// A reference stays one; what f returns by value or as an rvalue is kept by value.
template <class F>
using blocking_result = std::conditional_t<std::is_lvalue_reference_v<std::invoke_result_t<F&>>, std::invoke_result_t<F&>,
                                           std::remove_cvref_t<std::invoke_result_t<F&>>>;

/// `F` is a reference if the caller gave something named.
template <class F>
task<blocking_result<F>> run_blocking(F f, side_pool& on) {
    co_return co_await blocking_awaiter<std::remove_reference_t<F>, blocking_result<F>>(f, on);
}

}  // namespace detail

/// `std::string text = co_await blocking([] { return read_file(); })`: calls f on a thread of the process's side pool, and goes
/// on on its own scheduler with f's value or exception. For what would hold up a worker: files, DNS, locks of other
/// libraries, processes; also for what computes for long and should not compete with tasks.
///
/// The side pool has up to 64 threads, named "covey-block-0", …, started as they are needed; those without work for 5 s end. When
/// all are busy calls wait in line. So f must not wait for other calls of this kind, which may stand behind it. It may
/// wait for tasks, with sync_wait.
///
/// f cannot be interrupted: a stop request before f has started throws `stopped`, and f is never called; later ones are left
/// to f. At the end of the program (main has returned, or exit was called) calls in line are refused with errc::shut_down
/// and those that run are waited for: one that never ends keeps the program.
///
/// Throws errc::overloaded if the pool has no thread and the system gives it none, errc::no_peer if the awaiter has no
/// scheduler. A named f is used where it is and must outlive the await; a temporary is kept.
template <std::invocable F>
task<detail::blocking_result<F>> blocking(F&& f) {
    static_assert(!detail::is_task<std::remove_cvref_t<std::invoke_result_t<F&>>>,
                  "blocking runs ordinary functions: a task is awaited, and started elsewhere with starts_on");
    static_assert(detail::closure_survives<F>, "name this closure first: GCC 12 destroys it twice");
    return detail::run_blocking<F>(std::forward<F>(f), detail::side_pool::of_process());
}

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/sched/impl/blocking.ipp>
#endif
