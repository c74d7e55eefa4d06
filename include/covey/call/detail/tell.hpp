// What one peer asks another about its calls. Called by name, so that programs of different builds can ask each other.
#pragma once

#include <covey/call/spans.hpp>
#include <covey/call/statistics.hpp>
#include <covey/task/task.hpp>

namespace covey::detail {

/// Of the peer that this runs on.
task<call_statistics> tell_call_statistics();
task<span_list> tell_spans();

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/call/impl/tell.ipp>
#endif
