/* slow_disk.c: a disk as slow as wanted, for programs started with this library in LD_PRELOAD: each write
 * at an offset, and each flush, of a file takes so much longer. SLOW_DISK=WRITE_MS,FLUSH_MS. SQLite
 * writes so; sockets, pipes and terminals are not concerned. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static void wait_ms(int which)
{
    const char *setting = getenv("SLOW_DISK");
    int ms[2] = {0, 0};
    struct timespec pause;
    if (!setting || sscanf(setting, "%d,%d", &ms[0], &ms[1]) != 2)
        return;
    pause = (struct timespec){ms[which] / 1000, ms[which] % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

/* The function that this library stands before. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off64_t);
    *(void **)&real = next("pwrite64");
    wait_ms(0);
    return real(fd, data, size, offset);
}

int fdatasync(int fd)
{
    int (*real)(int);
    *(void **)&real = next("fdatasync");
    wait_ms(1);
    return real(fd);
}

int fsync(int fd)
{
    int (*real)(int);
    *(void **)&real = next("fsync");
    wait_ms(1);
    return real(fd);
}
