/* answer_spans.c: from the logits of one window to its best spans. */
#include <math.h>

#include "engine/answer.h"

/* In place; returns the largest of the values after the first. */
static float softmax(float *values, int n)
{
    float highest = values[0], sum = 0, best = 0;
    for (int i = 1; i < n; i++)
        highest = fmaxf(highest, values[i]);
    for (int i = 0; i < n; i++)
        sum += values[i] = expf(values[i] - highest);
    for (int i = 0; i < n; i++) {
        values[i] /= sum;
        best = i > 0 ? fmaxf(best, values[i]) : 0;
    }
    return best;
}

/* Puts a span in its place behind those that are at least as good. */
static void insert(struct engine_span *spans, int *count, int most, struct engine_span span)
{
    int at = *count < most ? (*count)++ : most - 1;
    for (; at > 0 && spans[at - 1].score < span.score; at--)
        spans[at] = spans[at - 1];
    spans[at] = span;
}

int engine_best_spans(float *start, float *end, int tokens, int longest, struct engine_span *spans,
                      int most, float *null_score)
{
    int count = 0;
    softmax(start, tokens + 1);
    float best_end = softmax(end, tokens + 1);
    *null_score = start[0] * end[0];
    start++; /* from here on tokens of the context alone */
    end++;
    for (int first = 0; first < tokens; first++) {
        /* No span from here is better than all that are known. */
        if (count == most && start[first] * best_end <= spans[most - 1].score)
            continue;
        int stop = longest < tokens - first ? first + longest : tokens;
        for (int last = first; last < stop; last++) {
            struct engine_span span = {first, last, start[first] * end[last]};
            if (count < most || span.score > spans[most - 1].score)
                insert(spans, &count, most, span);
        }
    }
    return count;
}
