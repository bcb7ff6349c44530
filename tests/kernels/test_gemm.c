/* The products on every level: float and BF16 against double, INT8 byte for byte against the
 * specification. */
#include "kernels/bf16.h"
#include "kernels/levels.h"
#include "tests/kernels/harness.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* {1, tile - 1, tile, tile + 1, 2 * tile + 3, a prime} of tiles of 6 and 8 rows, of panels, of
 * depth. */
static const long rows_list[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 19, 37};
static const long columns_list[] = {1, 15, 16, 17, 35, 53, 83, 131};
static const long depth_list[] = {1, 3, 63, 64, 65, 131, 397};

#define COUNT(list) ((long)(sizeof(list) / sizeof(*(list))))

/* One product's inputs as they are before packing, and its output. */
struct problem {
    long m, n, k;
    float *x;
    long x_stride;
    float *bias;
    float *y; /* (m, padded n) */
    long y_stride;
};

static void problem_init(struct problem *p, struct random *random, long m, long n, long k,
                         enum input kind)
{
    *p = (struct problem){.m = m, .n = n, .k = k, .x_stride = k + m % 3};
    p->y_stride = round_up(n, KERN_PANEL) + k % 2;
    p->x = GUARDED(float, (m - 1) * p->x_stride + k, GUARD_AFTER);
    p->bias = GUARDED(float, n, GUARD_AFTER);
    p->y = GUARDED(float, (m - 1) * p->y_stride + round_up(n, KERN_PANEL), GUARD_AFTER);
    for (long i = 0; i < m; i++)
        random_fill(random, p->x + i * p->x_stride, k, kind);
    random_fill(random, p->bias, n, kind);
}

static void problem_free(struct problem *p)
{
    guard_free(p->x);
    guard_free(p->bias);
    guard_free(p->y);
}

static struct kern_gemm whole_job(const struct problem *p, const struct kern_rows *x,
                                  const struct kern_weights *w)
{
    return (struct kern_gemm){.x = x,
                              .w = w,
                              .y = p->y,
                              .y_stride = p->y_stride,
                              .m1 = p->m,
                              .p1 = round_up(p->n, KERN_PANEL) / KERN_PANEL};
}

/* A copy of y's rows without the gaps between them. */
static float *copy_output(const struct problem *p)
{
    const long padded = round_up(p->n, KERN_PANEL);
    float *copy = calloc((size_t)(p->m * padded), sizeof(*copy));
    require(copy != NULL, "no memory");
    for (long i = 0; i < p->m; i++)
        memcpy(copy + i * padded, p->y + i * p->y_stride, (size_t)padded * sizeof(*copy));
    return copy;
}

/* `least` is what a sum may lose at each step beside its rounding. */
static void check_float_values(const struct problem *p, const float *w, double least)
{
    for (long i = 0; i < p->m; i++) {
        for (long j = 0; j < round_up(p->n, KERN_PANEL); j++) {
            const float y = p->y[i * p->y_stride + j];
            if (j >= p->n) {
                require(y == 0.0f, "padding column %ld is %g", j, (double)y);
                continue;
            }
            double sum = p->bias[j];
            double size = fabs(sum);
            for (long d = 0; d < p->k; d++) {
                const double product = (double)p->x[i * p->x_stride + d] * (double)w[j * p->k + d];
                sum += product;
                size += fabs(product);
            }
            if (size > (double)FLT_MAX / 2)
                continue; /* may overflow on the way, or not */
            const double bound = (double)(p->k + 1) * (size * 0x1p-24 + least) * 1.001;
            require(fabs((double)y - sum) <= bound,
                    "m %ld n %ld k %ld: y[%ld][%ld] is %.9g, exactly %.9g, bound %.3g", p->m, p->n,
                    p->k, i, j, (double)y, sum, bound);
        }
    }
}

/* Compares with the GELU of `plain`, the same product without an epilogue. */
static void check_gelu(const struct problem *p, const float *plain)
{
    const long padded = round_up(p->n, KERN_PANEL);
    for (long i = 0; i < p->m; i++) {
        for (long j = 0; j < padded; j++) {
            const double x = plain[i * padded + j];
            const double y = p->y[i * p->y_stride + j];
            if (!isfinite(x))
                continue;
            require(fabs(y - gelu_exact(x)) <= 5e-7, "gelu(%.9g) is %.9g", x, y);
        }
    }
}

