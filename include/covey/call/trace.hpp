// Which piece of work a call belongs to: the trace context of the W3C (https://www.w3.org/TR/trace-context/, level 1), carried along.
#pragma once

#include <covey/core/bytes.hpp>
#include <covey/task/task.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace covey {

/// Names one span of a trace: what a call or a function is, and the whole that it is a part of. A plain value.
struct trace_context {
    /// The flag that says that spans of this trace are to be kept.
    static constexpr std::uint8_t sampled = 1;

    std::uint64_t trace_high = 0;  ///< of 128 bits that all spans of a trace share
    std::uint64_t trace_low = 0;
    std::uint64_t span = 0;
    std::uint8_t flags = 0;

    /// False: there is none.
    explicit operator bool() const noexcept { return (trace_high | trace_low) != 0 && span != 0; }
    bool is_sampled() const noexcept { return (flags & sampled) != 0; }

    /// The header `traceparent`: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".
    std::string traceparent() const;
    /// Nothing: it is no such header. Of a later version the part that this one knows is read.
    static std::optional<trace_context> parse(std::string_view traceparent) noexcept;

    /// A span within this one, or, without one, the first of a new trace.
    trace_context child(scheduler& random) const noexcept;

    friend bool operator==(const trace_context&, const trace_context&) = default;
};

namespace detail {

/// As a call's frame carries it.
void append(byte_buffer& to, const trace_context& t);
/// Reads and removes it. Throws errc::bad_message.
trace_context take_trace_context(bytes_view& from);

}  // namespace detail

/// `co_await traced(f())`: the calls that f makes are spans of a new trace, or of the one that f belongs to already.
/// `co_await traced(f(), *trace_context::parse(header))`: of one that began elsewhere.
template <class T>
task<T> traced(task<T> inner, trace_context parent = {}) {
    const task_context& outer = co_await get_context();
    if (!parent && outer.trace != nullptr) parent = *outer.trace;
    if (!parent && outer.scheduler != nullptr) parent = trace_context{.flags = trace_context::sampled}.child(*outer.scheduler);
    task_context context = outer;
    if (parent) context.trace = &parent;
    co_return co_await detail::with_context(inner, context);
}

namespace detail {

struct trace_awaiter : context_awaiter {
    trace_context await_resume() const noexcept { return m_context->trace != nullptr ? *m_context->trace : trace_context{}; }
};

}  // namespace detail

/// `co_await get_trace()`: the span that the awaiting coroutine belongs to; none when it is not traced. Never suspends.
inline detail::trace_awaiter get_trace() noexcept { return {}; }

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/call/impl/trace.ipp>
#endif
