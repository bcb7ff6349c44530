/* Packing, quantising weights and conversions: the bytes of the specification on every level. */
#include "kernels/bf16.h"
#include "tests/kernels/harness.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const long depths[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 131, 384, 397};
enum { DEPTHS = sizeof(depths) / sizeof(*depths) };

/* Rows of a panel of which the last `missing` are padding; each row ends at a trap. */
static void rows_new(struct random *random, float *w[KERN_PANEL], long k, int missing,
                     enum input kind)
{
    for (int j = 0; j < KERN_PANEL; j++) {
        w[j] = j < KERN_PANEL - missing ? GUARDED(float, k, GUARD_AFTER) : NULL;
        if (w[j])
            random_fill(random, w[j], k, kind);
    }
}

/* A panel that starts on a cache line and one that does not, both before a trap. */
static void check_pack_f32(const struct kern_table *table, long k, int missing, long shift)
{
    struct random random = {(uint64_t)(k + missing)};
    float *w[KERN_PANEL];
    rows_new(&random, w, k, missing, INPUT_RANDOM);
    const float *rows[KERN_PANEL];
    for (int j = 0; j < KERN_PANEL; j++)
        rows[j] = w[j];
    const size_t bytes = table->panel_bytes[KERN_F32](k);
    char *raw = guard_alloc(bytes + (size_t)shift, shift ? GUARD_BEFORE : GUARD_AFTER);
    float *panel = (float *)(void *)(raw + shift);
    table->pack_floats[KERN_F32](panel, rows, k);
    for (long i = 0; i < k; i++) {
        for (int j = 0; j < KERN_PANEL; j++) {
            const float want = w[j] ? w[j][i] : 0.0f;
            const float got =
                table->level == KERN_OPENBLAS ? panel[j * k + i] : panel[i * KERN_PANEL + j];
            require(got == want, "k %ld: (%ld, %d) is %g, not %g", k, i, j, (double)got,
                    (double)want);
        }
    }
    guard_free(raw);
    for (int j = 0; j < KERN_PANEL; j++)
        guard_free(w[j]);
}

static void check_pack_bf16(const struct kern_table *table, long k, int missing, long shift)
{
    struct random random = {(uint64_t)(k * 5 + missing)};
    float *w[KERN_PANEL];
    rows_new(&random, w, k, missing, k % 3 == 0 ? INPUT_EXTREME : INPUT_RANDOM);
    const float *rows[KERN_PANEL];
    for (int j = 0; j < KERN_PANEL; j++)
        rows[j] = w[j];
    if (w[0])
        w[0][k / 2] = NAN;
    const size_t bytes = table->panel_bytes[KERN_BF16](k);
    ck_assert_uint_eq(bytes, (size_t)(round_up(k, KERN_BF16_ALIGN) * KERN_PANEL * 2));
    char *raw = guard_alloc(bytes + (size_t)shift, shift ? GUARD_BEFORE : GUARD_AFTER);
    const uint16_t *panel = (const uint16_t *)(void *)(raw + shift);
    table->pack_floats[KERN_BF16](raw + shift, rows, k);
    for (long i = 0; i < round_up(k, KERN_BF16_ALIGN); i++) {
        for (int j = 0; j < KERN_PANEL; j++) {
            const uint16_t want = w[j] && i < k ? kern_bf16_round(w[j][i]) : 0;
            const uint16_t got = panel[(i / 2 * KERN_PANEL + j) * 2 + i % 2];
            require(got == want, "k %ld: (%ld, %d) is %04x, not %04x", k, i, j, got, want);
        }
    }
    guard_free(raw);
    for (int j = 0; j < KERN_PANEL; j++)
        guard_free(w[j]);
}

