/* recent.c: see recent.h. */
#include "server/recent.h"

enum { NS = 1000000000 };

void server_recent_add(struct server_recent *recent, int64_t now, int64_t nanoseconds, bool error)
{
    long long second = now / NS;
    struct server_recent_second *slot = &recent->seconds[second % SERVER_RECENT_SLOTS];
    uint64_t took = nanoseconds > 0 ? (uint64_t)nanoseconds : 0;
    if (atomic_load_explicit(&slot->second, memory_order_relaxed) != second) {
        atomic_store_explicit(&slot->requests, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->errors, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->sum, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->longest, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->second, second, memory_order_release);
    }
    atomic_fetch_add_explicit(&slot->requests, 1, memory_order_relaxed);
    if (error)
        atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->sum, took, memory_order_relaxed);
    if (took > atomic_load_explicit(&slot->longest, memory_order_relaxed))
        atomic_store_explicit(&slot->longest, took, memory_order_relaxed);
}

void server_recent_read(const struct server_recent *recent, int64_t now,
                        struct server_recent_sums *sums)
{
    long long second = now / NS;
    int i;
    for (i = 0; i < SERVER_RECENT_SLOTS; i++) {
        const struct server_recent_second *slot = &recent->seconds[i];
        long long counted = atomic_load_explicit(&slot->second, memory_order_acquire);
        uint64_t longest;
        if (counted > second || counted <= second - SERVER_RECENT_SECONDS)
            continue;
        sums->requests += atomic_load_explicit(&slot->requests, memory_order_relaxed);
        sums->errors += atomic_load_explicit(&slot->errors, memory_order_relaxed);
        sums->sum += atomic_load_explicit(&slot->sum, memory_order_relaxed);
        longest = atomic_load_explicit(&slot->longest, memory_order_relaxed);
        if (longest > sums->longest)
            sums->longest = longest;
    }
}

double server_recent_cpu_percent(struct server_recent_cpu *recent, int64_t now, int64_t cpu,
                                 int64_t started)
{
    int64_t from = started, used = 0;
    bool old = false; /* whether `from` is a minute ago */
    int i, slot = (int)(now / NS % SERVER_RECENT_SLOTS);
    for (i = 0; i < SERVER_RECENT_SLOTS; i++) {
        int64_t at = atomic_load_explicit(&recent->samples[i].at, memory_order_acquire);
        bool is_old = at <= now - (int64_t)SERVER_RECENT_SECONDS * NS;
        if (at == 0 || at >= now || (old && !is_old))
            continue;
        if (from == started || (is_old && (!old || at > from)) || (!is_old && at < from)) {
            from = at;
            used = atomic_load_explicit(&recent->samples[i].cpu, memory_order_relaxed);
            old = is_old;
        }
    }
    if (atomic_load_explicit(&recent->samples[slot].at, memory_order_relaxed) / NS != now / NS) {
        atomic_store_explicit(&recent->samples[slot].cpu, cpu, memory_order_relaxed);
        atomic_store_explicit(&recent->samples[slot].at, now, memory_order_release);
    }
    return now > from ? 100.0 * (double)(cpu - used) / (double)(now - from) : 0;
}
