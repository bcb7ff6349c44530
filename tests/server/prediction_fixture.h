/* prediction_fixture.h: a log of predictions in a folder of its own. */
#ifndef TESTS_SERVER_PREDICTION_FIXTURE_H
#define TESTS_SERVER_PREDICTION_FIXTURE_H

#include "server/prediction_log.h"

struct fixture {
    char folder[80], path[120];
    struct server_prediction_options options;
    struct server_log log;
    struct server_metrics *metrics;
    struct server_prediction_log *predictions;
};

/* The folder, without a log; the options may be changed before it begins. */
void set_up(struct fixture *f);
void begin_log(struct fixture *f);
void end_log(struct fixture *f);
void tear_down(struct fixture *f);

bool put(struct fixture *f, const char *id, const char *text);
bool put_number(struct fixture *f, int number);

/* A number that the database answers with, by a connection of its own. */
long long ask(struct fixture *f, const char *sql);
/* The value of a counter's series. */
long long counted(struct fixture *f, const char *series);
/* Waits until it is there. */
void wait_for(struct fixture *f, const char *series, long long value);

/* Gives feedback and waits for what becomes of it. */
struct server_feedback say(struct fixture *f, const char *id, const char *label);

#define ROWS_TOTAL "distild_prediction_log_rows_total "

#endif
