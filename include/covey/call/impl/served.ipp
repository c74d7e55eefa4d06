#pragma once

#include <covey/call/detail/served.hpp>
#include <covey/wire/demangle.hpp>

#include <cxxabi.h>

#include <typeinfo>

namespace covey {

namespace detail {

/// The coroutine that serves a call, under a context of its own.
struct serving {
    struct promise_type final : recycled_frame, served_call {
        promise_type(call_channel& channel, const wire::frame_header& h, bytes_view arguments, const task_context& context,
                     const function_entry& function)
            : served_call(channel, h, arguments, context, function) {}
        const task_context& context() const noexcept { return served_call::task(); }
        std::uint32_t inherited_flags() const noexcept { return 0; }
        serving get_return_object() noexcept { return {this}; }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        /// The last who holds the call destroys it. Going on from here is how a coroutine destroys itself.
        struct last_suspend {
            bool await_ready() const noexcept { return false; }
            COVEY_NOINLINE bool await_suspend(std::coroutine_handle<promise_type> self) const noexcept { return !self.promise().let_go(); }
            void await_resume() const noexcept {}
        };
        last_suspend final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }  // everything is caught inside
    };
    promise_type* call;
};

inline std::coroutine_handle<> coroutine_of(served_call& call) noexcept {
    return std::coroutine_handle<serving::promise_type>::from_promise(static_cast<serving::promise_type&>(call));
}

struct own_call {
    served_call* m_call = nullptr;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<serving::promise_type> self) noexcept {
        m_call = &self.promise();
        return false;
    }
    served_call& await_resume() const noexcept { return *m_call; }
};

inline serving serve_call(call_channel&, const wire::frame_header&, bytes_view, const task_context&, const function_entry& function) {
    served_call& call = co_await own_call{};
    try {
        co_await function.serve(call);
    } catch (...) {
        call.fail();
    }
}

COVEY_INLINE std::string current_exception_type() {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return type != nullptr ? demangle(type->name()) : "unknown exception";
}

}  // namespace detail

COVEY_INLINE served_call::served_call(call_channel& channel, const wire::frame_header& h, bytes_view arguments, const task_context& context,
                                      const function_entry& function)
    : m_channel(call_channel::of(channel.link())),
      m_slot(h.slot),
      m_generation(h.generation),
      m_arguments(arguments),
      m_task(context),
      m_context(channel.link().peer(), channel.m_self, m_task),
      m_function(function),
      m_begun(channel.link().last_heard()),
      m_times(channel.m_serving_timing.next(channel.m_records->serving.now())),
      m_bytes_in(wire::frame_header::bytes + h.size) {
    m_task.stop = m_stop.get_token();
    m_trace = channel.m_records->span_within(context.trace, channel.m_scheduler);
    if (context.trace != nullptr) m_parent_span = context.trace->span;
    if (m_trace) m_task.trace = &m_trace;
    if (channel.m_records->keeps(m_trace)) m_worker = static_cast<std::uint8_t>(detail::thread_number());
    m_channel->m_records->serving.begin();
}

COVEY_INLINE served_call::~served_call() {
    detail::call_records& records = *m_channel->m_records;
    const bool is_kept = records.keeps(m_trace);
    const time_point end = m_times != 0 || is_kept ? m_channel->m_scheduler.now() : m_begun;
    records.counters.served(m_function, {m_how, end - m_begun, m_times, m_bytes_out, m_bytes_in});
    if (is_kept) {
        records.spans->add({.context = m_trace,
                            .parent = m_parent_span,
                            .function = &m_function,
                            .other = m_context.caller(),
                            .begin = m_begun,
                            .end = end,
                            .kind = span_kind::served,
                            .how = static_cast<std::uint8_t>(m_how),
                            .worker = m_worker});
    }
    records.serving.end();
}

COVEY_INLINE served_call& served_call::make(call_channel& channel, const wire::frame_header& h, bytes_view arguments,
                                            const task_context& context, const function_entry& function) {
    return *detail::serve_call(channel, h, arguments, context, function).call;
}

COVEY_INLINE void served_call::serve() { resume_work(detail::coroutine_of(*this)); }

COVEY_INLINE void served_call::stop() noexcept {
    m_stop.request_stop();
    if (let_go()) detail::coroutine_of(*this).destroy();
}

COVEY_INLINE void served_call::leave() noexcept {
    if (std::exchange(m_left, true)) return;
    if (m_channel->m_serving.leave(m_slot)) m_holders.store(1, std::memory_order_relaxed);
}

COVEY_INLINE void served_call::fail() noexcept {
    leave();
    const auto answer = [this](failure_kind kind, errc code, std::string_view type, std::string_view text) {
        m_how = kind == failure_kind::stopped     ? call_counts::stopped
                : kind == failure_kind::exception ? call_counts::exception
                                                  : static_cast<std::size_t>(code);
        m_bytes_out = m_channel->send_failure(m_slot, m_generation, kind, code, type, text);
    };
    try {
        throw;
    } catch (const stopped&) {
        answer(failure_kind::stopped, {}, {}, {});
    } catch (const error& e) {
        if (m_stage == stage::running) {
            answer(failure_kind::exception, {}, "covey::error", e.what());
        } else {
            answer(failure_kind::library, static_cast<errc>(e.code().value()), {}, e.what());
        }
    } catch (const std::exception& e) {
        answer(failure_kind::exception, {}, detail::current_exception_type(), e.what());
    } catch (...) {
        answer(failure_kind::exception, {}, detail::current_exception_type(), "(not a std::exception)");
    }
}

}  // namespace covey
