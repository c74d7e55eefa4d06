// A link: one connection to one other peer, from the first byte to the goodbye.
#pragma once

#include <covey/core/environment.hpp>
#include <covey/net/hello.hpp>
#include <covey/net/link_config.hpp>
#include <covey/net/tls.hpp>
#include <covey/task/work.hpp>
#include <covey/wire/frame.hpp>

#include <atomic>
#include <concepts>
#include <coroutine>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace covey::net {

class link;

/// What happens to links. Calls for one link come one at a time, in the order up, frames, down, and without any lock of the
/// link held, so that all of its members may be called from inside. Calls for different links may be concurrent.
class link_events {
public:
    virtual ~link_events() = default;
    /// Both sides have introduced themselves: `remote()` is known and `send` works.
    virtual void on_link_up(const std::shared_ptr<link>& l) = 0;
    /// A frame of the kinds mesh, call, reply, failure or cancel. `body` is valid during the call only. An exception closes
    /// the link, with the exception's text as the goodbye.
    virtual void on_frame(link& l, const wire::frame_header& h, bytes_view body) = 0;
    /// Exactly once for every link that was up. `why` is a covey::errc.
    virtual void on_link_down(const std::shared_ptr<link>& l, std::error_code why, const std::string& text) = 0;
    /// Exactly once for every link that was started and never came up.
    virtual void on_link_failed(const std::shared_ptr<link>&, std::error_code, const std::string&) {}
};

/// What whoever takes a link's events keeps for it: found without a look-up, destroyed with the link.
class link_attachment {
public:
    virtual ~link_attachment() = default;
};

/// How a link begins.
struct link_setup {
    link_config config;
    hello self;
    peer_id expected{};                      ///< whom the dialling side wants; none: anybody
    std::shared_ptr<const tls_context> tls;  ///< none: not encrypted
    bool initiated_by_us = false;
};

/// States: handshaking, up, closing (our goodbye is on its way), down. All members are thread-safe. The environment keeps a
/// started link alive until it is down; it must outlive the link.
class link final : public stream_handler, public std::enable_shared_from_this<link> {
public:
    enum class state { handshaking, up, closing, down };

    /// `events` is let go when the link is down.
    link(environment& env, link_setup setup, std::unique_ptr<stream_socket> socket, std::shared_ptr<link_events> events);
    link(const link&) = delete;
    link& operator=(const link&) = delete;
    ~link() override;

    /// Begins. Call once, on a link that a shared_ptr owns.
    void start();

    /// Sends one frame: `encode(byte_buffer&)` appends the body to the outgoing buffer, and only that; it runs under the
    /// link's mutex, so it must not call the link. `h.size` is filled in. The calling thread writes to the socket unless
    /// another one is doing so. Throws, with nothing sent: what `encode` throws; errc::message_too_large when the body is over
    /// the other side's limit; errc::overloaded when the frame is a call or of the mesh and `send_max` bytes are waiting; what
    /// closed the link, or errc::link_lost, when it is not up. Replies, failures and cancels are never refused for what is
    /// waiting: there can be no more of them than the call credit that this side gave.
    template <class Encode>
        requires std::invocable<Encode&, byte_buffer&>
    void send(wire::frame_header h, Encode&& encode) {
        std::unique_lock lock(m_mutex);
        const std::size_t start = begin_frame(h);
        try {
            encode(m_out);
        } catch (...) {
            m_out.truncate(start);
            throw;
        }
        end_frame(std::move(lock), h, start);
    }
    void send(wire::frame_header h, bytes_view body) {
        send(h, [body](byte_buffer& out) { out.append(body); });
    }

    /// More than `send_high` bytes wait to be sent.
    bool congested() const noexcept { return m_waiting.load(std::memory_order_relaxed) > m_setup.config.send_high; }
    /// False: the link is not congested, go on. True: `waiter` will be posted once, when `send_low` is reached or the link
    /// goes down; that may be before this call returns.
    bool wait_writable(std::coroutine_handle<> waiter);

    /// Sends what is waiting, then a goodbye with this text, and closes; at the latest after `goodbye_timeout`. The other side
    /// reports `why` and the text. Nothing is received any more. The first reason given stays.
    void close(errc why, const std::string& text);
    /// The same without waiting: the goodbye goes if the socket takes it at once.
    void abort(errc why, const std::string& text);

    bool is_up() const noexcept { return m_state.load(std::memory_order_acquire) == state::up; }
    state status() const noexcept { return m_state.load(std::memory_order_acquire); }

    /// What the other side said about itself. Empty until the link is up, constant from then on.
    const hello& remote() const noexcept;
    peer_id peer() const noexcept { return remote().id; }
    /// Where the other peer listens; until the link is up, where the connection goes to or comes from.
    endpoint address() const noexcept { return remote().id ? remote().address : m_socket_remote; }
    bool initiated_by_us() const noexcept { return m_setup.initiated_by_us; }
    /// The side that dialled wants no calls on it. Constant from on_link_up on.
    bool is_for_membership() const noexcept { return initiated_by_us() ? m_setup.self.for_membership : remote().for_membership; }
    link_statistics statistics() const;
    /// When the last bytes were read, on the environment's clock.
    time_point last_heard() const noexcept { return time_point(duration(m_last_heard.load(std::memory_order_relaxed))); }
    /// "peer 0123456789abcdef (name) at 127.0.0.1:7400", for messages.
    std::string description() const;

