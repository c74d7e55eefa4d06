// A call of a peer to itself.
#pragma once

#include <covey/call/service.hpp>

namespace covey::detail {

/// Lives while the function runs, and counts it: as one that was made and as one that was served.
class local_call {
public:
    local_call(call_service& service, const function_entry& function, const task_context& caller) noexcept
        : m_service(service),
          m_function(function),
          m_task(caller),
          m_parent_span(caller.trace != nullptr ? caller.trace->span : 0),
          m_trace(service.records().span_within(caller.trace, service.env())),
          m_worker(service.records().keeps(m_trace) ? static_cast<std::uint8_t>(thread_number()) : std::uint8_t{0}),
          m_begun(service.env().now()) {
        if (m_trace) m_task.trace = &m_trace;
    }
    local_call(const local_call&) = delete;
    local_call& operator=(const local_call&) = delete;
    ~local_call() {
        const time_point now = m_service.env().now();
        const call_end end{.how = m_how, .took = now - m_begun};
        call_records& records = m_service.records();
        records.counters.made(m_function, end);
        records.counters.served(m_function, end);
        if (!records.keeps(m_trace)) return;
        records.spans->add({.context = m_trace,
                            .parent = m_parent_span,
                            .function = &m_function,
                            .other = m_service.self(),
                            .begin = m_begun,
                            .end = now,
                            .kind = span_kind::local,
                            .how = static_cast<std::uint8_t>(m_how),
                            .worker = m_worker});
    }

    /// What the function runs under.
    const task_context& task() const noexcept { return m_task; }
    /// Otherwise than with a value; see call_counts::ends.
    void ended(std::size_t how) noexcept { m_how = how; }

private:
    call_service& m_service;
    const function_entry& m_function;
    task_context m_task;
    const std::uint64_t m_parent_span;
    const trace_context m_trace;
    const std::uint8_t m_worker;  // thread that made it, if its span is kept
    const time_point m_begun;
    std::size_t m_how = call_counts::value;
};

}  // namespace covey::detail
