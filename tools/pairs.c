/* pairs.c: embeddings measured on pairs of texts that people scored; see evaluation.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/evaluation.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/progress.h"

enum { FIRST, SECOND, SCORE, COLUMNS };

/* The scores and cosines of all pairs, and the lines that are not yet embedded. */
struct pairs {
    struct tool_evaluation *evaluation;
    struct tool_input input;
    const char *names[COLUMNS];
    int places[COLUMNS]; /* of the columns */
    double *scores, *cosines;
    size_t count, capacity;
    distil_tokens **tokens; /* (2 * batch): both texts of each pair that waits */
    float *vectors;         /* (2 * batch, hidden) */
    long waiting;           /* pairs */
    distil_error *error;
};

/* ---- correlations ---- */

static double correlate(const double *x, const double *y, size_t n)
{
    double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        mean_x += x[i] / (double)n;
        mean_y += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        double a = x[i] - mean_x, b = y[i] - mean_y;
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

struct ranked {
    double value;
    size_t place;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Ranks from 0; equal values share the mean of theirs. */
static void rank(const double *values, size_t n, struct ranked *sorted, double *ranks)
{
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct ranked){values[i], i};
    qsort(sorted, n, sizeof *sorted, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && sorted[end].value == sorted[i].value; end++)
            ;
        for (size_t k = i; k < end; k++)
            ranks[sorted[k].place] = (double)(i + end - 1) / 2;
    }
}

bool tool_pairs_correlate(const double *x, const double *y, size_t n, struct tool_pairs *pairs)
{
    struct ranked *sorted = malloc((n + 1) * sizeof *sorted);
    double *ranks = malloc((2 * n + 1) * sizeof *ranks);
    bool fine = sorted && ranks;
    if (fine) {
        pairs->pearson = correlate(x, y, n);
        rank(x, n, sorted, ranks);
        rank(y, n, sorted, ranks + n);
        pairs->spearman = correlate(ranks, ranks + n, n);
    }
    free(sorted);
    free(ranks);
    return fine;
}

/* ---- reading ---- */

struct cell {
    const char *start;
    size_t length;
};

/* Cell `index` of a line; one that starts nowhere where there are not as many. */
static struct cell cell_of(const char *line, size_t length, int index)
{
    const char *end = line + length;
    for (; index > 0 && line; index--) {
        line = memchr(line, '\t', (size_t)(end - line));
        line = line ? line + 1 : NULL;
    }
    if (!line)
        return (struct cell){0};
    const char *tab = memchr(line, '\t', (size_t)(end - line));
    return (struct cell){line, (size_t)((tab ? tab : end) - line)};
}

static distil_status read_header(struct pairs *pairs, const char *line, size_t length)
{
    struct cell cell;
    for (int column = 0; column < COLUMNS; column++)
        pairs->places[column] = -1;
    for (int i = 0; (cell = cell_of(line, length, i)).start; i++)
        for (int column = 0; column < COLUMNS; column++)
            if (strlen(pairs->names[column]) == cell.length &&
                strncasecmp(cell.start, pairs->names[column], cell.length) == 0)
                pairs->places[column] = i;
    for (int column = 0; column < COLUMNS; column++)
        if (pairs->places[column] < 0)
            return distil_fail(
                pairs->error, DISTIL_FORMAT,
                "%s, line 1: no header with the column '%.60s': the model embeds, "
                "so pairs of texts with a score are expected, under sentence1, sentence2 and %.60s",
                pairs->input.name, pairs->names[column], pairs->names[SCORE]);
    return DISTIL_OK;
}

static bool read_number(struct cell cell, double *number)
{
    char text[64], *end;
    if (cell.length == 0 || cell.length >= sizeof text)
        return false;
    memcpy(text, cell.start, cell.length);
    text[cell.length] = '\0';
    *number = strtod(text, &end);
    return *end == '\0' && isfinite(*number);
}

static distil_status reserve(struct pairs *pairs)
{
    if (pairs->count < pairs->capacity)
        return DISTIL_OK;
    size_t capacity = 2 * pairs->capacity + 256;
    double *scores = realloc(pairs->scores, capacity * sizeof *scores);
    if (scores)
        pairs->scores = scores;
    double *cosines = scores ? realloc(pairs->cosines, capacity * sizeof *cosines) : NULL;
    if (!cosines)
        return distil_fail(pairs->error, DISTIL_NO_MEMORY, "no memory for %zu pairs", capacity);
    pairs->cosines = cosines;
    pairs->capacity = capacity;
    return DISTIL_OK;
}

/* Embeds the pairs that wait. */
static distil_status embed(struct pairs *pairs)
{
    struct tool_evaluation *evaluation = pairs->evaluation;
    size_t hidden = (size_t)evaluation->info->hidden;
    double began = tool_now();
    distil_status status =
        distil_embed(evaluation->session, (const distil_tokens *const *)pairs->tokens,
                     2 * (int)pairs->waiting, pairs->vectors, pairs->error);
    evaluation->seconds += tool_now() - began;
    for (long i = 0; i < pairs->waiting && !status; i++) {
        float *a = pairs->vectors + 2 * (size_t)i * hidden, *b = a + hidden;
        double cosine = 0;
        distil_normalize(a, (int)hidden);
        distil_normalize(b, (int)hidden);
        for (size_t k = 0; k < hidden; k++)
            cosine += (double)a[k] * (double)b[k];
        pairs->cosines[pairs->count - (size_t)pairs->waiting + (size_t)i] = cosine;
    }
    pairs->waiting = 0;
    return status;
}

