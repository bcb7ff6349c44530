#include "tools/logistic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/team.h"
#include "tools/lbfgs.h"

enum {
    BLOCK = 64,         /* rows whose logits are known together, which stay in the caches */
    PART = 1024,        /* rows whose gradient is added up in float */
    CHECK_ROWS = 20000, /* of cross-validation: more tell no more of C */
    SHARE = 1 << 20,    /* products of a thread, for which waking it pays */
    MAX_ITERATIONS = 300
};

static const double tolerance = 1e-5; /* of the gradient of the mean loss */

/* Some of the rows. */
struct span {
    long first, end;
};

struct fit {
    const struct tool_logistic_rows *rows;
    const struct kern_table *kernels;
    struct engine_team *team;
    int outputs; /* logits that are computed: one for two labels, else one a label */
    int n;       /* parameters: (outputs, width) weights, then (outputs) biases */
    struct span span[TOOL_LOGISTIC_FOLDS_MAX]; /* the rows to learn from */
    int spans;
    long count;        /* of them */
    double lambda;     /* 1 / (C count) */
    float *weights;    /* (outputs, width) */
    double *gradients; /* (threads, n): of each thread, in double */
    float *part;       /* (threads, outputs * width) */
    double *losses;    /* (threads) */
    const double *x;
};

/* ---- the loss and its gradient ---- */

/* The logits (outputs, BLOCK) of rows first..first+n, biases included. */
static void logits_of(const struct fit *fit, const double *x, const float *weights, long first,
                      long n, float logits[])
{
    const long width = fit->rows->width;
    for (int k = 0; k < fit->outputs; k++) {
        float *out = logits + (long)k * BLOCK;
        const struct kern_scan job = {.query = weights + k * width,
                                      .rows = fit->rows->features + first * width,
                                      .stride = width,
                                      .k = width,
                                      .n = n,
                                      .out = out};
        const float bias = (float)x[fit->outputs * width + k];
        fit->kernels->scan[KERN_F32](&job);
        for (long i = 0; i < n; i++)
            out[i] += bias;
    }
}

/* -log p(label) of a row, and the logits turned into its slopes: p - 1 for the label, p for the rest. */
static double loss_of(int outputs, float *logit, int label)
{
    if (outputs == 1) { /* the logit is that of label 1 */
        const double z = label ? (double)*logit : -(double)*logit;
        const double e = exp(-fabs(z)), wrong = z > 0 ? e / (1 + e) : 1 / (1 + e);
        *logit = (float)(label ? -wrong : wrong);
        return log1p(e) + (z > 0 ? 0 : -z);
    }
    double most = -INFINITY, sum = 0;
    for (int k = 0; k < outputs; k++)
        most = fmax(most, (double)logit[(long)k * BLOCK]);
    const double own = (double)logit[(long)label * BLOCK];
    for (int k = 0; k < outputs; k++)
        sum += exp((double)logit[(long)k * BLOCK] - most);
    for (int k = 0; k < outputs; k++)
        logit[(long)k * BLOCK] =
            (float)(exp((double)logit[(long)k * BLOCK] - most) / sum) - (k == label ? 1.0F : 0.0F);
    return log(sum) + most - own;
}

/* y += slope[0] row 0 + ... of n rows. */
static void add_rows(float *restrict y, const float *restrict rows, long width, const float *slope,
                     long n)
{
    long i = 0;
    for (; i + 4 <= n; i += 4) {
        const float *restrict a = rows + i * width, *restrict b = a + width,
                              *restrict c = b + width, *restrict d = c + width;
        const float p = slope[i], q = slope[i + 1], r = slope[i + 2], s = slope[i + 3];
        for (long k = 0; k < width; k++)
            y[k] += (p * a[k] + q * b[k]) + (r * c[k] + s * d[k]);
    }
    for (; i < n; i++)
        for (long k = 0; k < width; k++)
            y[k] += slope[i] * rows[i * width + k];
}

