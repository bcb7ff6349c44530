/* Quantising, rounding, normalising and GELU on every level: bytes against the specification, floats against double. */
#include "kernels/bf16.h"
#include "tests/kernels/harness.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const long widths[] = {1,  7,  8,  9,  15,  16,  17,  31,  32,
                              33, 63, 64, 65, 131, 384, 397, 768, 869};
enum { WIDTHS = sizeof(widths) / sizeof(*widths), ROWS = 5 };

/* Quantised rows of one width, every array guarded. */
struct q8_rows {
    uint8_t *q8;
    float *scale;
    int32_t *zero;
    size_t bytes, scales;
};

static struct q8_rows q8_rows_new(struct kern_rows *rows, enum kern_scheme scheme, long width)
{
    struct q8_rows q;
    rows->q8_max = kern_q8_max(scheme);
    rows->scale_stride = kern_scale_blocks(scheme, width);
    q.scales = (size_t)(ROWS * rows->scale_stride);
    rows->q8_stride = q8_stride(width);
    q.bytes = (size_t)((ROWS - 1) * rows->q8_stride + round_up(width, KERN_Q8_ALIGN));
    rows->q8 = q.q8 = GUARDED(uint8_t, q.bytes, GUARD_AFTER);
    rows->scale = q.scale = GUARDED(float, q.scales, GUARD_AFTER);
    rows->zero = q.zero = GUARDED(int32_t, q.scales, GUARD_AFTER);
    return q;
}

static void q8_rows_free(struct q8_rows *q)
{
    guard_free(q->q8);
    guard_free(q->scale);
    guard_free(q->zero);
}

static void require_same_rows(const struct q8_rows *a, const struct q8_rows *b, long width)
{
    require(memcmp(a->scale, b->scale, a->scales * sizeof(float)) == 0, "width %ld: scale", width);
    require(memcmp(a->zero, b->zero, a->scales * sizeof(int32_t)) == 0, "width %ld: zero", width);
    require(memcmp(a->q8, b->q8, a->bytes) == 0, "width %ld: q8", width);
}

/* Values that decide something: infinities, NaN, ends of the range. */
static void add_specials(struct random *random, float *x, long width)
{
    static const float specials[] = {INFINITY, -INFINITY, NAN,          -NAN,    FLT_MAX,
                                     -FLT_MAX, FLT_MIN,   FLT_TRUE_MIN, -1e-40f, 0.5f};
    for (int i = 0; i < 3; i++)
        x[random_bits(random) % (uint32_t)width] = specials[random_bits(random) % 10];
}

static void check_quantise(const struct kern_table *table, enum kern_scheme scheme, long width,
                           int kind, int specials)
{
    struct random random = {(uint64_t)(width * 31 + kind)};
    struct kern_table specification;
    kern_table_init(&specification, KERN_SCALAR);
    struct kern_rows rows = {.stride = width + 1};
    float *x = GUARDED(float, (ROWS - 1) * rows.stride + width, GUARD_AFTER);
    random_fill(&random, x, (ROWS - 1) * rows.stride + width, (enum input)kind);
    for (int m = 0; m < ROWS; m++) {
        for (long i = 0; m == 1 && i < width; i++) /* one side of zero only */
            x[m * rows.stride + i] = fabsf(x[m * rows.stride + i]);
        if (specials && m > 1)
            add_specials(&random, x + m * rows.stride, width);
    }
    rows.f32 = x;
    struct q8_rows expected = q8_rows_new(&rows, scheme, width);
    specification.prepare[scheme](&specification, &rows, width, 0, ROWS);
    struct q8_rows got = q8_rows_new(&rows, scheme, width);
    table->prepare[scheme](table, &rows, width, 0, 2);
    table->prepare[scheme](table, &rows, width, 2, ROWS);
    table->prepare[scheme](table, &rows, width, 3, 3);
    require_same_rows(&got, &expected, width);

    for (int m = 0; m < ROWS; m++) {
        const uint8_t *q = got.q8 + m * rows.q8_stride;
        for (long i = 0; i < round_up(width, KERN_Q8_ALIGN); i++) {
            require(q[i] <= rows.q8_max, "q8 is %d", q[i]);
            require(i < width || q[i] == 0, "padding is %d", q[i]);
            if (specials || kind != INPUT_RANDOM || i >= width)
                continue;
            const long block = scheme == KERN_INT7 ? i / KERN_INT7_BLOCK : 0;
            const long at = m * rows.scale_stride + block;
            const double back = (double)got.scale[at] * (q[i] - got.zero[at]);
            /* half a step, and another half where the zero point was rounded past an end */
            require(fabs(back - (double)x[m * rows.stride + i]) <= 1.0001 * (double)got.scale[at],
                    "%g came back as %g", (double)x[m * rows.stride + i], back);
        }
    }
    q8_rows_free(&got);
    q8_rows_free(&expected);
    guard_free(x);
}

