// The seam: all that is not deterministic reaches the library through these interfaces. There is a real implementation
// (a thread pool and Asio) and a simulated one (one thread, a virtual clock, a seeded network); whole peers run on either.
#pragma once

#include <covey/core/endpoint.hpp>
#include <covey/core/function.hpp>
#include <covey/core/time.hpp>

#include <coroutine>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace covey {

/// A timer that a scheduler keeps while it is armed. It lives in its owner (a coroutine frame, a driver) and must not
/// be moved or destroyed between `arm` and either its firing or a `cancel` that returned true.
class timer {
public:
    /// Called once, on a thread of the scheduler, with no lock held. It must not block; it may destroy the timer.
    using callback = void (*)(timer&) noexcept;

    explicit timer(callback on_fire) noexcept : m_fire(on_fire) {}
    timer(const timer&) = delete;
    timer& operator=(const timer&) = delete;

    void fire() noexcept { m_fire(*this); }

    /// For schedulers only: where the timer stands in their queue.
    struct queue_slot {
        time_point when{};
        std::uint64_t order = 0;
        std::size_t index = 0;  // one-based; 0: not armed
    } slot;

private:
    callback m_fire;
};

/// Runs coroutines and timers. Thread-safe: every member may be called from any thread.
class scheduler {
public:
    virtual ~scheduler() = default;

    /// Resumes `work` soon, on a thread of this scheduler and never inside this call. Whatever starts with a resume
    /// pointer, as coroutine frames do, can be scheduled (see task/work.hpp).
    virtual void post(std::coroutine_handle<> work) noexcept = 0;
    /// The same, but after everything that is waiting now: for giving way. `post` may prefer what is newest.
    virtual void post_last(std::coroutine_handle<> work) noexcept { post(work); }
    /// For work that serves whatever is done until then, such as sending what several coroutines have put in a buffer. True: the
    /// calling thread has other work to run, and resumes this one afterwards, or between two of them some 20 us later; when one
    /// of them takes milliseconds, another thread does if there is one. It is resumed also when the scheduler ends meanwhile.
    /// False: there is nothing to wait for, so the caller does it at once.
    virtual bool post_after(std::coroutine_handle<>) noexcept { return false; }

    virtual time_point now() const noexcept = 0;

    /// Fires `t` at `when` or soon after. Precondition: t is not armed.
    virtual void arm(timer& t, time_point when) = 0;
    /// True: t was armed and will never fire. False: it has fired, is firing on another thread, or was not armed.
    virtual bool cancel(timer& t) noexcept = 0;

    /// 64 random bits; deterministic where the scheduler is.
    virtual std::uint64_t random() noexcept = 0;

    /// How many coroutines can run at the same moment.
    virtual unsigned concurrency() const noexcept = 0;
};

/// Receives datagrams. Calls are serialised per socket.
class datagram_handler {
public:
    virtual ~datagram_handler() = default;
    virtual void on_datagram(const endpoint& from, bytes_view bytes) = 0;
};

/// A bound datagram socket. Destroying it closes it; a callback already running on another thread may still finish.
class datagram_socket {
public:
    virtual ~datagram_socket() = default;
    virtual endpoint local() const = 0;
    /// Best effort, never blocks: what the kernel does not take is lost, as the network may lose it.
    virtual void send(const endpoint& to, bytes_view bytes) noexcept = 0;
};

/// Receives the bytes of one stream. `read_buffer`, `on_read` and `on_closed` are serialised; `on_writable` may run
/// beside them on another thread.
class stream_handler {
public:
    virtual ~stream_handler() = default;
    /// Where the next bytes go: not empty, valid until the following `on_read` or `on_closed`.
    virtual std::span<std::byte> read_buffer() = 0;
    virtual void on_read(std::size_t n) = 0;
    /// After a short `write_some`: there is room again. Spurious calls are allowed.
    virtual void on_writable() = 0;
    /// The last call. No error: the other side closed in order.
    virtual void on_closed(std::error_code why) = 0;
};

/// A connected, ordered, reliable stream of bytes. Destroying it closes it.
class stream_socket {
public:
    virtual ~stream_socket() = default;
    /// Begins reading. The handler is kept alive until its `on_closed` has returned. Call once.
    virtual void start(std::shared_ptr<stream_handler> handler) = 0;
    /// Writes what fits without blocking and returns how much that was. After less than all, `on_writable` follows.
    /// Errors are not reported here but by `on_closed`. One caller at a time.
    virtual std::size_t write_some(bytes_view bytes) noexcept = 0;
    /// Idempotent, from any thread. `on_closed` follows unless it was already called or `start` was not.
    virtual void close() noexcept = 0;
    virtual endpoint local() const = 0;
    virtual endpoint remote() const = 0;
};

/// A listening socket. Destroying it stops listening.
class stream_listener {
public:
    virtual ~stream_listener() = default;
    virtual endpoint local() const = 0;
};

using accept_callback = unique_function<void(std::unique_ptr<stream_socket>)>;
using connect_callback = unique_function<void(std::unique_ptr<stream_socket>, std::error_code)>;

using look_up_callback = unique_function<void(std::vector<endpoint>, std::string)>;

enum class log_level { debug, info, warning, error };

/// A scheduler with a network. What throws, throws `covey::error`.
class environment : public scheduler {
public:
    /// What coroutines are to run on: this, or the scheduler that all its scheduling is passed on to, which saves the way here.
    virtual scheduler& workers() noexcept { return *this; }
    /// Binds; port 0 picks a free one. Throws errc::address_in_use or errc::bad_address.
    virtual std::unique_ptr<datagram_socket> open_datagram(const endpoint& local, std::shared_ptr<datagram_handler> handler) = 0;
    /// Listens; as above. `accepted` is called on a thread of the scheduler, one call at a time.
    virtual std::unique_ptr<stream_listener> listen(const endpoint& local, accept_callback accepted) = 0;
    /// Connects; `done` is called exactly once, never inside this call, with a socket or an error. After `timeout` the
    /// error is std::errc::timed_out.
    virtual void connect(const endpoint& to, duration timeout, connect_callback done) = 0;
    /// Addresses of "host:port". May block (a DNS look-up): for start-up only. Throws errc::bad_address.
    virtual std::vector<endpoint> resolve(std::string_view host_and_port) = 0;
    /// The same at any time: `done` is called exactly once, on any thread, perhaps inside this call; with addresses, or with none
    /// and one line that says why. As written here it is for environments whose `resolve` does not block.
    virtual void look_up(std::string host_and_port, look_up_callback done) {
        std::vector<endpoint> found;
        std::string why;
        try {
            found = resolve(host_and_port);
        } catch (const error& e) {
            why = e.what();
        }
        done(std::move(found), std::move(why));
    }
    /// One line for a person; the environment decides where it goes and from which level on.
    virtual void log(log_level level, std::string_view line) noexcept = 0;
};

}  // namespace covey
