// core/cpus.hpp: how many CPUs this process may use, which is what the default number of workers rests on.
// Asks the affinity mask and the cgroups' CPU quotas; reads a few small files, so call it at start, not per task.
#pragma once

#include <optional>
#include <string>

namespace weir {

/// The CPUs this process may use at the same time: the affinity mask of the calling thread (which includes
/// cpusets), capped by the CPU quotas of its cgroups, rounded up. At least 1. A file that is missing or
/// unreadable sets no limit. Not cached: a later call sees a changed mask or quota.
unsigned available_parallelism();

/// CPUs in the affinity mask of the calling thread; at least 1 (sched_getaffinity(2)).
unsigned affinity_cpus();

/// The tightest CPU quota over this process's cgroup and all those above it, in CPUs, rounded up; nothing if
/// there is no quota. Knows cgroup v2 (`cpu.max`), v1 (`cpu.cfs_quota_us`) and both mounted at once (cgroups(7)).
/// @param root put before "/proc/self/..." and before the mount points found there; empty for the real system
std::optional<unsigned> cgroup_cpus(const std::string& root = {});

}  // namespace weir
