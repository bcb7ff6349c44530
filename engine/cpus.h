/* cpus.h: how many CPUs this process may keep busy. */
#ifndef ENGINE_CPUS_H
#define ENGINE_CPUS_H

/* CPUs in the affinity mask, but no more than the cgroup quota allows, rounded up; at least 1. */
int engine_cpu_count(void);
/* CPUs that the quotas of control groups allow, rounded up; 0 for no limit. groups: a file like
 * /proc/self/cgroup; root: where control groups are mounted. The quota of any group that a named
 * one lies in holds as well. */
int engine_cgroup_cpus(const char *groups, const char *root);

#endif
