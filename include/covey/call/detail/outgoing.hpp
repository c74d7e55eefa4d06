// A call that waits for its reply. It lives in the frame of the coroutine that awaits it.
#pragma once

#include <covey/call/detail/once_numbers.hpp>
#include <covey/call/trace.hpp>
#include <covey/core/bytes.hpp>
#include <covey/task/context.hpp>
#include <covey/task/stop.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <optional>

namespace covey {

class call_channel;
struct function_entry;

/// What the channel sees of a waiting call. Completed exactly once, by whoever takes it out of the channel (see `claim`
/// there); then its gate lets the coroutine go on when nobody touches it any more: arrivals are the suspending thread,
/// the completion, the timer if there is one, and each sender that holds it.
class outgoing_call : timer {
public:
    outgoing_call(const function_entry& function, time_point deadline, detail::once_number once) noexcept
        : timer(&fired), m_function(function), m_deadline(deadline), m_once(once) {}

protected:
    ~outgoing_call() = default;

    /// Appends closure and arguments. May throw.
    virtual void encode(byte_buffer& out) const = 0;
    /// Decodes the result. May throw errc::bad_message.
    virtual void deliver(bytes_view body) = 0;

    /// Queues the call. False: it is complete already, do not suspend.
    bool start(std::shared_ptr<call_channel> channel, std::coroutine_handle<> waiter, const task_context& context);
    /// On the resumed thread: rethrows what went wrong.
    void finish();

private:
    friend class call_channel;

    enum class phase : unsigned char { idle, waiting, sending, sent, done };

    struct on_stop {
        outgoing_call* call;
        void operator()() const noexcept;
    };

    static void fired(timer& t) noexcept;
    void complete() noexcept;
    [[noreturn]] void throw_timed_out() const;
    void fail(std::exception_ptr why) noexcept { m_failure = std::move(why); }
    void arrive(int n) noexcept {
        scheduler* const resume_on = m_context->scheduler;
        const std::coroutine_handle<> waiter = m_waiter;
        if (m_gate.fetch_sub(n, std::memory_order_acq_rel) == n) resume_on->post(waiter);
    }

    const function_entry& m_function;
    const time_point m_deadline;
    const detail::once_number m_once;
    std::shared_ptr<call_channel> m_channel;
    std::coroutine_handle<> m_waiter;
    const task_context* m_context = nullptr;
    std::atomic<int> m_gate{0};
    std::optional<stop_callback<on_stop>> m_on_stop;
    std::exception_ptr m_failure;
    time_point m_begun{};
    unsigned m_times = 0;           // see detail::call_end
    time_point m_answered = never;  // it was not
    std::size_t m_bytes_out = 0;
    std::size_t m_bytes_in = 0;
    trace_context m_trace;      // none: the call is not traced
    std::uint8_t m_worker = 0;  // thread that made it, if its span is kept

    // Guarded by the channel's mutex, but for the step from sending to sent.
    std::atomic<phase> m_phase{phase::idle};
    std::uint32_t m_slot = 0;
    outgoing_call* m_next = nullptr;
    outgoing_call* m_previous = nullptr;
};

}  // namespace covey
