/* cpus.h: how many CPUs this process may keep busy. */
#ifndef ENGINE_CPUS_H
#define ENGINE_CPUS_H

/* CPUs in the affinity mask, but no more than the cgroup quota allows, rounded up; at least 1. */
int engine_cpu_count(void);

#endif
