#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distil_catalogue.h"
#include "server/estimator.h"
#include "server/json_input.h"
#include "tools/gate.h"

/* Reads one row: whom, and which item. where names the rows in messages, as "learn." does. */
static distil_status read_row(const distil_catalogue *catalogue, const cJSON *row,
                              const char *where, int number, struct server_score *score,
                              distil_error *error)
{
    const cJSON *age = cJSON_GetObjectItemCaseSensitive(row, "age");
    const cJSON *gender = cJSON_GetObjectItemCaseSensitive(row, "gender");
    const cJSON *occupation = cJSON_GetObjectItemCaseSensitive(row, "occupation");
    const cJSON *movie = cJSON_GetObjectItemCaseSensitive(row, "movie");
    const char *bad = NULL;
    *score = (struct server_score){.item = -1};
    if (!cJSON_IsNumber(age) || age->valuedouble < 0 || age->valuedouble > SERVER_AGE_MOST ||
        age->valuedouble != age->valueint)
        bad = "age`: a whole number from 0 to 130";
    else if (!cJSON_IsString(gender) || server_gender_find(gender->valuestring) < 0)
        bad = "gender`: M, F or O";
    else if (!cJSON_IsString(occupation) || server_occupation_find(occupation->valuestring) < 0)
        bad = "occupation`: one of those of POST /api/recommend";
    else if (!cJSON_IsString(movie) ||
             (score->item = (int)distil_catalogue_find(catalogue, movie->valuestring)) < 0)
        bad = "movie`: an id of the catalogue";
    if (bad)
        return distil_fail(error, DISTIL_FORMAT, "`%sdata[%d].%s is expected", where, number, bad);
    score->profile =
        (struct server_profile){.age = age->valueint,
                                .gender = server_gender_find(gender->valuestring),
                                .occupation = server_occupation_find(occupation->valuestring)};
    return DISTIL_OK;
}

static distil_status read_score(const cJSON *target, const char *where, int number, double *score,
                                distil_error *error)
{
    if (!cJSON_IsNumber(target) || !(target->valuedouble >= 0) ||
        target->valuedouble > SERVER_SCORE_MOST)
        return distil_fail(error, DISTIL_FORMAT, "`%starget[%d]`: a score from 0 to %d is expected",
                           where, number, SERVER_SCORE_MOST);
    *score = target->valuedouble;
    return DISTIL_OK;
}

static distil_status learn(struct server_estimator *estimator, const distil_catalogue *catalogue,
                           const cJSON *object, distil_error *error)
{
    struct tool_gate_rows rows;
    distil_status status = tool_gate_rows_read(&rows, object, "learn.", error);
    if (status)
        return status;
    const cJSON *row = rows.data->child, *target = rows.target->child;
    for (int i = 0; i < rows.count && !status; i++, row = row->next, target = target->next) {
        struct server_score score;
        double value = 0;
        status = read_row(catalogue, row, "learn.", i, &score, error);
        if (!status)
            status = read_score(target, "learn.", i, &value, error);
        score.score = (float)value;
        if (!status)
            status = server_estimator_store(estimator, &score, error);
    }
    return status ? status : server_estimator_settle(estimator, NULL, NULL, error);
}

static distil_status predict(struct server_estimator *estimator, const distil_catalogue *catalogue,
                             const struct tool_gate_rows *rows, double *score, distil_error *error)
{
    size_t count = (size_t)rows->count;
    double *numbers = calloc(2 * count, sizeof *numbers);
    if (!numbers)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %zu rows", count);
    const cJSON *row = rows->data->child, *target = rows->target->child;
    distil_status status = DISTIL_OK;
    for (int i = 0; i < rows->count && !status; i++, row = row->next, target = target->next) {
        struct server_score wanted;
        status = read_row(catalogue, row, "", i, &wanted, error);
        if (!status)
            status = read_score(target, "", i, &numbers[i], error);
        if (status)
            break;
        float expected = server_estimator_predict(estimator, &wanted.profile, wanted.item, 0);
        expected = expected < 0 ? 0 : expected > SERVER_SCORE_MOST ? SERVER_SCORE_MOST : expected;
        numbers[count + (size_t)i] = (double)expected;
    }
    if (!status)
        *score = tool_gate_r2(numbers, numbers + count, rows->count);
    free(numbers);
    return status;
}

distil_status tool_gate_recommend(const struct tool_gate *gate, const cJSON *root,
                                  const struct tool_gate_rows *rows, double *score,
                                  distil_error *error)
{
    const cJSON *lessons = cJSON_GetObjectItemCaseSensitive(root, "learn");
    distil_catalogue *catalogue = NULL;
    struct server_estimator *estimator = NULL;
    if (!gate->catalogue)
        return distil_fail(error, DISTIL_INVALID, "tests of recommendations need --catalogue");
    if (!cJSON_IsObject(lessons))
        return distil_fail(error, DISTIL_FORMAT,
                           "`learn`: an object with `data` and `target`, the scores to learn from, "
                           "is expected");
    distil_status status = distil_catalogue_open(gate->catalogue, &catalogue, error);
    if (status)
        return status;
    status = server_estimator_of_catalogue(catalogue, &estimator, error);
    if (!status)
        status = learn(estimator, catalogue, lessons, error);
    if (!status)
        status = predict(estimator, catalogue, rows, score, error);
    server_estimator_free(estimator);
    distil_catalogue_free(catalogue);
    return status;
}
