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

/* What tests/golden/make_outputs.py records of a model without labels: of an encoder the embeddings, of an answerer spans. */
struct fixture_outputs {
    int texts;
    int32_t *ids, *offsets; /* as above */
    float *pooled[3];       /* mean, cls, max: (texts, hidden) */
    float *spans;           /* (tokens, 2) */
};
int fixture_outputs_open(struct fixture_outputs *fixture, const char *path);
void fixture_outputs_close(struct fixture_outputs *fixture);

/* The whole file with a NUL after it, to be freed; NULL where it cannot be read. */
char *fixture_read(const char *path, long *size);

#endif
