// The sending half of a link.
#pragma once

#include <covey/core/detail/concat.hpp>
#include <covey/net/link.hpp>

#include <algorithm>

namespace covey::net {

namespace detail {

inline constexpr std::size_t link_encrypt_bytes = std::size_t{256} * 1024;  // encrypted at a time, with the mutex held
inline constexpr std::size_t link_gather_bytes = std::size_t{16} * 1024;    // so many are not held back for more to come
inline constexpr std::size_t link_keep_bytes = std::size_t{1024} * 1024;    // capacity that an empty outgoing buffer keeps

}  // namespace detail

COVEY_INLINE std::size_t link::begin_frame(const wire::frame_header& h) {
    const state s = m_state.load(std::memory_order_relaxed);
    if (s != state::up) {
        if (s == state::handshaking) throw error(errc::link_lost, covey::detail::concat({"the link to ", description(), " is not up yet"}));
        throw error(m_why, covey::detail::concat({"the link is closed: ", m_text}), peer());
    }
    const bool may_be_refused = h.kind == wire::frame_kind::call || h.kind == wire::frame_kind::mesh;
    if (may_be_refused && waiting_bytes() > m_setup.config.send_max) {
        throw error(errc::overloaded,
                    covey::detail::concat({waiting_bytes(), " bytes wait to be sent to ", description(), "; send_max is ",
                                           m_setup.config.send_max, ": send less at a time, or wait until the link is writable"}),
                    peer());
    }
    const std::size_t start = m_out.size();
    m_out.prepare(wire::frame_header::bytes);
    m_out.commit(wire::frame_header::bytes);
    return start;
}

COVEY_INLINE void link::end_frame(lock_type lock, wire::frame_header h, std::size_t start) {
    const std::size_t size = m_out.size() - start - wire::frame_header::bytes;
    if (size > m_remote.body_bytes_max) {
        m_out.truncate(start);
        throw error(errc::message_too_large,
                    covey::detail::concat({"a message of ", size, " bytes to ", description(), ", which takes at most ",
                                           m_remote.body_bytes_max, "; split it, or raise body_bytes_max there"}),
                    peer());
    }
    h.size = static_cast<std::uint32_t>(size);
    wire::store(h, m_out.data() + start);
    m_sent.frames.add(1);
    m_sent.work_frames.add(1);
    if (h.kind == wire::frame_kind::call) m_sent.calls.add(1);
    if (h.kind == wire::frame_kind::reply || h.kind == wire::frame_kind::failure) m_sent.answers.add(1);
    m_waiting.store(waiting_bytes(), std::memory_order_relaxed);
    flush_after_others(std::move(lock));
}

COVEY_INLINE void link::append_frame(wire::frame_kind kind, bytes_view body) {
    wire::frame_header h;
    h.kind = kind;
    h.size = static_cast<std::uint32_t>(body.size());
    wire::store(h, m_out.prepare(wire::frame_header::bytes));
    m_out.commit(wire::frame_header::bytes);
    m_out.append(body);
    m_sent.frames.add(1);
}

COVEY_INLINE void link::append_hello() {
    byte_buffer body;
    encode(m_setup.self, body);
    append_frame(wire::frame_kind::hello, body);
    m_hello_sent = true;
}

/// Moves bytes from the outgoing buffer to the writer's, which is empty. False: there are none.
COVEY_INLINE bool link::fill_writing() {
    m_writing.shrink(detail::link_keep_bytes);
    if (!m_tls) {
        m_writing.swap(m_out);
        return !m_writing.empty();
    }
    if (m_tls->status() == tls_session::state::open && !m_out.empty()) {
        const std::size_t n = std::min(m_out.size(), detail::link_encrypt_bytes);
        m_tls->write(m_out.view().first(n));
        m_out.consume(n);
        m_out.shrink(detail::link_keep_bytes);
    }
    m_tls->take(m_writing);
    return !m_writing.empty();
}

/// Nothing is left that could be sent.
COVEY_INLINE bool link::drained() const noexcept {
    if (!m_writing.empty()) return false;
    if (!m_tls) return m_out.empty();
    return !m_tls->has_output() && (m_out.empty() || m_tls->status() != tls_session::state::open);
}

/// Writes until all is written or the socket is full. The mutex is free while the socket is being written, so other threads
/// append to m_out meanwhile, and find what they appended sent by this thread.
COVEY_INLINE void link::write_out(lock_type& lock) {
    if (!m_started || m_flushing || m_blocked) return;
    m_flushing = true;
    while (!m_socket_closed && (!m_writing.empty() || fill_writing())) {
        m_room_again = false;
        lock.unlock();
        const std::size_t n = m_socket->write_some(m_writing.view());
        lock.lock();
        m_sent.bytes.add(n);
        m_writing.consume(n);
        release_waiters();
        if (!m_writing.empty() && !m_room_again) {
            m_blocked = true;
            break;
        }
    }
    m_flushing = false;
}

COVEY_INLINE void link::release_waiters() noexcept {
    m_waiting.store(waiting_bytes(), std::memory_order_relaxed);
    if (m_waiters.empty()) return;
    if (m_state.load(std::memory_order_relaxed) == state::up && waiting_bytes() > m_setup.config.send_low) return;
    for (const std::coroutine_handle<> waiter : m_waiters) m_env.post(waiter);
    m_waiters.clear();
}

COVEY_INLINE void link::flush(lock_type lock) {
    write_out(lock);
    if (m_tls && m_tls->status() == tls_session::state::failed)
        begin_closing(m_tls->failure(), covey::detail::concat({description(), ": ", m_tls->reason()}));
    release_waiters();
    const bool over =
        m_state.load(std::memory_order_relaxed) == state::closing && m_started && !m_flushing && !m_socket_closed && drained();
    if (over) m_socket_closed = true;
    if (m_socket_closed && !m_flushing) {  // whoever closes the socket while another thread writes leaves this to that thread
        m_out = byte_buffer();
        m_writing = byte_buffer();
    }
    lock.unlock();
    if (over) m_socket->close();
}

/// As flush, but what else this thread is about to run may have something to send, too: then one system call is for all.
COVEY_INLINE void link::flush_after_others(lock_type lock) {
    if (m_out.size() < detail::link_gather_bytes && !m_flushing && !m_blocked) {
        const void* const here = &covey::detail::this_thread_state();
        if (m_put_off_by == here) return;
        if (m_put_off_by == nullptr && m_workers.post_after(m_put_off.handle())) {
            m_put_off_by = here;
            m_put_off_self = shared_from_this();
            return;
        }
    }
    flush(std::move(lock));
}

COVEY_INLINE void link::flush_now() {
    lock_type lock(m_mutex);
    m_put_off_by = nullptr;
    const std::shared_ptr<link> self = std::move(m_put_off_self);
    flush(std::move(lock));
}

COVEY_INLINE bool link::wait_writable(std::coroutine_handle<> waiter) {
    const std::lock_guard lock(m_mutex);
    if (m_state.load(std::memory_order_relaxed) != state::up || waiting_bytes() <= m_setup.config.send_high) return false;
    m_waiters.push_back(waiter);
    return true;
}

COVEY_INLINE void link::on_writable() {
    lock_type lock(m_mutex);
    m_room_again = true;
    m_blocked = false;
    flush(std::move(lock));
}

}  // namespace covey::net
