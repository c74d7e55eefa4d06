#pragma once

#include <covey/call/detail/tell.hpp>
#include <covey/call/service.hpp>

namespace covey::detail {

COVEY_INLINE task<call_statistics> tell_call_statistics() {
    const task_context& here = co_await get_context();
    co_return service_of<call_service>(*here.peer).records().counters.read();
}

COVEY_INLINE task<span_list> tell_spans() {
    const task_context& here = co_await get_context();
    co_return service_of<call_service>(*here.peer).spans();
}

}  // namespace covey::detail