static void check_pack_s8(const struct kern_table *table, enum kern_scheme scheme, long k,
                          int missing, long shift)
{
    struct random random = {(uint64_t)(k * 3 + missing)};
    const int8_t *rows[KERN_PANEL];
    int8_t *w[KERN_PANEL];
    for (int j = 0; j < KERN_PANEL; j++) {
        w[j] = j < KERN_PANEL - missing ? GUARDED(int8_t, k, GUARD_AFTER) : NULL;
        if (w[j])
            random_fill_s8(&random, w[j], k);
        rows[j] = w[j];
    }
    const size_t bytes = table->panel_bytes[scheme](k);
    ck_assert_uint_eq(bytes, (size_t)round_up(k, KERN_Q8_ALIGN) * KERN_PANEL);
    char *raw = guard_alloc(bytes + (size_t)shift, shift ? GUARD_BEFORE : GUARD_AFTER);
    int8_t *panel = (int8_t *)(raw + shift);
    const long block = scheme == KERN_INT7 ? KERN_INT7_BLOCK : round_up(k, KERN_Q8_ALIGN);
    const long blocks = kern_scale_blocks(scheme, k);
    int32_t *column_sum = GUARDED(int32_t, KERN_PANEL * blocks, GUARD_AFTER);
    table->pack_s8[scheme](panel, column_sum, rows, k);
    for (int j = 0; j < KERN_PANEL; j++) {
        int32_t sum = 0;
        for (long i = 0; i < round_up(k, KERN_Q8_ALIGN); i++) {
            const int8_t want = w[j] && i < k ? w[j][i] : 0;
            const int8_t got = panel[(i / 4 * KERN_PANEL + j) * 4 + i % 4];
            require(got == want, "k %ld: (%ld, %d) is %d, not %d", k, i, j, got, want);
            sum += want;
            if ((i + 1) % block && i + 1 < round_up(k, KERN_Q8_ALIGN))
                continue;
            const int32_t found = column_sum[i / block * KERN_PANEL + j];
            require(found == sum, "k %ld: a column sum of %d is %d, not %d", k, j, found, sum);
            sum = 0;
        }
        guard_free(w[j]);
    }
    guard_free(raw);
    guard_free(column_sum);
}

START_TEST(panels_are_exact)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    static const int missing[] = {0, 1, 7, 8, 15};
    static const long shifts[] = {0, 4, 64};
    for (int d = 0; d < DEPTHS; d++) {
        for (int m = 0; m < 5; m++) {
            for (int s = 0; s < 3; s++) {
                check_pack_f32(&table, depths[d], missing[m], shifts[s]);
                check_pack_bf16(&table, depths[d], missing[m], shifts[s]);
                check_pack_s8(&table, KERN_INT8, depths[d], missing[m], shifts[s]);
                check_pack_s8(&table, KERN_INT7, depths[d], missing[m], shifts[s]);
            }
        }
    }
}
END_TEST

static void check_quantise_weights(const struct kern_table *table, long k, int kind, int specials)
{
    struct kern_table specification;
    kern_table_init(&specification, KERN_SCALAR);
    struct random random = {(uint64_t)(k * 5 + kind)};
    float *w = GUARDED(float, k, GUARD_AFTER);
    int8_t *q = GUARDED(int8_t, k, GUARD_AFTER);
    int8_t *expected = GUARDED(int8_t, k, GUARD_AFTER);
    random_fill(&random, w, k, (enum input)kind);
    for (long i = 0; kind == INPUT_DENORMAL && i < k; i++) /* where the scale is coarse */
        w[i] = (float)(int)(random_bits(&random) % 381 - 190) * FLT_TRUE_MIN;
    if (specials) {
        w[k / 2] = NAN;
        w[k / 3] = specials == 2 ? INFINITY : w[k / 3];
    }
    const float want = specification.quantise_weights(expected, w, k);
    const float got = table->quantise_weights(q, w, k);
    require(memcmp(&got, &want, sizeof(got)) == 0, "k %ld: scale %g, not %g", k, (double)got,
            (double)want);
    require(memcmp(q, expected, (size_t)k) == 0, "k %ld: bytes", k);
    for (long i = 0; i < k; i++) {
        require(q[i] >= -127, "q is -128");
        if (kind == INPUT_RANDOM && !specials)
            require(fabs((double)q[i] * (double)got - (double)w[i]) <= 0.50001 * (double)got,
                    "%g became %d of %g", (double)w[i], q[i], (double)got);
    }
    if (kind == INPUT_ZERO && specials < 2)
        require(got == 0.0f, "the scale of zeros is %g", (double)got);
    guard_free(w);
    guard_free(q);
    guard_free(expected);
}

