/* gemm_int7_avx2.c: the INT7 product with AVX2.
 *
 * A tile is 4 rows by 1 panel. vpmaddubsw adds two products in 16 bits; four such sums, of neighbouring quads of k, are
 * added in 16 bits too before they are widened to 32, which limited weights allow. So one multiplication in five goes into
 * widening. The sums in 32 bits stay in memory, since those in 16 take the registers. At the end of a block of k a sum, still
 * an exact integer, becomes a float.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

/* A panel is two vectors of 8 columns. Four k of 16 columns fill a line: a quad. */
enum { LANES = 8, HALVES = KERN_PANEL / LANES };
enum { ROWS = 4, RUN = 8 };

ALWAYS_INLINE __m256i load(const void *from, int vector)
{
    return _mm256_loadu_si256((const __m256i *)from + vector);
}

/* The loop over the groups of a block, in assembly: gcc 12 would keep neither the sums in 16 bits nor the addresses in
 * registers. ymm8 and ymm9 hold the weights of a quad, ymm0 to ymm7 what its group adds up to, two for each row. */
#define WEIGHTS(at) "vmovdqu " at "(%[w]), %%ymm8\n\tvmovdqu 32+" at "(%[w]), %%ymm9\n\t"
#define FIRST(row, at, low, high)                                                                  \
    "vpbroadcastd " at "(%[x" row "], %[k]), %%ymm10\n\t"                                          \
    "vpmaddubsw %%ymm8, %%ymm10, %%ymm" low "\n\t"                                                 \
    "vpmaddubsw %%ymm9, %%ymm10, %%ymm" high "\n\t"
#define NEXT(row, at, low, high)                                                                   \
    "vpbroadcastd " at "(%[x" row "], %[k]), %%ymm10\n\t"                                          \
    "vpmaddubsw %%ymm8, %%ymm10, %%ymm11\n\t"                                                      \
    "vpmaddubsw %%ymm9, %%ymm10, %%ymm10\n\t"                                                      \
    "vpaddw %%ymm11, %%ymm" low ", %%ymm" low "\n\t"                                               \
    "vpaddw %%ymm10, %%ymm" high ", %%ymm" high "\n\t"
#define KEEP(at, sums)                                                                             \
    "vpmaddwd %[ones], %%ymm" sums ", %%ymm" sums "\n\t"                                           \
    "vmovdqa %%ymm" sums ", " at "(%[sum])\n\t"
#define ADD(at, sums)                                                                              \
    "vpmaddwd %[ones], %%ymm" sums ", %%ymm" sums "\n\t"                                           \
    "vpaddd " at "(%[sum]), %%ymm" sums ", %%ymm" sums "\n\t"                                      \
    "vmovdqa %%ymm" sums ", " at "(%[sum])\n\t"

#define ROWS_1(MULTIPLY, at) MULTIPLY("0", at, "0", "1")
#define ROWS_2(MULTIPLY, at) ROWS_1(MULTIPLY, at) MULTIPLY("1", at, "2", "3")
#define ROWS_3(MULTIPLY, at) ROWS_2(MULTIPLY, at) MULTIPLY("2", at, "4", "5")
#define ROWS_4(MULTIPLY, at) ROWS_3(MULTIPLY, at) MULTIPLY("3", at, "6", "7")
#define WIDEN_1(TO) TO("0", "0") TO("32", "1")
#define WIDEN_2(TO) WIDEN_1(TO) TO("64", "2") TO("96", "3")
#define WIDEN_3(TO) WIDEN_2(TO) TO("128", "4") TO("160", "5")
#define WIDEN_4(TO) WIDEN_3(TO) TO("192", "6") TO("224", "7")
/* clang-format off */
#define GROUP(rows, TO) \
    WEIGHTS("0") ROWS_##rows(FIRST, "0") \
    WEIGHTS("64") ROWS_##rows(NEXT, "4") \
    WEIGHTS("128") ROWS_##rows(NEXT, "8") \
    WEIGHTS("192") ROWS_##rows(NEXT, "12") \
    WIDEN_##rows(TO) \
    "add $256, %[w]\n\t" \
    "add $16, %[k]\n\t"
/* clang-format on */

/* In two statements, since compilers need not take strings as long as both. */
#define ASSEMBLE(text)                                                                             \
    __asm__ volatile(text                                                                          \
                     : [k] "+r"(k), [w] "+r"(w)                                                    \
                     : [x0] "r"(x), [x1] "r"(x1), [x2] "r"(x2), [x3] "r"(x3), [sum] "r"(sum),      \
                       [depth] "r"(depth), [ones] "x"(_mm256_set1_epi16(1))                        \
                     : "memory", "cc", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6",     \
                       "ymm7", "ymm8", "ymm9", "ymm10", "ymm11")

/* sum (rows, HALVES) = the products of `depth` neighbouring k, two groups or more; x: the rows' activations at them. */
#define MULTIPLY_BLOCK(rows)                                                                       \
    ALWAYS_INLINE void multiply_block_##rows(__m256i sum[][HALVES], const char *x, long x_pitch,   \
                                             const char *w, long depth)                            \
    {                                                                                              \
        const char *const x1 = x + (rows > 1 ? x_pitch : 0);                                       \
        const char *const x2 = x + (rows > 2 ? 2 * x_pitch : 0);                                   \
        const char *const x3 = x + (rows > 3 ? 3 * x_pitch : 0);                                   \
        long k = 0;                                                                                \
        ASSEMBLE(GROUP(rows, KEEP));                                                               \
        ASSEMBLE("1:\n\t" GROUP(rows, ADD) "cmp %[depth], %[k]\n\tjl 1b");                         \
    }

