/* drift_generator.c: see drift_generator.h. */
#include "drift_generator.h"

#include <check.h>
#include <math.h>
#include <stdio.h>

#include "server/prediction_db.h"

static const char *const labels[] = {"NEGATIVE", "POSITIVE"};

/* splitmix64: one number from any 64 bits, so that row i of a seed is the same however rows are cut. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

static double uniform(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15U;
    return ((double)(mix(*state) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *state)
{
    double radius = sqrt(-2 * log(uniform(state)));
    return radius * cos(6.283185307179586 * uniform(state));
}

/* What a day is like. */
struct day {
    double positive, doubt, length, unknown, topic;
};

static struct day day_of(const struct generated *how, int day)
{
    uint64_t state = mix(how->seed * 1000003 + (uint64_t)day);
    double shift = how->shift_day >= 0 && day >= how->shift_day ? how->strength : 0;
    struct day found;
    found.positive = 0.62 + 0.01 * normal(&state) - 0.2 * shift;
    found.doubt = (1 + 0.6 * shift) * exp(0.01 * normal(&state));
    found.length = (3.0 + 0.35 * shift) + 0.01 * normal(&state);
    found.unknown = 0.004 * (1 + 5 * shift) * exp(0.05 * normal(&state));
    found.topic = 0.12 * shift + 0.004 * normal(&state);
    return found;
}

/* A prediction, and what was right. */
struct prediction {
    struct server_drift_row row;
    double scores[2];
    float projection[GENERATED_DIMENSIONS];
    int label, truth;
};

static struct prediction prediction_of(const struct generated *how, const struct day *day,
                                       int64_t number)
{
    uint64_t state = mix(how->seed * 7919 + (uint64_t)number * 2654435761U);
    struct prediction p;
    double logit, tokens, unknown = 0;
    p.truth = uniform(&state) < day->positive;
    logit = (p.truth ? 2.4 : -2.4) / day->doubt + 1.4 * normal(&state);
    p.scores[1] = 1 / (1 + exp(-logit));
    p.scores[0] = 1 - p.scores[1];
    p.label = p.scores[1] > 0.5;
    tokens = fmin(2 + ceil(exp(day->length + 0.5 * normal(&state))), 512);
    for (int i = 0; i < (int)tokens - 2; i++)
        unknown += uniform(&state) < day->unknown;
    for (int i = 0; i < GENERATED_DIMENSIONS; i++)
        p.projection[i] =
            (float)(0.2 * normal(&state) + 0.05 * (i % 3) + (i % 2 ? day->topic : -day->topic));
    p.row = (struct server_drift_row){
        .at_ns = GENERATED_BEGIN + number / how->rows_per_day * GENERATED_DAY +
                 number % how->rows_per_day * (GENERATED_DAY / how->rows_per_day),
        .confidence = fmax(p.scores[0], p.scores[1]),
        .entropy = server_drift_entropy(p.scores, 2),
        .tokens = tokens,
        .unknown = unknown};
    return p;
}

void generate_rows(const struct generated *how, int first, int last, struct server_drift_rows *rows)
{
    for (int day = first; day < last; day++) {
        struct day like = day_of(how, day);
        for (int i = 0; i < how->rows_per_day; i++) {
            struct prediction p = prediction_of(how, &like, (int64_t)day * how->rows_per_day + i);
            distil_error error;
            ck_assert_msg(server_drift_add(rows, p.row, labels[p.label],
                                           i % 10 == 0 ? labels[p.truth] : NULL, "default",
                                           p.projection, GENERATED_DIMENSIONS, NULL,
                                           &error) == DISTIL_OK,
                          "%s", error.message);
        }
    }
}

static void insert(sqlite3_stmt *statement, const struct prediction *p, int64_t number)
{
    char id[32], scores[80];
    snprintf(id, sizeof id, "%lld", (long long)number);
    snprintf(scores, sizeof scores, "{\"NEGATIVE\":%.9g,\"POSITIVE\":%.9g}", p->scores[0],
             p->scores[1]);
    sqlite3_bind_text(statement, 1, id, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 2, p->row.at_ns);
    sqlite3_bind_text(statement, 3, labels[p->label], -1, SQLITE_STATIC);
    sqlite3_bind_double(statement, 4, p->row.confidence);
    sqlite3_bind_text(statement, 5, scores, -1, SQLITE_TRANSIENT);
    sqlite3_bind_double(statement, 6, p->row.tokens);
    sqlite3_bind_double(statement, 7, p->row.unknown);
    sqlite3_bind_blob(statement, 8, p->projection, sizeof p->projection, SQLITE_TRANSIENT);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_reset(statement);
}

static void give_feedback(sqlite3_stmt *statement, const struct prediction *p, int64_t number)
{
    char id[32];
    snprintf(id, sizeof id, "%lld", (long long)number);
    sqlite3_bind_text(statement, 1, id, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(statement, 2, labels[p->truth], -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, p->row.at_ns + 1000);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_reset(statement);
}

void generate_log(const struct generated *how, const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *prediction, *feedback;
    distil_error error;
    ck_assert_msg(server_prediction_db_write(path, &db, &error) == DISTIL_OK, "%s", error.message);
    sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", NULL, NULL, NULL);
    ck_assert_int_eq(
        sqlite3_prepare_v2(db,
                           "INSERT INTO prediction(id, at_ns, model, digest, label, score, scores,"
                           " tokens, unknown, truncated, projection)"
                           " VALUES(?1, ?2, 'default', 'd1', ?3, ?4, ?5, ?6, ?7, 0, ?8)",
                           -1, &prediction, NULL),
        SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(db, "INSERT INTO feedback VALUES(?1, ?2, ?3)", -1, &feedback, NULL),
        SQLITE_OK);
    for (int day = 0; day < how->days; day++) {
        struct day like = day_of(how, day);
        for (int i = 0; i < how->rows_per_day; i++) {
            int64_t number = (int64_t)day * how->rows_per_day + i;
            struct prediction p = prediction_of(how, &like, number);
            insert(prediction, &p, number);
            if (i % 10 == 0)
                give_feedback(feedback, &p, number);
        }
    }
    sqlite3_finalize(prediction);
    sqlite3_finalize(feedback);
    ck_assert_int_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
