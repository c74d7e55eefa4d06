#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/asio_environment.hpp>
#include <covey/sched/blocking.hpp>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace covey {

namespace detail {

// Asio's sockets and timers bound to the context's own executor: its default one is type-erased, which costs an allocation
// here and there and, in a header, a second of compile time.
using asio_executor = asio::io_context::executor_type;
using asio_udp_socket = asio::basic_datagram_socket<asio::ip::udp, asio_executor>;
using asio_tcp_socket = asio::basic_stream_socket<asio::ip::tcp, asio_executor>;
using asio_tcp_acceptor = asio::basic_socket_acceptor<asio::ip::tcp, asio_executor>;
using asio_timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, asio_executor>;

template <class Protocol>
typename Protocol::endpoint to_asio(const endpoint& e) {
    if (e.is_v4()) {
        const asio::ip::address_v4::bytes_type four{e.address[12], e.address[13], e.address[14], e.address[15]};
        return {asio::ip::address_v4(four), e.port};
    }
    asio::ip::address_v6::bytes_type six;
    std::copy(e.address.begin(), e.address.end(), six.begin());
    return {asio::ip::address_v6(six), e.port};
}

template <class AsioEndpoint>
endpoint from_asio(const AsioEndpoint& e) {
    endpoint result;
    result.port = e.port();
    const auto six = e.address().is_v4() ? asio::ip::make_address_v6(asio::ip::v4_mapped, e.address().to_v4()).to_bytes()
                                         : e.address().to_v6().to_bytes();
    std::copy(six.begin(), six.end(), result.address.begin());
    return result;
}

/// As std::errc can be compared with: Asio's own category of system errors cannot.
inline std::error_code to_standard(const std::error_code& why) noexcept {
    return why.category() == asio::system_category() ? std::error_code(why.value(), std::generic_category()) : why;
}

[[noreturn]] inline void throw_bind_error(const std::error_code& asio_error, const endpoint& local) {
    const std::error_code why = to_standard(asio_error);
    const std::string where = to_string(local);
    if (why == std::errc::address_in_use) {
        throw error(errc::address_in_use, where + " is used by another process; choose another port, or 0 for any free one");
    }
    if (why == std::errc::address_not_available) {
        throw error(errc::bad_address, where + " is no address of this machine; bind to one of its own");
    }
    throw error(errc::bad_address, "cannot bind to " + where + ": " + why.message());
}

/// Sockets here are written to by plain system calls, from any thread; Asio waits for readiness and reads. The descriptor
/// is closed when the last pending operation has let go of the object, so no system call can hit a reused number.
/// `mutex` guards what Asio does not: starting an operation on one thread while another cancels.
class asio_datagram final : public std::enable_shared_from_this<asio_datagram> {
public:
    asio_datagram(pool& on, std::shared_ptr<datagram_handler> handler) : m_pool(on), m_socket(on.io()), m_handler(std::move(handler)) {}

    void open(const endpoint& local) {
        const auto where = to_asio<asio::ip::udp>(local);
        std::error_code why;
        static_cast<void>(m_socket.open(where.protocol(), why));
        if (!why) static_cast<void>(m_socket.bind(where, why));
        if (why) throw_bind_error(why, local);
        m_socket.non_blocking(true);
        m_local = from_asio(m_socket.local_endpoint());
        m_pool.add_io();
        receive();
    }
    void close() noexcept {
        const std::lock_guard lock(m_mutex);
        m_closed = true;
        std::error_code ignored;
        static_cast<void>(m_socket.cancel(ignored));
    }
    endpoint local() const { return m_local; }

