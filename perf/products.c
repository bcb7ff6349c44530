/* products.c: the products of a model's layers, all of them in turn, at every number of rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/peak.h"
#include "perf/perf.h"

enum { PRODUCTS = 4, LAYERS_MAX = 48 };

static const char *const product_names[PRODUCTS] = {"qkv", "out", "ffn1", "ffn2"};
static const char *const scheme_names[KERN_SCHEMES] = {"f32",  "bf16", "int8", "split",
                                                       "int7", "f16",  "s8"};

struct bench {
    const struct perf_settings *settings;
    const struct perf_model *model;
    struct kern_table table;
    enum kern_scheme scheme;
    long n[PRODUCTS], k[PRODUCTS]; /* of one layer */
    size_t bytes[PRODUCTS];        /* of one layer's packed weights */
    size_t model_bytes;
    char *weights; /* (layers, products), packed */
    float *bias, *scale;
    int32_t *column_sum;
    struct kern_rows x;
    float *y;
    double peak, bandwidth;
};

static void pack_layer(struct bench *bench)
{
    long longest = 0;
    for (int p = 0; p < PRODUCTS; p++)
        longest = bench->k[p] > longest ? bench->k[p] : longest;
    float *floats = perf_memory((size_t)(KERN_PANEL * longest) * sizeof *floats);
    int8_t *bytes =
        perf_memory((size_t)(2 * KERN_PANEL * longest)); /* s8, or zeros in half precision */
    perf_fill_weights(floats, (size_t)(KERN_PANEL * longest));
    const float *rows[KERN_PANEL];
    const int8_t *rows_s8[KERN_PANEL];
    const uint16_t *rows_f16[KERN_PANEL];
    for (int i = 0; i < KERN_PANEL; i++) {
        rows_f16[i] = (const uint16_t *)(const void *)(bytes + 2 * i * longest);
        rows[i] = floats + i * longest;
        rows_s8[i] = bytes + i * longest;
        if (bench->scheme == KERN_F16)
            continue;
        bench->table.quantise_weights(bytes + i * longest, rows[i], longest);
        if (bench->scheme == KERN_INT7)
            bench->table.limit_s8(bytes + i * longest, longest);
    }

    char *panel = bench->weights;
    for (int p = 0; p < PRODUCTS; p++)
        for (long i = 0; i < bench->n[p] / KERN_PANEL; i++) {
            if (bench->scheme == KERN_F16)
                bench->table.pack_f16(panel, rows_f16, bench->k[p]);
            else if (kern_is_quantised(bench->scheme) || bench->scheme == KERN_S8)
                bench->table.pack_s8[bench->scheme](panel, bench->column_sum, rows_s8, bench->k[p]);
            else
                bench->table.pack_floats[bench->scheme](panel, rows, bench->k[p]);
            panel += bench->table.panel_bytes[bench->scheme](bench->k[p]);
        }
    free(floats);
    free(bytes);
}

static void make_weights(struct bench *bench)
{
    const struct perf_model *model = bench->model;
    long d = model->hidden, f = model->feed_forward;
    const long n[PRODUCTS] = {3 * d, d, f, d}, k[PRODUCTS] = {d, d, d, f};
    size_t layer_bytes = 0;
    for (int p = 0; p < PRODUCTS; p++) {
        bench->n[p] = n[p];
        bench->k[p] = k[p];
        bench->bytes[p] =
            (size_t)(n[p] / KERN_PANEL) * bench->table.panel_bytes[bench->scheme](k[p]);
        layer_bytes += bench->bytes[p];
    }
    bench->model_bytes = layer_bytes * (size_t)model->layers;
    bench->weights = perf_memory(bench->model_bytes);
    size_t columns = (size_t)(3 * d > f ? 3 * d : f);
    bench->bias = perf_memory(columns * sizeof *bench->bias);
    bench->scale = perf_memory(columns * sizeof *bench->scale);
    size_t blocks = (size_t)kern_int7_blocks(f); /* the most that a column has sums of */
    bench->column_sum = perf_memory(columns * blocks * sizeof *bench->column_sum);
    perf_fill(bench->bias, columns);
    perf_fill(bench->scale, columns);
    pack_layer(bench);
    for (long layer = 1; layer < model->layers; layer++)
        memcpy(bench->weights + (size_t)layer * layer_bytes, bench->weights, layer_bytes);
}

