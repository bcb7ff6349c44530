#include "tools/gate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/json_input.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "weights/distil_status.h"

enum { BATCH = 32, MOST_BYTES = 1 << 28 };

/* ---- the file ---- */

static distil_status parse(const char *path, cJSON **root, distil_error *error)
{
    struct server_problem problem;
    char *text;
    size_t length;
    distil_status status = tool_input_all(path, MOST_BYTES, &text, &length, error);
    *root = status ? NULL : server_json_parse(text, length, &problem);
    if (!status && !*root)
        status = distil_fail(error, DISTIL_FORMAT, "%s: %s", path, problem.message);
    else if (!status && !cJSON_IsObject(*root))
        status = distil_fail(error, DISTIL_FORMAT, "%s: an object is expected, not %s", path,
                             server_json_type(*root));
    free(text);
    return status;
}

distil_status tool_gate_rows_read(struct tool_gate_rows *rows, const cJSON *object,
                                  const char *where, distil_error *error)
{
    rows->data = cJSON_GetObjectItemCaseSensitive(object, "data");
    rows->target = cJSON_GetObjectItemCaseSensitive(object, "target");
    if (!cJSON_IsArray(rows->data) || !cJSON_IsArray(rows->target))
        return distil_fail(error, DISTIL_FORMAT, "`%s%s`: an array is expected", where,
                           cJSON_IsArray(rows->data) ? "target" : "data");
    rows->count = cJSON_GetArraySize(rows->data);
    int targets = cJSON_GetArraySize(rows->target);
    if (rows->count == 0 || rows->count != targets)
        return distil_fail(error, DISTIL_FORMAT,
                           "`%sdata` has %d rows and `%starget` %d: as many are expected, and at "
                           "least one",
                           where, rows->count, where, targets);
    return DISTIL_OK;
}

/* ---- classification and regression ---- */

double tool_gate_r2(const double *expected, const double *predicted, int count)
{
    double mean = 0, missed = 0, varied = 0;
    for (int i = 0; i < count; i++)
        mean += expected[i] / count;
    for (int i = 0; i < count; i++) {
        missed += (expected[i] - predicted[i]) * (expected[i] - predicted[i]);
        varied += (expected[i] - mean) * (expected[i] - mean);
    }
    if (varied == 0)
        return missed == 0 ? 1 : 0;
    return 1 - missed / varied;
}

/* A row's text: a string, or an object with it as `text`. */
static const char *row_text(const cJSON *row)
{
    const cJSON *text = cJSON_IsObject(row) ? cJSON_GetObjectItemCaseSensitive(row, "text") : row;
    return cJSON_IsString(text) ? text->valuestring : NULL;
}

static int find_label(const distil_model *model, const cJSON *target)
{
    int count = distil_model_info(model)->label_count;
    if (cJSON_IsNumber(target)) {
        double number = target->valuedouble;
        return number >= 0 && number < count && number == floor(number) ? (int)number : -1;
    }
    for (int i = 0; cJSON_IsString(target) && i < count; i++)
        if (strcasecmp(distil_label(model, i), target->valuestring) == 0)
            return i;
    return -1;
}

/* A target as a number: the label's, or the value itself. */
static distil_status read_target(const distil_model *model, const cJSON *target, int row,
                                 double *value, distil_error *error)
{
    if (distil_model_info(model)->problem == DISTIL_REGRESSION) {
        if (!cJSON_IsNumber(target))
            return distil_fail(error, DISTIL_FORMAT,
                               "`target[%d]`: the model gives numbers, so one is expected, not %s",
                               row, server_json_type(target));
        *value = target->valuedouble;
        return DISTIL_OK;
    }
    int label = find_label(model, target);
    if (label < 0)
        return distil_fail(error, DISTIL_FORMAT,
                           "`target[%d]`: neither the name nor the number of a label of the model",
                           row);
    *value = label;
    return DISTIL_OK;
}

struct trial {
    const distil_model *model;
    distil_session *session;
    distil_tokens *tokens[BATCH];
    float *logits; /* (BATCH, label_count) */
};

