// The real environment: a pool's threads, Asio's sockets, the system's clock.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/sched/pool.hpp>

namespace covey {

/// `environment` over a pool, which must outlive it and all its sockets. Log lines go to standard error, from the level
/// on that COVEY_LOG names (debug, info, warning, error; default: warning).
class asio_environment final : public environment {
public:
    explicit asio_environment(pool& on) noexcept;

    scheduler& workers() noexcept override { return m_pool; }
    void post(std::coroutine_handle<> work) noexcept override { m_pool.post(work); }
    void post_last(std::coroutine_handle<> work) noexcept override { m_pool.post_last(work); }
    bool post_after(std::coroutine_handle<> work) noexcept override { return m_pool.post_after(work); }
    time_point now() const noexcept override { return m_pool.now(); }
    void arm(timer& t, time_point when) override { m_pool.arm(t, when); }
    bool cancel(timer& t) noexcept override { return m_pool.cancel(t); }
    std::uint64_t random() noexcept override { return m_pool.random(); }
    unsigned concurrency() const noexcept override { return m_pool.concurrency(); }

    std::unique_ptr<datagram_socket> open_datagram(const endpoint& local, std::shared_ptr<datagram_handler> handler) override;
    std::unique_ptr<stream_listener> listen(const endpoint& local, accept_callback accepted) override;
    void connect(const endpoint& to, duration timeout, connect_callback done) override;
    std::vector<endpoint> resolve(std::string_view host_and_port) override;
    /// On the side pool of the process (sched/blocking.hpp).
    void look_up(std::string host_and_port, look_up_callback done) override;
    void log(log_level level, std::string_view line) noexcept override;

    /// Puts `prefix` before each log line, to tell processes apart.
    void set_log_prefix(std::string prefix) { m_log_prefix = std::move(prefix); }

private:
    pool& m_pool;
    log_level m_log_from = log_level::warning;
    std::string m_log_prefix;
};

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/net/impl/asio_environment.ipp>
#endif
