/* drift_quality.h: predictions beside what feedback says of them. */
#ifndef SERVER_DRIFT_QUALITY_H
#define SERVER_DRIFT_QUALITY_H

#include "server/drift.h"

/* Of the rows order[0..count) that have feedback; false when memory runs out. */
bool server_drift_judge_quality(const struct server_drift_rows *rows, const size_t *order,
                                size_t count, struct server_drift_quality *quality);

#endif
