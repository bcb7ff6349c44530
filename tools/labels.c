/* labels.c: a classifier measured on labelled texts; see evaluation.h. */
#include <stdlib.h>
#include <string.h>

#include "tools/evaluation.h"
#include "tools/output.h"
#include "tools/progress.h"

/* What a measurement holds beside what all have. */
struct measuring {
    struct tool_evaluation *evaluation;
    struct tool_metrics *metrics;
    struct tool_dataset dataset;
    distil_tokens **tokens; /* (batch) */
    float *logits;          /* (batch, labels) */
};

/* Rows first..first+n, tokenised, computed and counted. */
static distil_status evaluate_batch(struct measuring *run, long first, int n, distil_error *error)
{
    int labels = run->evaluation->info->label_count;
    for (int i = 0; i < n; i++) {
        const struct tool_row *row = &run->dataset.rows[first + i];
        const char *text = row->length ? run->dataset.arena + row->text : "";
        distil_status status = distil_encode(run->evaluation->model, text, row->length, NULL, 0,
                                             DISTIL_TRUNCATE_RIGHT, &run->tokens[i], error);
        if (status)
            return status;
        run->evaluation->truncated += distil_tokens_truncated(run->tokens[i]);
    }
    distil_status status = distil_logits(
        run->evaluation->session, (const distil_tokens *const *)run->tokens, n, run->logits, error);
    if (status)
        return status;
    for (int i = 0; i < n; i++) {
        int best = tool_likeliest(run->logits + (size_t)i * (size_t)labels, labels);
        tool_metrics_add(run->metrics, run->dataset.rows[first + i].label, best);
    }
    return DISTIL_OK;
}

static distil_status evaluate_all(struct measuring *run, distil_error *error)
{
    struct tool_progress progress;
    long rows = run->dataset.count;
    distil_status status = DISTIL_OK;
    double start = tool_now();
    tool_progress_start(&progress, "evaluating", "texts", true);
    for (long first = 0; first < rows && !status; first += run->evaluation->batch) {
        long n = rows - first < run->evaluation->batch ? rows - first : run->evaluation->batch;
        status = evaluate_batch(run, first, (int)n, error);
        tool_progress_update(&progress, (size_t)(first + n), (size_t)rows, first + n);
    }
    tool_progress_end(&progress);
    run->evaluation->seconds = tool_now() - start;
    tool_metrics_finish(run->metrics);
    run->evaluation->rows = run->metrics->rows;
    return status;
}

distil_status tool_labels_measure(struct tool_evaluation *evaluation,
                                  const struct tool_dataset_options *how,
                                  struct tool_metrics *metrics, distil_error *error)
{
    struct measuring run = {.evaluation = evaluation, .metrics = metrics};
    const distil_info *info = evaluation->info;
    size_t labels = (size_t)info->label_count, batch = (size_t)evaluation->batch;
    if (info->problem == DISTIL_REGRESSION || labels < 2)
        return distil_fail(error, DISTIL_TASK,
                           "%s: the model gives a number, not one of several labels", info->path);
    distil_status status =
        tool_dataset_read(&run.dataset, evaluation->data, how, evaluation->model, error);
    if (!status)
        status = tool_metrics_create(metrics, (int)labels, error);
    run.tokens = calloc(batch, sizeof(distil_tokens *));
    run.logits = calloc(batch, labels * sizeof *run.logits);
    if (!status && (!run.tokens || !run.logits))
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for a batch of %zu texts", batch);
    if (!status)
        status = evaluate_all(&run, error);
    for (size_t i = 0; run.tokens && i < batch; i++)
        distil_tokens_free(run.tokens[i]);
    free(run.tokens);
    free(run.logits);
    tool_dataset_free(&run.dataset);
    return status;
}

static void write_scores(FILE *out, const struct tool_scores *scores)
{
    fputs("{\"precision\": ", out);
    tool_json_double(out, scores->precision);
    fputs(", \"recall\": ", out);
    tool_json_double(out, scores->recall);
    fputs(", \"f1\": ", out);
    tool_json_double(out, scores->f1);
}

