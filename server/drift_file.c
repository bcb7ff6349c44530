/* drift_file.c: rows in files: exports of the log, predictions of other programs, and a reference that
 * was set; see drift_rows.h. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/drift_rows.h"
#include "server/json_input.h"
#include "server/json_writer.h"
#include "server/timestamp.h"
#include "weights/replacement.h"

enum { MAX_SCORES = 4096, MAX_COLUMNS = 4200 };

/* What a line says. Strings are the line's. */
struct line {
    const char *label, *truth, *model, *digest, *text;
    struct server_drift_row row;
    double scores[MAX_SCORES];
    int score_count;
    float projection[SERVER_DRIFT_MAX_DIMENSIONS];
    int dimensions;
};

struct file {
    const char *path;
    FILE *in;
    const struct server_drift_query *query;
    struct server_drift_rows *rows;
    char *buffer;
    size_t capacity;
    long number; /* of the line read last, from 1 */
    struct line line;
    char **columns; /* of a file with tabs: which are named how, NULL-terminated */
};

/* The fields whose value is a number of the row. */
static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"score", offsetof(struct server_drift_row, confidence)},
    {"entropy", offsetof(struct server_drift_row, entropy)},
    {"tokens", offsetof(struct server_drift_row, tokens)},
    {"unknown", offsetof(struct server_drift_row, unknown)},
};

/* The fields whose value is a text. */
static const struct {
    const char *name;
    size_t offset;
} texts[] = {
    {"label", offsetof(struct line, label)}, {"feedback", offsetof(struct line, truth)},
    {"model", offsetof(struct line, model)}, {"digest", offsetof(struct line, digest)},
    {"text", offsetof(struct line, text)},
};

static double *number_at(struct line *line, const char *name)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        if (strcmp(name, numbers[i].name) == 0)
            return (double *)(void *)((char *)&line->row + numbers[i].offset);
    }
    return NULL;
}

static const char **text_at(struct line *line, const char *name)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (strcmp(name, texts[i].name) == 0)
            return (const char **)(void *)((char *)line + texts[i].offset);
    }
    return NULL;
}

static void clear(struct line *line)
{
    line->label = line->truth = line->text = NULL;
    line->model = line->digest = "";
    line->score_count = line->dimensions = 0;
    line->row = (struct server_drift_row){.at_ns = SERVER_DRIFT_NEVER,
                                          .confidence = NAN,
                                          .entropy = NAN,
                                          .tokens = NAN,
                                          .unknown = NAN};
}

static distil_status bad(const struct file *file, distil_error *error, const char *what,
                         const char *field)
{
    return distil_fail(error, DISTIL_FORMAT, "%s, line %ld: %s%s%s%s", file->path, file->number,
                       field ? "`" : "", field ? field : "", field ? "`: " : "", what);
}

/* ---- JSON lines ---- */

/* Whether it is a number of JSON's that a float can hold: 1e400 is none. */
static bool is_number(const cJSON *value)
{
    return cJSON_IsNumber(value) && fabs(value->valuedouble) <= (double)FLT_MAX;
}

static distil_status take_scores(struct file *file, const cJSON *value, distil_error *error)
{
    const cJSON *each;
    cJSON_ArrayForEach(each, value)
    {
        if (!is_number(each) || file->line.score_count == MAX_SCORES)
            return bad(file, error, "must hold at most 4096 numbers", "scores");
        file->line.scores[file->line.score_count++] = each->valuedouble;
    }
    return DISTIL_OK;
}

static distil_status take_projection(struct file *file, const cJSON *value, distil_error *error)
{
    const cJSON *each;
    if (!cJSON_IsArray(value))
        return bad(file, error, "must be an array of numbers", "projection");
    cJSON_ArrayForEach(each, value)
    {
        if (!is_number(each) || file->line.dimensions == SERVER_DRIFT_MAX_DIMENSIONS)
            return bad(file, error, "must be an array of at most 4096 numbers", "projection");
        file->line.projection[file->line.dimensions++] = (float)each->valuedouble;
    }
    return DISTIL_OK;
}

static distil_status take_time_text(struct file *file, const char *text, distil_error *error)
{
    const char *problem;
    if (server_timestamp_parse(text, &file->line.row.at_ns, &problem))
        return DISTIL_OK;
    return bad(file, error, problem, "at");
}

static distil_status take_member(struct file *file, const cJSON *value, distil_error *error)
{
    const char *name = value->string;
    double *number = number_at(&file->line, name);
    const char **text = text_at(&file->line, name);
    if (cJSON_IsNull(value))
        return DISTIL_OK;
    if (number && !is_number(value))
        return bad(file, error, "must be a number", name);
    if ((text || strcmp(name, "at") == 0) && !cJSON_IsString(value))
        return bad(file, error, "must be a string", name);
    if (number)
        *number = value->valuedouble;
    else if (text)
        *text = value->valuestring;
    else if (strcmp(name, "at") == 0)
        return take_time_text(file, value->valuestring, error);
    else if (strcmp(name, "scores") == 0)
        return take_scores(file, value, error);
    else if (strcmp(name, "projection") == 0)
        return take_projection(file, value, error);
    return DISTIL_OK;
}

