/* The products of floats on every level, of weights as floats, in BF16, and held as half precision or S8: against double. */
#include "kernels/bf16.h"
#include "tests/kernels/gemm_problem.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

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
    check_float(&table, scheme, 173, 96, 3072, INPUT_RANDOM);
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

static void add(TCase *tests)
{
    add_level_test(tests, f32_is_within_its_bound);
    add_level_test(tests, bf16_is_within_its_bound);
    add_level_test(tests, held_weights_are_within_their_bounds);
}

int main(void)
{
    return run_kernel_tests("gemm", add);
}