static void write_labels(FILE *out, const struct tool_evaluation *evaluation,
                         const struct tool_metrics *metrics)
{
    fputs("  \"labels\": {", out);
    for (int i = 0; i < metrics->labels; i++) {
        fputs(i ? ",\n    " : "\n    ", out);
        tool_json_string(out, distil_label(evaluation->model, i));
        fputs(": ", out);
        write_scores(out, &metrics->label[i]);
        fprintf(out, ", \"support\": %ld}", metrics->support[i]);
    }
    fputs("\n  },\n", out);
}

static void write_matrix(FILE *out, const struct tool_evaluation *evaluation,
                         const struct tool_metrics *metrics)
{
    int n = metrics->labels;
    fputs("  \"confusion_matrix\": {\n    \"labels\": [", out);
    for (int i = 0; i < n; i++) {
        fputs(i ? ", " : "", out);
        tool_json_string(out, distil_label(evaluation->model, i));
    }
    fputs("],\n    \"rows_are\": \"true labels\",\n    \"matrix\": [", out);
    for (long i = 0; i < n; i++) {
        fputs(i ? ", [" : "[", out);
        for (long j = 0; j < n; j++)
            fprintf(out, j ? ", %ld" : "%ld", metrics->matrix[i * n + j]);
        fputc(']', out);
    }
    fputs("]\n  }\n", out);
}

void tool_labels_write(FILE *out, const struct tool_evaluation *evaluation,
                       const struct tool_metrics *metrics)
{
    const struct {
        const char *name;
        const struct tool_scores *scores;
    } averages[] = {
        {"micro", &metrics->micro}, {"macro", &metrics->macro}, {"weighted", &metrics->weighted}};
    tool_evaluation_head(out, evaluation);
    fputs(",\n  \"accuracy\": ", out);
    tool_json_double(out, metrics->accuracy);
    fputs(",\n", out);
    for (size_t i = 0; i < sizeof averages / sizeof averages[0]; i++) {
        fprintf(out, "  \"%s\": ", averages[i].name);
        write_scores(out, averages[i].scores);
        fputs("},\n", out);
    }
    write_labels(out, evaluation, metrics);
    write_matrix(out, evaluation, metrics);
    fputs("}\n", out);
}

static void print_row(const char *name, int width, const struct tool_scores *scores, long support)
{
    tool_padded(stdout, name, width);
    fprintf(stdout, "  %9.4f  %6.4f  %6.4f  %7ld\n", scores->precision, scores->recall, scores->f1,
            support);
}

void tool_labels_print(const struct tool_evaluation *evaluation, const struct tool_metrics *metrics)
{
    int n = metrics->labels, width = 8;
    for (int i = 0; i < n; i++) {
        int label = tool_width(distil_label(evaluation->model, i));
        width = label > width ? label : width;
    }
    tool_evaluation_line(evaluation, "texts");
    fprintf(stdout, "accuracy %.4f\n\n", metrics->accuracy);
    fprintf(stdout, "%*s  precision  recall      f1  support\n", width, "");
    for (int i = 0; i < n; i++)
        print_row(distil_label(evaluation->model, i), width, &metrics->label[i],
                  metrics->support[i]);
    fputc('\n', stdout);
    print_row("micro", width, &metrics->micro, metrics->rows);
    print_row("macro", width, &metrics->macro, metrics->rows);
    print_row("weighted", width, &metrics->weighted, metrics->rows);
    fputs("\nConfusion matrix: a row for each true label, a column for each predicted one\n",
          stdout);
    fprintf(stdout, "%*s", width, "");
    for (int j = 0; j < n; j++) {
        fputs("  ", stdout);
        tool_padded(stdout, distil_label(evaluation->model, j), width);
    }
    fputc('\n', stdout);
    for (long i = 0; i < n; i++) {
        tool_padded(stdout, distil_label(evaluation->model, (int)i), width);
        for (long j = 0; j < n; j++)
            fprintf(stdout, "  %-*ld", width, metrics->matrix[i * n + j]);
        fputc('\n', stdout);
    }
}
