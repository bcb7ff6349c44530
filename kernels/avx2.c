/* avx2.c: everything but the products, with AVX2, FMA and F16C. */
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

void kern_gelu_avx2(float *x, long n)
{
    long i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, kern_gelu8(_mm256_loadu_ps(x + i)));
    if (i < n) {
        const __m256i mask = kern_mask8(n - i);
        _mm256_maskstore_ps(x + i, mask, kern_gelu8(_mm256_maskload_ps(x + i, mask)));
    }
}

void kern_overlay_avx2(struct kern_table *table)
{
    table->q8_max = 127; /* pairs of u8 * s8 are summed in 16 bits */
    table->panel_group = 2;
    table->gemm[KERN_F32] = kern_gemm_f32_avx2;
    table->gemm[KERN_INT8] = kern_gemm_int8_avx2;
    table->gelu = kern_gelu_avx2;
}
