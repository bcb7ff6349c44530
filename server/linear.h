/* linear.h: small dense linear algebra in double precision, for the recommender's estimator. Matrices
 * are row-major (n, n). */
#ifndef SERVER_LINEAR_H
#define SERVER_LINEAR_H

#include <stdbool.h>

/* Writes the Cholesky factor L, L L^T = a, over the lower triangle of a; what stands above the
 * diagonal is neither read nor written. False where a is not positive definite. */
bool server_cholesky(double *a, int n);
/* x (n): from the right side of L L^T x = b to its solution, in place. */
void server_cholesky_solve(const double *l, int n, double *x);
/* The inverse of L L^T, whole. */
void server_cholesky_invert(const double *l, int n, double *inverse);

#endif
