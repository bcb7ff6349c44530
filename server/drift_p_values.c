/* drift_p_values.c: see drift_p_values.h. */
#include "server/drift_p_values.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Rows of the larger sample up to which the test of two samples is computed exactly. */
enum { EXACT_ROWS = 10000 };

size_t server_drift_gcd(size_t a, size_t b)
{
    while (b > 0) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Of n!, also where n is no whole number. */
static double log_factorial(double n)
{
    int sign; /* lgamma would write it to a global */
    return lgamma_r(n + 1, &sign);
}

/* ---- two samples ---- */

/* Of samples of the same size: paths of n steps up and n to the side that get h away from the
 * diagonal, by reflections. 2 (C(2n, n - h) - C(2n, n - 2h) + ...) / C(2n, n), from the inside out. */
static double equal_sizes(long n, long h)
{
    double outside = 0;
    for (long k = n / h; k >= 0; k--) {
        double ratio = 1;
        for (long j = 0; j < h; j++)
            ratio = (double)(n - k * h - j) * ratio / (double)(n + k * h + j + 1);
        outside = ratio * (1 - outside);
    }
    return 2 * outside;
}

/* Of samples of m >= n rows: the share of the paths from (0, 0) to (m, n) that touch a point where
 * |x up - y along| >= h. A path to (x, y) came from its left with probability x / (x + y), else from
 * below. touched[y] is the probability for the column reached, and 1 for what lies outside. */
static double unequal_sizes(long m, long n, long up, long along, long h)
{
    double touched[EXACT_ROWS + 1];
    long last_high = 0;
    for (long y = 0; y <= n; y++)
        touched[y] = y * along < h ? 0 : 1;
    while (last_high < n && (last_high + 1) * along < h)
        last_high++;
    for (long x = 1, low = 0; x <= m; x++) {
        long high = last_high;
        while (low <= n && x * up - low * along >= h)
            touched[low++] = 1;
        while (high < n && (high + 1) * along - x * up < h)
            high++;
        if (low > high)
            return 1;
        for (long y = low; y <= high; y++) {
            double below = y > 0 ? touched[y - 1] : 0;
            touched[y] = ((double)x * touched[y] + (double)y * below) / (double)(x + y);
        }
        last_high = high;
    }
    return touched[n];
}

double server_drift_ks_p(long long steps, size_t n, size_t m)
{
    size_t large = n > m ? n : m, small = n > m ? m : n, divisor = server_drift_gcd(n, m);
    double p;
    if (steps == 0)
        return 1;
    if (large > EXACT_ROWS) {
        double common = (double)large / (double)divisor * (double)small;
        double rows = (double)large * (double)small / ((double)large + (double)small);
        return server_drift_kolmogorov(rint(rows), (double)steps / common);
    }
    if (n == m)
        p = equal_sizes((long)n, (long)steps);
    else
        p = unequal_sizes((long)large, (long)small, (long)(small / divisor),
                          (long)(large / divisor), (long)steps);
    return fmin(fmax(p, 0), 1);
}

/* ---- one sample ---- */

/* The one-sided probability, as Smirnov's sum of positive terms. */
static double smirnov(double n, double d)
{
    double sum = exp(n * log1p(-d)), all = log_factorial(n);
    for (long i = 1; (double)i < n * (1 - d); i++) {
        double j = (double)i, rest = 1 - d - j / n;
        if (rest > 0)
            sum += d * exp(all - log_factorial(j) - log_factorial(n - j) +
                           (j - 1) * log(d + j / n) + (n - j) * log(rest));
    }
    return sum;
}

/* Steps n d up to which Durbin's matrix is used, of 2 * that - 1 rows. */
enum { MAX_STEPS = 24, MAX_ROWS = 2 * MAX_STEPS - 1 };

/* Fills the matrix h (rows, rows) that Marsaglia, Tsang and Wang describe (J. Stat. Softw. 8(18),
 * 2003), rows = 2k - 1, where the distance is k - rest steps. */
static void durbin_matrix(double h[MAX_ROWS][MAX_ROWS], int rows, double rest)
{
    double factorial[MAX_ROWS + 2] = {1};
    for (int i = 1; i <= rows + 1; i++)
        factorial[i] = factorial[i - 1] * i;
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < rows; j++) {
            double value = i - j + 1 >= 0 ? 1 : 0;
            if (j == 0)
                value -= pow(rest, i + 1);
            if (i == rows - 1)
                value -= pow(rest, rows - j);
            if (i == rows - 1 && j == 0 && 2 * rest > 1)
                value += pow(2 * rest - 1, rows);
            h[i][j] = i - j + 1 > 0 ? value / factorial[i - j + 1] : value;
        }
    }
}