/* Runs single rows and panels, then uneven halves: each must write its own part only, with the bits
 * of the whole. */
static void check_parts(const struct kern_table *table, const struct problem *p,
                        const struct kern_gemm *whole, const float *expected)
{
    const long padded = round_up(p->n, KERN_PANEL);
    const long panels = padded / KERN_PANEL;
    const enum kern_scheme scheme = whole->w->scheme;
    const struct {
        long m0, m1, p0, p1;
    } parts[] = {
        {p->m - 1, p->m, 0, panels},   {0, p->m, panels - 1, panels},  {p->m / 3, p->m, 0, panels},
        {0, p->m, panels / 2, panels}, {p->m / 2, p->m / 2 + 1, 0, 1}, {0, 0, 0, panels},
    };
    for (long part = 0; part < COUNT(parts); part++) {
        struct kern_gemm job = *whole;
        job.m0 = parts[part].m0;
        job.m1 = parts[part].m1;
        job.p0 = parts[part].p0;
        job.p1 = parts[part].p1;
        for (long i = 0; i < p->m; i++)
            memset(p->y + i * p->y_stride, 0xC3, (size_t)padded * sizeof(float));
        table->gemm[scheme](&job);
        for (long i = 0; i < p->m; i++) {
            for (long j = 0; j < padded; j++) {
                const int inside = i >= job.m0 && i < job.m1 && j >= job.p0 * KERN_PANEL &&
                                   j < job.p1 * KERN_PANEL;
                uint32_t got, want;
                memcpy(&got, &p->y[i * p->y_stride + j], sizeof(got));
                memcpy(&want, &expected[i * padded + j], sizeof(want));
                require(got == (inside ? want : 0xC3C3C3C3u),
                        "rows %ld-%ld of %ld, panels %ld-%ld of %ld, k %ld: bits of (%ld, "
                        "%ld) are %08x, not %08x",
                        job.m0, job.m1, p->m, job.p0, job.p1, panels, p->k, i, j, got, want);
            }
        }
    }
}

/* What the product of a scheme reads of x. */
static struct kern_rows prepare(const struct kern_table *table, enum kern_scheme scheme,
                                const struct problem *p)
{
    struct kern_rows x = {.f32 = p->x, .stride = p->x_stride};
    if (scheme == KERN_BF16) {
        x.bf16_stride = round_up(p->k, KERN_BF16_ALIGN) + p->m % 2;
        x.bf16_block = KERN_BF16_ALIGN;
        x.bf16 = GUARDED(uint16_t, p->m * x.bf16_stride, GUARD_AFTER);
        table->prepare[scheme](table, &x, p->k, 0, p->m);
    }
    return x;
}

static void round_all(float *x, long n)
{
    for (long i = 0; i < n; i++)
        x[i] = kern_bf16_value(kern_bf16_round(x[i]));
}

static void check_float(const struct kern_table *table, enum kern_scheme scheme, long m, long n,
                        long k, enum input kind)
{
    struct random random = {(uint64_t)(m * 1000003 + n * 1009 + k)};
    struct problem p;
    problem_init(&p, &random, m, n, k, kind);
    float *w = GUARDED(float, n *k, GUARD_AFTER);
    random_fill(&random, w, n * k, kind == INPUT_DENORMAL ? INPUT_RANDOM : kind);
    struct packed packed;
    pack_float_weights(&packed, table, scheme, w, p.bias, n, k);
    const struct kern_rows x = prepare(table, scheme, &p);
    struct kern_gemm job = whole_job(&p, &x, &packed.weights);

    table->gemm[scheme](&job);
    if (scheme == KERN_BF16) { /* exact arithmetic is on what was rounded */
        round_all(p.x, (m - 1) * p.x_stride + k);
        round_all(w, n * k);
    }
    check_float_values(&p, w, (double)(scheme == KERN_BF16 ? FLT_MIN : FLT_TRUE_MIN));
    float *plain = copy_output(&p);
    if (kind == INPUT_RANDOM && (table->level != KERN_OPENBLAS || scheme != KERN_F32))
        check_parts(table, &p, &job, plain);
    job.epilogue = KERN_GELU;
    table->gemm[scheme](&job);
    check_gelu(&p, plain);

    free(plain);
    guard_free(x.bf16);
    guard_free(w);
    packed_free(&packed);
    problem_free(&p);
}

