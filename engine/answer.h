/* answer.h: what the files of question answering share. */
#ifndef ENGINE_ANSWER_H
#define ENGINE_ANSWER_H

#include "engine/distil_answer.h"
#include "engine/tokenizer.h"

struct distil_windows {
    const distil_model *model;
    const char *context;
    size_t context_length;
    distil_answer_options options;          /* with the defaults filled in */
    struct engine_encoding question, whole; /* without special tokens; whole: of the context */
    int room;                               /* the most tokens of the context in a window */
    int count;
};

/* A part of the context: tokens first..first + count of it. */
struct engine_part {
    int first, count;
};

struct engine_part engine_windows_part(const struct distil_windows *windows, int i);

/* A span of a part, by its first and last token. */
struct engine_span {
    int first, last;
    float score;
};

/* Finds the best spans of a part of `tokens` tokens, of at most `longest` each. start and end hold the
 * logits of [CLS] and then of the part's tokens (tokens + 1), and are turned into probabilities.
 * spans has room for `most`; returns how many there are, by falling score. *null_score is that of no
 * answer. */
int engine_best_spans(float *start, float *end, int tokens, int longest, struct engine_span *spans,
                      int most, float *null_score);

#endif
