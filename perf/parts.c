/* parts.c: everything of a layer that is not a product, and the packing of weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "perf/perf.h"

struct parts {
    enum kern_scheme scheme; /* of attention */
    const struct perf_settings *settings;
    const struct perf_model *model;
    struct kern_table table;
    struct kern_rows x;  /* (m, widest) */
    struct kern_rows y;  /* (m, widest) */
    float *gamma, *beta; /* (hidden) */
    void *scratch;       /* of attention */
    void *panel;         /* packed */
    int8_t *quantised;   /* (16, feed-forward) */
    int32_t *column_sum; /* (blocks, 16) */
    long m;
};

typedef void part_fn(struct parts *parts);

static void run_quantise(struct parts *parts)
{
    parts->table.prepare[parts->table.fast_int8](&parts->table, &parts->x,
                                                 parts->model->feed_forward, 0, parts->m);
}

static void add_norm(struct parts *parts, struct kern_rows *y)
{
    const struct kern_norm job = {.x = parts->x.f32,
                                  .x_stride = parts->x.stride,
                                  .residual = &parts->x,
                                  .gamma = parts->gamma,
                                  .beta = parts->beta,
                                  .eps = 1e-12F,
                                  .width = parts->model->hidden,
                                  .y = y,
                                  .m1 = parts->m};
    parts->table.add_norm(&parts->table, &job);
}

static void run_norm(struct parts *parts)
{
    struct kern_rows y = {.f32 = parts->y.f32, .stride = parts->y.stride};
    add_norm(parts, &y);
}

static void run_norm_q8(struct parts *parts)
{
    add_norm(parts, &parts->y);
}

/* All heads of one text of m tokens; queries, keys and values lie side by side, as the first
 * product leaves them. */
static void run_attention(struct parts *parts)
{
    long d = parts->model->hidden, dim = d / parts->model->heads;
    for (long head = 0; head < parts->model->heads; head++) {
        const float *q = parts->x.f32 + head * dim;
        const struct kern_attention job = {.q = q,
                                           .k = q + d,
                                           .v = q + 2 * d,
                                           .stride = parts->x.stride,
                                           .out = parts->y.f32 + head * dim,
                                           .out_stride = parts->y.stride,
                                           .tokens = parts->m,
                                           .dim = dim,
                                           .q1 = parts->m,
                                           .scale = 1.0F / sqrtf((float)dim),
                                           .scratch = parts->scratch};
        parts->table.attention[parts->scheme](&job);
    }
}

static void run_gelu(struct parts *parts)
{
    for (long row = 0; row < parts->m; row++)
        parts->table.gelu(parts->y.f32 + row * parts->y.stride, parts->model->feed_forward);
}

/* m panels of weights of the depth of the second feed-forward product: all of it, in time_packing.
 */
static void pack_floats(struct parts *parts, enum kern_scheme scheme)
{
    const float *rows[KERN_PANEL];
    for (int i = 0; i < KERN_PANEL; i++)
        rows[i] = parts->x.f32 + i * parts->x.stride;
    for (long i = 0; i < parts->m; i++)
        parts->table.pack_floats[scheme](parts->panel, rows, parts->model->feed_forward);
}

static void run_pack_f32(struct parts *parts)
{
    pack_floats(parts, KERN_F32);
}

static void run_pack_bf16(struct parts *parts)
{
    pack_floats(parts, KERN_BF16);
}

static void run_pack_s8(struct parts *parts)
{
    const int8_t *rows[KERN_PANEL];
    for (int i = 0; i < KERN_PANEL; i++)
        rows[i] = parts->quantised + i * parts->model->feed_forward;
    for (long i = 0; i < parts->m; i++)
        parts->table.pack_s8[parts->table.fast_int8](parts->panel, parts->column_sum, rows,
                                                     parts->model->feed_forward);
}

static void run_quantise_weights(struct parts *parts)
{
    for (long i = 0; i < parts->m * KERN_PANEL; i++)
        parts->table.quantise_weights(parts->quantised, parts->x.f32, parts->model->feed_forward);
}

static struct kern_rows make_rows(enum kern_scheme scheme, long m, long width)
{
    size_t scales = (size_t)(m * kern_int7_blocks(width)); /* the most that a scheme has */
    long pitch = perf_pitch(width * (long)sizeof(float));
    struct kern_rows rows = {.f32 = perf_memory((size_t)(m * pitch)),
                             .stride = pitch / (long)sizeof(float),
                             .q8 = perf_memory((size_t)(m * perf_pitch(width))),
                             .q8_stride = perf_pitch(width),
                             .q8_max = kern_q8_max(scheme),
                             .scale_stride = kern_scale_blocks(scheme, width),
                             .scale = perf_memory(scales * sizeof(float)),
                             .zero = perf_memory(scales * sizeof(int32_t))};
    perf_fill(rows.f32, (size_t)(m * rows.stride));
    return rows;
}

static void free_rows(struct kern_rows *rows)
{
    free(rows->f32);
    free(rows->q8);
    free(rows->scale);
    free(rows->zero);
}

/* `bytes` is what one row, text token or panel reads and writes, `operations` what it computes; 0:
 * of no interest. */