    void send(const endpoint& to, bytes_view bytes) noexcept {
        const auto where = to_asio<asio::ip::udp>(to);
        static_cast<void>(::sendto(m_socket.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL, where.data(),
                                   static_cast<socklen_t>(where.size())));
    }

private:
    void receive() {
        const std::lock_guard lock(m_mutex);
        if (m_closed) {
            m_pool.remove_io();
            return;
        }
        m_socket.async_receive_from(asio::buffer(m_buffer), m_from, [self = shared_from_this()](const std::error_code& why, std::size_t n) {
            self->m_pool.on_event();
            bool open = false;
            {
                const std::lock_guard guard(self->m_mutex);
                open = !self->m_closed;
            }
            // Errors of an earlier send (an ICMP "port unreachable") surface here and concern nobody.
            if (open && !why) self->m_handler->on_datagram(from_asio(self->m_from), std::as_bytes(std::span(self->m_buffer)).first(n));
            self->receive();
        });
    }

    pool& m_pool;
    std::mutex m_mutex;
    bool m_closed = false;
    asio_udp_socket m_socket;
    std::shared_ptr<datagram_handler> m_handler;
    endpoint m_local;
    asio::ip::udp::endpoint m_from;
    std::array<char, 65536> m_buffer;
};

class asio_datagram_socket final : public datagram_socket {
public:
    explicit asio_datagram_socket(std::shared_ptr<asio_datagram> impl) noexcept : m_impl(std::move(impl)) {}
    ~asio_datagram_socket() override { m_impl->close(); }
    endpoint local() const override { return m_impl->local(); }
    void send(const endpoint& to, bytes_view bytes) noexcept override { m_impl->send(to, bytes); }

private:
    std::shared_ptr<asio_datagram> m_impl;
};

/// What the network loses is sent again at a steady pace instead of ever more seldom: on a bad one a call would hang for tens of
/// seconds. Kernels that know neither option double the pause up to two minutes.
inline void send_again_soon(int tcp_socket) noexcept {
    constexpr int thin_linear_timeouts = 16;  // TCP_THIN_LINEAR_TIMEOUTS, of Linux: while little is under way
    constexpr int rto_max_ms = 44;            // TCP_RTO_MAX_MS, of Linux 6.15
    const int on = 1;
    // With this the kernel gives a connection up after 27 s; link_config::silence_max is shorter.
    const int longest_ms = 2000;
    static_cast<void>(::setsockopt(tcp_socket, IPPROTO_TCP, thin_linear_timeouts, &on, sizeof on));
    static_cast<void>(::setsockopt(tcp_socket, IPPROTO_TCP, rto_max_ms, &longest_ms, sizeof longest_ms));
}

class asio_stream final : public std::enable_shared_from_this<asio_stream> {
public:
    asio_stream(pool& on, asio_tcp_socket socket) : m_pool(on), m_socket(std::move(socket)) {
        std::error_code ignored;
        static_cast<void>(m_socket.set_option(asio::ip::tcp::no_delay(true), ignored));
        send_again_soon(m_socket.native_handle());
        static_cast<void>(m_socket.non_blocking(true, ignored));
        const auto local = m_socket.local_endpoint(ignored);
        const auto remote = m_socket.remote_endpoint(ignored);
        m_local = from_asio(local);
        m_remote = from_asio(remote);
    }

    void start(std::shared_ptr<stream_handler> handler) {
        bool missed = false;
        {
            const std::lock_guard lock(m_mutex);
            m_handler = std::move(handler);
            missed = std::exchange(m_missed, false);
        }
        m_pool.add_io();
        if (missed) wait_writable();
        read();
    }

    std::size_t write_some(bytes_view bytes) noexcept {
        std::size_t written = 0;
        while (written < bytes.size()) {
            const ssize_t n = ::send(m_socket.native_handle(), bytes.data() + written, bytes.size() - written, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n >= 0) {
                written += static_cast<std::size_t>(n);
            } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
                wait_writable();
                break;
            } else if (errno != EINTR) {
                close();  // the reader reports it
                return bytes.size();
            }
        }
        return written;
    }

