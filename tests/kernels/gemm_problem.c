/* gemm_problem.c: see gemm_problem.h. */
#include "tests/kernels/gemm_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void problem_init(struct problem *p, struct random *random, long m, long n, long k, enum input kind)
{
    *p = (struct problem){.m = m, .n = n, .k = k, .x_stride = k + m % 3};
    p->y_stride = round_up(n, KERN_PANEL) + k % 2;
    p->x = GUARDED(float, (m - 1) * p->x_stride + k, GUARD_AFTER);
    p->bias = GUARDED(float, n, GUARD_AFTER);
    p->y = GUARDED(float, (m - 1) * p->y_stride + round_up(n, KERN_PANEL), GUARD_AFTER);
    for (long i = 0; i < m; i++)
        random_fill(random, p->x + i * p->x_stride, k, kind);
    random_fill(random, p->bias, n, kind);
}

void problem_free(struct problem *p)
{
    guard_free(p->x);
    guard_free(p->bias);
    guard_free(p->y);
}

struct kern_gemm whole_job(const struct problem *p, const struct kern_rows *x,
                           const struct kern_weights *w)
{
    return (struct kern_gemm){.x = x,
                              .w = w,
                              .y = p->y,
                              .y_stride = p->y_stride,
                              .m1 = p->m,
                              .p1 = round_up(p->n, KERN_PANEL) / KERN_PANEL};
}

float *copy_output(const struct problem *p)
{
    const long padded = round_up(p->n, KERN_PANEL);
    float *copy = calloc((size_t)(p->m * padded), sizeof(*copy));
    require(copy != NULL, "no memory");
    for (long i = 0; i < p->m; i++)
        memcpy(copy + i * padded, p->y + i * p->y_stride, (size_t)padded * sizeof(*copy));
    return copy;
}

void check_gelu(const struct problem *p, const float *plain)
{
    const long padded = round_up(p->n, KERN_PANEL);
    for (long i = 0; i < p->m; i++) {
        for (long j = 0; j < padded; j++) {
            const double x = plain[i * padded + j];
            const double y = p->y[i * p->y_stride + j];
            if (!isfinite(x))
                continue;
            require(fabs(y - gelu_exact(x)) <= 5e-7, "gelu(%.9g) is %.9g", x, y);
        }
    }
}

void check_parts(const struct kern_table *table, const struct problem *p,
                 const struct kern_gemm *whole, const float *expected)
{
    const long padded = round_up(p->n, KERN_PANEL);
    const long panels = padded / KERN_PANEL;
    const enum kern_scheme scheme = whole->w->scheme;
    const struct {
        long m0, m1, p0, p1;
    } parts[] = {
        {p->m - 1, p->m, 0, panels},   {0, p->m, panels - 1, panels},  {p->m / 3, p->m, 0, panels},
        {0, p->m, panels / 2, panels}, {p->m / 2, p->m / 2 + 1, 0, 1}, {0, 0, 0, panels},
    };
    for (long part = 0; part < COUNT(parts); part++) {
        struct kern_gemm job = *whole;
        job.m0 = parts[part].m0;
        job.m1 = parts[part].m1;
        job.p0 = parts[part].p0;
        job.p1 = parts[part].p1;
        for (long i = 0; i < p->m; i++)
            memset(p->y + i * p->y_stride, 0xC3, (size_t)padded * sizeof(float));
        table->gemm[scheme](&job);
        for (long i = 0; i < p->m; i++) {
            for (long j = 0; j < padded; j++) {
                const int inside = i >= job.m0 && i < job.m1 && j >= job.p0 * KERN_PANEL &&
                                   j < job.p1 * KERN_PANEL;
                uint32_t got, want;
                memcpy(&got, &p->y[i * p->y_stride + j], sizeof(got));
                memcpy(&want, &expected[i * padded + j], sizeof(want));
                require(got == (inside ? want : 0xC3C3C3C3u),
                        "rows %ld-%ld of %ld, panels %ld-%ld of %ld, k %ld: bits of (%ld, "
                        "%ld) are %08x, not %08x",
                        job.m0, job.m1, p->m, job.p0, job.p1, panels, p->k, i, j, got, want);
            }
        }
    }
}
