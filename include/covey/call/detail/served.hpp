// A call that this peer serves for another one.
#pragma once

#include <covey/call/context.hpp>
#include <covey/call/detail/channel.hpp>
#include <covey/task/schedule.hpp>
#include <covey/task/task.hpp>

#include <atomic>
#include <memory>

namespace covey {

/// Lives in the coroutine that serves it. Whoever takes it out of the channel's table to stop it holds it too.
/// The function's entry uses it in this order: `arguments`, `begin`, [run], `ran`, `room`, `reply`.
class served_call {
public:
    served_call(call_channel& channel, const wire::frame_header& h, bytes_view arguments, const task_context& context,
                const function_entry& function, const detail::once_table::attempt& once);
    served_call(const served_call&) = delete;
    served_call& operator=(const served_call&) = delete;
    ~served_call();

    /// Closure and arguments, undecoded. Valid until `begin` is awaited.
    bytes_view arguments() const noexcept { return m_arguments; }
    covey::context& context() noexcept { return m_context; }
    const task_context& task() const noexcept { return m_task; }

    /// Leaves the thread that reads the link, so that it can read on. Throws `stopped` if nobody waits any more.
    auto begin() noexcept {
        m_stage = stage::running;
        m_arguments = {};
        return detail::schedule_awaiter{.m_give_way = false};
    }
    /// The function has returned: what goes wrong from here on is not its fault.
    void ran() noexcept { m_stage = stage::answering; }

    struct room_awaiter {
        served_call* m_call;
        bool await_ready() const noexcept { return !m_call->m_channel->link().congested(); }
        COVEY_NOINLINE bool await_suspend(std::coroutine_handle<> self) const { return m_call->m_channel->link().wait_writable(self); }
        void await_resume() const noexcept { m_call->m_task.enter(); }
    };
    /// Waits while the link is congested.
    room_awaiter room() noexcept { return {this}; }

    /// Answers; `encode(byte_buffer&)` appends the result. Throws what `encode` throws, errc::message_too_large, ...: then it
    /// is not answered yet.
    template <class Encode>
    void reply(Encode&& encode) {
        wire::frame_header h;
        h.kind = wire::frame_kind::reply;
        h.slot = m_slot;
        h.generation = m_generation;
        // The slot is given back first: the caller may use it again as soon as it reads the reply.
        leave();
        if (m_once != nullptr) {
            byte_buffer body;
            encode(body);
            return reply_once(h, body.view());
        }
        m_channel->link().send(h, [&](byte_buffer& out) {
            const std::size_t before = out.size();
            encode(out);
            m_bytes_out = wire::frame_header::bytes + out.size() - before;
        });
    }
    /// Of a call that must not run twice: this is not its first attempt, so the answer of that one is waited for and sent.
    bool is_again() const noexcept { return m_once != nullptr && !m_is_first; }
    covey::task<void> reply_again();
    /// Answers with the exception being handled.
    void fail() noexcept;

    /// A call that is to be served by `function`, detached: every outcome becomes an answer. It begins with `serve`.
    static served_call& make(call_channel& channel, const wire::frame_header& h, bytes_view arguments, const task_context& context,
                             const function_entry& function, const detail::once_table::attempt& once);
    void serve();

    /// For who has taken it out of the table, and does not touch it afterwards.
    void stop() noexcept;
    /// The same when its link is lost: a call that must not run twice goes on, for its caller may come back for the answer.
    void lose() noexcept;
    /// True: nobody else holds it.
    bool let_go() noexcept {
        return m_holders.load(std::memory_order_acquire) == 1 || m_holders.fetch_sub(1, std::memory_order_acq_rel) == 1;
    }

private:
    enum class stage : unsigned char { decoding, running, answering };

    void leave() noexcept;
    void reply_once(const wire::frame_header& h, bytes_view body);

    std::shared_ptr<call_channel> m_channel;
    const std::uint32_t m_slot;
    const std::uint32_t m_generation;
    bytes_view m_arguments;
    const std::shared_ptr<detail::once_entry> m_once;  // null: it may run any number of times
    const bool m_is_first;
    stop_source m_stop;
    task_context m_task;
    trace_context m_trace;            // within the caller's span; none: the call is not traced
    std::uint64_t m_parent_span = 0;  // the caller's
    std::uint8_t m_worker = 0;        // thread that read it, if its span is kept
    covey::context m_context;
    const function_entry& m_function;
    const time_point m_begun;
    const unsigned m_times;  // see detail::call_end
    const std::size_t m_bytes_in;
    std::size_t m_bytes_out = 0;
    std::size_t m_how = call_counts::value;  // it ended; a place of call_counts::ends
    stage m_stage = stage::decoding;
    bool m_left = false;
    std::atomic<int> m_holders{2};  // the coroutine, and the table or who took it from there
};

}  // namespace covey
