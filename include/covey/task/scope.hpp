// scope: tasks that run beside the coroutine that started them, and are awaited before it ends.
#pragma once

#include <covey/core/error.hpp>
#include <covey/task/future.hpp>
#include <covey/task/task.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>

namespace covey {

/// `scope s; s.spawn(f()); … co_await s.join();` Spawned tasks start at once, on the spawner's scheduler, with its peer
/// and deadline and the scope's own stop token, which follows the spawner's. The first exception among them requests a
/// stop of the others and is rethrown by join(). Destroying a scope whose tasks were not joined ends the program with a
/// message: nothing runs unseen. spawn and request_stop are thread-safe; join is called once, when nothing more is
/// spawned but by the scope's own tasks.
class scope {
public:
    /// Binds to the running coroutine at the first spawn.
    scope() noexcept = default;
    /// Binds to a scheduler, for use outside of coroutines.
    explicit scope(scheduler& on) {
        task_context context;
        context.scheduler = &on;
        bind(context);
    }
    /// Binds to a context, whose stop token must outlive the scope.
    explicit scope(const task_context& context) { bind(context); }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
    ~scope() {
        if (m_state && m_state->left.load(std::memory_order_acquire) > 1) {
            std::fputs("covey: a scope was destroyed while its tasks were running; co_await scope.join() first\n", stderr);
            std::abort();
        }
    }

    /// Starts a task. Its value, if it has one, is dropped. Throws errc::no_peer when there is no scheduler to run on.
    template <class T>
    void spawn(task<T> t) {
        state& s = bound();
        s.left.fetch_add(1, std::memory_order_relaxed);
        spawned child = run(s, std::move(t));
        s.context.scheduler->post(child.handle);
    }

    /// Starts a task and gives a future for its value. An exception goes to the future instead of the scope.
    template <class T>
    future<T> spawn_future(task<T> t) {
        state& s = bound();
        auto [value, delivery] = make_future<T>(s.context);
        spawn(std::move(delivery)(std::move(t)));
        return std::move(value);
    }

    /// Asks all tasks to stop, those spawned later included.
    void request_stop() noexcept {
        if (m_state) m_state->stop.request_stop();
    }
    /// The scope's own token; empty before the scope is bound.
    stop_token get_stop_token() noexcept { return m_state ? m_state->stop.get_token() : stop_token{}; }

private:
    struct state {
        explicit state(const task_context& parent) : stop(parent.stop), context(parent) { context.stop = stop.get_token(); }

        /// Returns what goes on now: join(), after the last on a worker of the joiner's scheduler.
        std::coroutine_handle<> done() noexcept {
            // The last to leave finds join() waiting, which keeps this state alive; the others touch nothing any more.
            if (left.fetch_sub(1, std::memory_order_acq_rel) != 1) return std::noop_coroutine();
            const detail::local_queue* const queue = detail::this_thread_state().queue;
            if (queue != nullptr && queue->owner == join_on) return transfer(joiner);
            join_on->post(joiner);
            return std::noop_coroutine();
        }
        void failed(std::exception_ptr e) noexcept {
            {
                const std::lock_guard lock(mutex);
                if (!first_failure) first_failure = std::move(e);
            }
            stop.request_stop();
        }

        stop_source stop;
        task_context context;
        std::atomic<std::size_t> left{1};  // tasks, and one for join() still to come
        std::coroutine_handle<> joiner;
        covey::scheduler* join_on = nullptr;  // the joiner's own, which need not be that of the tasks
        std::mutex mutex;
        std::exception_ptr first_failure;
    };

    /// The coroutine around a spawned task: owns it, destroys itself at its end.
    struct spawned {
        struct promise_type : detail::recycled_frame {
            template <class... Args>
            explicit promise_type(state& s, Args&...) noexcept : m_state(s) {}
            const task_context& context() const noexcept { return m_state.context; }
            std::uint32_t inherited_flags() const noexcept { return 0; }
            spawned get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
            std::suspend_always initial_suspend() const noexcept { return {}; }
            struct final_awaiter {
                bool await_ready() const noexcept { return false; }
                COVEY_NOINLINE std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) noexcept {
                    state& s = self.promise().m_state;
                    self.destroy();
                    return s.done();
                }
                void await_resume() const noexcept {}
            };
            final_awaiter final_suspend() const noexcept { return {}; }
            void return_void() const noexcept {}
            void unhandled_exception() const noexcept { m_state.failed(std::current_exception()); }
            state& m_state;
        };
        std::coroutine_handle<promise_type> handle;
    };

    template <class T>
    static spawned run(state& s, task<T> t) {
        try {
            static_cast<void>(co_await std::move(t));
        } catch (const stopped&) {
            // Asked to stop, and did.
        }
        static_cast<void>(s);
    }

    void bind(const task_context& context) { m_state.emplace(context); }
    state& bound() {
        if (!m_state) {
            const task_context* running = detail::running_context();
            if (running == nullptr || running->scheduler == nullptr) {
                throw error(errc::no_peer, "a scope outside of a coroutine needs a scheduler: scope s{pool}");
            }
            bind(*running);
        }
        return *m_state;
    }

    struct join_awaiter {
        state* m_state;
        const task_context* m_parent = nullptr;

        bool await_ready() const noexcept { return m_state == nullptr; }
        template <class Promise>
        COVEY_NOINLINE bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
            m_parent = &detail::context_of(self);
            m_state->joiner = self;
            m_state->join_on = m_parent->scheduler != nullptr ? m_parent->scheduler : m_state->context.scheduler;
            return m_state->left.fetch_sub(1, std::memory_order_acq_rel) != 1;
        }
        void await_resume() const {
            if (m_state == nullptr) return;
            m_parent->enter();
            m_state->left.store(1, std::memory_order_relaxed);  // it may be used and joined again
            if (std::exception_ptr e = std::exchange(m_state->first_failure, nullptr)) std::rethrow_exception(e);
        }
    };

    std::optional<state> m_state;

public:
    /// Waits for all tasks; rethrows the first exception that one of them ended with. Does not ask them to stop.
    join_awaiter join() noexcept { return {m_state ? &*m_state : nullptr}; }
};

}  // namespace covey
