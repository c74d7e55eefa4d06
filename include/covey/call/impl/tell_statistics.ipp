#pragma once

#include <covey/call/detail/tell_statistics.hpp>
#include <covey/call/service.hpp>

namespace covey::detail {

COVEY_INLINE task<call_statistics> tell_call_statistics() {
    const task_context& here = co_await get_context();
    co_return service_of<call_service>(*here.peer).records().counters.read();
}

}  // namespace covey::detail
