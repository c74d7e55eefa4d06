// A call of a peer to itself.
#pragma once

#include <covey/call/service.hpp>

namespace covey::detail {

/// Lives while the function runs, and counts it: as one that was made and as one that was served.
class local_call {
public:
    local_call(call_service& service, const function_entry& function, const task_context& caller) noexcept
        : m_service(service), m_function(function), m_task(caller), m_begun(service.env().now()) {
        if (caller.trace == nullptr) return;
        m_trace = caller.trace->child(service.env());
        m_task.trace = &m_trace;
    }
    local_call(const local_call&) = delete;
    local_call& operator=(const local_call&) = delete;
    ~local_call() {
        const call_end end{.how = m_how, .took = m_service.env().now() - m_begun};
        m_service.records().counters.made(m_function, end);
        m_service.records().counters.served(m_function, end);
    }

    /// What the function runs under.
    const task_context& task() const noexcept { return m_task; }
    /// Otherwise than with a value; see call_counts::ends.
    void ended(std::size_t how) noexcept { m_how = how; }

private:
    call_service& m_service;
    const function_entry& m_function;
    task_context m_task;
    trace_context m_trace;
    const time_point m_begun;
    std::size_t m_how = call_counts::value;
};

}  // namespace covey::detail