/* real += (sum - zero * column_sum) * scale, for blocks b0..b1. All but the last step is exact: integers below 2^24. */
ALWAYS_INLINE void finish_blocks(const struct gemm_tile *tile, long b0, long b1, long blocks,
                                 __m256i sum[RUN][ROWS][HALVES], __m256 real[ROWS][HALVES],
                                 const int rows)
{
    const struct kern_rows *x = tile->job->x;
    const int32_t *column_sum = tile->job->w->column_sum + tile->panel * blocks * KERN_PANEL;
    const float *scale = x->scale + tile->row * x->scale_stride;
    const int32_t *zero = x->zero + tile->row * x->scale_stride;
    for (long b = b0; b < b1; b++) {
        const __m256 columns[HALVES] = {
            _mm256_cvtepi32_ps(load(column_sum + b * KERN_PANEL, 0)),
            _mm256_cvtepi32_ps(load(column_sum + b * KERN_PANEL, 1)),
        };
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            const long at = i * x->scale_stride + b;
            const __m256 row_zero = _mm256_cvtepi32_ps(_mm256_set1_epi32(zero[at]));
            const __m256 row_scale = _mm256_broadcast_ss(scale + at);
            GEMM_UNROLL
            for (int v = 0; v < HALVES; v++) {
                const __m256 whole = _mm256_cvtepi32_ps(sum[b - b0][i][v]);
                const __m256 exact = _mm256_fnmadd_ps(row_zero, columns[v], whole);
                real[i][v] = _mm256_fmadd_ps(exact, row_scale, real[i][v]);
            }
        }
    }
}

/* y = epilogue(real * w scale + bias) */
ALWAYS_INLINE void store(const struct gemm_tile *tile, __m256 real[ROWS][HALVES], const int rows)
{
    const struct kern_gemm *job = tile->job;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;
    GEMM_UNROLL
    for (int v = 0; v < HALVES; v++) {
        const long column = tile->panel * KERN_PANEL + v * LANES;
        const __m256 scale = _mm256_loadu_ps(job->w->scale + column);
        const __m256 bias = _mm256_loadu_ps(job->w->bias + column);
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            const __m256 value = _mm256_fmadd_ps(real[i][v], scale, bias);
            _mm256_storeu_ps(y + i * job->y_stride + LANES * v,
                             job->epilogue == KERN_GELU ? kern_gelu8(value) : value);
        }
    }
}

typedef void multiply_block_fn(__m256i sum[][HALVES], const char *x, long x_pitch, const char *w,
                               long depth);

/* A run of blocks at a time, whose sums become floats together. */
ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows,
                                 multiply_block_fn *multiply_block)
{
    const char *ahead = tile->ahead;
    const long blocks = kern_int7_blocks(tile->depth);
    __m256i sum[RUN][ROWS][HALVES];
    __m256 real[ROWS][HALVES];

    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        real[i][0] = real[i][1] = _mm256_setzero_ps();
    for (long b0 = 0; b0 < blocks; b0 += RUN) {
        const long b1 = gemm_min(b0 + RUN, blocks);
        for (long b = b0; b < b1; b++) {
            const long k = b * KERN_INT7_BLOCK;
            for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
                _mm_prefetch(ahead, _MM_HINT_T1);
            multiply_block(sum[b - b0], tile->x + k, tile->x_pitch, tile->w + k * KERN_PANEL,
                           gemm_min(tile->depth - k, KERN_INT7_BLOCK));
        }
        finish_blocks(tile, b0, b1, blocks, sum, real, rows);
    }
    store(tile, real, rows);
}

#define TILE(rows)                                                                                 \
    MULTIPLY_BLOCK(rows)                                                                           \
    static void tile_##rows(const struct gemm_tile *tile)                                          \
    {                                                                                              \
        multiply_tile(tile, rows, multiply_block_##rows);                                          \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)

static const struct gemm_plan plan = {
    .x_size = 1,
    .w_size = KERN_PANEL,
    .step = KERN_INT7_BLOCK,
    .chunk_bytes = 256 * 1024,
    .rows = ROWS,
    .panels = {0, 1, 1, 1, 1},
    .tile = {{NULL}, {NULL, tile_1, tile_2, tile_3, tile_4}},
};

void kern_gemm_int7_avx2(const struct kern_gemm *job)
{
    gemm_walk(job, &plan, job->x->q8, job->x->q8_stride, kern_round_up(job->w->k, KERN_Q8_ALIGN));
}