static distil_status take_line(struct pairs *pairs, const char *line, size_t length)
{
    struct tool_evaluation *evaluation = pairs->evaluation;
    struct cell score = cell_of(line, length, pairs->places[SCORE]);
    distil_status status = reserve(pairs);
    if (status)
        return status;
    if (!score.start || !read_number(score, &pairs->scores[pairs->count]))
        return distil_fail(pairs->error, DISTIL_FORMAT,
                           "%s, line %ld: expected a number in the column '%.60s', found '%.*s'",
                           pairs->input.name, pairs->input.line, pairs->names[SCORE],
                           score.length < 60 ? (int)score.length : 60,
                           score.start ? score.start : "");
    for (int side = FIRST; side <= SECOND; side++) {
        struct cell text = cell_of(line, length, pairs->places[side]);
        distil_tokens **tokens = &pairs->tokens[2 * pairs->waiting + side];
        if (!text.start || text.length == 0)
            return distil_fail(pairs->error, DISTIL_FORMAT,
                               "%s, line %ld: expected a text in the column '%.60s', found nothing",
                               pairs->input.name, pairs->input.line, pairs->names[side]);
        double began = tool_now();
        status = distil_encode(evaluation->model, text.start, text.length, NULL, 0,
                               DISTIL_TRUNCATE_RIGHT, tokens, pairs->error);
        evaluation->seconds += tool_now() - began;
        if (status)
            return status;
        evaluation->truncated += distil_tokens_truncated(*tokens);
    }
    pairs->count++;
    evaluation->rows++;
    return 2 * ++pairs->waiting >= evaluation->batch ? embed(pairs) : DISTIL_OK;
}

static distil_status read_all(struct pairs *pairs)
{
    struct tool_progress progress;
    distil_status status = DISTIL_OK;
    bool header = true;
    enum tool_line outcome = TOOL_LINE;
    tool_progress_start(&progress, "evaluating", "pairs", true);
    while (!status) {
        char *line;
        size_t length;
        outcome = tool_input_next(&pairs->input, true, &line, &length, pairs->error);
        if (outcome != TOOL_LINE)
            break;
        if (length > 0)
            status = header ? read_header(pairs, line, length) : take_line(pairs, line, length);
        header = header && length == 0;
        tool_progress_update(&progress, pairs->input.taken, pairs->input.size,
                             pairs->evaluation->rows);
    }
    tool_progress_end(&progress);
    if (!status && outcome == TOOL_BROKEN)
        status = pairs->error->code;
    if (!status && pairs->count < 2)
        status = distil_fail(pairs->error, DISTIL_FORMAT, "%s: at least two pairs are expected",
                             pairs->input.name);
    return status || pairs->waiting == 0 ? status : embed(pairs);
}

distil_status tool_pairs_measure(struct tool_evaluation *evaluation, struct tool_pairs *found,
                                 distil_error *error)
{
    const char *column = evaluation->score_column;
    struct pairs pairs = {.evaluation = evaluation,
                          .names = {"sentence1", "sentence2", column ? column : "score"},
                          .error = error};
    size_t texts = 2 * (size_t)evaluation->batch;
    pairs.tokens = calloc(texts, sizeof(distil_tokens *));
    pairs.vectors = calloc(texts, (size_t)evaluation->info->hidden * sizeof *pairs.vectors);
    distil_status status =
        pairs.tokens && pairs.vectors
            ? tool_input_open(&pairs.input, evaluation->data, error)
            : distil_fail(error, DISTIL_NO_MEMORY, "no memory for a batch of %zu texts", texts);
    if (!status) {
        status = read_all(&pairs);
        tool_input_close(&pairs.input);
    }
    if (!status && !tool_pairs_correlate(pairs.scores, pairs.cosines, pairs.count, found))
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for %zu pairs", pairs.count);
    for (size_t i = 0; pairs.tokens && i < texts; i++)
        distil_tokens_free(pairs.tokens[i]);
    free(pairs.tokens);
    free(pairs.vectors);
    free(pairs.scores);
    free(pairs.cosines);
    return status;
}

/* ---- telling ---- */

void tool_pairs_write(FILE *out, const struct tool_evaluation *evaluation,
                      const struct tool_pairs *pairs)
{
    tool_evaluation_head(out, evaluation);
    fputs(",\n  \"spearman\": ", out);
    tool_json_double(out, pairs->spearman);
    fputs(",\n  \"pearson\": ", out);
    tool_json_double(out, pairs->pearson);
    fputs("\n}\n", out);
}

void tool_pairs_print(const struct tool_evaluation *evaluation, const struct tool_pairs *pairs)
{
    tool_evaluation_line(evaluation, "pairs");
    printf("Spearman %.4f, Pearson %.4f\n", pairs->spearman, pairs->pearson);
}