static void check_float_shapes(int level, enum kern_scheme scheme)
{
    struct kern_table table;
    if (!level_table(&table, level))
        return;
    for (long m = 0; m < COUNT(rows_list); m++)
        for (long n = 0; n < COUNT(columns_list); n++)
            for (long k = 0; k < COUNT(depth_list); k++)
                check_float(&table, scheme, rows_list[m], columns_list[n], depth_list[k],
                            INPUT_RANDOM);
    for (int kind = INPUT_RANDOM; kind < INPUT_KINDS; kind++) {
        check_float(&table, scheme, 13, 40, 67, (enum input)kind);
        check_float(&table, scheme, 1, 40, 67, (enum input)kind);
    }
    /* Long enough for blocks of depth, chunks of rows and groups of panels. */
    check_float(&table, scheme, 67, 96, 3072, INPUT_RANDOM);
    check_float(&table, scheme, 257, 51, 1031, INPUT_RANDOM);
    check_float(&table, scheme, 2, 771, 768, INPUT_RANDOM);
}

START_TEST(f32_is_within_its_bound)
{
    check_float_shapes(_i, KERN_F32);
}
END_TEST

START_TEST(bf16_is_within_its_bound)
{
    check_float_shapes(_i, KERN_BF16);
}
END_TEST

/* Packs half-precision weights (n, k), and the same as floats. */
static void pack_halves(struct packed *packed, const struct kern_table *table, const uint16_t *w,
                        const float *bias, long n, long k)
{
    const long padded = round_up(n, KERN_PANEL);
    const size_t bytes = table->panel_bytes[KERN_F16](k);
    packed->panels = guard_alloc((size_t)(padded / KERN_PANEL) * bytes, GUARD_AFTER);
    for (long p = 0; p < padded / KERN_PANEL; p++) {
        const uint16_t *rows[KERN_PANEL];
        for (long j = 0; j < KERN_PANEL; j++)
            rows[j] = p * KERN_PANEL + j < n ? w + (p * KERN_PANEL + j) * k : NULL;
        table->pack_f16((char *)packed->panels + (size_t)p * bytes, rows, k);
    }
    pack_common(packed, KERN_F16, bias, n, k);
}

/* Half-precision weights give the bits of the same floats. */
static void check_f16(const struct kern_table *table, long m, long n, long k)
{
    struct random random = {(uint64_t)(m * 1000037 + n * 1019 + k)};
    struct problem p;
    problem_init(&p, &random, m, n, k, INPUT_RANDOM);
    uint16_t *halves = GUARDED(uint16_t, n * k, GUARD_AFTER);
    float *w = GUARDED(float, n *k, GUARD_AFTER);
    for (long i = 0; i < n * k; i++) /* any but infinity and NaN */
        halves[i] = (uint16_t)(random_bits(&random) % 0x7c00 | (random_bits(&random) & 0x8000));
    table->f16_to_f32(w, halves, n * k);
    struct packed held, plain;
    pack_halves(&held, table, halves, p.bias, n, k);
    pack_float_weights(&plain, table, KERN_F32, w, p.bias, n, k);
    const struct kern_rows x = {.f32 = p.x, .stride = p.x_stride};

    struct kern_gemm job = whole_job(&p, &x, &plain.weights);
    table->gemm[KERN_F32](&job);
    float *expected = copy_output(&p);
    job = whole_job(&p, &x, &held.weights);
    table->gemm[KERN_F16](&job);
    float *found = copy_output(&p);
    ck_assert_mem_eq(found, expected, (size_t)(m * round_up(n, KERN_PANEL)) * sizeof(float));
    check_parts(table, &p, &job, expected);
    job.epilogue = KERN_GELU;
    table->gemm[KERN_F16](&job);
    check_gelu(&p, expected);

    free(found);
    free(expected);
    guard_free(halves);
    guard_free(w);
    packed_free(&held);
    packed_free(&plain);
    problem_free(&p);
}

