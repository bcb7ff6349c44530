/* test_cpus.c: how many CPUs the quotas of control groups allow, over directories such as the kernel
 * shows them. */
#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/cpus.h"
#include "tests/suite.h"

/* A directory in place of /sys/fs/cgroup, and a file in place of /proc/self/cgroup. */
struct machine {
    char root[40], groups[60];
};

/* Writes a file under the root, and makes the directories that it lies in. */
static void put(const struct machine *machine, const char *path, const char *text)
{
    char full[300];
    char *slash = full + strlen(machine->root) + 1;
    FILE *file;
    snprintf(full, sizeof full, "%s/%s", machine->root, path);
    while ((slash = strchr(slash, '/'))) {
        *slash = 0;
        ck_assert(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash++ = '/';
    }
    file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static void set_up(struct machine *machine, const char *groups)
{
    snprintf(machine->root, sizeof machine->root, "/tmp/distild-cpus-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(machine->root));
    snprintf(machine->groups, sizeof machine->groups, "%s/groups", machine->root);
    put(machine, "groups", groups);
}

static int remove_one(const char *path, const struct stat *file, int kind, struct FTW *walk)
{
    (void)file;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void tear_down(const struct machine *machine)
{
    ck_assert_int_eq(nftw(machine->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static int count(const struct machine *machine)
{
    return engine_cgroup_cpus(machine->groups, machine->root);
}

START_TEST(version_2)
{
    struct machine m;
    set_up(&m, "0::/system.slice/distild.service\n");
    ck_assert_int_eq(count(&m), 0);
    put(&m, "system.slice/distild.service/cpu.max", "max 100000\n");
    ck_assert_int_eq(count(&m), 0);
    put(&m, "system.slice/distild.service/cpu.max", "250000 100000\n");
    ck_assert_int_eq(count(&m), 3);
    put(&m, "system.slice/distild.service/cpu.max", "100 100000\n");
    ck_assert_int_eq(count(&m), 1);
    tear_down(&m);
}
END_TEST

START_TEST(groups_around_it_count)
{
    struct machine m;
    set_up(&m, "0::/pods.slice/pod1.slice/container\n");
    put(&m, "pods.slice/pod1.slice/container/cpu.max", "400000 100000\n");
    put(&m, "pods.slice/cpu.max", "max 100000\n");
    ck_assert_int_eq(count(&m), 4);
    put(&m, "pods.slice/pod1.slice/cpu.max", "200000 100000\n");
    ck_assert_int_eq(count(&m), 2);
    put(&m, "pods.slice/pod1.slice/container/cpu.max", "max 100000\n");
    ck_assert_int_eq(count(&m), 2);
    put(&m, "pods.slice/cpu.max", "100000 100000\n");
    ck_assert_int_eq(count(&m), 1);
    tear_down(&m);
}
END_TEST

/* A container sees its own group as the root of the mount, and may see a path that is not there. */
START_TEST(containers)
{
    struct machine m;
    set_up(&m, "0::/docker/4f3c\n");
    put(&m, "cpu.max", "300000 100000\n");
    ck_assert_int_eq(count(&m), 3);
    put(&m, "groups", "0::/\n");
    ck_assert_int_eq(count(&m), 3);
    put(&m, "groups", "0::/../../outside\n");
    ck_assert_int_eq(count(&m), 3);
    tear_down(&m);
}
END_TEST

START_TEST(version_1)
{
    struct machine m;
    set_up(&m, "5:cpu,cpuacct:/a/b\n4:cpuset:/other\n3:cpuacct:/other\n0::/\n");
    put(&m, "cpu/other/cpu.cfs_quota_us", "100000\n");
    put(&m, "cpu/other/cpu.cfs_period_us", "100000\n");
    put(&m, "cpu/cpu.cfs_quota_us", "-1\n");
    put(&m, "cpu/cpu.cfs_period_us", "100000\n");
    ck_assert_int_eq(count(&m), 0);
    put(&m, "cpu/a/b/cpu.cfs_quota_us", "350000\n");
    put(&m, "cpu/a/b/cpu.cfs_period_us", "50000\n");
    ck_assert_int_eq(count(&m), 7);
    put(&m, "cpu/a/cpu.cfs_quota_us", "100000\n");
    put(&m, "cpu/a/cpu.cfs_period_us", "50000\n");
    ck_assert_int_eq(count(&m), 2);
    tear_down(&m);
}
END_TEST

START_TEST(nonsense_is_no_limit)
{
    struct machine m;
    set_up(&m, "nothing\n::\n0:\n0::relative\n");
    put(&m, "cpu.max", "a lot\n");
    ck_assert_int_eq(count(&m), 0);
    put(&m, "cpu.max", "-5 0\n");
    ck_assert_int_eq(count(&m), 0);
    put(&m, "cpu.max", "");
    ck_assert_int_eq(count(&m), 0);
    ck_assert_int_eq(engine_cgroup_cpus("/nonexistent/groups", "/nonexistent"), 0);
    ck_assert_int_ge(engine_cpu_count(), 1);
    tear_down(&m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        version_2, groups_around_it_count, containers, version_1, nonsense_is_no_limit,
    };
    return run_tests("cpus", 30, tests, sizeof(tests) / sizeof(*tests));
}