/* What the model makes of rows first..first + n - 1: a label's number, or a value. row moves on. */
static distil_status compute(struct trial *trial, const cJSON **row, int first, int n,
                             double *predicted, distil_error *error)
{
    const distil_info *info = distil_model_info(trial->model);
    for (int i = 0; i < n; i++, *row = (*row)->next) {
        const char *text = row_text(*row);
        if (!text)
            return distil_fail(error, DISTIL_FORMAT,
                               "`data[%d]`: a text is expected, or an object with one as `text`",
                               first + i);
        distil_status status = distil_encode(trial->model, text, strlen(text), NULL, 0,
                                             DISTIL_TRUNCATE_RIGHT, &trial->tokens[i], error);
        if (status)
            return status;
    }
    distil_status status = distil_logits(
        trial->session, (const distil_tokens *const *)trial->tokens, n, trial->logits, error);
    for (int i = 0; i < n && !status; i++) {
        const float *logits = trial->logits + (size_t)i * (size_t)info->label_count;
        predicted[first + i] = info->problem == DISTIL_REGRESSION
                                   ? (double)logits[0]
                                   : (double)tool_likeliest(logits, info->label_count);
    }
    return status;
}

static distil_status compute_all(struct trial *trial, const struct tool_gate_rows *rows,
                                 double *expected, double *predicted, distil_error *error)
{
    struct tool_progress progress;
    const cJSON *row = rows->data->child, *target = rows->target->child;
    distil_status status = DISTIL_OK;
    for (int i = 0; i < rows->count && !status; i++, target = target->next)
        status = read_target(trial->model, target, i, &expected[i], error);
    tool_progress_start(&progress, "evaluating", "texts", true);
    for (int first = 0; first < rows->count && !status; first += BATCH) {
        int n = rows->count - first < BATCH ? rows->count - first : BATCH;
        status = compute(trial, &row, first, n, predicted, error);
        tool_progress_update(&progress, (size_t)first + (size_t)n, (size_t)rows->count, first + n);
    }
    tool_progress_end(&progress);
    return status;
}

static double accuracy(const double *expected, const double *predicted, int count)
{
    int hits = 0;
    for (int i = 0; i < count; i++)
        hits += expected[i] == predicted[i];
    return (double)hits / count;
}

static distil_status score_model(const struct tool_model_settings *settings,
                                 const struct tool_gate_rows *rows, double *score,
                                 const char **measure, distil_error *error)
{
    struct trial trial = {0};
    distil_model *model;
    size_t count = (size_t)rows->count;
    double *numbers = NULL;
    distil_status status = tool_open_classifier(settings, &model, &trial.session, error);
    if (status)
        return status;
    const distil_info *info = distil_model_info(model);
    bool regression = info->problem == DISTIL_REGRESSION;
    trial.model = model;
    trial.logits = malloc(((size_t)info->label_count + 1) * BATCH * sizeof *trial.logits);
    numbers = calloc(2 * count + 1, sizeof *numbers);
    if (!trial.logits || !numbers) {
        distil_fail(error, DISTIL_NO_MEMORY, "no memory for %zu rows", count);
        status = DISTIL_NO_MEMORY;
    } else if (info->problem == DISTIL_SIGMOID)
        status =
            distil_fail(error, DISTIL_TASK,
                        "%s: labels that do not exclude each other have no accuracy", info->path);
    else
        status = compute_all(&trial, rows, numbers, numbers + count, error);
    if (!status && numbers) {
        *score = (regression ? tool_gate_r2 : accuracy)(numbers, numbers + count, rows->count);
        *measure = regression ? "R^2" : "accuracy";
    }
    for (int i = 0; i < BATCH; i++)
        distil_tokens_free(trial.tokens[i]);
    free(trial.logits);
    free(numbers);
    distil_session_free(trial.session);
    distil_model_free(model);
    return status;
}

/* ---- the command ---- */

