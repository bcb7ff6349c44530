/* metrics_process.c: the process_* metrics, from /proc. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/metrics.h"
#include "server/metrics_internal.h"

/* Field number of /proc/self/stat, counted from 1 as in proc(5), beyond the command's name; 0 where
 * there is none. */
static unsigned long long stat_field(int number)
{
    char text[1024], *at;
    FILE *file = fopen("/proc/self/stat", "re");
    size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    int i;
    if (file)
        fclose(file);
    text[length] = '\0';
    at = strrchr(text, ')'); /* the name, the second field, may hold anything */
    for (i = 2; at && i < number; i++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

double server_metrics_process_start(void)
{
    struct timespec since_boot, now;
    unsigned long long ticks = stat_field(22);
    if (!ticks || clock_gettime(CLOCK_BOOTTIME, &since_boot) || clock_gettime(CLOCK_REALTIME, &now))
        return 0;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)since_boot.tv_sec -
           (double)since_boot.tv_nsec / 1e9 + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void server_metrics_process(struct server_metrics *metrics, int64_t now,
                            struct server_process *process)
{
    struct timespec cpu = {0}, date = {0};
    int64_t used, uptime;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    clock_gettime(CLOCK_REALTIME, &date);
    used = (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
    process->cpu_seconds = (double)used / 1e9;
    process->resident_bytes = (double)stat_field(24) * (double)sysconf(_SC_PAGESIZE);
    process->virtual_bytes = (double)stat_field(23);
    process->uptime_seconds = (double)date.tv_sec + (double)date.tv_nsec / 1e9 - metrics->started;
    if (process->uptime_seconds < 0) /* the clock was set back */
        process->uptime_seconds = 0;
    uptime = (int64_t)(process->uptime_seconds * 1e9);
    process->cpu_percent = server_recent_cpu_percent(&metrics->cpu, now, used, now - uptime);
}

static int open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    int count = 0;
    if (!folder)
        return 0;
    while ((entry = readdir(folder)))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; /* but the one that was used to look */
}

static void write_value(FILE *out, const char *name, const char *type, const char *help,
                        double value)
{
    server_metrics_family(out, name, type, help);
    fprintf(out, "%s %.15g\n", name, value);
}

void server_metrics_write_process(const struct server_metrics *metrics, FILE *out)
{
    struct timespec cpu = {0};
    struct rlimit files = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    getrlimit(RLIMIT_NOFILE, &files);
    write_value(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent.",
                (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    write_value(out, "process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    write_value(out, "process_max_fds", "gauge", "Most file descriptors that may be open.",
                (double)files.rlim_cur);
    write_value(out, "process_resident_memory_bytes", "gauge", "Resident memory size.",
                (double)stat_field(24) * (double)sysconf(_SC_PAGESIZE));
    write_value(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size.",
                (double)stat_field(23));
    write_value(out, "process_start_time_seconds", "gauge",
                "Start of the process, in seconds since 1970.", metrics->started);
    write_value(out, "process_threads", "gauge", "Threads of the process.", (double)stat_field(20));
}
