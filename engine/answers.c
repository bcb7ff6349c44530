/* answers.c: from the logits of a question's windows to its answers. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/answer.h"
#include "engine/model.h"
#include "engine/unicode.h"

/* As the pipeline has it: of a window so many spans are looked at for n answers. */
static int spans_of_a_window(int n)
{
    return 2 * n + 10;
}

/* Where every CHARACTERS_APART-th character of a text starts, so that any is found by a short walk. */
enum { CHARACTERS_APART = 64 };

/* The order of "no answer" among the candidates: behind all that are as good. */
#define NO_ANSWER INT_MAX

struct places {
    const uint8_t *text;
    size_t length;
    size_t *known;
    int count;
};

static distil_status places_init(struct places *places, const char *text, size_t length)
{
    size_t at = 0, characters = 0;
    uint32_t cp;
    places->text = (const uint8_t *)text;
    places->length = length;
    places->known = calloc(length / CHARACTERS_APART + 1, sizeof *places->known);
    if (!places->known)
        return DISTIL_NO_MEMORY;
    for (; at < length; at += engine_utf8_decode(places->text + at, length - at, &cp), characters++)
        if (characters % CHARACTERS_APART == 0)
            places->known[places->count++] = at;
    return DISTIL_OK;
}

/* The byte at which a character starts; the length of the text for those behind its end. */
static size_t place_of(const struct places *places, int character)
{
    int i = character / CHARACTERS_APART, left = character % CHARACTERS_APART;
    size_t at = i < places->count ? places->known[i] : places->length;
    uint32_t cp;
    for (; left > 0 && at < places->length; left--)
        at += engine_utf8_decode(places->text + at, places->length - at, &cp);
    return at;
}

struct candidate {
    const uint8_t *text;
    size_t length;
    int start, end;
    double score;
    int order; /* in which they were found */
};

struct candidates {
    struct candidate *items;
    int count;
    float null_score;
};

/* Reads the next character of [*at, end) in lower case, into one or two; 0 at the end. */
static int next_lower(const uint8_t **at, const uint8_t *end, uint32_t out[2])
{
    uint32_t cp;
    if (*at == end)
        return 0;
    *at += engine_utf8_decode(*at, (size_t)(end - *at), &cp);
    return engine_unicode_lower(cp, out);
}

/* Orders candidates by their text without case, without regard to language. */
static int compare_texts(const struct candidate *x, const struct candidate *y)
{
    const uint8_t *a = x->text, *a_end = a + x->length, *b = y->text, *b_end = b + y->length;
    for (;;) {
        uint32_t p[2] = {0}, q[2] = {0};
        int n = next_lower(&a, a_end, p), m = next_lower(&b, b_end, q);
        if (n == 0 || m == 0)
            return n - m;
        if (p[0] != q[0])
            return p[0] < q[0] ? -1 : 1;
        if (p[1] != q[1])
            return p[1] < q[1] ? -1 : 1;
    }
}

static int by_text(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int order = compare_texts(x, y);
    return order ? order : x->order - y->order;
}

static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->order - y->order;
}

/* The characters of the words that a span of a part begins and ends in, as far as they are in the
 * part. */
static void grow_to_words(const struct distil_windows *windows, struct engine_part part,
                          struct engine_span span, struct candidate *candidate)
{
    const struct engine_tokenizer *tokenizer = windows->model->tokenizer;
    const int32_t *ids = windows->whole.ids + part.first;
    const int32_t(*offsets)[2] = (const int32_t(*)[2])windows->whole.offsets + part.first;
    int first = span.first, last = span.last;
    while (first > 0 && engine_token_continues(tokenizer, ids[first]))
        first--;
    while (last + 1 < part.count && engine_token_continues(tokenizer, ids[last + 1]))
        last++;
    candidate->start = offsets[first][0];
    candidate->end = offsets[last][1];
}

/* Adds the best spans of window i, from the logits of its tokens (start, end). scratch has room for
 * 2 (tokens of the part + 1) floats, spans for `most`. */
