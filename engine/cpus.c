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

/* The smaller of two numbers of CPUs, of which 0 is no limit. */
static int fewer(int a, int b)
{
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* The quota in a group's directory, as version 2 or 1 of control groups has it; 0 for none. */
static int directory_quota(const char *directory)
{
    char path[2200], line[128];
    long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    if (read_line(path, line, sizeof line)) {
        char *end;
        quota = strtol(line, &end, 10); /* "max 100000" reads as 0: no limit */
        period = strtol(end, NULL, 10);
        return quota_cpus(quota, period);
    }
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
    if (!read_line(path, line, sizeof line))
        return 0;
    quota = strtol(line, NULL, 10);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
    if (!read_line(path, line, sizeof line))
        return 0;
    period = strtol(line, NULL, 10);
    return quota_cpus(quota, period);
}

/* The least quota of a group and those that it is in, up to the root of the mount: in a container
 * that is the container's own group, and the path may not be there. */
static int group_quota(const char *mount, const char *group)
{
    char directory[2100];
    size_t root = strlen(mount);
    int least = 0;
    snprintf(directory, sizeof directory, "%s%s", mount, group);
    for (;;) {
        char *slash = strrchr(directory, '/');
        least = fewer(least, directory_quota(directory));
        if (!slash || (size_t)(slash - directory) < root)
            return least;
        *slash = 0;
    }
}

/* Whether a list with commas between its names, such as "cpu,cpuacct", holds one. */
static int holds(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (;;) {
        size_t next = strcspn(list, ",");
        if (next == length && memcmp(list, name, length) == 0)
            return 1;
        if (!list[next])
            return 0;
        list += next + 1;
    }
}

int engine_cgroup_cpus(const char *groups, const char *root)
{
    char line[1100], v1[1000];
    FILE *file = fopen(groups, "re");
    int least;
    snprintf(v1, sizeof v1, "%s/cpu", root);
    least = fewer(group_quota(root, ""), group_quota(v1, ""));
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        if (!*controllers)
            least = fewer(least, group_quota(root, path));
        else if (holds(controllers, "cpu"))
            least = fewer(least, group_quota(v1, path));
    }
    if (file)
        fclose(file);
    return least;
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
    int quota = engine_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota && quota < count)
        count = quota;
    return count > 0 ? count : 1;
}