START_TEST(quantise_is_exact)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (int w = 0; w < WIDTHS; w++) {
        for (int kind = 0; kind < INPUT_KINDS; kind++) {
            for (int specials = 0; specials < 2; specials++) {
                check_quantise(&table, KERN_INT8, widths[w], kind, specials);
                check_quantise(&table, KERN_INT7, widths[w], kind, specials);
            }
        }
    }
}
END_TEST

/* The specification against its text, on numbers worked out by hand. */
START_TEST(quantise_specification)
{
    struct kern_table table;
    kern_table_init(&table, KERN_SCALAR);
    float x[] = {-1.0f, 0.0f, 1.55f, 0.004f, 0.006f};
    uint8_t q8[KERN_Q8_ALIGN];
    float scale = 0;
    int32_t zero = 0;
    struct kern_rows rows = {
        .f32 = x, .q8 = q8, .q8_max = KERN_INT8_MAX, .scale = &scale, .zero = &zero};
    table.prepare[KERN_INT8](&table, &rows, 5, 0, 1);
    ck_assert_float_eq_tol(scale, 0.01f, 1e-8f);
    ck_assert_int_eq(zero, 100);
    const uint8_t expected[] = {0, 100, 255, 100, 101, 0};
    ck_assert_mem_eq(q8, expected, sizeof(expected));
    memset(x, 0, sizeof(x));
    table.prepare[KERN_INT8](&table, &rows, 5, 0, 1);
    ck_assert_float_eq(scale, 1.0f);
    ck_assert_int_eq(zero, 0);
    x[1] = -1e-40f; /* a scale among the denormals, whose inverse would overflow */
    x[2] = 1e-40f;
    table.prepare[KERN_INT8](&table, &rows, 5, 0, 1);
    ck_assert_float_eq(scale, 1.0f);
    ck_assert_int_eq(q8[2], 0);
    x[1] = -FLT_MAX; /* a range beyond the floats: the ends saturate */
    x[2] = FLT_MAX;
    table.prepare[KERN_INT8](&table, &rows, 5, 0, 1);
    ck_assert_float_eq(scale, 1.0f);
    ck_assert_int_eq(zero, 255);
    ck_assert_int_eq(q8[1], 0);
    ck_assert_int_eq(q8[2], 255);
}
END_TEST

