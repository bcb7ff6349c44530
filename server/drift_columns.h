/* drift_columns.h: which columns of predictions have drifted, and whether so many of them that all have. */
#ifndef SERVER_DRIFT_COLUMNS_H
#define SERVER_DRIFT_COLUMNS_H

#include "server/drift_statistics.h"

/* What is compared of each prediction. */
enum server_drift_column {
    SERVER_DRIFT_LABEL,
    SERVER_DRIFT_CONFIDENCE,
    SERVER_DRIFT_ENTROPY,
    SERVER_DRIFT_TOKENS,
    SERVER_DRIFT_UNKNOWN, /* share of [UNK] among the tokens */
    SERVER_DRIFT_EMBEDDING,
    SERVER_DRIFT_COLUMNS
};

/* "label", "confidence", "entropy", "tokens", "unknown", "embedding". */
const char *server_drift_column_name(enum server_drift_column column);

/* What was found of one column. */
struct server_drift_finding {
    bool present;   /* both sides have values of it */
    bool counted;   /* towards the share of drifted columns */
    bool drifted;   /* by its test's threshold */
    bool confirmed; /* and so far apart as chance hardly brings it: see p_value */
    enum server_drift_kind kind;
    enum server_drift_test test; /* that decides; of an embedding, of each of its dimensions */
    double score, threshold;     /* of an embedding: share of dimensions that drifted */
    double p_value;              /* where it drifted, else NaN; of an embedding, its least times
                                        the dimensions */
    double psi, jensen_shannon;  /* told besides; NaN of an embedding */
    double reference_mean, current_mean; /* of numbers; NaN of others */
    struct server_drift_bins bins;       /* of numbers: the two histograms */
    double cosine_distance;              /* of an embedding: between the means of both; else NaN */
    int dimensions;
};

/* What is compared: samples (features) of the columns before the embedding, in their order, and of each of
 * the embedding's dimensions. */
struct server_drift_sides {
    const struct server_drift_sample *reference, *current;
    int features;
};

/* How many columns count, and what came of these. */
struct server_drift_verdict {
    int counted, drifted, confirmed;
    bool data_drifted; /* half of those that count are confirmed */
};

/* Judges the columns (SERVER_DRIFT_COLUMNS) of which both sides have at least min_rows values, which is 1 or
 * more. labels: that the rows have, whether frequent or not. */
struct server_drift_verdict server_drift_judge(const struct server_drift_sides *sides,
                                               size_t min_rows, int labels,
                                               struct server_drift_finding *findings);
/* NaN of none. */
double server_drift_mean(struct server_drift_sample sample);

#endif