    void close() noexcept {
        const std::lock_guard lock(m_mutex);
        if (std::exchange(m_closed, true)) return;
        std::error_code ignored;
        static_cast<void>(m_socket.shutdown(asio::socket_base::shutdown_both, ignored));
        static_cast<void>(m_socket.cancel(ignored));
    }
    endpoint local() const noexcept { return m_local; }
    endpoint remote() const noexcept { return m_remote; }

private:
    void read() {
        const std::span<std::byte> into = m_handler->read_buffer();
        std::unique_lock lock(m_mutex);
        if (m_closed) {
            lock.unlock();
            finish({});
            return;
        }
        m_socket.async_read_some(
            asio::buffer(into.data(), into.size()), [self = shared_from_this()](const std::error_code& why, std::size_t n) {
                self->m_pool.on_event();
                if (why) {
                    self->finish(why == asio::error::eof || why == asio::error::operation_aborted ? std::error_code{} : to_standard(why));
                } else {
                    self->m_handler->on_read(n);
                    self->read();
                }
            });
    }

    void wait_writable() noexcept {
        const std::lock_guard lock(m_mutex);
        if (m_closed || std::exchange(m_waiting, true)) return;
        m_socket.async_wait(asio::socket_base::wait_write, [self = shared_from_this()](const std::error_code& why) {
            self->m_pool.on_event();
            std::shared_ptr<stream_handler> handler;
            {
                const std::lock_guard guard(self->m_mutex);
                self->m_waiting = false;
                handler = self->m_handler;
                if (!handler) self->m_missed = true;  // start() asks again
            }
            if (!why && handler) handler->on_writable();
        });
    }

    void finish(const std::error_code& why) {
        close();
        std::shared_ptr<stream_handler> handler;
        {
            const std::lock_guard lock(m_mutex);
            handler = std::exchange(m_handler, nullptr);
        }
        m_pool.remove_io();
        handler->on_closed(why);
    }

    pool& m_pool;
    std::mutex m_mutex;
    bool m_closed = false;
    bool m_waiting = false;
    bool m_missed = false;  // there was room, and no handler yet to tell it to
    asio_tcp_socket m_socket;
    std::shared_ptr<stream_handler> m_handler;
    endpoint m_local;
    endpoint m_remote;
};

class asio_stream_socket final : public stream_socket {
public:
    explicit asio_stream_socket(std::shared_ptr<asio_stream> impl) noexcept : m_impl(std::move(impl)) {}
    ~asio_stream_socket() override { m_impl->close(); }
    void start(std::shared_ptr<stream_handler> handler) override { m_impl->start(std::move(handler)); }
    std::size_t write_some(bytes_view bytes) noexcept override { return m_impl->write_some(bytes); }
    void close() noexcept override { m_impl->close(); }
    endpoint local() const override { return m_impl->local(); }
    endpoint remote() const override { return m_impl->remote(); }

private:
    std::shared_ptr<asio_stream> m_impl;
};

class asio_acceptor final : public std::enable_shared_from_this<asio_acceptor> {
public:
    asio_acceptor(pool& on, accept_callback accepted)
        : m_pool(on), m_acceptor(on.io()), m_retry(on.io()), m_accepted(std::move(accepted)) {}

