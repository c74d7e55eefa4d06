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
                     const function_entry& function, const once_table::attempt& once)
            : served_call(channel, h, arguments, context, function, once) {}
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

inline serving serve_call(call_channel&, const wire::frame_header&, bytes_view, const task_context&, const function_entry& function,
                          const once_table::attempt&) {
    served_call& call = co_await own_call{};
    try {
        if (call.is_again()) {
            co_await call.reply_again();
        } else {
            co_await function.serve(call);
        }
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
                                      const function_entry& function, const detail::once_table::attempt& once)
    : m_channel(call_channel::of(channel.link())),
      m_slot(h.slot),
      m_generation(h.generation),
      m_arguments(arguments),
      m_once(once.entry),
      m_is_first(once.is_first),
      m_stop(once.is_first ? once.entry->stop.get_token() : stop_token{}),
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
                                            const task_context& context, const function_entry& function,
                                            const detail::once_table::attempt& once) {
    return *detail::serve_call(channel, h, arguments, context, function, once).call;
}

COVEY_INLINE void served_call::serve() { resume_work(detail::coroutine_of(*this)); }

COVEY_INLINE void served_call::stop() noexcept {
    m_stop.request_stop();
    if (let_go()) detail::coroutine_of(*this).destroy();
}

COVEY_INLINE void served_call::lose() noexcept {
    if (m_once == nullptr || !m_is_first) return stop();
    if (let_go()) detail::coroutine_of(*this).destroy();
}

COVEY_INLINE void served_call::reply_once(const wire::frame_header& h, bytes_view body) {
    // One that is too large is refused by the link, and that is the answer.
    if (body.size() <= m_channel->link().remote().body_bytes_max) m_channel->m_records->once.end(*m_once, h.kind, body);
    m_bytes_out = wire::frame_header::bytes + body.size();
    m_channel->link().send(h, body);
}

COVEY_INLINE task<void> served_call::reply_again() {
    co_await begin();
    co_await m_once->ended.wait();
    ran();
    co_await room();
    if (!m_once->is_kept) throw error(errc::message_too_large, "the call has run, but its result was too large to be kept");
    wire::frame_header h;
    h.kind = m_once->kind;
    h.slot = m_slot;
    h.generation = m_generation;
    leave();
    m_bytes_out = wire::frame_header::bytes + m_once->body.size();
    m_how = h.kind == wire::frame_kind::reply ? call_counts::value : call_counts::exception;
    m_channel->link().send(h, m_once->body.view());
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
        if (m_once != nullptr && m_is_first) {
            byte_buffer body;
            call_channel::append_failure(body, kind, code, type, text);
            m_channel->m_records->once.end(*m_once, wire::frame_kind::failure, body.view());
        }
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
