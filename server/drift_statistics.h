/* drift_statistics.h: how much the distribution of a value has moved between two samples.
 *
 * Pure functions of sorted numbers, without I/O and without allocation. Binning, p-values, thresholds
 * and the choice of a test are those of Evidently (0.7), so that its users find its figures here;
 * docs/drift.md has the formulas and their sources. Categories are numbers too, one for each: no test
 * depends on which. */
#ifndef SERVER_DRIFT_STATISTICS_H
#define SERVER_DRIFT_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

enum server_drift_kind {
    SERVER_DRIFT_NUMBERS,   /* any finite numbers */
    SERVER_DRIFT_INTEGERS,  /* whole numbers, whose bins are at least 1 wide */
    SERVER_DRIFT_CATEGORIES /* numbers that stand for names */
};

enum server_drift_test {
    SERVER_DRIFT_KS,             /* p-value of Kolmogorov and Smirnov's test of two samples */
    SERVER_DRIFT_CHI_SQUARED,    /* p-value of Pearson's test, the reference as expectation */
    SERVER_DRIFT_Z,              /* p-value of the test of two proportions */
    SERVER_DRIFT_WASSERSTEIN,    /* distance over the reference's standard deviation */
    SERVER_DRIFT_JENSEN_SHANNON, /* distance, in natural logarithms: 0 to 0.83 */
    SERVER_DRIFT_PSI,            /* population stability index */
    SERVER_DRIFT_TESTS
};

/* Rows of a reference up to which a p-value is asked for. Beyond, it would find significant what is
 * too small to matter, and a distance decides. */
enum { SERVER_DRIFT_SMALL = 1000 };

/* Finite numbers in rising order; count is at least 1 for everything below. */
struct server_drift_sample {
    const double *values;
    size_t count;
};

/* The test that decides by default, from the rows of the reference and the number of different values
 * in both. */
enum server_drift_test server_drift_choose(enum server_drift_kind kind,
                                           struct server_drift_sample reference,
                                           struct server_drift_sample current);

/* A test's figure: a p-value, or a distance. KS and Wasserstein want numbers, Z at most two different
 * values. */
double server_drift_score(enum server_drift_test test, enum server_drift_kind kind,
                          struct server_drift_sample reference, struct server_drift_sample current);
/* "ks", "chisquare", "z", "wasserstein", "jensenshannon", "psi". */
const char *server_drift_test_name(enum server_drift_test test);
/* Whether its score is a p-value, which is low where there is drift; a distance is high. */
bool server_drift_is_p_value(enum server_drift_test test);
/* 0.05 of p-values, 0.1 of distances. */
double server_drift_threshold(enum server_drift_test test);
/* Whether a score says that there is drift. */
bool server_drift_exceeds(enum server_drift_test test, double score);

/* How likely samples of one distribution are at least as far apart: the p-value of the test that decides
 * for small references, KS's by its distribution for many rows whatever their number. */
double server_drift_p_value(enum server_drift_kind kind, struct server_drift_sample reference,
                            struct server_drift_sample current);

/* Different values in both samples together. */
size_t server_drift_distinct(struct server_drift_sample reference,
                             struct server_drift_sample current);

/* Largest distance between the two distribution functions, 0 to 1. */
double server_drift_ks_distance(struct server_drift_sample a, struct server_drift_sample b);

enum { SERVER_DRIFT_MAX_BINS = 80 };

/* Equal bins over both samples, as many as Sturges' rule makes of them (numpy's "sturges"). */
struct server_drift_bins {
    int count;                               /* 1 to SERVER_DRIFT_MAX_BINS */
    double edges[SERVER_DRIFT_MAX_BINS + 1]; /* bin i is from edge i to under edge i + 1, which the
                                                 last one includes */
    size_t reference[SERVER_DRIFT_MAX_BINS]; /* rows in each */
    size_t current[SERVER_DRIFT_MAX_BINS];
};

void server_drift_bin(enum server_drift_kind kind, struct server_drift_sample reference,
                      struct server_drift_sample current, struct server_drift_bins *bins);

#endif