    void open(const endpoint& local) {
        const auto where = to_asio<asio::ip::tcp>(local);
        std::error_code why;
        static_cast<void>(m_acceptor.open(where.protocol(), why));
        if (!why) static_cast<void>(m_acceptor.set_option(asio::socket_base::reuse_address(true), why));
        if (!why) static_cast<void>(m_acceptor.bind(where, why));
        if (!why) static_cast<void>(m_acceptor.listen(asio::socket_base::max_listen_connections, why));
        if (why) throw_bind_error(why, local);
        m_local = from_asio(m_acceptor.local_endpoint());
        m_pool.add_io();
        accept();
    }
    void close() noexcept {
        const std::lock_guard lock(m_mutex);
        m_closed = true;
        std::error_code ignored;
        static_cast<void>(m_acceptor.close(ignored));  // at once: nobody else connects, and the port is free
        static_cast<void>(m_retry.cancel());
    }
    endpoint local() const noexcept { return m_local; }

private:
    void accept() {
        const std::lock_guard lock(m_mutex);
        if (m_closed) {
            m_pool.remove_io();
            return;
        }
        m_acceptor.async_accept([self = shared_from_this()](const std::error_code& why, asio_tcp_socket socket) {
            self->m_pool.on_event();
            bool closed = false;
            {
                const std::lock_guard guard(self->m_mutex);
                closed = self->m_closed;
            }
            if (closed) {
                self->accept();  // ends it
            } else if (!why) {
                self->m_accepted(std::make_unique<asio_stream_socket>(std::make_shared<asio_stream>(self->m_pool, std::move(socket))));
                self->accept();
            } else {
                self->accept_later();
            }
        });
    }
    /// After an error such as "too many open files", which would only repeat at once.
    void accept_later() {
        const std::lock_guard lock(m_mutex);
        m_retry.expires_after(m_closed ? std::chrono::milliseconds(0) : std::chrono::milliseconds(100));
        m_retry.async_wait([self = shared_from_this()](const std::error_code&) {
            self->m_pool.on_event();
            self->accept();
        });
    }

    pool& m_pool;
    std::mutex m_mutex;
    bool m_closed = false;
    asio_tcp_acceptor m_acceptor;
    asio_timer m_retry;
    accept_callback m_accepted;
    endpoint m_local;
};

class asio_listener final : public stream_listener {
public:
    explicit asio_listener(std::shared_ptr<asio_acceptor> impl) noexcept : m_impl(std::move(impl)) {}
    ~asio_listener() override { m_impl->close(); }
    endpoint local() const override { return m_impl->local(); }

private:
    std::shared_ptr<asio_acceptor> m_impl;
};

/// One attempt to connect: the socket and the timer race, the first to come reports.
class asio_connector final : public std::enable_shared_from_this<asio_connector> {
public:
    asio_connector(pool& on, connect_callback done) : m_pool(on), m_socket(on.io()), m_limit(on.io()), m_done(std::move(done)) {}

    void start(const endpoint& to, duration timeout) {
        m_pool.add_io();
        const std::lock_guard lock(m_mutex);
        m_limit.expires_after(timeout);
        m_limit.async_wait([self = shared_from_this()](const std::error_code& why) {
            self->m_pool.on_event();
            if (why) return;
            const std::lock_guard guard(self->m_mutex);
            if (self->m_decided) return;
            self->m_timed_out = true;
            std::error_code ignored;
            static_cast<void>(self->m_socket.close(ignored));  // fails the connect, which reports
        });
        m_socket.async_connect(to_asio<asio::ip::tcp>(to), [self = shared_from_this()](const std::error_code& why) {
            self->m_pool.on_event();
            self->connected(why);
        });
    }

private:
    void connected(std::error_code why) {
        {
            const std::lock_guard lock(m_mutex);
            m_decided = true;
            static_cast<void>(m_limit.cancel());
            if (m_timed_out) why = std::make_error_code(std::errc::timed_out);
        }
        m_pool.remove_io();
        if (why) {
            m_done(nullptr, to_standard(why));
        } else {
            m_done(std::make_unique<asio_stream_socket>(std::make_shared<asio_stream>(m_pool, std::move(m_socket))), {});
        }
        m_done = nullptr;
    }

    pool& m_pool;
    std::mutex m_mutex;
    bool m_decided = false;
    bool m_timed_out = false;
    asio_tcp_socket m_socket;
    asio_timer m_limit;
    connect_callback m_done;
};

}  // namespace detail

COVEY_INLINE asio_environment::asio_environment(pool& on) noexcept : m_pool(on) {
    if (const char* text = std::getenv("COVEY_LOG")) {
        const std::string_view level = text;
        if (level == "debug") m_log_from = log_level::debug;
        if (level == "info") m_log_from = log_level::info;
        if (level == "error") m_log_from = log_level::error;
    }
}

