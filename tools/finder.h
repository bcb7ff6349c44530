/* finder.h: the best answers to a question, in the passages nearest to it. */
#ifndef TOOLS_FINDER_H
#define TOOLS_FINDER_H

#include "engine/distil_answer.h"
#include "tools/retrieve.h"

enum { TOOL_PASSAGES_MOST = 100, TOOL_ANSWERS_MOST = 20 };

/* An answer in a passage. */
struct tool_found {
    struct tool_hit hit;
    distil_answer answer;
    float relevance; /* by which the answers of different passages are compared */
    float score;     /* 0 to 1: how far to trust it */
};

struct tool_finder {
    /* The caller's: */
    const struct tool_passages *passages;
    struct tool_index *index;
    const distil_model *encoder;
    distil_session *answers; /* of an answerer */
    int nearest;             /* passages to read, up to TOOL_PASSAGES_MOST */
    int most;                /* answers to keep, up to TOOL_ANSWERS_MOST */
    double threshold;        /* the least score of an answer */
    /* The answers to the last question, best first. */
    struct tool_found best[TOOL_ANSWERS_MOST];
    int found;
};

/* DISTIL_TOO_LONG where the question leaves the answerer no room for a passage; what distil_answers and distil_embed fail with. */
distil_status tool_find(struct tool_finder *finder, const char *question, size_t length,
                        distil_error *error);

#endif
