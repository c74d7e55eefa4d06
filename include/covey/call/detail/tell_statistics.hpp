// What one peer asks another about its calls.
#pragma once

#include <covey/call/statistics.hpp>
#include <covey/task/task.hpp>

namespace covey::detail {

/// Of the peer that this runs on. Called by name, so that programs of different builds can ask each other.
task<call_statistics> tell_call_statistics();

}  // namespace covey::detail

#ifndef COVEY_COMPILED
#include <covey/call/impl/tell_statistics.ipp>
#endif