static void make_rows(struct bench *bench)
{
    const struct perf_model *model = bench->model;
    long width = model->feed_forward > 3 * model->hidden ? model->feed_forward : 3 * model->hidden;
    long m = bench->settings->rows[bench->settings->row_count - 1];
    long pitch = perf_pitch(width * (long)sizeof(float));
    struct kern_rows *x = &bench->x;
    x->stride = pitch / (long)sizeof(float);
    x->q8_stride = perf_pitch(width);
    x->q8_max = kern_q8_max(bench->scheme);
    x->scale_stride = kern_scale_blocks(bench->scheme, width);
    x->bf16_block = KERN_BF16_ALIGN;
    x->bf16_stride = perf_pitch(width * (long)sizeof(uint16_t)) / (long)sizeof(uint16_t);
    x->f32 = perf_memory((size_t)(m * pitch));
    x->q8 = perf_memory((size_t)(m * x->q8_stride));
    x->bf16 = perf_memory((size_t)(m * x->bf16_stride) * sizeof *x->bf16);
    x->bf16_low = perf_memory((size_t)(m * x->bf16_stride) * sizeof *x->bf16_low);
    x->scale = perf_memory((size_t)(m * x->scale_stride) * sizeof *x->scale);
    x->zero = perf_memory((size_t)(m * x->scale_stride) * sizeof *x->zero);
    bench->y = perf_memory((size_t)(m * pitch));
    perf_fill(x->f32, (size_t)(m * x->stride));
    if (bench->table.prepare[bench->scheme])
        bench->table.prepare[bench->scheme](&bench->table, x, model->feed_forward, 0, m);
}

static void free_bench(struct bench *bench)
{
    free(bench->weights);
    free(bench->bias);
    free(bench->scale);
    free(bench->column_sum);
    free(bench->x.f32);
    free(bench->x.q8);
    free(bench->x.bf16);
    free(bench->x.bf16_low);
    free(bench->x.scale);
    free(bench->x.zero);
    free(bench->y);
}

/* One pass over all layers; adds each product's ms, summed over the layers, to `times`, and the
 * whole to the last. */
static void run_pass(const struct bench *bench, long m, struct perf_times times[PRODUCTS + 1])
{
    double spent[PRODUCTS + 1] = {0};
    const char *weights = bench->weights;
    /* What the engine has between its parts: the memory of y is enough for either form. */
    const int floats = bench->table.form[bench->scheme] == KERN_FLOATS;
    const struct kern_rows blocks = {.bf16 = (uint16_t *)(void *)bench->y,
                                     .bf16_stride = KERN_BF16_ALIGN,
                                     .bf16_block = KERN_BF16_ALIGN * (m | 1)};
    for (long layer = 0; layer < bench->model->layers; layer++)
        for (int p = 0; p < PRODUCTS; p++) {
            const struct kern_weights w = {.scheme = bench->scheme,
                                           .n = bench->n[p],
                                           .k = bench->k[p],
                                           .panels = weights,
                                           .bias = bench->bias,
                                           .scale = bench->scale,
                                           .column_sum = bench->column_sum};
            const struct kern_gemm job = {.x = &bench->x,
                                          .w = &w,
                                          .y = floats ? bench->y : NULL,
                                          .y_stride = bench->x.stride,
                                          .blocks = &blocks,
                                          .m1 = m,
                                          .p1 = bench->n[p] / KERN_PANEL,
                                          .epilogue = p == 2 ? KERN_GELU : KERN_IDENTITY};
            double start = perf_seconds();
            bench->table.gemm[bench->scheme](&job);
            spent[p] += 1e3 * (perf_seconds() - start);
            weights += bench->bytes[p];
        }
    for (int p = 0; p < PRODUCTS; p++) {
        perf_add(&times[p], spent[p]);
        spent[PRODUCTS] += spent[p];
    }
    perf_add(&times[PRODUCTS], spent[PRODUCTS]);
}

