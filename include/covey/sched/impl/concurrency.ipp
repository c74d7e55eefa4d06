#pragma once

#include <covey/sched/concurrency.hpp>
#include <covey/sched/detail/cgroup.hpp>

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace covey {

COVEY_INLINE unsigned available_cpus() noexcept {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) return static_cast<unsigned>(std::max(1, CPU_COUNT(&mask)));
    return std::max(1u, std::thread::hardware_concurrency());
}

COVEY_INLINE unsigned default_concurrency() noexcept {
    if (const char* text = std::getenv("COVEY_THREADS")) {
        const int wanted = std::atoi(text);
        if (wanted > 0) return static_cast<unsigned>(std::min(wanted, 4096));
    }
    const unsigned cpus = available_cpus();
    try {
        std::ifstream groups("/proc/self/cgroup");
        const unsigned granted = detail::cgroup_cpus(groups, "/sys/fs/cgroup");
        return granted == 0 ? cpus : std::min(cpus, granted);
    } catch (...) {
        return cpus;  // out of memory, at worst: the mask is a good answer too
    }
}

}  // namespace covey