static void time_part(struct parts *parts, const char *name, part_fn *run, double bytes,
                      double operations)
{
    struct perf_times times = {.count = 0};
    run(parts);
    double start = perf_seconds();
    do {
        double begin = perf_seconds();
        run(parts);
        perf_add(&times, 1e3 * (perf_seconds() - begin));
    } while (perf_again(&times, start, parts->settings->seconds));
    double ms = perf_median(&times);
    double gbs = 1e-6 * bytes * (double)parts->m / ms,
           gops = 1e-6 * operations * (double)parts->m / ms;
    const char *level = kern_level_name(parts->table.level);
    if (parts->settings->json)
        printf("{\"kernel\":\"%s\",\"model\":\"%s\",\"level\":\"%s\",\"m\":%ld,\"ms\":%.5f,\"least_"
               "ms\":%.5f,"
               "\"gbs\":%.2f,\"gops\":%.2f}\n",
               name, parts->model->name, level, parts->m, ms, times.value[0], gbs, gops);
    else
        printf("%-7s %-8s %-16s %4ld %10.4f %10.4f %8.1f %8.1f\n", parts->model->name, level, name,
               parts->m, ms, times.value[0], gbs, gops);
    fflush(stdout);
}

static void time_parts(struct parts *parts)
{
    double d = (double)parts->model->hidden, f = (double)parts->model->feed_forward,
           m = (double)parts->m;
    time_part(parts, "quantise", run_quantise, 5 * f, 0);
    time_part(parts, "add_norm", run_norm, 12 * d, 0);
    time_part(parts, "add_norm+q8", run_norm_q8, 13 * d, 0);
    static const char *const names[KERN_SCHEMES] = {[KERN_F32] = "attention",
                                                    [KERN_BF16] = "attention bf16",
                                                    [KERN_SPLIT_BF16] = "attention split"};
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++) {
        const struct kern_table *table = &parts->table;
        parts->scheme = (enum kern_scheme)scheme;
        if (names[scheme] &&
            (scheme == KERN_F32 || table->attention[scheme] != table->attention[KERN_F32]))
            time_part(parts, names[scheme], run_attention, 16 * d, 4 * m * d);
    }
    time_part(parts, "gelu", run_gelu, 8 * f, 0);
}

static void time_packing(struct parts *parts)
{
    double f = (double)parts->model->feed_forward;
    time_part(parts, "pack_f32", run_pack_f32, 8 * KERN_PANEL * f, 0);
    time_part(parts, "pack_bf16", run_pack_bf16, 6 * KERN_PANEL * f, 0);
    time_part(parts, "pack_s8", run_pack_s8, 2 * KERN_PANEL * f, 0);
    time_part(parts, "quantise_weights", run_quantise_weights, 5 * KERN_PANEL * f, 0);
}

void perf_parts(const struct perf_settings *settings, const struct perf_model *model,
                enum kern_level level)
{
    if (level == KERN_OPENBLAS)
        return;
    struct parts parts = {.settings = settings, .model = model};
    kern_table_init(&parts.table, level);
    long most = settings->tokens[settings->token_count - 1], f = model->feed_forward;
    long allocated = most > KERN_PANEL ? most : KERN_PANEL;
    long width = f > 3 * model->hidden ? f : 3 * model->hidden;
    parts.x = make_rows(parts.table.fast_int8, allocated, width);
    parts.y = make_rows(parts.table.fast_int8, allocated, width);
    parts.gamma = perf_memory((size_t)model->hidden * sizeof(float));
    parts.beta = perf_memory((size_t)model->hidden * sizeof(float));
    size_t scratch = 0;
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++) {
        size_t wanted = parts.table.attention_scratch[scheme](most, model->hidden / model->heads);
        scratch = wanted > scratch ? wanted : scratch;
    }
    parts.scratch = perf_memory(scratch);
    parts.panel = perf_memory(parts.table.panel_bytes[KERN_F32](f));
    parts.quantised = perf_memory((size_t)(KERN_PANEL * f));
    parts.column_sum = perf_memory((size_t)(KERN_PANEL * kern_int7_blocks(f)) * sizeof(int32_t));
    perf_fill(parts.gamma, (size_t)model->hidden);
    float *weights = perf_memory((size_t)(KERN_PANEL * f) * sizeof *weights);
    perf_fill_weights(weights, (size_t)(KERN_PANEL * f));
    parts.table.quantise_weights(parts.quantised, weights, KERN_PANEL * f);
    free(weights);

    if (!settings->json)
        printf(
            "\nmodel   level    part                m         ms      least     GB/s    Gop/s\n");
    for (int i = 0; i < settings->token_count; i++) {
        parts.m = settings->tokens[i];
        if (level == KERN_SCALAR && parts.m > 16)
            break;
        time_parts(&parts);
    }
    parts.m = parts.model->hidden / KERN_PANEL;
    time_packing(&parts);
    free_rows(&parts.x);
    free_rows(&parts.y);
    free(parts.gamma);
    free(parts.beta);
    free(parts.scratch);
    free(parts.panel);
    free(parts.quantised);
    free(parts.column_sum);
}
