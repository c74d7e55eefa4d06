// The calls of one link, in both directions.
#pragma once

#include <covey/call/detail/outgoing.hpp>
#include <covey/call/detail/records.hpp>
#include <covey/call/detail/served_table.hpp>
#include <covey/call/function_table.hpp>
#include <covey/net/link.hpp>
#include <covey/task/work.hpp>

#include <memory>
#include <mutex>
#include <vector>

namespace covey {

/// What a failure frame says. Values are part of the wire format.
enum class failure_kind : std::uint8_t {
    library = 1,    ///< an errc: the call was not run, or its result could not be sent
    exception = 2,  ///< the function threw
    stopped = 3,    ///< the function was asked to stop, and did
};

/// Outgoing calls take slots, of which the other side granted a number (its call credit); without a free slot, or while
/// the link is congested, they wait in line. Incoming calls are looked up in the function table and run; each holds its
/// slot until it is answered. Thread-safe. It is attached to its link: whoever holds the one holds the other.
class call_channel final : public net::link_attachment {
public:
    /// Calls waiting for a slot; beyond, errc::overloaded.
    static constexpr std::size_t waiting_max = 65536;
    /// Bytes of a link that wait to be sent; a failure to be sent beyond that ends the link instead.
    static constexpr std::size_t unread_answers_max = std::size_t{256} * 1024 * 1024;

    /// `context`: what served functions run under.
    call_channel(const task_context& context, peer_id self, std::shared_ptr<detail::call_records> records, scheduler& on, net::link& link,
                 std::uint32_t credit_given);
    /// The channel of a link; null: it has none.
    static std::shared_ptr<call_channel> of(net::link& link);

    const net::link& link() const noexcept { return m_link; }
    net::link& link() noexcept { return m_link; }
    /// Both programs have the same function table.
    bool same_table() const noexcept { return m_same_table; }

    // From the link.
    void on_call(const wire::frame_header& h, bytes_view body);
    void on_answer(const wire::frame_header& h, bytes_view body);
    void on_cancel(const wire::frame_header& h);
    /// Fails all calls of ours with `why` (calls not yet sent: errc::unreachable) and asks all of theirs to stop.
    void close(errc why, const std::string& text);

    /// Sends waiting calls while there are slots and room.
    void pump();

private:
    friend class outgoing_call;
    friend class served_call;

    struct slot {
        std::uint32_t generation = 0;
        bool taken = false;
        outgoing_call* call = nullptr;  // null while taken: nobody waits any more, but it is not answered yet
    };
    struct drain : work_item {
        explicit drain(call_channel& c) noexcept : work_item(&drain::run), channel(c) {}
        static void run(work_item* self);
        call_channel& channel;
    };

    /// Sends a call at once if there are a slot and room and nobody waits, else queues it. Somebody may complete it meanwhile.
    void begin(outgoing_call& call);
    bool has_slot() const noexcept { return !m_free.empty() || m_slots.size() < m_credit; }  // with the mutex held
    std::uint32_t take_slot(outgoing_call& call);                                            // with the mutex held; there is one
    /// False: it could not be sent, its slot is free, and it is complete.
    bool send_in_slot(outgoing_call& call, std::uint32_t index, std::uint32_t generation);
    /// Takes a call out; true for exactly one caller, who then completes it. Tells the other side if it was sent.
    bool claim(outgoing_call& call);
    void send_cancel(std::uint32_t index, std::uint32_t generation) noexcept;
    /// False: it could not be sent, and is complete.
    bool send(outgoing_call& call, std::uint32_t index, std::uint32_t generation);
    void sent(outgoing_call& call, std::uint32_t index, std::uint32_t generation);
    void not_sent(outgoing_call& call, std::uint32_t index, std::uint32_t generation, std::exception_ptr why);
    void release(std::uint32_t index) noexcept;  // with the mutex held
    void unlink(outgoing_call& call) noexcept;   // with the mutex held
    [[noreturn]] void rethrow_failure(const function_entry& function, bytes_view body) const;
    static void append_failure(byte_buffer& out, failure_kind kind, errc code, std::string_view type, std::string_view text);
    /// Bytes of the frame; 0: it was not sent.
    std::size_t send_failure(std::uint32_t index, std::uint32_t generation, failure_kind kind, errc code, std::string_view type,
                             std::string_view text) noexcept;

    const task_context m_context;
    const peer_id m_self;
    const std::shared_ptr<detail::call_records> m_records;
    scheduler& m_scheduler;
    net::link& m_link;
    const bool m_same_table;
    const std::uint32_t m_credit;            // calls of ours that may be in flight
    const std::uint32_t m_credit_given;      // calls of theirs
    detail::served_table m_serving;          // of as many
    detail::timing_choice m_serving_timing;  // for the reading thread

    mutable std::mutex m_mutex;
    std::atomic<bool> m_closed{false};  // written with the mutex held
    errc m_why = errc::link_lost;
    std::string m_text;
    std::vector<slot> m_slots;  // grows up to the credit
    std::vector<std::uint32_t> m_free;
    outgoing_call* m_first_waiting = nullptr;
    outgoing_call* m_last_waiting = nullptr;
    std::size_t m_waiting = 0;
    detail::timing_choice m_timing;  // of our calls
    bool m_draining = false;
    drain m_drain{*this};
    std::shared_ptr<call_channel> m_drain_self;  // while the drain is queued
};

}  // namespace covey
