#pragma once

#include <covey/sched/concurrency.hpp>

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

namespace covey {

namespace detail {

/// CPUs' worth of time that a control group grants, rounded up; 0: no limit is written there.
inline unsigned cgroup_cpus(const std::string& folder) {
    double quota = 0;
    double period = 0;
    if (std::ifstream v2(folder + "/cpu.max"); v2 >> quota >> period) {  // "max 100000" reads as no number
    } else {
        std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
        std::ifstream period_file(folder + "/cpu.cfs_period_us");
        if (!(quota_file >> quota) || !(period_file >> period)) return 0;
    }
    if (quota <= 0 || period <= 0) return 0;
    return static_cast<unsigned>(std::clamp((quota + period - 1) / period, 1.0, 4096.0));
}

/// The tightest limit on the way from this process's control group to the root, with the mounts where they usually are.
inline unsigned cgroup_cpus() {
    unsigned least = 0;
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // "0::/path", or "4:cpu,cpuacct:/path" in version 1
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        if (!controllers.empty() && controllers.find("cpu") != 0 && controllers.find(",cpu") == std::string::npos) continue;
        const std::string mount = controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
        // In a container the path may be one of the host, which is not there; its own group is then at the mount.
        for (std::string path = line.substr(second + 1);; path.resize(path.find_last_of('/'))) {
            if (const unsigned limit = cgroup_cpus(mount + path)) least = least == 0 ? limit : std::min(least, limit);
            if (path.find_last_of('/') == std::string::npos) break;
        }
    }
    return least;
}

}  // namespace detail

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
        const unsigned granted = detail::cgroup_cpus();
        return granted == 0 ? cpus : std::min(cpus, granted);
    } catch (...) {
        return cpus;  // out of memory, at worst: the mask is a good answer too
    }
}

}  // namespace covey
