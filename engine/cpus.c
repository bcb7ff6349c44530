#include "engine/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first line of a file in line; 0 where it cannot be read. */
static int read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int ok = fgets(line, size, file) != NULL;
    fclose(file);
    return ok;
}

/* CPUs that a quota of microseconds in a period allows; 0 for no limit. */
static int quota_cpus(long quota, long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return (int)((quota + period - 1) / period);
}

/* The quota in a cgroup v2 or v1 directory; 0 for none. */
static int directory_quota(const char *v2, const char *v1)
{
    char path[1200], line[128];
    long quota, period;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", v2);
    if (read_line(path, line, sizeof line)) {
        char *end;
        quota = strtol(line, &end, 10); /* "max 100000" reads as 0: no limit */
        period = strtol(end, NULL, 10);
        return quota_cpus(quota, period);
    }
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", v1);
    if (!read_line(path, line, sizeof line))
        return 0;
    quota = strtol(line, NULL, 10);
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", v1);
    if (!read_line(path, line, sizeof line))
        return 0;
    period = strtol(line, NULL, 10);
    return quota_cpus(quota, period);
}

/* This process's own cgroup may carry the quota, or the root of the mount as a container sees it:
 * the smaller holds. */
static int cgroup_quota(void)
{
    char v2[1024] = "", v1[1024] = "", line[1100];
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        if (!*controllers)
            snprintf(v2, sizeof v2, "%.1000s", path);
        else if (strstr(controllers, "cpu") && !strstr(controllers, "cpuset"))
            snprintf(v1, sizeof v1, "%.1000s", path);
    }
    if (file)
        fclose(file);
    int own = directory_quota(v2, v1), root = directory_quota("", "");
    if (!own || (root && root < own))
        own = root;
    return own;
}

int engine_cpu_count(void)
{
    int count = 1;
    /* A mask larger than cpu_set_t (1024 CPUs) fails with EINVAL: grow it. */
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            break;
        size_t size = CPU_ALLOC_SIZE(cpus);
        int ok = sched_getaffinity(0, size, set) == 0;
        if (ok)
            count = CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (ok)
            break;
    }
    int quota = cgroup_quota();
    if (quota && quota < count)
        count = quota;
    return count > 0 ? count : 1;
}