static void add_window(const struct distil_windows *windows, int i, const float *logits,
                       const struct places *places, struct engine_span *spans, int most,
                       float *scratch, struct candidates *candidates)
{
    struct engine_part part = engine_windows_part(windows, i);
    const float *context = logits + 2 * ((size_t)windows->question.count + 2);
    float *start = scratch, *end = scratch + part.count + 1, null_score;
    start[0] = logits[0]; /* of [CLS] */
    end[0] = logits[1];
    for (int j = 0; j < part.count; j++) {
        start[1 + j] = context[2 * (size_t)j];
        end[1 + j] = context[2 * (size_t)j + 1];
    }
    int found = engine_best_spans(start, end, part.count, windows->options.max_answer_len, spans,
                                  most, &null_score);
    candidates->null_score = fminf(candidates->null_score, null_score);
    for (int j = 0; j < found; j++) {
        struct candidate *candidate = &candidates->items[candidates->count];
        *candidate = (struct candidate){.score = spans[j].score, .order = candidates->count++};
        grow_to_words(windows, part, spans[j], candidate);
        size_t from = place_of(places, candidate->start), to = place_of(places, candidate->end);
        candidate->text = places->text + from;
        candidate->length = to > from ? to - from : 0;
    }
}

/* Makes one of those that read the same, with the place of the first and the sum of the scores. */
static void merge(struct candidates *candidates)
{
    struct candidate *items = candidates->items;
    int kept = 0;
    qsort(items, (size_t)candidates->count, sizeof *items, by_text);
    for (int i = 0; i < candidates->count; i++) {
        if (kept > 0 && compare_texts(&items[kept - 1], &items[i]) == 0)
            items[kept - 1].score += items[i].score;
        else
            items[kept++] = items[i];
    }
    candidates->count = kept;
}

/* The best of the candidates that reach the threshold, "no answer" among them where it was asked for,
 * and in their place where there are none. */
static void choose(const distil_answer_options *options, struct candidates *candidates,
                   distil_answer *answers, int *count)
{
    const float null_score = candidates->null_score;
    const distil_answer none = {.text = "", .score = null_score, .none = null_score};
    int wanted = *count, found = 0;
    if (candidates->count == 0)
        wanted = 0;
    else if (options->handle_impossible_answer)
        candidates->items[candidates->count++] =
            (struct candidate){.score = (double)none.score, .order = NO_ANSWER};
    qsort(candidates->items, (size_t)candidates->count, sizeof *candidates->items, by_score);
    for (int i = 0; i < candidates->count && found < wanted; i++) {
        const struct candidate *item = &candidates->items[i];
        if (item->order == NO_ANSWER)
            answers[found++] = none;
        else if ((float)item->score >= options->threshold)
            answers[found++] = (distil_answer){.text = (const char *)item->text,
                                               .length = item->length,
                                               .start = item->start,
                                               .end = item->end,
                                               .score = (float)item->score,
                                               .none = null_score};
    }
    if (found == 0 && wanted > 0)
        answers[found++] = none;
    *count = found;
}

distil_status distil_windows_answers(const distil_windows *windows, const float *logits,
                                     distil_answer *answers, int *count, distil_error *error)
{
    if (*count < 1 || *count > DISTIL_ANSWERS_MAX)
        return distil_fail(error, DISTIL_INVALID, "answers wanted: expected 1 to %d, found %d",
                           DISTIL_ANSWERS_MAX, *count);
    size_t most = (size_t)spans_of_a_window(*count), room = (size_t)windows->room;
    struct candidates candidates = {.null_score = INFINITY};
    struct places places = {0};
    struct engine_span *spans = calloc(most, sizeof *spans);
    float *scratch = calloc(room + 1, 2 * sizeof *scratch);
    distil_status status = places_init(&places, windows->context, windows->context_length);
    candidates.items = calloc(most * (size_t)windows->count + 1, sizeof *candidates.items);
    if (status || !spans || !scratch || !candidates.items) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for the answers of %d windows",
                             windows->count);
        goto done;
    }
    for (int i = 0; i < windows->count; i++) {
        add_window(windows, i, logits, &places, spans, (int)most, scratch, &candidates);
        logits += 2 * (size_t)(engine_windows_part(windows, i).count + windows->question.count + 3);
    }
    merge(&candidates);
    choose(&windows->options, &candidates, answers, count);
done:
    free(candidates.items);
    free(places.known);
    free(scratch);
    free(spans);
    return status;
}
