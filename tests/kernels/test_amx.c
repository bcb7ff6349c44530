/* The products of the AMX level at the edges of its tiles, blocks of depth and chunks of rows: INT8 byte for byte against
 * the specification, bf16 and split bf16 against double, and the packing and rounding they read bit for bit. Runs on a CPU
 * with AMX, and elsewhere on emulated tile instructions. */
#include "tests/kernels/harness.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SKIPPED = 77 };

#ifdef FEW /* beside the edges and behind them, once each */
static const long rows_list[] = {1, 15, 16, 17, 33, 65, 129};
static const long columns_list[] = {1, 17, 83};
static const long depth_list[] = {1, 64, 131, 800};
#else
static const long rows_list[] = {1, 2, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 49, 64, 65, 97, 129};
static const long columns_list[] = {1, 16, 17, 48, 83};
static const long depth_list[] = {1, 31, 33, 64, 65, 131, 397, 800};
#endif

#define COUNT(list) ((long)(sizeof(list) / sizeof(*(list))))

/* What is tested of a scheme: SPLIT_BF16 with and without what the activations' lo values left over. */
struct kind {
    enum kern_scheme scheme;
    int whole;
};

/* One product: inputs as they are before packing, what the kernels read, and the output. */
struct problem {
    long m, n, k, columns; /* columns: n rounded up to panels */
    float *w;              /* (n, k) */
    int8_t *w8;            /* (n, k), INT8 only */
    struct packed packed;
    struct kern_rows x;
    float *y; /* (m, columns), y_stride apart */
    long y_stride;
};

static void *copy_of(const void *from, size_t bytes)
{
    void *copy = malloc(bytes);
    require(copy != NULL, "no memory");
    return memcpy(copy, from, bytes);
}

/* Rows as `table` prepares them, which must be the bytes of the specification. */
static void prepare(struct problem *p, const struct kern_table *table, enum kern_scheme scheme)
{
    struct kern_table specification;
    struct kern_rows *x = &p->x;
    const size_t values = (size_t)((p->m - 1) * x->bf16_stride + round_up(p->k, KERN_BF16_ALIGN));
    kern_table_init(&specification, KERN_SCALAR);
    specification.prepare[scheme](&specification, x, p->k, 0, p->m);
    if (scheme == KERN_INT8)
        return;
    const size_t bytes = values * sizeof(uint16_t);
    uint16_t *hi = copy_of(x->bf16, bytes);
    uint16_t *lo = x->bf16_low ? copy_of(x->bf16_low, bytes) : NULL;
    uint16_t *last = x->bf16_last ? copy_of(x->bf16_last, bytes) : NULL;
    memset(x->bf16, 0xA5, bytes);
    if (lo)
        memset(x->bf16_low, 0xA5, bytes);
    if (last)
        memset(x->bf16_last, 0xA5, bytes);
    table->prepare[scheme](table, x, p->k, 0, p->m);
    for (long m = 0; m < p->m; m++) {
        const size_t at = (size_t)(m * x->bf16_stride);
        const size_t row = (size_t)round_up(p->k, KERN_BF16_ALIGN) * sizeof(uint16_t);
        require(memcmp(x->bf16 + at, hi + at, row) == 0, "row %ld of %ld, k %ld", m, p->m, p->k);
        require(!lo || memcmp(x->bf16_low + at, lo + at, row) == 0, "lo of row %ld, k %ld", m,
                p->k);
        require(!last || memcmp(x->bf16_last + at, last + at, row) == 0, "last of row %ld, k %ld",
                m, p->k);
    }
    free(hi);
    free(lo);
    free(last);
}