static distil_status finish_line(struct file *file, distil_error *error)
{
    struct line *line = &file->line;
    const struct server_drift_query *query = file->query;
    char model[512];
    if (!line->label)
        return bad(file, error, "is missing", "label");
    if (line->row.at_ns != SERVER_DRIFT_NEVER &&
        (line->row.at_ns < query->range.from || line->row.at_ns >= query->range.to))
        return DISTIL_OK;
    if (query->model && *line->model && strcmp(query->model, line->model) != 0)
        return DISTIL_OK;
    if (line->score_count > 0)
        line->row.entropy = server_drift_entropy(line->scores, line->score_count);
    snprintf(model, sizeof(model), "%s%s%s", line->model, *line->digest ? " " : "", line->digest);
    file->rows->found++;
    return server_drift_add(file->rows, line->row, line->label, line->truth, model,
                            line->dimensions > 0 ? line->projection : NULL, line->dimensions,
                            query->texts ? line->text : NULL, error);
}

static distil_status take_json(struct file *file, size_t length, distil_error *error)
{
    struct server_problem problem = {0};
    cJSON *object = server_json_parse(file->buffer, length, &problem);
    const cJSON *each;
    distil_status status = DISTIL_OK;
    if (!object)
        return bad(file, error, problem.message, NULL);
    if (!cJSON_IsObject(object))
        status = bad(file, error, "expected a JSON object", NULL);
    cJSON_ArrayForEach(each, object)
    {
        if (!status)
            status = take_member(file, each, error);
    }
    if (!status)
        status = finish_line(file, error);
    cJSON_Delete(object);
    return status;
}

/* ---- columns ---- */

/* The field that begins at *at; moves on to the next, or to NULL. Undoes \t, \n, \r and \\. */
static char *next_field(char **at)
{
    char *field = *at, *to = field, *from;
    for (from = field; *from && *from != '\t'; from++) {
        const char *letters = "tnr\\", *found;
        if (*from == '\\' && from[1] && (found = strchr(letters, from[1])) != NULL) {
            *to++ = "\t\n\r\\"[found - letters];
            from++;
        } else {
            *to++ = *from;
        }
    }
    *at = *from ? from + 1 : NULL;
    *to = '\0';
    return field;
}

static distil_status take_header(struct file *file, distil_error *error)
{
    char *at = file->buffer;
    int count = 0;
    bool label = false;
    file->columns = calloc(MAX_COLUMNS + 1, sizeof(*file->columns));
    while (file->columns && at && count < MAX_COLUMNS) {
        char *field = next_field(&at);
        label = label || strcmp(field, "label") == 0;
        if (!(file->columns[count++] = strdup(field)))
            return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %s", file->path);
    }
    if (!file->columns)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %s", file->path);
    if (!label || at)
        return bad(file, error, "must be among the names of at most 4200 columns", "label");
    return DISTIL_OK;
}

/* A column of JSON objects, as the log exports scores. */
static distil_status take_scores_text(struct file *file, const char *text, distil_error *error)
{
    struct server_problem problem = {0};
    cJSON *value = server_json_parse(text, strlen(text), &problem);
    distil_status status =
        value ? take_scores(file, value, error) : bad(file, error, problem.message, "scores");
    cJSON_Delete(value);
    return status;
}

static distil_status take_field(struct file *file, const char *name, const char *field,
                                distil_error *error)
{
    struct line *line = &file->line;
    bool score = strncmp(name, "score:", 6) == 0 && line->score_count < MAX_SCORES;
    double *number = score ? &line->scores[line->score_count] : number_at(line, name);
    const char **text = text_at(line, name);
    if (*field == '\0')
        return DISTIL_OK;
    if (text)
        *text = field;
    if (strcmp(name, "at") == 0)
        return take_time_text(file, field, error);
    if (strcmp(name, "scores") == 0)
        return take_scores_text(file, field, error);
    if (number) {
        char *end;
        *number = strtod(field, &end);
        if (*end != '\0' || !(fabs(*number) <= (double)FLT_MAX))
            return bad(file, error, "must be a number", name);
        line->score_count += score;
    }
    return DISTIL_OK;
}

static distil_status take_columns(struct file *file, distil_error *error)
{
    char *at = file->buffer;
    distil_status status = DISTIL_OK;
    int i;
    for (i = 0; file->columns[i] && at && !status; i++)
        status = take_field(file, file->columns[i], next_field(&at), error);
    if (!status && (file->columns[i] || at))
        status = bad(file, error, "has not as many fields as there are columns", NULL);
    return status ? status : finish_line(file, error);
}

/* ---- files ---- */

static bool ends_in(const char *path, const char *ending)
{
    size_t length = strlen(path), end = strlen(ending);
    return length >= end && strcmp(path + length - end, ending) == 0;
}

