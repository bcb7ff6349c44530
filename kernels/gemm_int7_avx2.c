/* gemm_int7_avx2.c: the INT7 product with AVX2.
 *
 * A tile is 4 rows by 1 panel. vpmaddubsw adds two products in 16 bits; two such sums, of neighbouring quads of k, are
 * added in 16 bits too before they are widened to 32, which limited weights allow. At the end of a block of k its sum,
 * still an exact integer, becomes a float.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_walk.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A panel is two vectors of 8 columns. Four k of 16 columns fill a line: a quad. */
enum { LANES = 8, HALVES = KERN_PANEL / LANES, QUAD = 4, PAIR = 2 * QUAD };
enum { ROWS = 4, STEP = 2 * PAIR };

ALWAYS_INLINE __m256i broadcast_quad(const char *from)
{
    int32_t quad;
    memcpy(&quad, from, sizeof quad);
    return _mm256_set1_epi32(quad);
}

ALWAYS_INLINE __m256i load(const void *from, int vector)
{
    return _mm256_loadu_si256((const __m256i *)from + vector);
}

/* sum += first * weights + second * next_weights. Written in assembly because gcc 12 reorders the intrinsics until it
 * runs out of registers. */
ALWAYS_INLINE __m256i multiply_add(__m256i sum, __m256i first, __m256i weights, __m256i second,
                                   __m256i next_weights, __m256i ones)
{
    __m256i pairs, next;
    __asm__("vpmaddubsw %[weights], %[first], %[pairs]\n\t"
            "vpmaddubsw %[next_weights], %[second], %[next]\n\t"
            "vpaddw %[next], %[pairs], %[pairs]\n\t"
            "vpmaddwd %[ones], %[pairs], %[pairs]\n\t"
            "vpaddd %[pairs], %[sum], %[sum]"
            : [sum] "+x"(sum), [pairs] "=&x"(pairs), [next] "=&x"(next)
            : [first] "x"(first), [weights] "x"(weights), [second] "x"(second),
              [next_weights] "x"(next_weights), [ones] "x"(ones));
    return sum;
}

/* Two neighbouring quads of k. */
ALWAYS_INLINE void add_pair(__m256i sum[ROWS][HALVES], const char *x, long x_pitch, const char *w,
                            const int rows)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i left = load(w, 0), right = load(w, 1);
    const __m256i next_left = load(w, 2), next_right = load(w, 3);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        const __m256i first = broadcast_quad(x + i * x_pitch);
        const __m256i second = broadcast_quad(x + i * x_pitch + QUAD);
        sum[i][0] = multiply_add(sum[i][0], first, left, second, next_left, ones);
        sum[i][1] = multiply_add(sum[i][1], first, right, second, next_right, ones);
    }
}

/* real += (sum - zero * column_sum) * scale, for block b. All but the last step is exact: integers below 2^24. */
ALWAYS_INLINE void finish_block(const struct gemm_tile *tile, long b, long blocks,
                                __m256i sum[ROWS][HALVES], float real[ROWS][KERN_PANEL],
                                const int rows)
{
    const struct kern_rows *x = tile->job->x;
    const int32_t *column_sum = tile->job->w->column_sum + (tile->panel * blocks + b) * KERN_PANEL;
    const __m256 columns[HALVES] = {_mm256_cvtepi32_ps(load(column_sum, 0)),
                                    _mm256_cvtepi32_ps(load(column_sum, 1))};
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        const long at = (tile->row + i) * x->scale_stride + b;
        const __m256 zero = _mm256_cvtepi32_ps(_mm256_set1_epi32(x->zero[at]));
        const __m256 scale = _mm256_broadcast_ss(x->scale + at);
        GEMM_UNROLL
        for (int v = 0; v < HALVES; v++) {
            float *out = real[i] + v * LANES;
            const __m256 exact = _mm256_fnmadd_ps(zero, columns[v], _mm256_cvtepi32_ps(sum[i][v]));
            _mm256_store_ps(out, _mm256_fmadd_ps(exact, scale, _mm256_load_ps(out)));
        }
    }
}

/* y = epilogue(real * w scale + bias) */
ALWAYS_INLINE void store(const struct gemm_tile *tile, float real[ROWS][KERN_PANEL], const int rows)
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
            const __m256 value = _mm256_fmadd_ps(_mm256_load_ps(real[i] + v * LANES), scale, bias);
            _mm256_storeu_ps(y + i * job->y_stride + LANES * v,
                             job->epilogue == KERN_GELU ? kern_gelu8(value) : value);
        }
    }
}

ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows)
{
    const char *x = tile->x, *w = tile->w, *ahead = tile->ahead;
    const long blocks = kern_int7_blocks(tile->depth);
    _Alignas(32) float real[ROWS][KERN_PANEL] = {{0}};

    for (long b = 0; b < blocks; b++) {
        const long end = gemm_min(tile->depth, (b + 1) * KERN_INT7_BLOCK);
        __m256i sum[ROWS][HALVES];
        GEMM_UNROLL
        for (int i = 0; i < rows; i++)
            GEMM_UNROLL
        for (int v = 0; v < HALVES; v++)
            sum[i][v] = _mm256_setzero_si256();
        for (long k = b * KERN_INT7_BLOCK; k < end; k += STEP) {
            for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
                _mm_prefetch(ahead, _MM_HINT_T1);
            add_pair(sum, x + k, tile->x_pitch, w + k * KERN_PANEL, rows);
            add_pair(sum, x + k + PAIR, tile->x_pitch, w + (k + PAIR) * KERN_PANEL, rows);
        }
        finish_block(tile, b, blocks, sum, real, rows);
    }
    store(tile, real, rows);
}

#define TILE(rows)                                                                                 \
    static void tile_##rows(const struct gemm_tile *tile)                                          \
    {                                                                                              \
        multiply_tile(tile, rows);                                                                 \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)

static const struct gemm_plan plan = {
    .x_size = 1,
    .w_size = KERN_PANEL,
    .step = STEP,
    .chunk_bytes = 256 * 1024,
    .rows = ROWS,
    .panels = {0, 1, 1, 1, 1},
    .tile = {{NULL}, {NULL, tile_1, tile_2, tile_3, tile_4}},
};

void kern_gemm_int7_avx2(const struct kern_gemm *job)
{
    gemm_walk(job, &plan, job->x->q8, job->x->q8_stride, kern_round_up(job->w->k, KERN_Q8_ALIGN));
}
