/* levels.h: what each file of the floor adds to the table, from the specification upward. */
#ifndef KERNELS_LEVELS_H
#define KERNELS_LEVELS_H

#include "kernels/kernels.h"

static inline long kern_round_up(long n, long to)
{
    return (n + to - 1) / to * to;
}

/* Where a value of rows->bf16 stands. */
static inline uint16_t *kern_bf16_at(const struct kern_rows *rows, long row, long column)
{
    return rows->bf16 + column / KERN_BF16_ALIGN * rows->bf16_block + row * rows->bf16_stride +
           column % KERN_BF16_ALIGN;
}

/* One attention for all schemes. */
static inline void kern_set_attention(struct kern_table *table,
                                      void (*attention)(const struct kern_attention *),
                                      size_t (*scratch)(long tokens, long dim))
{
    for (int scheme = 0; scheme < KERN_SCHEMES; scheme++) {
        table->attention[scheme] = attention;
        table->attention_scratch[scheme] = scratch;
    }
}

void kern_overlay_scalar(struct kern_table *table); /* scalar.c: every entry */
/* openblas.c: the float product and its packing; the rest of the table stays as it was filled for
 * table->level. */
void kern_overlay_openblas(struct kern_table *table);

void kern_gemm_f32_scalar(const struct kern_gemm *job); /* scalar_gemm.c */
void kern_gemm_bf16_scalar(const struct kern_gemm *job);
void kern_gemm_int8_scalar(const struct kern_gemm *job);
void kern_gemm_int7_scalar(const struct kern_gemm *job);
void kern_gemm_f16_scalar(const struct kern_gemm *job);
void kern_gemm_s8_scalar(const struct kern_gemm *job);
float kern_limit_s8_scalar(int8_t *q, long k);

/* What scales a column down whose largest sum of a lane is `worst`: so far that 8 weights fit however they are rounded. */
static inline float kern_int7_factor(int worst)
{
    return (float)(KERN_INT7_LANE_MAX - 4) / (float)worst;
}
void kern_f16_to_f32_scalar(float *out, const uint16_t *in, long n);
void kern_gelu_scalar(float *x, long n);
#if defined(__aarch64__)
void kern_overlay_neon(struct kern_table *table);    /* neon.c, with the products of gemm_neon.c */
void kern_overlay_dotprod(struct kern_table *table); /* gemm_dotprod.c */
void kern_overlay_pack_neon(struct kern_table *table);
void kern_overlay_bf16_neon(struct kern_table *table); /* bf16_neon.c, with gemm_bf16_neon.c */
void kern_overlay_scan_neon(struct kern_table *table); /* scan_neon.c */

void kern_gemm_f32_neon(const struct kern_gemm *job);
void kern_gemm_int8_neon(const struct kern_gemm *job);
void kern_gemm_bf16_neon(const struct kern_gemm *job);
void kern_gelu_neon(float *x, long n);

void kern_attention_neon(const struct kern_attention *job); /* attention_neon.c */
size_t kern_attention_scratch_neon(long tokens, long dim);
#endif
#if defined(__x86_64__)
void kern_overlay_avx2(struct kern_table *table); /* avx2.c, with the products of gemm_avx2.c */
void kern_overlay_avx512(
    struct kern_table *table);                    /* avx512.c, with the products of gemm_avx512.c */
void kern_overlay_vnni(struct kern_table *table); /* gemm_vnni.c */
void kern_overlay_amx(
    struct kern_table *table); /* amx.c, with the products of amx_int8.c and amx_bf16.c */
/* amx_usable.c: whether this CPU has AMX with int8 and bf16, and the operating system lets this process use it, which is
 * asked of it here. Asking again is cheap and changes nothing; the answer holds for all threads. */
int kern_amx_usable(void);
/* amx.c: `steps` times four independent tile products of a scheme, on zeros. Returns the operations of one step, a
 * multiply-add being two; for KERN_SPLIT_BF16 those of the float product as three, a third of what is done. */
double kern_amx_chain(enum kern_scheme scheme, long steps);

void kern_gemm_f32_avx2(const struct kern_gemm *job); /* gemm_avx2.c */
void kern_gemm_f16_avx2(const struct kern_gemm *job);
void kern_gemm_s8_avx2(const struct kern_gemm *job);
void kern_gemm_int7_avx2(const struct kern_gemm *job);
void kern_gemm_f32_avx512(const struct kern_gemm *job); /* gemm_avx512.c */
void kern_gemm_f16_avx512(const struct kern_gemm *job);
void kern_gemm_s8_avx512(const struct kern_gemm *job);
void kern_gemm_int8_vnni(const struct kern_gemm *job);
void kern_gemm_int8_amx(const struct kern_gemm *job);
void kern_gemm_bf16_amx(const struct kern_gemm *job);
void kern_gemm_split_bf16_amx(const struct kern_gemm *job);
void kern_overlay_pack_amx(struct kern_table *table); /* amx_pack.c: rows and weights in bf16 */
void kern_gemm_bf16_avx2(const struct kern_gemm *job);
void kern_gemm_bf16_avx512(const struct kern_gemm *job);
void kern_gemm_bf16_dot(const struct kern_gemm *job); /* where kern_has_bf16_dot */
/* probe.c: whether the CPU has AVX-512 BF16, which the VNNI level uses where it is there. */
int kern_has_bf16_dot(void);
/* avx2.c: prepare[KERN_INT7]. */
void kern_quantise_blocks_avx2(const struct kern_table *table, struct kern_rows *rows, long width,
                               long m0, long m1);
void kern_gelu_avx2(float *x, long n);
void kern_gelu_avx512(float *x, long n);

void kern_attention_avx2(const struct kern_attention *job); /* attention_avx2.c */
size_t kern_attention_scratch_avx2(long tokens, long dim);
void kern_attention_avx512(const struct kern_attention *job); /* attention_avx512.c */
size_t kern_attention_scratch_avx512(long tokens, long dim);
void kern_overlay_attention_amx(struct kern_table *table); /* attention_amx.c */

/* bf16_avx2.c and bf16_avx512.c: rounding to bf16, packing it; with the products of gemm_bf16_*.c. */
void kern_overlay_bf16_avx2(struct kern_table *table);
void kern_overlay_bf16_avx512(struct kern_table *table);
/* Row m of rows->f32, `width` columns, to rows->bf16, and to bf16_low and bf16_last where they are set. */
void kern_round_row_avx2(struct kern_rows *rows, long m, long width);

/* pack_avx2.c and pack_avx512.c: packing, quantised weights, conversions to float. */
void kern_pack_int8_avx512(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL],
                           long k);
void kern_overlay_pack_avx2(struct kern_table *table);
void kern_overlay_pack_avx512(struct kern_table *table);

void kern_overlay_scan_avx2(struct kern_table *table); /* scan_avx2.c */
void kern_overlay_scan_avx512(struct kern_table *table);
#endif

#endif