COVEY_INLINE std::unique_ptr<datagram_socket> asio_environment::open_datagram(const endpoint& local,
                                                                              std::shared_ptr<datagram_handler> handler) {
    auto impl = std::make_shared<detail::asio_datagram>(m_pool, std::move(handler));
    impl->open(local);
    return std::make_unique<detail::asio_datagram_socket>(std::move(impl));
}

COVEY_INLINE std::unique_ptr<stream_listener> asio_environment::listen(const endpoint& local, accept_callback accepted) {
    auto impl = std::make_shared<detail::asio_acceptor>(m_pool, std::move(accepted));
    impl->open(local);
    return std::make_unique<detail::asio_listener>(std::move(impl));
}

COVEY_INLINE void asio_environment::connect(const endpoint& to, duration timeout, connect_callback done) {
    std::make_shared<detail::asio_connector>(m_pool, std::move(done))->start(to, timeout);
}

namespace detail {

/// Blocks. Either gives addresses or says why there are none.
inline std::vector<endpoint> addresses_of(std::string_view host_and_port, std::string& why) {
    const std::size_t colon = host_and_port.rfind(':');
    if (colon == std::string_view::npos) return {endpoint::parse(host_and_port)};  // throws with the right words
    std::string host(host_and_port.substr(0, colon));
    const std::string port(host_and_port.substr(colon + 1));
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int failure = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
    if (failure != 0) {
        why = concat({"\"", host_and_port, "\" cannot be resolved: ", gai_strerror(failure)});
        return {};
    }
    std::vector<endpoint> result;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
        asio::ip::tcp::endpoint e;
        if (a->ai_addrlen > e.capacity()) continue;
        std::memcpy(e.data(), a->ai_addr, a->ai_addrlen);
        e.resize(a->ai_addrlen);
        result.push_back(detail::from_asio(e));
    }
    freeaddrinfo(found);
    if (result.empty()) why = concat({"\"", host_and_port, "\" has no address"});
    return result;
}

/// Owns itself until it has run.
class look_up_request final : public side_request {
public:
    look_up_request(std::string what, look_up_callback done)
        : side_request(&look_up_request::run, &look_up_request::refuse), m_what(std::move(what)), m_done(std::move(done)) {}

    void end(std::vector<endpoint> found, std::string why) noexcept {
        const std::unique_ptr<look_up_request> self(this);
        m_done(std::move(found), std::move(why));
    }

private:
    static void run(side_request& r) noexcept {
        auto& self = static_cast<look_up_request&>(r);
        std::vector<endpoint> found;
        std::string why;
        try {
            found = addresses_of(self.m_what, why);
        } catch (const std::exception& e) {
            why = e.what();
        }
        self.end(std::move(found), std::move(why));
    }
    static void refuse(side_request& r) noexcept { static_cast<look_up_request&>(r).end({}, "the program is ending"); }

    std::string m_what;
    look_up_callback m_done;
};

}  // namespace detail

COVEY_INLINE std::vector<endpoint> asio_environment::resolve(std::string_view host_and_port) {
    std::string why;
    std::vector<endpoint> found = detail::addresses_of(host_and_port, why);
    if (found.empty()) throw error(errc::bad_address, detail::concat({why, "; write address:port or host:port"}));
    return found;
}

COVEY_INLINE void asio_environment::look_up(std::string host_and_port, look_up_callback done) {
    auto request = std::make_unique<detail::look_up_request>(std::move(host_and_port), std::move(done));
    try {
        detail::side_pool::of_process().submit(*request);
        static_cast<void>(request.release());  // it may be gone already
    } catch (const std::exception& e) {
        request.release()->end({}, e.what());
    }
}

COVEY_INLINE void asio_environment::log(log_level level, std::string_view line) noexcept {
    if (level < m_log_from) return;
    static constexpr const char* names[] = {"debug", "info", "warning", "error"};
    std::fprintf(stderr, "covey: %s: %s%.*s\n", names[static_cast<int>(level)], m_log_prefix.c_str(), static_cast<int>(line.size()),
                 line.data());
}

}  // namespace covey
