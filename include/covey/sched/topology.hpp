// Which CPUs to pin a pool's workers to, by hwloc. Optional: covey.hpp leaves it out, and who includes it links with -lhwloc.
#pragma once

#include <covey/core/error.hpp>

#include <hwloc.h>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace covey {

namespace detail {

struct topology_end {
    void operator()(hwloc_topology_t t) const noexcept { hwloc_topology_destroy(t); }
};
using topology = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, topology_end>;

struct cpu_set_end {
    void operator()(hwloc_bitmap_t set) const noexcept { hwloc_bitmap_free(set); }
};
using cpu_set = std::unique_ptr<std::remove_pointer_t<hwloc_bitmap_t>, cpu_set_end>;

inline topology load_topology() {
    hwloc_topology_t t = nullptr;
    if (hwloc_topology_init(&t) != 0) throw error(errc::overloaded, "hwloc cannot begin to look at this machine: out of memory");
    topology result(t);
    if (hwloc_topology_load(t) != 0) throw error(errc::overloaded, "hwloc cannot read how this machine is built");
    return result;
}

/// The CPUs of `allowed`, ordered as cpus_by_core says. For tests: of a machine that need not be this one.
inline std::vector<unsigned> cpus_by_core(hwloc_topology_t machine, hwloc_const_cpuset_t allowed) {
    // Cores come in hwloc's logical order: those that share a cache, a package, a NUMA node are neighbours.
    std::vector<std::vector<unsigned>> cores;
    std::size_t most_siblings = 0;
    const auto add_core = [&](hwloc_const_cpuset_t cpus) {
        std::vector<unsigned> siblings;
        for (int cpu = hwloc_bitmap_next(cpus, -1); cpu != -1; cpu = hwloc_bitmap_next(cpus, cpu)) {
            if (hwloc_bitmap_isset(allowed, static_cast<unsigned>(cpu)) != 0) siblings.push_back(static_cast<unsigned>(cpu));
        }
        if (siblings.size() > most_siblings) most_siblings = siblings.size();
        if (!siblings.empty()) cores.push_back(std::move(siblings));
    };
    // Not every machine tells of cores (some virtual ones do not); each processing unit is then one.
    const hwloc_obj_type_t unit = hwloc_get_nbobjs_by_type(machine, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    for (hwloc_obj_t core = hwloc_get_next_obj_by_type(machine, unit, nullptr); core != nullptr;
         core = hwloc_get_next_obj_by_type(machine, unit, core)) {
        add_core(core->cpuset);
    }
    std::vector<unsigned> result;
    for (std::size_t sibling = 0; sibling < most_siblings; ++sibling) {
        for (const std::vector<unsigned>& core : cores) {
            if (sibling < core.size()) result.push_back(core[sibling]);
        }
    }
    return result;
}

}  // namespace detail

/// The CPUs that the calling thread may run on, one of each core first, then their siblings; cores that share a NUMA node, a package
/// or a cache follow each other. For `pool_options::cpus`:
///
///     const std::vector<unsigned> cpus = cpus_by_core();
///     pool threads({.cpus = cpus});
///
/// Throws errc::overloaded when the machine cannot be read. Takes milliseconds: for start-up.
inline std::vector<unsigned> cpus_by_core() {
    const detail::topology machine = detail::load_topology();
    const detail::cpu_set allowed(hwloc_bitmap_alloc());
    if (!allowed || hwloc_get_cpubind(machine.get(), allowed.get(), HWLOC_CPUBIND_THREAD) != 0) {
        throw error(errc::overloaded, "hwloc cannot tell on which CPUs this thread may run");
    }
    return detail::cpus_by_core(machine.get(), allowed.get());
}

}  // namespace covey