static void print_row(const struct bench *bench, long m, struct perf_times times[PRODUCTS + 1])
{
    double operations[PRODUCTS + 1] = {0}, ms[PRODUCTS + 1];
    for (int p = 0; p < PRODUCTS; p++) {
        operations[p] =
            2e-6 * (double)(bench->model->layers * m) * (double)(bench->n[p] * bench->k[p]);
        operations[PRODUCTS] += operations[p];
    }
    for (int p = 0; p <= PRODUCTS; p++)
        ms[p] = perf_median(&times[p]);
    const char *level = kern_level_name(bench->table.level), *scheme = scheme_names[bench->scheme];
    double total = ms[PRODUCTS], least = times[PRODUCTS].value[0];
    double bandwidth = 1e-6 * (double)bench->model_bytes / total;
    double gops = operations[PRODUCTS] / total, best = operations[PRODUCTS] / least;

    if (!bench->settings->json) {
        printf("%-7s %-8s %-4s %4ld %9.3f %9.3f %7.1f %5.0f%% %5.0f%% %6.1f %5.0f%% |",
               bench->model->name, level, scheme, m, total, least, gops, 100 * gops / bench->peak,
               100 * best / bench->peak, bandwidth, 100 * bandwidth / bench->bandwidth);
        for (int p = 0; p < PRODUCTS; p++)
            printf(" %7.1f", operations[p] / ms[p]);
        printf("\n");
    } else {
        for (int p = 0; p < PRODUCTS; p++)
            printf("{\"kernel\":\"gemm\",\"model\":\"%s\",\"level\":\"%s\",\"scheme\":\"%s\","
                   "\"product\":\"%s\",\"n\":%ld,"
                   "\"k\":%ld,\"m\":%ld,\"ms\":%.5f,\"least_ms\":%.5f,\"gops\":%.2f,\"peak_gops\":%"
                   ".2f,"
                   "\"weights_gbs\":%.2f,\"read_gbs\":%.2f}\n",
                   bench->model->name, level, scheme, product_names[p], bench->n[p], bench->k[p], m,
                   ms[p] / (double)bench->model->layers,
                   times[p].value[0] / (double)bench->model->layers, operations[p] / ms[p],
                   bench->peak,
                   1e-6 * (double)bench->bytes[p] * (double)bench->model->layers / ms[p],
                   bench->bandwidth);
    }
    fflush(stdout);
}

/* The best seen so far: a busy neighbour can halve a single measurement. */
static void measure_peak(struct bench *bench)
{
    double peak = kern_peak_gops(bench->table.level, bench->scheme);
    if (peak > bench->peak)
        bench->peak = peak;
}

static void time_scheme(struct bench *bench)
{
    struct perf_times *times = malloc((PRODUCTS + 1) * sizeof *times);
    if (!times)
        return;
    make_weights(bench);
    make_rows(bench);
    measure_peak(bench);
    measure_peak(bench);
    bench->bandwidth = perf_read_bandwidth(bench->weights, bench->model_bytes);
    if (!bench->settings->json)
        printf("\n%s, %s, %s: peak %.1f Gop/s, %.1f MB of weights read at %.1f GB/s\n"
               "model   level    type    m        ms     least   Gop/s  peak  best    GB/s  read | "
               "    qkv     out    "
               "ffn1    ffn2 Gop/s\n",
               bench->model->name, kern_level_name(bench->table.level), scheme_names[bench->scheme],
               bench->peak, 1e-6 * (double)bench->model_bytes, bench->bandwidth);
    for (int i = 0; i < bench->settings->row_count; i++) {
        long m = bench->settings->rows[i];
        if (bench->table.level == KERN_SCALAR && m > 4)
            break;
        measure_peak(bench);
        for (int p = 0; p <= PRODUCTS; p++)
            times[p].count = 0;
        run_pass(bench, m, times);
        for (int p = 0; p <= PRODUCTS; p++)
            times[p].count = 0;
        double start = perf_seconds();
        do
            run_pass(bench, m, times);
        while (perf_again(&times[PRODUCTS], start, bench->settings->seconds));
        print_row(bench, m, times);
    }
    free_bench(bench);
    free(times);
}

void perf_products(const struct perf_settings *settings, const struct perf_model *model,
                   enum kern_level level)
{
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++) {
        struct bench bench = {
            .settings = settings, .model = model, .scheme = (enum kern_scheme)scheme};
        kern_table_init(&bench.table, level);
        /* Only what the level brings: its other products are those of a level below. */
        if (!bench.table.gemm[scheme] || (level == KERN_OPENBLAS && scheme != KERN_F32))
            continue;
        if (level > KERN_AVX2) {
            struct kern_table below;
            kern_table_init(&below, (enum kern_level)(level - 1));
            if (below.gemm[scheme] == bench.table.gemm[scheme])
                continue;
        }
        time_scheme(&bench);
    }
}
