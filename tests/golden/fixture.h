/* fixture.h: the answers of `transformers` that tests/golden/make_parity.py records. */
#ifndef GOLDEN_FIXTURE_H
#define GOLDEN_FIXTURE_H

#include <stdint.h>

struct fixture {
    int texts, labels, hidden;
    int row_count;
    int32_t *ids;     /* of all texts, one after another */
    int32_t *offsets; /* (texts + 1): text i is ids[offsets[i]..offsets[i+1]) */
    float *logits;    /* (texts, labels) */
    int32_t *rows;    /* (row_count) tokens whose hidden state is recorded, ascending */
    float *states;    /* (row_count, hidden) */
};

/* Reads a fixture; 0 and a line on stderr where it cannot. */
int fixture_open(struct fixture *fixture, const char *path);
void fixture_close(struct fixture *fixture);

/* The whole file with a NUL after it, to be freed; NULL where it cannot be read. */
char *fixture_read(const char *path, long *size);

#endif