double tool_gate_tolerance(const char *precision, bool accuracy, int rows)
{
    if (strcmp(precision, "fp32") == 0)
        return 1e-5;
    return 0.005 + (accuracy ? 3 * sqrt(0.01 / rows) : 0);
}

/* What came of it. */
struct verdict {
    const struct tool_gate *gate;
    const char *precision, *measure;
    int rows;
    double score, expected, tolerance;
    bool passed;
};

static void write_json(FILE *out, const void *context)
{
    const struct verdict *verdict = context;
    fputs("{\"tests\": ", out);
    tool_json_string(out, verdict->gate->path);
    fprintf(out, ", \"rows\": %d, \"measure\": \"%s\", \"precision\": \"%s\", \"score\": ",
            verdict->rows, verdict->measure, verdict->precision);
    tool_json_double(out, verdict->score);
    fputs(", \"expected_score\": ", out);
    tool_json_double(out, verdict->expected);
    fputs(", \"error_tolerance\": ", out);
    tool_json_double(out, verdict->tolerance);
    fprintf(out, ", \"passed\": %s}\n", verdict->passed ? "true" : "false");
}

static distil_status tell(const struct verdict *verdict, distil_error *error)
{
    const struct tool_gate *gate = verdict->gate;
    if (gate->json)
        write_json(stdout, verdict);
    else
        printf("%s: %s of %d rows in %s %.9g, expected %.9g: off by %.3g, at most %.3g may be\n",
               verdict->passed ? "PASS" : "FAIL", verdict->measure, verdict->rows,
               verdict->precision, verdict->score, verdict->expected,
               fabs(verdict->score - verdict->expected), verdict->tolerance);
    distil_status status = tool_flush(stdout, error);
    if (!status && gate->output && strcmp(gate->output, "-") != 0)
        status = tool_save(gate->output, write_json, verdict, error);
    return status;
}

static bool is_recommendation(const struct tool_gate_rows *rows)
{
    return cJSON_GetObjectItemCaseSensitive(rows->data->child, "movie") != NULL;
}

/* Names the file before a field that is at fault, of which whoever found that out named no more. */
static void name_file(const struct tool_gate *gate, distil_status status, distil_error *error)
{
    const distil_error said = *error;
    if (said.message[0] == '`')
        distil_fail(error, status, "%s: %s", gate->path, said.message);
}

int tool_gate_run(const struct tool_gate *gate)
{
    struct tool_gate_rows rows = {0};
    struct tool_model_settings model = gate->model;
    cJSON *root = NULL;
    const cJSON *wanted = NULL;
    struct verdict verdict = {.gate = gate, .measure = "R^2"};
    distil_error error;
    if (!model.precision)
        model.precision = "fp32";
    distil_status status = parse(gate->path, &root, &error);
    if (!status)
        status = tool_gate_rows_read(&rows, root, "", &error);
    if (!status) {
        wanted = cJSON_GetObjectItemCaseSensitive(root, "expected_score");
        if (!cJSON_IsNumber(wanted))
            status = distil_fail(&error, DISTIL_FORMAT, "`expected_score`: a number is expected");
        else if (is_recommendation(&rows))
            status = tool_gate_recommend(gate, root, &rows, &verdict.score, &error);
        else
            status = score_model(&model, &rows, &verdict.score, &verdict.measure, &error);
    }
    if (!status) {
        verdict.precision = model.precision;
        verdict.rows = rows.count;
        verdict.expected = wanted->valuedouble;
        verdict.tolerance =
            gate->tolerance >= 0
                ? gate->tolerance
                : tool_gate_tolerance(model.precision, strcmp(verdict.measure, "accuracy") == 0,
                                      rows.count);
        /* not a number is off, too */
        verdict.passed = fabs(verdict.score - verdict.expected) <= verdict.tolerance;
        status = tell(&verdict, &error);
    } else {
        name_file(gate, status, &error);
    }
    cJSON_Delete(root);
    return status ? tool_failed("evaluate", &error) : verdict.passed ? TOOL_OK : TOOL_BELOW;
}