/* Probability of at most d: n! / n^n times the middle of the matrix to the power of n. */
static double durbin(double n, double d)
{
    double h[MAX_ROWS][MAX_ROWS], row[MAX_ROWS] = {0}, next[MAX_ROWS];
    int k = (int)(n * d) + 1, rows = 2 * k - 1;
    durbin_matrix(h, rows, k - n * d);
    row[k - 1] = 1;
    for (long i = 0; (double)i < n; i++) {
        for (int to = 0; to < rows; to++) {
            double sum = 0;
            for (int from = 0; from < rows; from++)
                sum += row[from] * h[from][to];
            next[to] =
                sum / 2.718281828459045; /* n! / n^n falls like this, which keeps it in range */
        }
        memcpy(row, next, sizeof(row));
    }
    return row[k - 1] * exp(log_factorial(n) - n * log(n) + n);
}

/* Probability of at most d for many rows: the expansion of Pelz and Good (J. R. Stat. Soc. B 38,
 * 1976), as Simard and L'Ecuyer write it (J. Stat. Softw. 39(11), 2011). */
static double pelz_good(double n, double d)
{
    const double pi = 3.14159265358979323846;
    double z = sqrt(n) * d, z2 = z * z, z4 = z2 * z2, z6 = z4 * z2, z8 = z4 * z4;
    double half[4] = {0}, whole[2] = {0}, root = sqrt(pi / 2), k0, k1, k2, k3;
    for (int k = 30; k >= 0; k--) {
        double a = pi * pi * (k + 0.5) * (k + 0.5), b = pi * pi * k * k;
        double e = 2 * exp(-a / (2 * z2)), f = 2 * exp(-b / (2 * z2));
        half[0] += e;
        half[1] += (a - z2) * e;
        half[2] += (6 * z6 + 2 * z4 + a * (2 * z4 - 5 * z2) + a * a * (1 - 2 * z2)) * e;
        half[3] += (a * a * a * (5 - 30 * z2) + a * a * (212 * z4 - 60 * z2) +
                    a * (135 * z4 - 96 * z6) - 30 * z6 - 90 * z8) *
                   e;
        whole[0] += b * f;
        whole[1] += (3 * b * z2 - b * b) * f;
    }
    k0 = 2 * root / z * half[0] / 2;
    k1 = root / (6 * z4) * half[1];
    k2 = root / (72 * z4 * z2 * z) * half[2] - root / (36 * z2 * z) * whole[0];
    k3 = root / (6480 * z8 * z2) * half[3] + root / (216 * z6) * whole[1];
    return k0 + k1 / sqrt(n) + k2 / n + k3 / (n * sqrt(n));
}

double server_drift_kolmogorov(double n, double d)
{
    double t = n * d, z2 = t * d, p;
    if (t <= 0.5 || z2 < 0.0324) /* less is as good as never seen */
        return 1;
    if (d >= 1 || z2 >= 370)
        return 0;
    if (d >= 0.5 || z2 >= 4 || (n > 140 && z2 >= 2.2))
        p = 2 * smirnov(n, d); /* both sides at once are beyond what a double shows */
    else if (t < MAX_STEPS && (n <= 140 || n * d * sqrt(d) <= 1.4))
        p = 1 - durbin(n, d); /* exact; scipy too goes over to the expansion here, for speed */
    else
        p = 1 - pelz_good(n, d);
    return fmin(fmax(p, 0), 1);
}

/* ---- chi-squared ---- */

/* The upper incomplete gamma function of half the degrees, as its finite sum: of powers of x / 2 over
 * factorials, which for odd degrees are those of halves. */
double server_drift_chi_squared_p(double x, size_t degrees)
{
    double half = x / 2, odd = degrees % 2 ? 0.5 : 0, sum = odd > 0 ? erfc(sqrt(half)) : 0;
    if (!(half > 0))
        return 1;
    for (size_t i = 0; i < degrees / 2; i++) {
        double power = (double)i + odd;
        sum += exp(power * log(half) - half - log_factorial(power));
    }
    return fmin(sum, 1);
}