/* Rows first..end to a thread's gradient and loss. */
static void add_part(const struct fit *fit, int thread, long first, long end, float *logits)
{
    const long width = fit->rows->width, weights = fit->outputs * width;
    float *part = fit->part + thread * weights;
    double *gradient = fit->gradients + (long)thread * fit->n;
    memset(part, 0, (size_t)weights * sizeof *part);
    for (long at = first; at < end; at += BLOCK) {
        const long n = end - at < BLOCK ? end - at : BLOCK;
        logits_of(fit, fit->x, fit->weights, at, n, logits);
        for (long i = 0; i < n; i++)
            fit->losses[thread] += loss_of(fit->outputs, logits + i, fit->rows->label[at + i]);
        for (int k = 0; k < fit->outputs; k++) {
            const float *slope = logits + (long)k * BLOCK;
            add_rows(part + k * width, fit->rows->features + at * width, width, slope, n);
            for (long i = 0; i < n; i++)
                gradient[weights + k] += (double)slope[i];
        }
    }
    for (long i = 0; i < weights; i++)
        gradient[i] += (double)part[i];
}

static void add_share(void *context, int thread)
{
    const struct fit *fit = context;
    float *logits = fit->part +
                    (long)engine_team_threads(fit->team) * fit->outputs * fit->rows->width +
                    (long)thread * fit->outputs * BLOCK;
    const int threads = engine_team_threads(fit->team);
    memset(fit->gradients + (long)thread * fit->n, 0, (size_t)fit->n * sizeof(double));
    fit->losses[thread] = 0;
    for (int s = 0; s < fit->spans; s++)
        for (long at = fit->span[s].first + (long)thread * PART; at < fit->span[s].end;
             at += (long)threads * PART)
            add_part(fit, thread, at, at + PART < fit->span[s].end ? at + PART : fit->span[s].end,
                     logits);
}

static double evaluate(void *context, const double *x, double *gradient)
{
    struct fit *fit = context;
    const long weights = (long)fit->outputs * fit->rows->width;
    double loss = 0, squares = 0;
    fit->x = x;
    for (long i = 0; i < weights; i++) {
        fit->weights[i] = (float)x[i];
        squares += x[i] * x[i];
    }
    engine_team_run(fit->team, add_share, fit);
    memset(gradient, 0, (size_t)fit->n * sizeof *gradient);
    for (int thread = 0; thread < engine_team_threads(fit->team); thread++) {
        loss += fit->losses[thread];
        for (int i = 0; i < fit->n; i++)
            gradient[i] += fit->gradients[(long)thread * fit->n + i];
    }
    for (int i = 0; i < fit->n; i++)
        gradient[i] = gradient[i] / (double)fit->count + (i < weights ? fit->lambda * x[i] : 0);
    return loss / (double)fit->count + 0.5 * fit->lambda * squares;
}

/* ---- fits ---- */

static distil_status prepare(struct fit *fit, const struct tool_logistic_rows *rows,
                             const struct tool_logistic_options *options, distil_error *error)
{
    *fit = (struct fit){
        .rows = rows, .kernels = options->kernels, .outputs = rows->labels == 2 ? 1 : rows->labels};
    const long shares = rows->rows / PART * rows->width / (SHARE / PART) * fit->outputs + 1;
    const int most = shares < options->threads ? (int)shares : options->threads;
    distil_status status = engine_team_create(&fit->team, most, error);
    if (status)
        return status;
    const size_t threads = (size_t)engine_team_threads(fit->team), width = (size_t)rows->width,
                 outputs = (size_t)fit->outputs;
    fit->n = (int)(outputs * (width + 1));
    fit->weights = calloc(outputs * width, sizeof *fit->weights);
    fit->gradients = calloc(threads * (size_t)fit->n, sizeof *fit->gradients);
    fit->part = calloc(threads * outputs * (width + BLOCK), sizeof *fit->part);
    fit->losses = calloc(threads, sizeof *fit->losses);
    if (fit->weights && fit->gradients && fit->part && fit->losses)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_NO_MEMORY, "no memory to learn %d numbers", fit->n);
}

