// The pool: threads that run coroutines, steal from each other, and drive Asio when they have nothing better to do.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/sched/concurrency.hpp>

#include <memory>
#include <span>
#include <thread>

namespace asio {
class io_context;
}

namespace covey {

struct pool_options {
    /// Worker threads; 0: default_concurrency().
    unsigned threads = 0;
    /// Names the threads "name-0", "name-1", …; at most 11 characters are kept.
    const char* name = "covey";
    /// Where worker i is pinned: CPU `cpus[i % cpus.size()]`; empty: the kernel decides. Read by the constructor alone.
    std::span<const unsigned> cpus = {};
    /// A thread of its own waits for sockets and timers. By default idle workers do, and what becomes ready goes on on the
    /// thread that saw it; this is for programs whose workers compute for milliseconds without an await.
    bool io_thread = false;
};

/// A work-stealing scheduler with timers and a reactor. Every member is thread-safe. The destructor stops the workers; what
/// was not resumed by then never will be, so whoever posted work ends it first.
class pool final : public scheduler {
public:
    /// Throws errc::overloaded when the threads cannot be started, errc::bad_argument when they cannot be pinned.
    explicit pool(pool_options options = {});
    ~pool() override;
    pool(const pool&) = delete;
    pool& operator=(const pool&) = delete;

    void post(std::coroutine_handle<> work) noexcept override;
    void post_last(std::coroutine_handle<> work) noexcept override;
    bool post_after(std::coroutine_handle<> work) noexcept override;
    time_point now() const noexcept override;
    void arm(timer& t, time_point when) override;
    bool cancel(timer& t) noexcept override;
    std::uint64_t random() noexcept override;
    unsigned concurrency() const noexcept override;

    /// Asio's context, run by the idle workers. Handlers begin with `on_event`.
    asio::io_context& io() noexcept;
    /// Says that a handler is running on this thread: passes the baton on, so that somebody else waits for further events
    /// meanwhile.
    void on_event() noexcept;
    /// Sockets that may bring events; busy workers look at the reactor only while there are any.
    void add_io() noexcept;
    void remove_io() noexcept;

    /// Whether the calling thread is one of this pool's workers.
    bool on_worker() const noexcept;

private:
    struct state;

    void stop() noexcept;
    static void pin(std::thread& thread, unsigned cpu);

    std::unique_ptr<state> m_state;
};

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/sched/impl/pool.ipp>
#include <covey/sched/impl/pool_idle.ipp>
#endif
