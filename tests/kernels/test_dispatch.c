/* Levels: their names, which of them this machine has, and a whole table for each. */
#include "tests/kernels/harness.h"

START_TEST(names_round_trip)
{
    for (int level = 0; level < KERN_LEVELS; level++) {
        const char *name = kern_level_name((enum kern_level)level);
        ck_assert_ptr_nonnull(name);
        ck_assert_int_eq(kern_level_from_name(name), level);
        for (const char *c = name; *c; c++)
            ck_assert((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9'));
    }
    ck_assert_ptr_null(kern_level_name(KERN_LEVELS));
    ck_assert_ptr_null(kern_level_name((enum kern_level)100));
}
END_TEST

START_TEST(unknown_names)
{
    static const char *const names[] = {"", "AVX2", "avx", "avx2 ", "vnni512", "best"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        ck_assert_int_eq(kern_level_from_name(names[i]), KERN_LEVELS);
    ck_assert_int_eq(kern_level_from_name(NULL), KERN_LEVELS);
}
END_TEST

START_TEST(available_up_to_the_best)
{
    const enum kern_level best = kern_best_level();
    ck_assert_int_ge(best, KERN_OPENBLAS);
    for (int level = 0; level < KERN_LEVELS; level++)
        ck_assert_int_eq(kern_level_available((enum kern_level)level),
                         kern_level_native((enum kern_level)level) && level <= (int)best);
    ck_assert(kern_level_native(best));
    ck_assert(kern_level_native(KERN_SCALAR) && kern_level_native(KERN_OPENBLAS));
    ck_assert(!kern_level_native(KERN_NEON) || !kern_level_native(KERN_AVX2));
    ck_assert(!kern_level_native(KERN_LEVELS));
    ck_assert(!kern_level_available(KERN_LEVELS));
    ck_assert(!kern_level_available((enum kern_level)100));
#if defined(__x86_64__) && defined(__GNUC__) && !defined(KERN_EMULATED)
    /* The compiler's own probe, which looks at the operating system too. */
    const int vnni = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    ck_assert_int_eq(kern_level_available(KERN_VNNI), vnni);
    ck_assert_int_eq(kern_level_available(KERN_AVX2),
                     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
#endif
}
END_TEST

START_TEST(table_is_whole)
{
    struct kern_table table;
    if (!level_table(&table, _i))
        return;
    ck_assert_int_eq(table.level, _i);
    ck_assert_str_eq(table.name, kern_level_name((enum kern_level)_i));
    ck_assert(kern_is_quantised(table.fast_int8) && table.gemm[table.fast_int8]);
    ck_assert_int_ge(table.panel_group, 1);
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++) {
        if (scheme != KERN_F32 && scheme != KERN_BF16 && !table.gemm[scheme])
            continue;
        ck_assert(table.gemm[scheme] && table.panel_bytes[scheme]);
        const int reads_floats = scheme == KERN_F32 || scheme == KERN_F16 || scheme == KERN_S8;
        ck_assert((table.prepare[scheme] == NULL) == reads_floats);
        if (scheme == KERN_F16)
            ck_assert(table.pack_f16 != NULL);
        else if (kern_is_quantised((enum kern_scheme)scheme) || scheme == KERN_S8)
            ck_assert(table.pack_s8[scheme] != NULL);
        else
            ck_assert(table.pack_floats[scheme] != NULL);
        ck_assert(reads_floats || (table.attention[scheme] && table.attention_scratch[scheme]));
    }
    ck_assert(table.form[KERN_F32] == KERN_FLOATS && table.form[KERN_SPLIT_BF16] == KERN_FLOATS);
    ck_assert(table.add_norm && table.query_group > 0);
    ck_assert(table.gelu && table.limit_s8 && table.quantise_weights);
    ck_assert(table.f16_to_f32 && table.bf16_to_f32 && table.s8_to_f32);
}
END_TEST

/* The OpenBLAS level differs from the machine's best in the float product alone. */
START_TEST(openblas_is_the_best_with_one_product_changed)
{
    struct kern_table openblas;
    struct kern_table best;
    kern_table_init(&openblas, KERN_OPENBLAS);
    kern_table_init(&best, kern_best_level());
    ck_assert_int_eq(openblas.fast_int8, best.fast_int8);
    ck_assert(openblas.gemm[KERN_INT8] == best.gemm[KERN_INT8]);
    ck_assert(openblas.gemm[KERN_INT7] == best.gemm[KERN_INT7]);
    ck_assert(openblas.gemm[KERN_BF16] == best.gemm[KERN_BF16]);
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++)
        ck_assert(openblas.attention[scheme] == best.attention[scheme]);
    ck_assert(openblas.gemm[KERN_F32] != best.gemm[KERN_F32] || best.level == KERN_OPENBLAS);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, names_round_trip);
    tcase_add_test(tests, unknown_names);
    tcase_add_test(tests, available_up_to_the_best);
    add_level_test(tests, table_is_whole);
    tcase_add_test(tests, openblas_is_the_best_with_one_product_changed);
}

int main(void)
{
    return run_kernel_tests("dispatch", add);
}