static void release(struct fit *fit)
{
    engine_team_free(fit->team);
    free(fit->weights);
    free(fit->gradients);
    free(fit->part);
    free(fit->losses);
}

/* Moves x to the minimum over the rows of the spans. */
static distil_status minimise(struct fit *fit, double c, double *x, int *iterations,
                              distil_error *error)
{
    fit->count = 0;
    for (int s = 0; s < fit->spans; s++)
        fit->count += fit->span[s].end - fit->span[s].first;
    fit->lambda = 1 / (c * (double)fit->count);
    struct tool_lbfgs search = {.n = fit->n,
                                .function = evaluate,
                                .context = fit,
                                .tolerance = tolerance,
                                .max_iterations = MAX_ITERATIONS};
    distil_status status = tool_lbfgs_minimise(&search, x, error);
    *iterations = search.iterations;
    return status;
}

/* Adds the loss of held-out rows to *loss, and to *right how many have the label that is likeliest. */
static void check(struct fit *fit, const double *x, long first, long end, double *loss, long *right)
{
    float *logits =
        fit->part + (long)engine_team_threads(fit->team) * fit->outputs * fit->rows->width;
    for (long i = 0; i < (long)fit->outputs * fit->rows->width; i++)
        fit->weights[i] = (float)x[i];
    for (long at = first; at < end; at += BLOCK) {
        const long n = end - at < BLOCK ? end - at : BLOCK;
        logits_of(fit, x, fit->weights, at, n, logits);
        for (long i = 0; i < n; i++) {
            int best = fit->outputs == 1 && logits[i] > 0;
            for (int k = 1; k < fit->outputs; k++)
                if (logits[(long)k * BLOCK + i] > logits[(long)best * BLOCK + i])
                    best = k;
            *right += best == fit->rows->label[at + i];
            *loss += loss_of(fit->outputs, logits + i, fit->rows->label[at + i]);
        }
    }
}

/* Of fold f, the rows that cross-validation looks at. */
static struct span fold_of(const struct tool_logistic_rows *rows, int f)
{
    const long first = rows->fold_start[f], most = CHECK_ROWS / rows->folds;
    const long end = rows->fold_start[f + 1];
    return (struct span){first, end - first > most ? first + most : end};
}

/* For each fold, learns from the others and checks with that. x holds (folds, n) where to begin, and gets the minima. */
static distil_status try_c(struct fit *fit, double *x, struct tool_logistic_trial *trial,
                           distil_error *error)
{
    const struct tool_logistic_rows *rows = fit->rows;
    long right = 0, checked = 0;
    distil_status status = DISTIL_OK;
    trial->loss = 0;
    for (int f = 0; f < rows->folds && !status; f++) {
        int unused;
        const struct span held = fold_of(rows, f);
        fit->spans = 0;
        for (int other = 0; other < rows->folds; other++)
            if (other != f)
                fit->span[fit->spans++] = fold_of(rows, other);
        status = minimise(fit, trial->c, x + (long)f * fit->n, &unused, error);
        if (!status)
            check(fit, x + (long)f * fit->n, held.first, held.end, &trial->loss, &right);
        checked += held.end - held.first;
    }
    trial->loss /= (double)checked;
    trial->accuracy = (double)right / (double)checked;
    return status;
}

