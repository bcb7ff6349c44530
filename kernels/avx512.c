/* avx512.c: everything but the products, with AVX-512 F, BW, VL and DQ. */
#include "kernels/levels.h"
#include "kernels/math_avx512.h"

void kern_gelu_avx512(float *x, long n)
{
    long i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(x + i, kern_gelu16(_mm512_loadu_ps(x + i)));
    if (i < n) {
        const __mmask16 mask = kern_mask16(n - i);
        _mm512_mask_storeu_ps(x + i, mask, kern_gelu16(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

void kern_overlay_avx512(struct kern_table *table)
{
    table->panel_group = 2;
    table->gemm[KERN_F32] = kern_gemm_f32_avx512;
    table->gelu = kern_gelu_avx512;
}