/* Rows of bf16 against the rounding of one float, and add_norm's against prepare's. */
static void check_round(const struct kern_table *table, long width, int kind)
{
    struct random random = {(uint64_t)(width * 41 + kind)};
    struct kern_rows rows = {.stride = width + 1,
                             .bf16_block = KERN_BF16_ALIGN,
                             .bf16_stride = round_up(width, KERN_BF16_ALIGN) + width % 3};
    const long count = (ROWS - 1) * rows.stride + width;
    const long round_count = (ROWS - 1) * rows.bf16_stride + round_up(width, KERN_BF16_ALIGN);
    float *x = GUARDED(float, count, GUARD_AFTER);
    random_fill(&random, x, count, (enum input)kind);
    for (int m = 2; m < ROWS; m++)
        add_specials(&random, x + m * rows.stride, width);
    rows.f32 = x;
    for (int parts = 1; parts <= 3; parts++) {
        const int low = parts > 1, last = parts > 2;
        rows.bf16 = GUARDED(uint16_t, round_count, GUARD_AFTER);
        rows.bf16_low = low ? GUARDED(uint16_t, round_count, GUARD_AFTER) : NULL;
        rows.bf16_last = last ? GUARDED(uint16_t, round_count, GUARD_AFTER) : NULL;
        table->prepare[low ? KERN_SPLIT_BF16 : KERN_BF16](table, &rows, width, 0, 2);
        table->prepare[low ? KERN_SPLIT_BF16 : KERN_BF16](table, &rows, width, 2, ROWS);
        for (long i = 0; i < ROWS * width; i++) {
            const float value = x[i / width * rows.stride + i % width];
            const long at = i / width * rows.bf16_stride + i % width;
            require(rows.bf16[at] == kern_bf16_round(value), "%g rounded to %04x, not %04x",
                    (double)value, rows.bf16[at], kern_bf16_round(value));
            require(!low || rows.bf16_low[at] == kern_bf16_rest(value),
                    "%g left %04x over, not %04x", (double)value, rows.bf16_low[at],
                    kern_bf16_rest(value));
            require(!last || rows.bf16_last[at] == kern_bf16_last(value),
                    "%g left %04x over at last, not %04x", (double)value, rows.bf16_last[at],
                    kern_bf16_last(value));
        }
        for (int m = 0; m < ROWS; m++)
            for (long i = width; i < round_up(width, KERN_BF16_ALIGN); i++) {
                const long at = m * rows.bf16_stride + i;
                require(rows.bf16[at] == 0 && (!low || rows.bf16_low[at] == 0) &&
                            (!last || rows.bf16_last[at] == 0),
                        "padding");
            }
        guard_free(rows.bf16);
        guard_free(rows.bf16_low);
        guard_free(rows.bf16_last);
    }
    guard_free(x);
}

START_TEST(bf16_is_exact)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (int w = 0; w < WIDTHS; w++)
        for (int kind = 0; kind < INPUT_KINDS; kind++)
            check_round(&table, widths[w], kind);
}
END_TEST

