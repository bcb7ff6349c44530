/* metrics_internal.h: what the files of the metrics share. */
#ifndef SERVER_METRICS_INTERNAL_H
#define SERVER_METRICS_INTERNAL_H

#include "server/recent.h"

struct server_meter;

struct server_metrics {
    int count;
    struct server_meter **meters; /* (count) */
    double started;               /* of the process, in seconds since 1970 */
    struct server_recent_cpu cpu;
};

/* When this process was started, in seconds since 1970; 0 where the system does not say. */
double server_metrics_process_start(void);

#endif