/* Tries C from the smallest up, each from the minima of the one before, until the loss has risen twice. */
static distil_status choose_c(struct fit *fit, struct tool_logistic *model,
                              const struct tool_logistic_options *options, distil_error *error)
{
    const int folds = fit->rows->folds;
    double *x = calloc((size_t)folds * (size_t)fit->n, sizeof *x);
    int best = 0, risen = 0;
    distil_status status = DISTIL_OK;
    if (!x)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory to learn %d numbers", fit->n);
    for (int i = 0; i < TOOL_LOGISTIC_TRIED && risen < 2 && !status; i++) {
        struct tool_logistic_trial *trial = &model->trial[i];
        trial->c = pow(10, -2 + 0.5 * i); /* 0.01 to 316,000 */
        status = try_c(fit, x, trial, error);
        model->tried++;
        if (trial->loss < model->trial[best].loss)
            best = i;
        risen = i - best;
        if (options->progress)
            options->progress(options->context, (double)(i + 1) / (TOOL_LOGISTIC_TRIED + 2));
    }
    model->c = model->trial[best].c;
    free(x);
    return status;
}

/* The logits of two labels are the one logit's half and its negative. */
static distil_status keep(struct tool_logistic *model, const struct fit *fit, const double *x,
                          distil_error *error)
{
    const long width = model->width, outputs = fit->outputs;
    model->weights = malloc((size_t)(model->labels * width) * sizeof *model->weights);
    model->bias = malloc((size_t)model->labels * sizeof *model->bias);
    if (!model->weights || !model->bias)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for what was learnt");
    for (long k = 0; k < model->labels; k++) {
        const long from = outputs == 1 ? 0 : k;
        const double factor = outputs > 1 ? 1 : k == 1 ? 0.5 : -0.5;
        for (long i = 0; i < width; i++)
            model->weights[k * width + i] = (float)(factor * x[from * width + i]);
        model->bias[k] = (float)(factor * x[outputs * width + from]);
    }
    return DISTIL_OK;
}

distil_status tool_logistic_fit(struct tool_logistic *model, const struct tool_logistic_rows *rows,
                                const struct tool_logistic_options *options, distil_error *error)
{
    struct fit fit;
    double *x = NULL;
    *model = (struct tool_logistic){.width = rows->width, .labels = rows->labels, .c = options->c};
    distil_status status = prepare(&fit, rows, options, error);
    if (!status && model->c <= 0)
        status = choose_c(&fit, model, options, error);
    if (status)
        goto cleanup;
    x = calloc((size_t)fit.n, sizeof *x);
    if (!x) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory to learn %d numbers", fit.n);
        goto cleanup;
    }
    fit.span[0] = (struct span){0, rows->rows};
    fit.spans = 1;
    status = minimise(&fit, model->c, x, &model->iterations, error);
    if (!status)
        status = keep(model, &fit, x, error);
cleanup:
    release(&fit);
    free(x);
    if (status)
        tool_logistic_free(model);
    return status;
}

void tool_logistic_free(struct tool_logistic *model)
{
    if (!model)
        return;
    free(model->weights);
    free(model->bias);
    *model = (struct tool_logistic){0};
}

/* ---- folds ---- */

/* A number from 0 to n - 1, from a sequence that is always the same. */
static long next_random(uint64_t *state, long n)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (long)((*state >> 33) % (uint64_t)n);
}

distil_status tool_logistic_arrange(const int *label, long rows, int labels, int folds,
                                    long *position, long *fold_start, distil_error *error)
{
    uint64_t state = 1;
    long dealt = 0;
    long *order = calloc((size_t)rows, sizeof *order), *fold = calloc((size_t)rows, sizeof *fold);
    if (!order || !fold) {
        free(order);
        free(fold);
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %ld rows", rows);
    }
    for (long i = 0; i < rows; i++) { /* shuffled */
        const long other = next_random(&state, i + 1);
        order[i] = order[other];
        order[other] = i;
    }
    /* Label by label, each row to the next fold. */
    for (int k = 0; k < labels; k++)
        for (long i = 0; i < rows; i++)
            if (label[order[i]] == k)
                fold[order[i]] = dealt++ % folds;
    long at = 0;
    for (int f = 0; f < folds; f++) {
        fold_start[f] = at;
        for (long i = 0; i < rows; i++)
            if (fold[order[i]] == f)
                position[order[i]] = at++;
    }
    fold_start[folds] = at;
    free(order);
    free(fold);
    return DISTIL_OK;
}