static void make_rows(struct problem *p, struct random *random, struct kind kind, enum input input)
{
    const enum kern_scheme scheme = kind.scheme;
    struct kern_rows *x = &p->x;
    x->stride = p->k + p->m % 3;
    x->f32 = GUARDED(float, p->m * x->stride, GUARD_AFTER);
    random_fill(random, x->f32, p->m * x->stride, input);
    if (scheme == KERN_INT8) {
        x->q8_stride = q8_stride(p->k);
        x->q8_max = KERN_INT8_MAX;
        x->scale_stride = 1;
        x->q8 = GUARDED(uint8_t, (p->m - 1) * x->q8_stride + round_up(p->k, KERN_Q8_ALIGN),
                        GUARD_AFTER);
        x->scale = GUARDED(float, p->m, GUARD_AFTER);
        x->zero = GUARDED(int32_t, p->m, GUARD_AFTER);
    } else {
        const long padded = round_up(p->k, KERN_BF16_ALIGN);
        x->bf16_stride = padded + p->m % 2 * KERN_BF16_ALIGN;
        x->bf16_block = KERN_BF16_ALIGN;
        x->bf16 = GUARDED(uint16_t, (p->m - 1) * x->bf16_stride + padded, GUARD_AFTER);
        if (scheme == KERN_SPLIT_BF16)
            x->bf16_low = GUARDED(uint16_t, (p->m - 1) * x->bf16_stride + padded, GUARD_AFTER);
        if (kind.whole)
            x->bf16_last = GUARDED(uint16_t, (p->m - 1) * x->bf16_stride + padded, GUARD_AFTER);
    }
}

/* The panels that the specification packs from the same weights, hi values and lo values apart. */
static void check_panel(const struct kern_table *table, const void *panel,
                        const float *const rows[KERN_PANEL], long k)
{
    struct kern_table specification;
    kern_table_init(&specification, KERN_SCALAR);
    const size_t bytes = specification.panel_bytes[KERN_BF16](k);
    void *expected = malloc(bytes);
    float *rest = calloc((size_t)(KERN_PANEL * k), sizeof *rest);
    const float *rest_rows[KERN_PANEL];
    require(expected && rest, "no memory");
    specification.pack_floats[KERN_BF16](expected, rows, k);
    require(memcmp(panel, expected, bytes) == 0, "hi values of a panel, k %ld", k);
    for (long j = 0; j < KERN_PANEL; j++) {
        struct kern_rows row = {.bf16_stride = round_up(k, KERN_BF16_ALIGN)};
        rest_rows[j] = rows[j] ? rest + j * k : NULL;
        if (!rows[j])
            continue;
        row.f32 = copy_of(rows[j], (size_t)k * sizeof(float));
        row.bf16 = calloc((size_t)row.bf16_stride, sizeof(uint16_t));
        require(row.bf16 != NULL, "no memory");
        specification.prepare[KERN_BF16](&specification, &row, k, 0, 1);
        for (long i = 0; i < k; i++) {
            const uint32_t bits = (uint32_t)row.bf16[i] << 16;
            float hi;
            memcpy(&hi, &bits, sizeof hi);
            rest[j * k + i] = row.f32[i] - hi;
        }
        free(row.f32);
        free(row.bf16);
    }
    ck_assert_uint_eq(table->panel_bytes[KERN_SPLIT_BF16](k), 2 * bytes);
    specification.pack_floats[KERN_BF16](expected, rest_rows, k);
    require(memcmp((const char *)panel + bytes, expected, bytes) == 0, "lo values, k %ld", k);
    free(expected);
    free(rest);
}

/* To the 11 bits of half precision. */
static void cut(float *x, long count)
{
    for (long i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0xffffe000U;
        memcpy(x + i, &bits, sizeof bits);
    }
}

static void pack(struct problem *p, const struct kern_table *table, struct random *random,
                 struct kind kind)
{
    const enum kern_scheme scheme = kind.scheme;
    float *bias = GUARDED(float, p->n, GUARD_AFTER);
    float *scale = GUARDED(float, p->n, GUARD_AFTER);
    p->w = GUARDED(float, p->n * p->k, GUARD_AFTER);
    p->w8 = GUARDED(int8_t, p->n * p->k, GUARD_AFTER);
    random_fill(random, bias, p->n, INPUT_RANDOM);
    random_fill(random, scale, p->n, INPUT_RANDOM);
    random_fill(random, p->w, p->n * p->k, INPUT_RANDOM);
    if (kind.whole)
        cut(p->w, p->n * p->k);
    random_fill_s8(random, p->w8, p->n * p->k);
    if (scheme == KERN_INT8) {
        pack_s8_weights(&p->packed, table, scheme, p->w8, scale, bias, p->n, p->k);
    } else {
        const size_t bytes = table->panel_bytes[scheme](p->k);
        pack_float_weights(&p->packed, table, scheme, p->w, bias, p->n, p->k);
        for (long panel = 0; scheme == KERN_SPLIT_BF16 && panel < p->columns / KERN_PANEL;
             panel++) {
            const float *rows[KERN_PANEL];
            for (long j = 0; j < KERN_PANEL; j++) {
                const long column = panel * KERN_PANEL + j;
                rows[j] = column < p->n ? p->w + column * p->k : NULL;
            }
            check_panel(table, (char *)p->packed.panels + (size_t)panel * bytes, rows, p->k);
        }
    }
    guard_free(bias);
    guard_free(scale);
}

