/* A query's products with stored rows, on every level and in every form they are held in, against double. */
#include "tests/kernels/harness.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* {1, tile - 1, tile, tile + 1, 2 * tile + 3, a prime} of 8, 16, 32 and 64 values. */
static const long depths[] = {1, 7, 8, 9, 15, 16, 17, 19, 31, 33, 63, 64, 65, 131, 384, 397};
enum { DEPTHS = sizeof(depths) / sizeof(*depths), ROWS = 7 };

static const enum kern_scheme held[] = {KERN_F32, KERN_F16, KERN_S8};
enum { HELD = sizeof(held) / sizeof(*held) };

static size_t value_bytes(enum kern_scheme scheme)
{
    return scheme == KERN_F32 ? 4 : scheme == KERN_F16 ? 2 : 1;
}

/* Rows with nothing between them but one value, and the query, all guarded. */
struct scan_problem {
    enum kern_scheme scheme;
    long k, stride;
    float *query, *scale, *out;
    void *rows;
};

static void problem_init(struct scan_problem *p, enum kern_scheme scheme, long k, enum input kind)
{
    struct random random = {(uint64_t)(k * 64 + kind * 4 + scheme)};
    *p = (struct scan_problem){.scheme = scheme, .k = k, .stride = k + 1};
    const long values = (ROWS - 1) * p->stride + k;
    p->query = GUARDED(float, k, GUARD_AFTER);
    p->scale = GUARDED(float, ROWS, GUARD_AFTER);
    p->out = GUARDED(float, ROWS, GUARD_AFTER);
    p->rows = guard_alloc((size_t)values * value_bytes(scheme), GUARD_AFTER);
    random_fill(&random, p->query, k, kind);
    random_fill(&random, p->scale, ROWS, INPUT_RANDOM);
    if (scheme == KERN_F32)
        random_fill(&random, p->rows, values, kind);
    else if (scheme == KERN_S8)
        random_fill_s8(&random, p->rows, values);
    for (long i = 0; scheme == KERN_F16 && i < values; i++) /* any finite half, denormals too */
        ((uint16_t *)p->rows)[i] = (uint16_t)(random_bits(&random) & (kind ? 0xbfff : 0x83ff));
}

static void problem_free(struct scan_problem *p)
{
    guard_free(p->query);
    guard_free(p->scale);
    guard_free(p->out);
    guard_free(p->rows);
}

static struct kern_scan job_of(const struct scan_problem *p, long from, long n, float *out)
{
    return (struct kern_scan){.query = p->query,
                              .rows = (const char *)p->rows +
                                      (size_t)(from * p->stride) * value_bytes(p->scheme),
                              .stride = p->stride,
                              .scale = p->scheme == KERN_S8 ? p->scale + from : NULL,
                              .k = p->k,
                              .n = n,
                              .out = out};
}

static double value_at(const struct scan_problem *p, const struct kern_table *table, long row,
                       long c)
{
    const long at = row * p->stride + c;
    float value = 0;
    if (p->scheme == KERN_F32)
        return (double)((const float *)p->rows)[at];
    if (p->scheme == KERN_S8)
        return (double)((const int8_t *)p->rows)[at] * (double)p->scale[row];
    table->f16_to_f32(&value, (const uint16_t *)p->rows + at, 1);
    return (double)value;
}

static void check_values(const struct scan_problem *p, const struct kern_table *table)
{
    for (long i = 0; i < ROWS; i++) {
        double sum = 0, size = 0;
        for (long c = 0; c < p->k; c++) {
            const double product = (double)p->query[c] * value_at(p, table, i, c);
            sum += product;
            size += fabs(product);
        }
        if (size > (double)FLT_MAX / 2 || (p->scheme == KERN_S8 && size > (double)FLT_MAX / 1e4))
            continue; /* may overflow on the way, or not */
        /* What a step may lose among the denormals, and for S8 what its scale makes of that. */
        const double least =
            0x1p-149 * (1 + (p->scheme == KERN_S8 ? fabs((double)p->scale[i]) : 0));
        const double bound =
            ((double)(p->k + 1) * (size * 0x1p-24 + least) + fabs(sum) * 0x1p-24) * 1.001;
        require(fabs((double)p->out[i] - sum) <= bound,
                "scheme %d k %ld row %ld: %.9g, exactly %.9g, bound %.3g", (int)p->scheme, p->k, i,
                (double)p->out[i], sum, bound);
    }
}

START_TEST(products_are_within_the_bound)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (int s = 0; s < HELD; s++)
        for (int d = 0; d < DEPTHS; d++)
            for (int kind = 0; kind < INPUT_KINDS; kind++) {
                struct scan_problem p;
                problem_init(&p, held[s], depths[d], (enum input)kind);
                const struct kern_scan job = job_of(&p, 0, ROWS, p.out);
                table.scan[held[s]](&job);
                check_values(&p, &table);
                problem_free(&p);
            }
}
END_TEST

/* The same bits whatever rows are scanned beside a row, and no rows at all are no work. */
START_TEST(rows_are_computed_alike)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (int s = 0; s < HELD; s++)
        for (int d = 0; d < DEPTHS; d++) {
            struct scan_problem p;
            float parts[ROWS];
            problem_init(&p, held[s], depths[d], INPUT_RANDOM);
            struct kern_scan job = job_of(&p, 0, ROWS, p.out);
            table.scan[held[s]](&job);
            static const long cuts[] = {0, 1, 1, 3, ROWS};
            for (int i = 0; i + 1 < (int)(sizeof(cuts) / sizeof(*cuts)); i++) {
                job = job_of(&p, cuts[i], cuts[i + 1] - cuts[i], parts + cuts[i]);
                table.scan[held[s]](&job);
            }
            require(memcmp(parts, p.out, sizeof(parts)) == 0, "scheme %d k %ld differs in parts",
                    (int)held[s], depths[d]);
            problem_free(&p);
        }
}
END_TEST

/* A value that is not a number spoils its own row and no other. */
START_TEST(rows_do_not_spoil_each_other)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (int d = 0; d < DEPTHS; d++) {
        struct scan_problem p;
        problem_init(&p, KERN_F32, depths[d], INPUT_RANDOM);
        ((float *)p.rows)[2 * p.stride + p.k - 1] = NAN;
        const struct kern_scan job = job_of(&p, 0, ROWS, p.out);
        table.scan[KERN_F32](&job);
        for (int i = 0; i < ROWS; i++)
            require((p.out[i] != p.out[i]) == (i == 2), "k %ld: row %d is %g", p.k, i,
                    (double)p.out[i]);
        problem_free(&p);
    }
}
END_TEST

static void add(TCase *test_case)
{
    add_level_test(test_case, products_are_within_the_bound);
    add_level_test(test_case, rows_are_computed_alike);
    add_level_test(test_case, rows_do_not_spoil_each_other);
}

int main(void)
{
    return run_kernel_tests("scan", add);
}
