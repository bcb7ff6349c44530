#include "tools/finder.h"

#include <math.h>

#include "tools/quotation.h"

/* Answers of a passage that its sentences are asked about. */
enum { CANDIDATES = 3 };

/* A question, and the sentence of a passage that was read last. */
struct reading {
    const char *question;
    size_t question_length;
    const char *sentence; /* NULL: none yet */
    size_t sentence_length;
    float similarity;
    distil_answer answers[CANDIDATES];
    int count;
};

/* Puts an answer in its place among the best. */
static void keep(struct tool_finder *finder, struct tool_found found)
{
    int most = finder->most;
    int at = finder->found < most ? finder->found++ : most;
    for (; at > 0 && finder->best[at - 1].relevance < found.relevance; at--)
        if (at < most)
            finder->best[at] = finder->best[at - 1];
    if (at < most)
        finder->best[at] = found;
}

/* How likely an answer is beside that there is none where it was read. */
static float odds(const distil_answer *answer)
{
    float either = answer->score + answer->none;
    return either > 0 ? answer->score / either : 0;
}

static distil_status read_sentence(struct tool_finder *finder, struct reading *reading,
                                   const char *section, distil_error *error)
{
    reading->count = CANDIDATES;
    distil_status status = distil_answers(
        finder->answers, reading->question, reading->question_length, reading->sentence,
        reading->sentence_length, NULL, reading->answers, &reading->count, error);
    if (!status)
        status = tool_index_compare(finder->index, finder->encoder, section, reading->sentence,
                                    reading->sentence_length, &reading->similarity, error);
    return status;
}

/* The relevance of an answer of a passage: what its passage says of it and what the sentence says, read by itself, by halves. Each
 * says how likely it is beside no answer there, times how near to the question it is. */
static distil_status judge(struct tool_finder *finder, struct reading *reading,
                           struct tool_found *found, distil_error *error)
{
    const struct tool_passage *passage = &finder->passages->items[found->hit.passage];
    const distil_answer *answer = &found->answer;
    const char *text = finder->passages->text.bytes + passage->text;
    size_t from = (size_t)(answer->text - text);
    struct tool_quotation place =
        tool_quote(text, passage->length, from, from + answer->length, passage->length);
    distil_status status = DISTIL_OK;
    float whole = odds(answer) * fmaxf(found->hit.similarity, 0), alone = 0;
    if (place.end - place.start == passage->length)
        alone = whole; /* the passage is one sentence */
    else if (text + place.start != reading->sentence ||
             place.end - place.start != reading->sentence_length) {
        reading->sentence = text + place.start;
        reading->sentence_length = place.end - place.start;
        status =
            read_sentence(finder, reading, finder->passages->sections[passage->section], error);
    }
    for (int i = 0; i < reading->count && !status; i++)
        if (reading->answers[i].text == answer->text &&
            reading->answers[i].length == answer->length)
            alone = odds(&reading->answers[i]) * fmaxf(reading->similarity, 0);
    found->relevance = (whole + alone) / 2;
    found->score = found->relevance * sqrtf(fminf(answer->score, 1));
    return status;
}

/* Looks for answers in one passage. Their scores are shares of it, and say nothing of whether it is the
 * right one: docs/answers.md has what was measured. */
static distil_status read_passage(struct tool_finder *finder, struct reading *reading,
                                  struct tool_hit hit, distil_error *error)
{
    const struct tool_passage *passage = &finder->passages->items[hit.passage];
    distil_answer answers[TOOL_ANSWERS_MOST];
    int count = finder->most > CANDIDATES ? finder->most : CANDIDATES;
    distil_status status =
        distil_answers(finder->answers, reading->question, reading->question_length,
                       finder->passages->text.bytes + passage->text, passage->length, NULL, answers,
                       &count, error);
    reading->sentence = NULL;
    for (int i = 0; i < count && !status; i++) {
        struct tool_found found = {.hit = hit, .answer = answers[i]};
        status = judge(finder, reading, &found, error);
        if (!status && (double)found.score >= finder->threshold)
            keep(finder, found);
    }
    return status;
}

distil_status tool_find(struct tool_finder *finder, const char *question, size_t length,
                        distil_error *error)
{
    struct tool_hit hits[TOOL_PASSAGES_MOST];
    struct reading reading = {.question = question, .question_length = length};
    int count;
    finder->found = 0;
    distil_status status = tool_index_search(finder->index, finder->encoder, question, length, hits,
                                             finder->nearest, &count, error);
    for (int i = 0; i < count && !status; i++)
        status = read_passage(finder, &reading, hits[i], error);
    return status;
}