/* Every bf16 and its neighbours among the floats: the rounding as its text says, in double. */
START_TEST(bf16_specification)
{
    for (uint32_t upper = 0; upper < 0x7f7f; upper++) {
        const uint32_t lower[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
        const double below = (double)kern_bf16_value((uint16_t)upper);
        const double above = (double)kern_bf16_value((uint16_t)(upper + 1));
        for (int i = 0; i < 6; i++) {
            const uint32_t bits = upper << 16 | lower[i];
            float x;
            memcpy(&x, &bits, sizeof(x));
            const double left = (double)x - below, right = above - (double)x;
            uint32_t want = left < right || (left == right && upper % 2 == 0) ? upper : upper + 1;
            want = x < FLT_MIN ? 0 : want;
            require(kern_bf16_round(x) == want, "%a is %04x", (double)x, kern_bf16_round(x));
            require(kern_bf16_round(-x) == (want | 0x8000), "%a, negative", (double)x);
            require(fabs((double)x - (double)kern_bf16_value(kern_bf16_round(x)) -
                         (double)kern_bf16_value(kern_bf16_rest(x))) <=
                        (double)x * 0x1p-16 + (double)FLT_MIN,
                    "%a in two parts", (double)x);
        }
    }
    ck_assert_uint_eq(kern_bf16_round(FLT_MAX), 0x7f80);
    ck_assert_uint_eq(kern_bf16_round(-INFINITY), 0xff80);
    ck_assert(isnan(kern_bf16_value(kern_bf16_round(NAN))));
    ck_assert_uint_eq(kern_bf16_rest(FLT_MAX), 0);
}
END_TEST

/* What add_norm may be wrong by, as scalar.c states it. */
static double norm_bound(double largest, double sd, double width, double gamma, double y,
                         double beta)
{
    return 0x1p-24 * (width + 8) * largest / sd * fabs(gamma) + 0x1p-23 * (fabs(y) + fabs(beta)) +
           (double)FLT_MIN;
}

/* One row against double; returns the greatest error as a multiple of 2^-24. */
static double check_norm_row(const struct kern_norm *job, const float *x, const float *residual,
                             const float *y)
{
    const long width = job->width;
    double mean = 0;
    double variance = 0;
    double largest = 0;
    double worst = 0;
    for (long i = 0; i < width; i++) {
        const double v = (double)x[i] + (residual ? (double)residual[i] : 0.0);
        mean += v / (double)width;
        largest = fmax(largest, fabs(v));
    }
    for (long i = 0; i < width; i++) {
        const double v = (double)x[i] + (residual ? (double)residual[i] : 0.0) - mean;
        variance += v * v / (double)width;
    }
    if (largest * largest * (double)width > (double)FLT_MAX / 8)
        return 0; /* squares overflow */
    const double sd = sqrt(variance + (double)job->eps);
    for (long i = 0; i < width; i++) {
        const double v = (double)x[i] + (residual ? (double)residual[i] : 0.0) - mean;
        const double exact = v / sd * (double)job->gamma[i] + (double)job->beta[i];
        const double bound = norm_bound(largest, sd, (double)width, (double)job->gamma[i], exact,
                                        (double)job->beta[i]);
        const double error = fabs((double)y[i] - exact);
        require(error <= bound, "width %ld: y[%ld] is %.9g, exactly %.9g, bound %.3g", width, i,
                (double)y[i], exact, bound);
        worst = fmax(worst, error / 0x1p-24);
    }
    return worst;
}

static double check_norm(const struct kern_table *table, long width, int kind, int with_residual,
                         float offset)
{
    struct random random = {(uint64_t)(width * 37 + kind)};
    const long stride = width + 3;
    const size_t count = (size_t)((ROWS - 1) * stride + width);
    float *x = GUARDED(float, count, GUARD_AFTER);
    float *residual = GUARDED(float, count, GUARD_AFTER);
    float *y = GUARDED(float, count, GUARD_AFTER);
    float *gamma = GUARDED(float, width, GUARD_AFTER);
    float *beta = GUARDED(float, width, GUARD_AFTER);
    random_fill(&random, x, (long)count, (enum input)kind);
    random_fill(&random, residual, (long)count, (enum input)kind);
    random_fill(&random, gamma, width, INPUT_RANDOM);
    random_fill(&random, beta, width, INPUT_RANDOM);
    for (size_t i = 0; i < count; i++)
        x[i] += offset;
    struct kern_rows rows = {.f32 = y, .stride = stride};
    const enum kern_scheme scheme = with_residual ? KERN_INT8 : KERN_INT7; /* either will do */
    struct q8_rows fused = q8_rows_new(&rows, scheme, width);
    rows.bf16_stride = round_up(width, KERN_BF16_ALIGN);
    rows.bf16_block = KERN_BF16_ALIGN;
    rows.bf16 = GUARDED(uint16_t, ROWS * rows.bf16_stride, GUARD_AFTER);
    const struct kern_rows added = {.f32 = residual, .stride = stride};
    struct kern_norm job = {.x = x,
                            .x_stride = stride,
                            .residual = with_residual ? &added : NULL,
                            .gamma = gamma,
                            .beta = beta,
                            .eps = 1e-12f,
                            .width = width,
                            .y = &rows,
                            .m1 = ROWS};
    table->add_norm(table, &job);
    double worst = 0;
    for (int m = 0; m < ROWS; m++)
        worst = fmax(worst,
                     check_norm_row(&job, x + m * stride,
                                    with_residual ? residual + m * stride : NULL, y + m * stride));

    struct q8_rows apart = q8_rows_new(&rows, scheme, width);
    table->prepare[scheme](table, &rows, width, 0, ROWS);
    require_same_rows(&fused, &apart, width);
    uint16_t *bf16 = rows.bf16;
    rows.bf16 = GUARDED(uint16_t, ROWS * rows.bf16_stride, GUARD_AFTER);
    table->prepare[KERN_BF16](table, &rows, width, 0, ROWS);
    require(memcmp(bf16, rows.bf16, (size_t)(ROWS * rows.bf16_stride) * sizeof(*bf16)) == 0,
            "width %ld: bf16", width);
    guard_free(bf16);
    guard_free(rows.bf16);

    /* In place, without quantising, one row at a time: the same bits. */
    struct kern_rows in_place = {.f32 = x, .stride = stride};
    job.y = &in_place;
    for (int m = ROWS - 1; m >= 0; m--) {
        job.m0 = m;
        job.m1 = m + 1;
        table->add_norm(table, &job);
        require(memcmp(x + m * stride, y + m * stride, (size_t)width * sizeof(float)) == 0,
                "width %ld: row %d differs in place", width, m);
    }
    q8_rows_free(&fused);
    q8_rows_free(&apart);
    guard_free(x);
    guard_free(residual);
    guard_free(y);
    guard_free(gamma);
    guard_free(beta);
    return worst;
}

START_TEST(add_norm_is_within_its_bound)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    double worst = 0;
    for (int w = 0; w < WIDTHS; w++) {
        for (int kind = 0; kind < INPUT_KINDS; kind++) {
            const double error = check_norm(&table, widths[w], kind, w % 2, 0.0f);
            worst = kind == INPUT_RANDOM ? fmax(worst, error) : worst;
        }
        check_norm(&table, widths[w], INPUT_RANDOM, 1, 100.0f);
    }
    printf("%s: add_norm is wrong by up to %.2g\n", table.name, worst * 0x1p-24);
}
END_TEST