/* Weights held as s8, against double. */
static void check_held_s8(const struct kern_table *table, long m, long n, long k)
{
    struct random random = {(uint64_t)(m * 1000039 + n * 1021 + k)};
    struct problem p;
    problem_init(&p, &random, m, n, k, INPUT_RANDOM);
    int8_t *w = GUARDED(int8_t, n * k, GUARD_AFTER);
    float *scale = GUARDED(float, n, GUARD_AFTER);
    random_fill_s8(&random, w, n * k);
    random_fill(&random, scale, n, INPUT_RANDOM);
    struct packed packed;
    pack_s8_weights(&packed, table, KERN_S8, w, scale, p.bias, n, k);
    const struct kern_rows x = {.f32 = p.x, .stride = p.x_stride};
    struct kern_gemm job = whole_job(&p, &x, &packed.weights);
    table->gemm[KERN_S8](&job);
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            double sum = 0, size = 0;
            for (long d = 0; d < k; d++) {
                const double product = (double)p.x[i * p.x_stride + d] * (double)w[j * k + d];
                sum += product;
                size += fabs(product);
            }
            const double want = sum * (double)scale[j] + (double)p.bias[j];
            const double bound = (double)(k + 2) * 0x1p-24 * 1.001 *
                                 (size * fabs((double)scale[j]) + fabs((double)p.bias[j]));
            const double y = (double)p.y[i * p.y_stride + j];
            require(fabs(y - want) <= bound, "m %ld n %ld k %ld: (%ld, %ld) is %.9g, exactly %.9g",
                    m, n, k, i, j, y, want);
        }
    float *plain = copy_output(&p);
    check_parts(table, &p, &job, plain);
    job.epilogue = KERN_GELU;
    table->gemm[KERN_S8](&job);
    check_gelu(&p, plain);

    free(plain);
    guard_free(w);
    guard_free(scale);
    packed_free(&packed);
    problem_free(&p);
}

START_TEST(held_weights_are_within_their_bounds)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    void (*const checks[])(const struct kern_table *, long, long, long) = {check_f16,
                                                                           check_held_s8};
    const enum kern_scheme held[] = {KERN_F16, KERN_S8};
    for (int c = 0; c < 2; c++) {
        if (!table.gemm[held[c]])
            continue;
        for (long m = 0; m < COUNT(rows_list); m++)
            for (long k = 0; k < COUNT(depth_list); k++)
                checks[c](&table, rows_list[m], columns_list[m % COUNT(columns_list)],
                          depth_list[k]);
        checks[c](&table, 67, 51, 1031);
        checks[c](&table, 2, 771, 768);
    }
}
END_TEST

/* Rows quantised by the specification, as `scheme` reads them. */
static struct kern_rows quantise(const struct kern_table *specification, enum kern_scheme scheme,
                                 const struct problem *p)
{
    struct kern_rows x = {.f32 = p->x,
                          .stride = p->x_stride,
                          .q8_stride = q8_stride(p->k),
                          .q8_max = kern_q8_max(scheme),
                          .scale_stride = kern_scale_blocks(scheme, p->k)};
    x.q8 = GUARDED(uint8_t, (p->m - 1) * x.q8_stride + round_up(p->k, KERN_Q8_ALIGN), GUARD_AFTER);
    x.scale = GUARDED(float, p->m *x.scale_stride, GUARD_AFTER);
    x.zero = GUARDED(int32_t, p->m * x.scale_stride, GUARD_AFTER);
    specification->prepare[scheme](specification, &x, p->k, 0, p->m);
    return x;
}

