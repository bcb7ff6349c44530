/* openblas.c: the float product through OpenBLAS, the yardstick and the portable level. The only
 * file that knows CBLAS.
 *
 * A panel is (16, k) float, 16 rows of the weights as they come: panels on end are W (n, k),
 * row-major. OpenBLAS packs its operands again at every call, and chooses its order of sums by the
 * shape.
 */
#include "kernels/levels.h"

#include <cblas.h>
#include <string.h>

static void product(const struct kern_gemm *job, void (*gelu)(float *x, long n))
{
    const struct kern_weights *w = job->w;
    const long rows = job->m1 - job->m0;
    const long columns = (job->p1 - job->p0) * KERN_PANEL;
    const long first = job->p0 * KERN_PANEL;
    const float *x = job->x->f32 + job->m0 * job->x->stride;
    const float *panels = (const float *)w->panels + first * w->k;
    float *y = job->y + job->m0 * job->y_stride + first;
    if (rows <= 0 || columns <= 0)
        return;

    for (long m = 0; m < rows; m++)
        memcpy(y + m * job->y_stride, w->bias + first, (size_t)columns * sizeof(float));
    if (rows == 1) /* a matrix product would pack all the weights for this one row */
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)columns, (blasint)w->k, 1.0f, panels,
                    (blasint)w->k, x, 1, 1.0f, y, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns,
                    (blasint)w->k, 1.0f, x, (blasint)job->x->stride, panels, (blasint)w->k, 1.0f, y,
                    (blasint)job->y_stride);
    if (job->epilogue == KERN_GELU) {
        for (long m = 0; m < rows; m++)
            gelu(y + m * job->y_stride, columns);
    }
}

static void gemm_gelu_scalar(const struct kern_gemm *job)
{
    product(job, kern_gelu_scalar);
}

#if defined(__x86_64__)
static void gemm_gelu_avx2(const struct kern_gemm *job)
{
    product(job, kern_gelu_avx2);
}

static void gemm_gelu_avx512(const struct kern_gemm *job)
{
    product(job, kern_gelu_avx512);
}
#elif defined(__aarch64__)
static void gemm_gelu_neon(const struct kern_gemm *job)
{
    product(job, kern_gelu_neon);
}
#endif

static void pack_f32(void *panel, const float *const rows[KERN_PANEL], long k)
{
    for (long j = 0; j < KERN_PANEL; j++) {
        float *out = (float *)panel + j * k;
        if (rows[j])
            memcpy(out, rows[j], (size_t)k * sizeof(*out));
        else
            memset(out, 0, (size_t)k * sizeof(*out));
    }
}

static size_t panel_bytes(long k)
{
    return (size_t)k * KERN_PANEL * sizeof(float);
}

void kern_overlay_openblas(struct kern_table *table)
{
    openblas_set_num_threads(1); /* threads belong to the caller */
    table->gemm[KERN_F32] = gemm_gelu_scalar;
    table->gemm[KERN_F16] = NULL; /* OpenBLAS reads floats */
    table->gemm[KERN_S8] = NULL;
#if defined(__x86_64__)
    if (table->level >= KERN_AVX512)
        table->gemm[KERN_F32] = gemm_gelu_avx512;
    else if (table->level >= KERN_AVX2)
        table->gemm[KERN_F32] = gemm_gelu_avx2;
#elif defined(__aarch64__)
    if (table->level >= KERN_NEON)
        table->gemm[KERN_F32] = gemm_gelu_neon;
#endif
    table->level = KERN_OPENBLAS;
    table->panel_group = 8; /* few, large calls: each packs its operands */
    table->pack_floats[KERN_F32] = pack_f32;
    table->panel_bytes[KERN_F32] = panel_bytes;
}
