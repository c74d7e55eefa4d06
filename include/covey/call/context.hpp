// What a served function may ask about the call it serves.
#pragma once

#include <covey/call/trace.hpp>
#include <covey/core/id.hpp>
#include <covey/task/context.hpp>

namespace covey {

/// A function that other peers call may take one as its first parameter: `int f(covey::context& ctx, int x)`. The caller
/// does not pass it. Valid until the function has returned (for a coroutine: until it has ended).
class context {
public:
    context(peer_id caller, peer_id self, const task_context& task) noexcept : m_caller(caller), m_self(self), m_task(task) {}
    context(const context&) = delete;
    context& operator=(const context&) = delete;

    /// The peer that called.
    peer_id caller() const noexcept { return m_caller; }
    /// The peer that this runs on.
    peer_id self() const noexcept { return m_self; }
    /// When the caller stops waiting, on this peer's clock; `never` if it waits as long as it takes. Calls made from here
    /// end by then too.
    time_point deadline() const noexcept { return m_task.deadline; }
    /// Stop is requested when the caller cancels, gives up, or is lost.
    covey::stop_token stop_token() const noexcept { return m_task.stop; }
    /// The span that this function is; none when the call is not traced. Calls made from here are spans within it.
    trace_context trace() const noexcept { return m_task.trace != nullptr ? *m_task.trace : trace_context{}; }

private:
    peer_id m_caller;
    peer_id m_self;
    const task_context& m_task;
};

}  // namespace covey