static distil_status read_lines(struct file *file, bool tabs, distil_error *error)
{
    distil_status status = DISTIL_OK;
    ssize_t length;
    while (!status && (length = getline(&file->buffer, &file->capacity, file->in)) >= 0) {
        file->number++;
        while (length > 0 && strchr("\r\n", file->buffer[length - 1]))
            file->buffer[--length] = '\0';
        if (length == 0)
            continue;
        clear(&file->line);
        if (!tabs)
            status = take_json(file, (size_t)length, error);
        else if (!file->columns)
            status = take_header(file, error);
        else
            status = take_columns(file, error);
    }
    if (!status && ferror(file->in))
        status = distil_fail(error, DISTIL_IO, "%s: %s", file->path, strerror(errno));
    return status;
}

/* Keeps every so-manieth row where there are more than the limit. */
static void thin(struct server_drift_rows *rows, size_t limit)
{
    size_t stride = rows->count / limit + (rows->count % limit != 0), kept = 0;
    size_t width = (size_t)rows->dimensions;
    for (size_t i = 0; stride > 1 && i < rows->count; i++) {
        if (i % stride != 0) {
            if (rows->texts)
                free(rows->texts[i]);
            continue;
        }
        rows->rows[kept] = rows->rows[i];
        if (rows->texts)
            rows->texts[kept] = rows->texts[i];
        if (width > 0)
            memmove(rows->projection + kept * width, rows->projection + i * width,
                    width * sizeof(float));
        kept++;
    }
    if (stride > 1)
        rows->count = kept;
}

distil_status server_drift_read_file(const char *path, const struct server_drift_query *query,
                                     struct server_drift_rows *rows, distil_error *error)
{
    struct file *file = calloc(1, sizeof(*file));
    distil_status status = DISTIL_OK;
    struct stat about;
    if (!file)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %s", path);
    *file = (struct file){.path = path, .query = query, .rows = rows};
    rows->keep_texts = query->texts;
    file->in = fopen(path, "re");
    if (!file->in)
        status = distil_fail(error, errno == ENOENT ? DISTIL_NOT_FOUND : DISTIL_IO, "%s: %s", path,
                             strerror(errno));
    else if (fstat(fileno(file->in), &about) == 0 && S_ISDIR(about.st_mode))
        status = distil_fail(error, DISTIL_IO, "%s: a directory, not a file of predictions", path);
    else
        status = read_lines(file, ends_in(path, ".tsv"), error);
    if (!status)
        thin(rows, query->limit);
    if (file->in)
        fclose(file->in);
    for (int i = 0; file->columns && file->columns[i]; i++)
        free(file->columns[i]);
    free((void *)file->columns);
    free(file->buffer);
    free(file);
    return status;
}

static void put_number(struct server_json *json, const char *name, double value)
{
    if (isnan(value))
        return;
    server_json_key(json, name);
    server_json_double(json, value);
}

static void put_row(struct server_json *json, const struct server_drift_rows *rows, size_t i)
{
    const struct server_drift_row *row = &rows->rows[i];
    const char *model = rows->models.names[row->model], *space = strchr(model, ' ');
    char at[SERVER_TIMESTAMP_SIZE];
    server_json_begin_object(json);
    if (row->at_ns != SERVER_DRIFT_NEVER) {
        server_timestamp_write(row->at_ns, at);
        server_json_put_string(json, "at", at);
    }
    if (*model) {
        server_json_key(json, "model");
        server_json_string_n(json, model, space ? (size_t)(space - model) : strlen(model));
    }
    if (space)
        server_json_put_string(json, "digest", space + 1);
    server_json_put_string(json, "label", rows->labels.names[row->label]);
    put_number(json, "score", row->confidence);
    put_number(json, "entropy", row->entropy);
    put_number(json, "tokens", row->tokens);
    put_number(json, "unknown", row->unknown);
    if (row->truth >= 0)
        server_json_put_string(json, "feedback", rows->labels.names[row->truth]);
    if (rows->dimensions > 0) {
        const float *values = rows->projection + i * (size_t)rows->dimensions;
        if (!isnan(values[0])) {
            server_json_key(json, "projection");
            server_json_begin_array(json);
            for (int k = 0; k < rows->dimensions; k++)
                server_json_float(json, values[k]);
            server_json_end_array(json);
        }
    }
    server_json_end_object(json);
    server_json_raw(json, "\n", 1);
}

static distil_status write_rows(FILE *out, const char *path, const struct server_drift_rows *rows,
                                distil_error *error)
{
    for (size_t i = 0; i < rows->count; i++) {
        struct server_json json = {0};
        size_t length;
        char *line;
        put_row(&json, rows, i);
        line = server_json_take(&json, &length);
        if (!line)
            return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %s", path);
        fwrite(line, 1, length, out);
        free(line);
    }
    return DISTIL_OK;
}

distil_status server_drift_write_file(const char *path, const struct server_drift_rows *rows,
                                      distil_error *error)
{
    struct weights_replacement file;
    /* for its owner alone, as all that is kept of predictions */
    distil_status status = weights_replacement_open(&file, path, 0600, error);
    if (!status)
        status = write_rows(file.out, path, rows, error);
    if (!status)
        status = weights_replacement_finish(&file, error);
    weights_replacement_close(&file);
    return status;
}