static void check_s8(const struct kern_table *table, enum kern_scheme scheme, long m, long n,
                     long k, enum input kind)
{
    struct random random = {(uint64_t)(m * 1000033 + n * 1013 + k)};
    struct problem p;
    problem_init(&p, &random, m, n, k, kind);
    struct kern_table specification;
    kern_table_init(&specification, KERN_SCALAR);
    struct kern_rows x = quantise(&specification, scheme, &p);
    int8_t *w = GUARDED(int8_t, n * k, GUARD_AFTER);
    float *scale = GUARDED(float, n, GUARD_AFTER);
    random_fill_s8(&random, w, n * k);
    random_fill(&random, scale, n, INPUT_RANDOM);
    if (kind == INPUT_EXTREME) { /* the largest sums there are */
        for (long i = 0; i < (m - 1) * x.q8_stride + k; i++)
            x.q8[i] = (uint8_t)x.q8_max;
        for (long i = 0; i < n * k; i++)
            w[i] = i / k % 3 == 0 ? 127 : i / k % 3 == 1 ? -127 : i % 2 == 0 ? 127 : -127;
    }
    for (long i = 0; scheme == KERN_INT7 && i < n; i++)
        specification.limit_s8(w + i * k, k);
    struct packed packed;
    pack_s8_weights(&packed, table, scheme, w, scale, p.bias, n, k);
    struct kern_gemm job = whole_job(&p, &x, &packed.weights);

    specification.gemm[scheme](&job);
    float *expected = copy_output(&p);
    check_parts(table, &p, &job, expected);
    table->gemm[scheme](&job);
    float *plain = copy_output(&p);
    ck_assert_mem_eq(plain, expected, (size_t)(m * round_up(n, KERN_PANEL)) * sizeof(float));
    job.epilogue = KERN_GELU;
    table->gemm[scheme](&job);
    check_gelu(&p, plain);

    free(plain);
    free(expected);
    guard_free(w);
    guard_free(scale);
    guard_free(x.q8);
    guard_free(x.scale);
    guard_free(x.zero);
    packed_free(&packed);
    problem_free(&p);
}

static void check_s8_shapes(int level, enum kern_scheme scheme)
{
    struct kern_table table;
    if (!level_table(&table, level) || !table.gemm[scheme])
        return;
    for (long m = 0; m < COUNT(rows_list); m++)
        for (long n = 0; n < COUNT(columns_list); n++)
            for (long k = 0; k < COUNT(depth_list); k++)
                check_s8(&table, scheme, rows_list[m], columns_list[n], depth_list[k],
                         INPUT_RANDOM);
    for (int kind = INPUT_RANDOM; kind < INPUT_KINDS; kind++) {
        check_s8(&table, scheme, 13, 40, 67, (enum input)kind);
        check_s8(&table, scheme, 3, 40, 4096, (enum input)kind);
    }
}

static void check_s8_large(int level, enum kern_scheme scheme)
{
    struct kern_table table;
    if (!level_table(&table, level) || !table.gemm[scheme])
        return;
    check_s8(&table, scheme, 67, 96, 3072, INPUT_RANDOM);
    check_s8(&table, scheme, 257, 51, 1031, INPUT_RANDOM);
    check_s8(&table, scheme, 2, 771, 768, INPUT_EXTREME);
}

START_TEST(int8_is_exact)
{
    check_s8_shapes(_i, KERN_INT8);
}
END_TEST

START_TEST(int7_is_exact)
{
    check_s8_shapes(_i, KERN_INT7);
}
END_TEST

START_TEST(int8_large_is_exact)
{
    check_s8_large(_i, KERN_INT8);
}
END_TEST

START_TEST(int7_large_is_exact)
{
    check_s8_large(_i, KERN_INT7);
}
END_TEST