START_TEST(quantised_weights_are_exact)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (int d = 0; d < DEPTHS; d++)
        for (int kind = 0; kind < INPUT_KINDS; kind++)
            for (int specials = 0; specials < 3; specials++)
                check_quantise_weights(&table, depths[d], kind, specials);
}
END_TEST

/* What a half of these bits is, by the format's definition. */
static double half_value(uint16_t bits)
{
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 0x3ff;
    const double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return exponent ? sign * ldexp(1024 + fraction, exponent - 25) : sign * ldexp(fraction, -24);
}

/* All 65536 of them, converted in pieces of every length. */
START_TEST(halves_are_exact)
{
    enum { ALL = 65536 };
    struct kern_table table;
    struct kern_table specification;
    kern_table_init(&specification, KERN_SCALAR);
    if (!level_table(&table, _i))
        return;
    uint16_t *in = GUARDED(uint16_t, ALL, GUARD_AFTER);
    float *f16 = GUARDED(float, ALL, GUARD_AFTER);
    float *bf16 = GUARDED(float, ALL, GUARD_AFTER);
    float *expected = GUARDED(float, ALL, GUARD_AFTER);
    for (int i = 0; i < ALL; i++)
        in[i] = (uint16_t)i;
    for (long at = 0, length = 1; at < ALL; at += length, length = length % 41 + 1) {
        length = length < ALL - at ? length : ALL - at;
        table.f16_to_f32(f16 + at, in + at, length);
        table.bf16_to_f32(bf16 + at, in + at, length);
    }
    specification.f16_to_f32(expected, in, ALL);
    require(memcmp(f16, expected, ALL * sizeof(float)) == 0, "f16 differs");
    for (int i = 0; i < ALL; i++) {
        uint32_t bits;
        memcpy(&bits, &bf16[i], sizeof(bits));
        require(bits == (uint32_t)i << 16, "bf16 %04x is %08x", (unsigned)i, bits);
        const double value = half_value((uint16_t)i);
        require(isnan(value) ? isnan(f16[i])
                             : (double)f16[i] == value && !signbit(f16[i]) == !signbit(value),
                "f16 %04x is %g", (unsigned)i, (double)f16[i]);
    }
    guard_free(in);
    guard_free(f16);
    guard_free(bf16);
    guard_free(expected);
}
END_TEST

START_TEST(s8_is_exact)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    for (long n = 1; n < 70; n++) {
        int8_t *in = GUARDED(int8_t, n, GUARD_AFTER);
        float *out = GUARDED(float, n, GUARD_AFTER);
        for (long i = 0; i < n; i++)
            in[i] = (int8_t)(i * 37 - 128);
        table.s8_to_f32(out, in, 0.0123f, n);
        for (long i = 0; i < n; i++)
            require(out[i] == 0.0123f * (float)in[i], "%d is %g", in[i], (double)out[i]);
        guard_free(in);
        guard_free(out);
    }
}
END_TEST

static void add(TCase *tests)
{
    add_level_test(tests, panels_are_exact);
    add_level_test(tests, quantised_weights_are_exact);
    add_level_test(tests, halves_are_exact);
    add_level_test(tests, s8_is_exact);
}

int main(void)
{
    return run_kernel_tests("pack", add);
}
