/* The INT8 and INT7 products on every level, byte for byte against the specification, and the specification itself. */
#include "kernels/levels.h"
#include "tests/kernels/gemm_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    check_s8(&table, scheme, 173, 96, 3072, INPUT_RANDOM);
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
    add_level_test(tests, int8_is_exact);
    add_level_test(tests, int8_large_is_exact);
    add_level_test(tests, int7_is_exact);
    add_level_test(tests, int7_large_is_exact);
    add_level_test(tests, limited_weights_are_safe);
    tcase_add_loop_test(tests, s8_specification, 0, 2);
}

int main(void)
{
    return run_kernel_tests("gemm_int8", add);
}
