/* drift_report.h: what server_drift_compare found, for programs and for people. */
#ifndef SERVER_DRIFT_REPORT_H
#define SERVER_DRIFT_REPORT_H

#include <stdio.h>

#include "server/drift.h"
#include "server/json_writer.h"

/* One object; docs/drift.md has its fields. */
void server_drift_write_json(struct server_json *json, const struct server_drift_report *report);

/* A page that needs nothing else: style and pictures are in it, and no scripts. */
void server_drift_write_html(FILE *out, const struct server_drift_report *report);

/* What is told of a model in gauges. */
struct server_drift_gauges {
    const char *model;
    bool drifted;
    double share, reference_rows, current_rows, accuracy; /* accuracy: NaN where no feedback came */
    struct {
        bool confirmed;
        double score; /* NaN where the column was not compared */
    } columns[SERVER_DRIFT_COLUMNS];
};

/* report: NULL where nothing was compared yet. */
struct server_drift_gauges server_drift_take_gauges(const char *model,
                                                    const struct server_drift_report *report);
/* Gauges for Prometheus, `distild_drift_...`, of so many models. */
void server_drift_write_gauges(FILE *out, const struct server_drift_gauges *models, int count);

/* Whether a column drifted, in a word or two. */
const char *server_drift_word(const struct server_drift_finding *finding);
/* The first day that drifted; -1 where none did. */
int server_drift_first_day(const struct server_drift_report *report);

#endif
