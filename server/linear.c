/* linear.c: see linear.h. */
#include "server/linear.h"

#include <math.h>
#include <string.h>

bool server_cholesky(double *a, int n)
{
    int i, j, k;
    for (i = 0; i < n; i++) {
        double *row = a + (long)i * n;
        for (j = 0; j <= i; j++) {
            const double *other = a + (long)j * n;
            double sum = row[j];
            for (k = 0; k < j; k++)
                sum -= row[k] * other[k];
            if (j < i)
                row[j] = sum / other[j];
            else if (sum > 0)
                row[i] = sqrt(sum);
            else
                return false; /* NaN too */
        }
    }
    return true;
}

/* x: to the solution of L x = b, where b is zero before `first`. */
static void solve_lower(const double *l, int n, int first, double *x)
{
    int i, k;
    for (i = first; i < n; i++) {
        const double *row = l + (long)i * n;
        double sum = x[i];
        for (k = first; k < i; k++)
            sum -= row[k] * x[k];
        x[i] = sum / row[i];
    }
}

void server_cholesky_solve(const double *l, int n, double *x)
{
    int i, k;
    solve_lower(l, n, 0, x);
    for (i = n - 1; i >= 0; i--) {
        double value = x[i] / l[(long)i * n + i];
        x[i] = value;
        for (k = 0; k < i; k++)
            x[k] -= value * l[(long)i * n + k];
    }
}

void server_cholesky_invert(const double *l, int n, double *inverse)
{
    int i, j, k;
    /* row i: L^-1 e_i; its values before i are zero */
    memset(inverse, 0, (size_t)n * (size_t)n * sizeof(*inverse));
    for (i = 0; i < n; i++) {
        inverse[(long)i * n + i] = 1;
        solve_lower(l, n, i, inverse + (long)i * n);
    }
    /* (L L^T)^-1 = L^-T L^-1; entry (i, j), i <= j, reads rows i and j from j on, and replaces (i, j),
       which no later entry reads */
    for (i = 0; i < n; i++)
        for (j = i; j < n; j++) {
            const double *a = inverse + (long)i * n, *b = inverse + (long)j * n;
            double sum = 0;
            for (k = j; k < n; k++)
                sum += a[k] * b[k];
            inverse[(long)i * n + j] = sum;
        }
    for (i = 0; i < n; i++)
        for (j = 0; j < i; j++)
            inverse[(long)i * n + j] = inverse[(long)j * n + i];
}