static double bf16_value(const uint16_t *x)
{
    const uint32_t bits = (uint32_t)*x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* BF16 against exact arithmetic on the rounded values, as kernels.h says. SPLIT_BF16 against exact arithmetic on the floats:
 * hi + lo is off by 2^-16 of the value at most, and lo * lo, which is left out, is at most 2^-16 of the product. The whole of it
 * leaves out last * lo, and what last rounds off: 2^-24 each. */
static void check_values(const struct problem *p, struct kind kind)
{
    const enum kern_scheme scheme = kind.scheme;
    const double left_out = kind.whole ? 2.1 * 0x1p-24 : 3.1 * 0x1p-16;
    const double split = scheme == KERN_SPLIT_BF16 ? left_out + 24 * 0x1p-24 : 0;
    for (long i = 0; i < p->m; i++) {
        for (long j = 0; j < p->columns; j++) {
            const float *w = p->w + j * p->k;
            const double y = p->y[i * p->y_stride + j];
            double sum = p->packed.bias[j], size = fabs(sum);
            for (long d = 0; j < p->n && d < p->k; d++) {
                double product = (double)p->x.f32[i * p->x.stride + d] * (double)w[d];
                if (scheme == KERN_BF16) {
                    const uint16_t *panel =
                        (const uint16_t *)p->packed.panels +
                        j / KERN_PANEL * KERN_PANEL * round_up(p->k, KERN_BF16_ALIGN);
                    product = bf16_value(p->x.bf16 + i * p->x.bf16_stride + d) *
                              bf16_value(panel + (d / 2 * KERN_PANEL + j % KERN_PANEL) * 2 + d % 2);
                }
                sum += product;
                size += fabs(product);
            }
            const double bound =
                size * (split + (double)(p->k + 1) * 0x1p-24) * 1.001 + (double)p->k * 0x1p-120;
            require(fabs(y - sum) <= bound,
                    "m %ld n %ld k %ld: y[%ld][%ld] is %.9g, exactly %.9g, bound %.3g", p->m, p->n,
                    p->k, i, j, y, sum, bound);
        }
    }
}

/* Parts of a product: each writes its own part only, with the bits of the whole. */
static void check_parts(const struct kern_table *table, const struct problem *p,
                        const struct kern_gemm *whole, const float *expected)
{
    const long panels = p->columns / KERN_PANEL;
    const long parts[][4] = {
        {p->m - 1, p->m, 0, panels},
        {p->m / 3, p->m, panels / 2, panels},
        {0, p->m, panels - 1, panels},
        {p->m / 4, p->m - p->m / 4, 0, panels},
        {0, 0, 0, panels},
        {0, p->m, panels, panels},
    };
    for (long part = 0; part < COUNT(parts); part++) {
        struct kern_gemm job = *whole;
        job.m0 = parts[part][0];
        job.m1 = parts[part][1];
        job.p0 = parts[part][2];
        job.p1 = parts[part][3];
        memset(p->y, 0xC3, (size_t)(p->m * p->y_stride) * sizeof(float));
        table->gemm[whole->w->scheme](&job);
        for (long i = 0; i < p->m; i++) {
            for (long j = 0; j < p->y_stride; j++) {
                const int inside = i >= job.m0 && i < job.m1 && j >= job.p0 * KERN_PANEL &&
                                   j < job.p1 * KERN_PANEL;
                uint32_t got, want = 0xC3C3C3C3U;
                memcpy(&got, &p->y[i * p->y_stride + j], sizeof got);
                if (inside)
                    memcpy(&want, &expected[i * p->y_stride + j], sizeof want);
                require(got == want,
                        "rows %ld-%ld of %ld, panels %ld-%ld of %ld, k %ld: bits of (%ld, %ld) are "
                        "%08x, not %08x",
                        job.m0, job.m1, p->m, job.p0, job.p1, panels, p->k, i, j, got, want);
            }
        }
    }
}

static void check(struct kind kind, long m, long n, long k, enum input input)
{
    const enum kern_scheme scheme = kind.scheme;
    struct kern_table table, specification;
    struct random random = {(uint64_t)(m * 1000003 + n * 1009 + k)};
    struct problem p = {.m = m, .n = n, .k = k, .columns = round_up(n, KERN_PANEL)};
    require(level_table(&table, KERN_AMX), "no AMX level");
    kern_table_init(&specification, KERN_SCALAR);
    p.y_stride = p.columns + k % 2;
    p.y = GUARDED(float, m *p.y_stride, GUARD_AFTER);
    make_rows(&p, &random, kind, input);
    prepare(&p, &table, scheme);
    pack(&p, &table, &random, kind);
    const size_t bytes = (size_t)(m * p.y_stride) * sizeof(float);
    struct kern_gemm job = {.x = &p.x,
                            .w = &p.packed.weights,
                            .y = p.y,
                            .y_stride = p.y_stride,
                            .m1 = m,
                            .p1 = p.columns / KERN_PANEL};

    memset(p.y, 0, bytes);
    table.gemm[scheme](&job);
    float *whole = copy_of(p.y, bytes);
    if (scheme == KERN_INT8) {
        specification.gemm[KERN_INT8](&job);
        require(memcmp(p.y, whole, bytes) == 0, "int8 m %ld n %ld k %ld", m, n, k);
    } else {
        check_values(&p, kind);
    }
    check_parts(&table, &p, &job, whole);
    job.epilogue = KERN_GELU;
    table.gemm[scheme](&job);
    for (long i = 0; i < m; i++)
        for (long j = 0; j < p.columns; j++) {
            const double x = whole[i * p.y_stride + j];
            require(fabs((double)p.y[i * p.y_stride + j] - gelu_exact(x)) <= 5e-7, "gelu(%g)", x);
        }

    free(whole);
    packed_free(&p.packed);
    guard_free(p.w);
    guard_free(p.w8);
    guard_free(p.y);
    guard_free(p.x.f32);
    guard_free(p.x.q8);
    guard_free(p.x.scale);
    guard_free(p.x.zero);
    guard_free(p.x.bf16);
    guard_free(p.x.bf16_low);
    guard_free(p.x.bf16_last);
}

static const struct kind kinds[] = {
    {KERN_INT8, 0}, {KERN_BF16, 0}, {KERN_SPLIT_BF16, 0}, {KERN_SPLIT_BF16, 1}};

START_TEST(edges_of_tiles)
{
    for (long m = 0; m < COUNT(rows_list); m++)
        for (long n = 0; n < COUNT(columns_list); n++)
            for (long k = 0; k < COUNT(depth_list); k++)
                check(kinds[_i], rows_list[m], columns_list[n], depth_list[k], INPUT_RANDOM);
}
END_TEST

/* Several blocks of k and several chunks of rows, whole and not. */
START_TEST(long_products)
{
    check(kinds[_i], 515, 35, 1600, INPUT_RANDOM);
    check(kinds[_i], 700, 33, 900, INPUT_RANDOM);
    check(kinds[_i], 67, 96, 3072, INPUT_RANDOM);
    check(kinds[_i], 260, 35, 3072, INPUT_RANDOM); /* and parts of k, with an odd number of tiles */
}
END_TEST

START_TEST(zeros_and_denormals)
{
    check(kinds[_i], 21, 40, 67, INPUT_ZERO);
    check(kinds[_i], 21, 40, 67, INPUT_DENORMAL);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, edges_of_tiles, 0, COUNT(kinds));
    tcase_add_loop_test(tests, long_products, 0, COUNT(kinds));
    tcase_add_loop_test(tests, zeros_and_denormals, 0, COUNT(kinds));
}

int main(void)
{
    if (!kern_level_available(KERN_AMX) && !getenv("DISTILD_REQUIRE_LEVELS")) {
        printf("skipped: this machine cannot run level amx\n");
        return SKIPPED;
    }
    return run_kernel_tests("amx", add);
}