/* Every 97th float of both signs, and the ones next to the ends of the pieces. */
START_TEST(gelu_is_within_its_bound)
{
    enum { BATCH = 1021, STEP = 97 };
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    float *x = GUARDED(float, BATCH, GUARD_AFTER);
    float *y = GUARDED(float, BATCH, GUARD_AFTER);
    double worst = 0;
    const uint32_t small = 0x38000000; /* 3e-5: fewer of those below it */
    for (uint64_t bits = 0; bits < 0x7f800000;) {
        for (int i = 0; i < BATCH; i++, bits += bits < small ? 7919 * STEP : STEP) {
            const uint32_t word = (uint32_t)(bits < 0x7f800000 ? bits : 0x7f800000) |
                                  (bits / STEP % 2 ? 0x80000000u : 0u);
            memcpy(&x[i], &word, sizeof(word));
        }
        memcpy(y, x, BATCH * sizeof(float));
        table.gelu(y, BATCH);
        for (int i = 0; i < BATCH; i++) {
            if (fabsf(x[i]) > 40.0f) {
                require(y[i] == (x[i] > 0 ? x[i] : 0.0f), "gelu(%g) is %g", (double)x[i],
                        (double)y[i]);
                continue;
            }
            const double error = fabs((double)y[i] - gelu_exact((double)x[i]));
            require(error <= 5e-7, "gelu(%.9g) is %.9g", (double)x[i], (double)y[i]);
            worst = fmax(worst, error);
        }
    }
    printf("%s: gelu is wrong by up to %.3g\n", table.name, worst);
    guard_free(x);
    guard_free(y);
}
END_TEST

START_TEST(gelu_of_special_values)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (long n = 1; n <= 35; n++) {
        float *x = GUARDED(float, n, GUARD_AFTER);
        const float specials[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX};
        for (long i = 0; i < n; i++)
            x[i] = specials[i % 7];
        table.gelu(x, n);
        const float expected[] = {0.0f, 0.0f, INFINITY, 0.0f, NAN, FLT_MAX, 0.0f};
        for (long i = 0; i < n; i++)
            require(i % 7 == 4 ? isnan(x[i]) : x[i] == expected[i % 7], "gelu(%g) is %g",
                    (double)specials[i % 7], (double)x[i]);
        guard_free(x);
    }
}
END_TEST

static void add(TCase *tests)
{
    add_level_test(tests, quantise_is_exact);
    tcase_add_test(tests, quantise_specification);
    add_level_test(tests, bf16_is_exact);
    tcase_add_test(tests, bf16_specification);
    add_level_test(tests, add_norm_is_within_its_bound);
    add_level_test(tests, gelu_is_within_its_bound);
    add_level_test(tests, gelu_of_special_values);
}

int main(void)
{
    return run_kernel_tests("rows", add);
}
