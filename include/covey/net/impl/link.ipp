// The receiving half of a link, its time and its end.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/link.hpp>

#include <algorithm>

namespace covey::net {

namespace detail {

inline constexpr std::size_t goodbye_text_max = 512;
inline constexpr std::size_t link_step_bytes = std::size_t{1024} * 1024;  // at least so much of a large frame is made room for
inline constexpr std::size_t link_step_plain = 16384;                     // decrypted at a time: the largest TLS record

inline std::string milliseconds(duration d) {
    return covey::detail::concat({std::chrono::duration_cast<std::chrono::milliseconds>(d).count(), " ms"});
}

/// The text of an error of ours without the words for its code, which whoever shows it adds again.
inline std::string bare_text(const error& e) {
    const std::string prefix = covey::detail::concat({e.code().message(), ": "});
    const std::string_view what = e.what();
    return std::string(what.starts_with(prefix) ? what.substr(prefix.size()) : what);
}

}  // namespace detail

COVEY_INLINE link::link(environment& env, link_setup setup, std::unique_ptr<stream_socket> socket, std::shared_ptr<link_events> events)
    : m_env(env),
      m_workers(env.workers()),
      m_setup(std::move(setup)),
      m_socket(std::move(socket)),
      m_socket_remote(m_socket->remote()),
      m_events(std::move(events)) {
    if (m_setup.tls) {
        using role = tls_session::role;
        m_tls = std::make_unique<tls_session>(m_setup.tls, m_setup.initiated_by_us ? role::client : role::server);
        m_cipher.resize(m_setup.config.read_bytes);
    }
}

COVEY_INLINE link::~link() = default;

COVEY_INLINE void link::start() {
    {
        const std::lock_guard lock(m_mutex);
        const time_point now = m_env.now();
        m_last_heard.store(now.time_since_epoch().count(), std::memory_order_relaxed);
        m_handshake_deadline = after(now, m_setup.config.handshake_timeout);
        // Before the socket can call us, so that nothing overtakes it.
        if (!m_tls && m_state.load(std::memory_order_relaxed) == state::handshaking) append_hello();
        arm_timer();
    }
    m_socket->start(shared_from_this());
    lock_type lock(m_mutex);
    m_started = true;
    arm_timer();
    flush(std::move(lock));
}

COVEY_INLINE const hello& link::remote() const noexcept {
    static const hello nobody;
    return status() == state::handshaking ? nobody : m_remote;  // while it is one, another thread may be writing m_remote
}

COVEY_INLINE std::string link::description() const {
    const hello& r = remote();
    if (!r.id) return to_string(m_socket_remote);
    return covey::detail::concat(
        {"peer ", to_string(r.id), (r.name.empty() ? "" : covey::detail::concat({" (", r.name, ")"})), " at ", to_string(r.address)});
}

COVEY_INLINE link_statistics link::statistics() const {
    const std::lock_guard lock(m_mutex);
    const auto open = [](const count& calls, const count& answers) { return static_cast<std::int64_t>(calls.get() - answers.get()); };
    return {.frames_in = m_received.frames.get(),
            .frames_out = m_sent.frames.get(),
            .bytes_in = m_received.bytes.get(),
            .bytes_out = m_sent.bytes.get(),
            .bytes_waiting = waiting_bytes(),
            .calls_in = open(m_received.calls, m_sent.answers),
            .calls_out = open(m_sent.calls, m_received.answers),
            .work_frames = m_received.work_frames.get() + m_sent.work_frames.get()};
}

// ---- receiving

COVEY_INLINE std::span<std::byte> link::read_buffer() {
    const std::size_t ordinary = m_setup.config.read_bytes;
    std::size_t n = ordinary;
    const bool greeting = m_state.load(std::memory_order_relaxed) == state::handshaking;
    if (greeting) n = std::clamp<std::size_t>(m_setup.config.handshake_bytes_max - m_handshake_in, 1, n);
    if (m_tls) return {m_cipher.data(), std::min(n, m_cipher.size())};
    if (m_missing > n && !greeting) {
        // A large frame: room grows with what has arrived, so that a length alone makes nobody allocate.
        n = std::max(n, std::min(m_missing, std::max(m_in.size(), detail::link_step_bytes)));
    }
    return {m_in.prepare(n), n};
}

COVEY_INLINE void link::on_read(std::size_t n) {
    m_received.bytes.add(n);
    m_last_heard.store(m_env.now().time_since_epoch().count(), std::memory_order_relaxed);
    const state s = m_state.load(std::memory_order_acquire);
    if (s == state::closing || s == state::down) return;
    try {
        receive(n);
    } catch (const error& e) {
        const bool ours = e.code().category() == category();
        refuse(ours ? static_cast<errc>(e.code().value()) : errc::protocol_error, detail::bare_text(e));
    } catch (const std::exception& e) {
        refuse(errc::protocol_error, covey::detail::concat({"handling a frame failed: ", e.what()}));
    }
}

COVEY_INLINE void link::receive(std::size_t n) {
    const bool greeting = m_state.load(std::memory_order_relaxed) == state::handshaking;
    if (!m_tls) {
        m_in.commit(n);
    } else if (!decrypt(n)) {
        return;
    }
    parse();
    if (greeting) {
        m_handshake_in += n;
        if (m_handshake_in >= m_setup.config.handshake_bytes_max && m_state.load(std::memory_order_relaxed) == state::handshaking) {
            refuse(errc::protocol_error, covey::detail::concat({m_handshake_in, " bytes and still no hello"}));
        }
    }
}

/// False: the link is over.
COVEY_INLINE bool link::decrypt(std::size_t n) {
    lock_type lock(m_mutex);
    m_tls->feed({m_cipher.data(), n});
    if (m_tls->status() == tls_session::state::open && !m_hello_sent) append_hello();
    while (true) {
        const std::size_t room = detail::link_step_plain;
        const std::size_t got = m_tls->read({m_in.prepare(room), room});
        if (got == 0) break;
        m_in.commit(got);
    }
    const bool failed = m_tls->status() == tls_session::state::failed;
    if (failed || m_tls->has_output() || !m_out.empty()) flush(std::move(lock));  // a failed session's last output is the alert
    return !failed;
}

COVEY_INLINE void link::parse() {
    const bool greeting = m_state.load(std::memory_order_relaxed) == state::handshaking;
    if (greeting && !m_tls && m_in.size() >= 3) {
        // A TLS record (alert or handshake) read as a frame would be far over the limit of a hello, so this mistakes nobody.
        const auto first = static_cast<unsigned>(m_in.data()[0]);
        if ((first == 21 || first == 22) && m_in.data()[1] == std::byte{3} && m_in.data()[2] != std::byte{0}) {
            return refuse(errc::auth_failed, "the other side uses a cluster key and this peer has none; give both the same key file");
        }
    }
    m_missing = 0;
    while (m_in.size() >= wire::frame_header::bytes) {
        const state s = m_state.load(std::memory_order_acquire);
        if (s != state::handshaking && s != state::up) return;
        const wire::frame_header h = wire::load_frame_header(m_in.data());
        const std::uint32_t limit = s == state::up ? m_setup.config.body_bytes_max : static_cast<std::uint32_t>(hello::bytes_max);
        if (const char* fault = wire::fault(h, limit)) {
            const std::string what = s == state::up ? "a broken frame" : "the first bytes are not those of a covey peer";
            return refuse(errc::protocol_error, covey::detail::concat({what, ": ", fault, " (kind ", static_cast<unsigned>(h.kind),
                                                                       ", body of ", h.size, " bytes, limit ", limit, ")"}));
        }
        const std::size_t whole = wire::frame_header::bytes + h.size;
        if (m_in.size() < whole) {
            m_missing = whole - m_in.size();
            break;
        }
        m_received.frames.add(1);
        handle(h, m_in.view().subspan(wire::frame_header::bytes, h.size));
        m_in.consume(whole);
        if (whole > m_setup.config.read_bytes) m_small_reads = 0;
    }
    // A buffer that large frames made large is given back after a while without any.
    if (m_in.empty() && ++m_small_reads > 8) m_in.shrink(4 * m_setup.config.read_bytes);
}

COVEY_INLINE void link::handle(const wire::frame_header& h, bytes_view body) {
    using kind = wire::frame_kind;
    if (m_state.load(std::memory_order_relaxed) == state::handshaking) {
        if (h.kind == kind::hello) return handle_hello(body);
        if (h.kind == kind::goodbye) return handle_goodbye(body);
        return refuse(errc::protocol_error,
                      covey::detail::concat({"a frame of kind ", static_cast<unsigned>(h.kind), " before the hello"}));
    }
    switch (h.kind) {
        case kind::hello: return refuse(errc::protocol_error, "a second hello");
        case kind::goodbye: return handle_goodbye(body);
        case kind::pong: return;
        case kind::ping: {
            lock_type lock(m_mutex);
            // Whoever pings and does not read is not answered without bound.
            if (m_state.load(std::memory_order_relaxed) != state::up || waiting_bytes() > m_setup.config.send_high) return;
            append_frame(kind::pong, {});
            return flush(std::move(lock));
        }
        case kind::call: m_received.calls.add(1); break;
        case kind::reply:
        case kind::failure: m_received.answers.add(1); break;
        case kind::mesh:
        case kind::cancel: break;
    }
    m_received.work_frames.add(1);
    m_events->on_frame(*this, h, body);
}

COVEY_INLINE void link::handle_hello(bytes_view body) {
    hello theirs = decode_hello(body);
    if (const std::optional<refusal> no = check(m_setup.self, theirs, m_setup.expected)) return refuse(no->code, no->text);
    if (theirs.address.is_unspecified() && theirs.address.port != 0) theirs.address.address = m_socket_remote.address;
    {
        const std::lock_guard lock(m_mutex);
        if (m_state.load(std::memory_order_relaxed) != state::handshaking) return;
        m_remote = std::move(theirs);
        m_state.store(state::up, std::memory_order_release);
        arm_timer();
    }
    m_announced = true;
    m_events->on_link_up(shared_from_this());
}

COVEY_INLINE void link::handle_goodbye(bytes_view body) {
    byte_reader reader(body);
    const errc why = errc_from(reader.number<std::uint16_t>(), errc::link_lost);
    const std::string text = printable(reader.text(detail::goodbye_text_max), detail::goodbye_text_max);
    {
        const std::lock_guard lock(m_mutex);
        if (!begin_closing(why, covey::detail::concat({description(), " closed the link: ", text}))) return;
        m_socket_closed = true;
        release_waiters();
    }
    m_socket->close();
}

// ---- ending

/// With the mutex held. False: somebody else has begun already.
COVEY_INLINE bool link::begin_closing(errc why, std::string text) {
    const state s = m_state.load(std::memory_order_relaxed);
    if (s != state::handshaking && s != state::up) return false;
    m_why = why;
    m_text = std::move(text);
    m_state.store(state::closing, std::memory_order_release);
    m_goodbye_deadline = after(m_env.now(), m_setup.config.goodbye_timeout);
    arm_timer();
    return true;
}

COVEY_INLINE void link::close(errc why, const std::string& text) {
    lock_type lock(m_mutex);
    if (!begin_closing(why, text)) return;
    byte_buffer body;
    byte_writer writer(body);
    writer.number(static_cast<std::uint16_t>(why));
    writer.text(std::string_view(text).substr(0, detail::goodbye_text_max));
    append_frame(wire::frame_kind::goodbye, body);
    flush(std::move(lock));
}

COVEY_INLINE void link::abort(errc why, const std::string& text) {
    close(why, text);
    {
        const std::lock_guard lock(m_mutex);
        if (!m_started || m_socket_closed || m_state.load(std::memory_order_relaxed) == state::down) return;
        m_socket_closed = true;
    }
    m_socket->close();
}

/// Closes because of what the other side did. It is told the bare text; this side's reason also names it.
COVEY_INLINE void link::refuse(errc why, const std::string& text) {
    close(why, text);
    const std::lock_guard lock(m_mutex);
    if (m_text == text) m_text = covey::detail::concat({description(), ": ", text});
}

COVEY_INLINE void link::on_closed(std::error_code why) {
    const std::shared_ptr<link_events> events = std::move(m_events);
    std::shared_ptr<link> timer_self;
    std::error_code code;
    std::string text;
    {
        const std::lock_guard lock(m_mutex);
        const state before = m_state.load(std::memory_order_relaxed);
        if (before == state::handshaking || before == state::up) {
            const bool was_up = before == state::up;
            m_why = was_up ? errc::link_lost : errc::unreachable;
            m_text = covey::detail::concat(
                {description(), (why ? covey::detail::concat({": the connection broke: ", why.message()})
                                     : std::string(was_up ? " closed the connection without a goodbye; its process may have ended"
                                                          : " closed the connection during the handshake"))});
        }
        m_state.store(state::down, std::memory_order_release);
        m_socket_closed = true;
        if (!m_flushing) {
            m_out = byte_buffer();
            m_writing = byte_buffer();
        }
        release_waiters();
        if (m_timer_armed && m_env.cancel(m_timer)) {
            m_timer_armed = false;
            timer_self = std::move(m_timer_self);
        }
        code = m_why;
        text = m_text;
    }
    m_in = byte_buffer();
    if (!events) return;
    if (m_announced) {
        events->on_link_down(shared_from_this(), code, text);
    } else {
        events->on_link_failed(shared_from_this(), code, text);
    }
}

// ---- time

COVEY_INLINE time_point link::next_deadline() const noexcept {
    const time_point heard{duration(m_last_heard.load(std::memory_order_relaxed))};
    switch (m_state.load(std::memory_order_relaxed)) {
        case state::handshaking: return m_handshake_deadline;
        case state::up:
            return std::min(after(heard, patience() * m_setup.config.silence_max),
                            after(std::max(heard, m_last_ping), patience() * m_setup.config.ping_after));
        case state::closing: return m_socket_closed || !m_started ? never : m_goodbye_deadline;
        case state::down: break;
    }
    return never;
}

/// With the mutex held. A timer that fires too early looks again, so it is only ever moved forward.
COVEY_INLINE void link::arm_timer() {
    const time_point when = next_deadline();
    if (when == never) return;
    if (m_timer_armed) {
        if (m_timer_when <= when || !m_env.cancel(m_timer)) return;  // not cancelled: it is firing, and will arm itself again
    } else {
        m_timer_self = shared_from_this();
    }
    m_timer_armed = true;
    m_timer_when = when;
    m_env.arm(m_timer, when);
}

COVEY_INLINE void link::on_timer() noexcept {
    std::shared_ptr<link> self;
    std::optional<errc> lost;
    bool close_socket = false;
    std::string text;
    {
        lock_type lock(m_mutex);
        m_timer_armed = false;
        self = std::move(m_timer_self);
        const time_point now = m_env.now();
        const time_point heard{duration(m_last_heard.load(std::memory_order_relaxed))};
        const state s = m_state.load(std::memory_order_relaxed);
        if (now < next_deadline()) {
            arm_timer();
        } else if (s == state::handshaking) {
            lost = errc::unreachable;
            text = covey::detail::concat(
                {description(), " did not finish the handshake within ", detail::milliseconds(m_setup.config.handshake_timeout)});
        } else if (s == state::up && now >= after(heard, patience() * m_setup.config.silence_max)) {
            lost = errc::link_lost;
            text = covey::detail::concat(
                {description(), " has been silent for ", detail::milliseconds(patience() * m_setup.config.silence_max)});
        } else if (s == state::up) {
            m_last_ping = now;
            append_frame(wire::frame_kind::ping, {});
            arm_timer();
            flush(std::move(lock));
        } else if (s == state::closing && !m_socket_closed) {
            m_socket_closed = close_socket = true;
        }
    }
    if (lost) abort(*lost, text);
    if (close_socket) m_socket->close();
}

}  // namespace covey::net
