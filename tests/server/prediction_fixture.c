/* prediction_fixture.c: see prediction_fixture.h. */
#include "tests/server/prediction_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/prediction_db.h"
#include "server/timestamp.h"
#include "tests/suite.h"

void set_up(struct fixture *f)
{
    const char *where = getenv("TMPDIR");
    memset(f, 0, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "%.50s/distild-log-XXXXXX", where ? where : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/%s", f->folder, SERVER_PREDICTION_FILE);
    f->options = (struct server_prediction_options){.enabled = true};
    f->log = (struct server_log){.fd = open("/dev/null", O_WRONLY | O_CLOEXEC),
                                 .level = SERVER_LOG_DEBUG};
    f->metrics = server_metrics_create(1);
}

void begin_log(struct fixture *f)
{
    distil_error error;
    ck_assert_msg(server_prediction_log_start(f->folder, &f->options, &f->log,
                                              server_metrics_meter(f->metrics, 0), &f->predictions,
                                              &error) == DISTIL_OK,
                  "%s", error.message);
}

void end_log(struct fixture *f)
{
    ck_assert(server_prediction_log_free(f->predictions));
    f->predictions = NULL;
}

void tear_down(struct fixture *f)
{
    char pattern[200];
    glob_t found;
    size_t i;
    snprintf(pattern, sizeof(pattern), "%s/*", f->folder);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    ck_assert_int_eq(rmdir(f->folder), 0);
    close(f->log.fd);
    server_metrics_free(f->metrics);
}

bool put(struct fixture *f, const char *id, const char *text)
{
    return server_prediction_log_put(f->predictions,
                                     &(struct server_prediction){
                                         .id = id,
                                         .at_ns = server_clock(),
                                         .model = "default",
                                         .digest = "8f65",
                                         .text = text,
                                         .label = "good",
                                         .score = 0.75,
                                         .scores = "{\"bad\":0.25,\"good\":0.75}",
                                         .tokens = 4,
                                         .unknown = 1,
                                     },
                                     server_metrics_meter(f->metrics, 0));
}

bool put_number(struct fixture *f, int number)
{
    char id[40];
    snprintf(id, sizeof(id), "id-%d", number);
    return put(f, id, "some text");
}

long long ask(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    distil_error error;
    long long number;
    ck_assert_msg(server_prediction_db_read(f->path, &db, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

long long counted(struct fixture *f, const char *series)
{
    char *text = NULL, *at, line[120];
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    long long value;
    server_metrics_write(f->metrics, out);
    fclose(out);
    snprintf(line, sizeof(line), "\n%s", series);
    at = strstr(text, line);
    ck_assert_msg(at != NULL, "there is no %s", series);
    value = strtoll(at + strlen(line), NULL, 10);
    free(text);
    return value;
}

void wait_for(struct fixture *f, const char *series, long long value)
{
    wait_until(counted(f, series) >= value);
}

static atomic_int answered;

static void on_done(struct server_feedback *feedback)
{
    (void)feedback;
    atomic_fetch_add(&answered, 1);
}

static void give(struct fixture *f, struct server_feedback *feedback, const char *id,
                 const char *label)
{
    memset(feedback, 0, sizeof(*feedback));
    snprintf(feedback->id, sizeof(feedback->id), "%s", id);
    snprintf(feedback->label, sizeof(feedback->label), "%s", label);
    feedback->done = on_done;
    server_prediction_log_give(f->predictions, feedback);
}

static bool has_answered(struct fixture *f, int before)
{
    server_prediction_log_sweep(f->predictions);
    return atomic_load(&answered) > before;
}

struct server_feedback say(struct fixture *f, const char *id, const char *label)
{
    struct server_feedback feedback;
    int before = atomic_load(&answered);
    give(f, &feedback, id, label);
    wait_until(has_answered(f, before));
    ck_assert_int_eq(atomic_load(&answered), before + 1);
    return feedback;
}