/* The specification itself: the integer part by its definition, in 64 bits. */
START_TEST(s8_specification)
{
    enum { N = 3, K = 2 * KERN_INT7_BLOCK + 6, BLOCKS = 3 };
    const enum kern_scheme scheme = _i ? KERN_INT7 : KERN_INT8;
    const long block = _i ? KERN_INT7_BLOCK : K;
    struct kern_table table;
    kern_table_init(&table, KERN_SCALAR);
    struct random random = {7};
    float x[K];
    uint8_t q8[256];
    float x_scale[BLOCKS];
    int32_t zero[BLOCKS];
    int8_t w[N * K];
    const float scale[N] = {0.25f, 1.0f, -3.0f};
    const float bias[N] = {1.0f, 0.0f, -2.0f};
    random_fill(&random, x, K, INPUT_RANDOM);
    random_fill_s8(&random, w, N * K);
    struct kern_rows rows = {.f32 = x,
                             .stride = K,
                             .q8 = q8,
                             .q8_stride = 256,
                             .q8_max = _i ? KERN_INT7_MAX : KERN_INT8_MAX,
                             .scale_stride = BLOCKS,
                             .scale = x_scale,
                             .zero = zero};
    table.prepare[scheme](&table, &rows, K, 0, 1);
    struct packed packed;
    pack_s8_weights(&packed, &table, scheme, w, scale, bias, N, K);
    float y[KERN_PANEL];
    const struct kern_gemm job = {
        .x = &rows, .w = &packed.weights, .y = y, .y_stride = KERN_PANEL, .m1 = 1, .p1 = 1};
    table.gemm[scheme](&job);
    for (int j = 0; j < N; j++) {
        double quantised = bias[j], real = bias[j], bound = 0;
        for (int i = 0; i < K; i++) {
            const double term = (double)w[j * K + i] * (double)scale[j];
            quantised += (double)(q8[i] - zero[i / block]) * (double)x_scale[i / block] * term;
            real += (double)x[i] * term;
            /* half a step of quantisation, and what rounding the zero point may clip */
            bound += 0.51 * (double)x_scale[i / block] * fabs(term);
        }
        ck_assert_double_le(fabs(y[j] - quantised), 1e-6 * K * 127 * fabs((double)scale[j]));
        ck_assert_double_le(fabs(y[j] - real), bound + 1e-3);
    }
    packed_free(&packed);
}
END_TEST

/* Every product of activations in 16 bits: what limit_s8 promises, that it leaves other columns alone, and that few large weights
 * cost the others little. */
START_TEST(limited_weights_are_safe)
{
    enum { K = 803, GROUP = KERN_INT7_GROUP };
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (int kind = 0; kind < 4; kind++) {
        struct random random = {(uint64_t)kind + 1};
        int8_t *w = GUARDED(int8_t, K, GUARD_AFTER), before[K], specified[K];
        for (int i = 0; i < K; i++) {
            const int size =
                kind == 0 ? 32 : 127; /* never too large; at random; all alike; a few */
            w[i] = (int8_t)((int)(random_bits(&random) % (2 * (uint32_t)size + 1)) - size);
            if (kind == 2)
                w[i] = 127;
            if (kind == 3)
                w[i] = i / GROUP == 5 ? -127 : (int8_t)(w[i] / 4);
        }
        memcpy(before, w, K);
        memcpy(specified, w, K);
        const float factor = table.limit_s8(w, K);
        const float wanted = kern_limit_s8_scalar(specified, K);
        ck_assert_float_eq(factor, wanted);
        ck_assert_mem_eq(w, specified, K);
        ck_assert(kind != 0 || (factor == 1.0f && memcmp(w, before, K) == 0));
        ck_assert(kind != 3 || factor == 1.0f / KERN_INT7_LEAST_FACTOR);
        for (int i = 0; i < K; i += GROUP)
            for (int lane = 0; lane < 2; lane++) {
                int above = 0, below = 0;
                for (int j = i; j < i + GROUP && j < K; j++)
                    if (j / 2 % 2 == lane) {
                        above += w[j] > 0 ? w[j] : 0;
                        below += w[j] < 0 ? -w[j] : 0;
                    }
                ck_assert_int_le(above, KERN_INT7_LANE_MAX);
                ck_assert_int_le(below, KERN_INT7_LANE_MAX);
            }
        for (int i = 0; kind == 2 && i < K; i++) /* as good as before, but for rounding */
            ck_assert_float_eq_tol((float)w[i] * factor, 127.0f, factor);
        guard_free(w);
    }
}
END_TEST

static void add(TCase *tests)
{
    add_level_test(tests, f32_is_within_its_bound);
    add_level_test(tests, bf16_is_within_its_bound);
    add_level_test(tests, int8_is_exact);
    add_level_test(tests, int8_large_is_exact);
    add_level_test(tests, int7_is_exact);
    add_level_test(tests, int7_large_is_exact);
    add_level_test(tests, limited_weights_are_safe);
    add_level_test(tests, held_weights_are_within_their_bounds);
    tcase_add_loop_test(tests, s8_specification, 0, 2);
}

int main(void)
{
    return run_kernel_tests("gemm", add);
}
