// What control groups grant this process: /sys/fs/cgroup in its two versions.
#pragma once

#include <algorithm>
#include <fstream>
#include <istream>
#include <string>

namespace covey::detail {

/// CPUs' worth of time that the control group in `folder` grants, rounded up; 0: no limit is written there.
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

/// The tightest limit on the way from a process's control group to the root. `groups`: what /proc/<pid>/cgroup says; `root`:
/// where the groups are mounted.
inline unsigned cgroup_cpus(std::istream& groups, const std::string& root) {
    unsigned least = 0;
    for (std::string line; std::getline(groups, line);) {  // "0::/path", or "4:cpu,cpuacct:/path" in version 1
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        if (controllers != ",," && controllers.find(",cpu,") == std::string::npos) continue;
        const std::string mount = controllers == ",," ? root : root + "/cpu";
        // In a container the path may be one of the host, which is not there; its own group is then at the mount.
        for (std::string path = line.substr(second + 1);; path.resize(path.find_last_of('/'))) {
            if (const unsigned limit = cgroup_cpus(mount + path)) least = least == 0 ? limit : std::min(least, limit);
            if (path.find_last_of('/') == std::string::npos) break;
        }
    }
    return least;
}

}  // namespace covey::detail
