// How many threads make sense here.
#pragma once

#include <covey/core/config.hpp>

namespace covey {

/// CPUs in this process's affinity mask, at least 1.
unsigned available_cpus() noexcept;

/// The number of workers a pool has by default: COVEY_THREADS if that is a number of at least 1; else the CPUs in the
/// affinity mask, or fewer where the control group grants less processor time than they have (rounded up).
unsigned default_concurrency() noexcept;

}  // namespace covey

#ifndef COVEY_COMPILED
#include <covey/sched/impl/concurrency.ipp>
#endif
