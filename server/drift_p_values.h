/* drift_p_values.h: probabilities of the tests in drift_statistics.h. */
#ifndef SERVER_DRIFT_P_VALUES_H
#define SERVER_DRIFT_P_VALUES_H

#include <stddef.h>

size_t server_drift_gcd(size_t a, size_t b);

/* Probability that two samples of n and m rows from one distribution are at least as far apart as
 * steps / lcm(n, m), by Kolmogorov and Smirnov: exact up to 10,000 rows, beyond that of the
 * distribution of one sample of n m / (n + m) rows. As scipy.stats.ks_2samp, to 1e-9 of the value. */
double server_drift_ks_p(long long steps, size_t n, size_t m);

/* Probability that the largest distance between a continuous distribution function and that of n
 * rows drawn from it is over d: the two-sided distribution of one sample. */
double server_drift_kolmogorov(double n, double d);

/* Probability that a chi-squared variable with so many degrees of freedom, at least 1, is over x. */
double server_drift_chi_squared_p(double x, size_t degrees);

#endif