    /// Inside on_link_up, once; from then on the attachment stays the same.
    void attach(std::unique_ptr<link_attachment> a) noexcept { m_attachment = std::move(a); }
    /// Null: nothing is attached. For frames of this link, and for whoever found it in a table after it came up.
    link_attachment* attachment() const noexcept { return m_attachment.get(); }

    // For the socket.
    std::span<std::byte> read_buffer() override;
    void on_read(std::size_t n) override;
    void on_writable() override;
    void on_closed(std::error_code why) override;

private:
    using lock_type = std::unique_lock<std::mutex>;

    struct watch : timer {
        explicit watch(link& l) noexcept : timer(&watch::fired), owner(&l) {}
        static void fired(timer& t) noexcept { static_cast<watch&>(t).owner->on_timer(); }
        link* owner;
    };

    struct put_off : work_item {
        explicit put_off(link& l) noexcept : work_item(&put_off::run), owner(&l) {}
        static void run(work_item* self) { static_cast<put_off*>(self)->owner->flush_now(); }
        link* owner;
    };

    // Sending (impl/link_send.ipp). Members that take a lock by value give it up.
    std::size_t begin_frame(const wire::frame_header& h);
    void end_frame(lock_type lock, wire::frame_header h, std::size_t start);
    void append_frame(wire::frame_kind kind, bytes_view body);
    void append_hello();
    std::size_t waiting_bytes() const noexcept { return m_out.size() + m_writing.size(); }
    bool fill_writing();
    bool drained() const noexcept;
    void flush(lock_type lock);
    void flush_after_others(lock_type lock);
    void flush_now();
    void write_out(lock_type& lock);
    void release_waiters() noexcept;

    // Receiving (impl/link.ipp).
    void receive(std::size_t n);
    bool decrypt(std::size_t n);
    void parse();
    void handle(const wire::frame_header& h, bytes_view body);
    void handle_hello(bytes_view body);
    void handle_goodbye(bytes_view body);

    // Ending and time (impl/link.ipp).
    bool begin_closing(errc why, std::string text);
    void refuse(errc why, const std::string& text);
    void on_timer() noexcept;
    int patience() const noexcept { return is_for_membership() ? static_cast<int>(m_setup.config.membership_patience) : 1; }
    time_point next_deadline() const noexcept;
    void arm_timer();

    environment& m_env;
    scheduler& m_workers;
    const link_setup m_setup;
    const std::unique_ptr<stream_socket> m_socket;
    const endpoint m_socket_remote;

    // Touched only by the socket's serialised callbacks.
    std::shared_ptr<link_events> m_events;
    byte_buffer m_in;                 // frames in plain form
    std::vector<std::byte> m_cipher;  // with a key: what the socket reads into
    std::size_t m_handshake_in = 0;   // bytes
    std::size_t m_missing = 0;        // bytes of the frame that has begun to arrive
    unsigned m_small_reads = 0;       // reads since a frame larger than the buffer
    bool m_announced = false;         // on_link_up was called

    hello m_remote;                                 // written once, just before the state turns up
    std::unique_ptr<link_attachment> m_attachment;  // written once, before on_link_up returns

    mutable std::mutex m_mutex;
    std::atomic<state> m_state{state::handshaking};  // written under the mutex
    errc m_why = errc::link_lost;
    std::string m_text;
    std::unique_ptr<tls_session> m_tls;
    bool m_hello_sent = false;
    byte_buffer m_out;          // frames not yet given to the writer
    byte_buffer m_writing;      // what the writer is giving to the socket
    bool m_flushing = false;    // a thread is the writer; it alone touches m_writing and the socket's write_some
    bool m_blocked = false;     // the socket was full; on_writable will go on
    bool m_room_again = false;  // on_writable came while a thread was the writer
    bool m_started = false;     // until then the socket is neither written nor closed, as it could tell nobody
    bool m_socket_closed = false;
    std::vector<std::coroutine_handle<>> m_waiters;  // at most one for each coroutine that sends
    put_off m_put_off{*this};                        // sends what several coroutines of one thread have appended
    const void* m_put_off_by = nullptr;              // the thread that will run it; null: it is not queued
    std::shared_ptr<link> m_put_off_self;            // while it is queued

    watch m_timer{*this};
    std::shared_ptr<link> m_timer_self;  // keeps the timer where it is while it is armed
    time_point m_timer_when{};
    bool m_timer_armed = false;
    time_point m_handshake_deadline{};
    time_point m_goodbye_deadline{};
    time_point m_last_ping{};

    std::atomic<time_point::rep> m_last_heard{0};
    std::atomic<std::size_t> m_waiting{0};  // waiting_bytes(), for those without the mutex

    /// Written by one thread at a time: no locked operation.
    struct count {
        std::atomic<std::uint64_t> n{0};
        void add(std::uint64_t more) noexcept { n.store(n.load(std::memory_order_relaxed) + more, std::memory_order_relaxed); }
        std::uint64_t get() const noexcept { return n.load(std::memory_order_relaxed); }
    };
    /// Of one direction: by the socket's serialised callbacks, or with the mutex held.
    struct traffic {
        count frames, bytes, work_frames, calls, answers;
    };
    traffic m_received;
    traffic m_sent;
};

}  // namespace covey::net

#ifndef COVEY_COMPILED
#include <covey/net/impl/link.ipp>
#include <covey/net/impl/link_send.ipp>
#endif
