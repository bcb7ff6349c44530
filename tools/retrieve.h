/* retrieve.h: the passages that are nearest to a question, by their embeddings. */
#ifndef TOOLS_RETRIEVE_H
#define TOOLS_RETRIEVE_H

#include "engine/distil.h"
#include "tools/passages.h"
#include "tools/progress.h"

/* Zero-initialise; to be freed by tool_index_free. */
struct tool_index {
    distil_session *session; /* of an encoder; the caller's */
    int hidden, count;
    float *vectors; /* (count, hidden), each of length 1 */
    distil_tokens *question;
    float *wanted; /* (hidden): the question's */
    /* A piece of a passage that is compared with the question. */
    char *text;
    distil_tokens *piece;
    float *vector; /* (hidden) */
};

struct tool_hit {
    int passage;
    float similarity; /* the cosine, -1 to 1 */
};

/* Embeds all passages, each with the headings over it. The session must outlive the index. */
distil_status tool_index_build(struct tool_index *index, const distil_model *model,
                               distil_session *session, const struct tool_passages *passages,
                               struct tool_progress *progress, distil_error *error);
void tool_index_free(struct tool_index *index);

/* The nearest passages, at most `most`, nearest first; returns how many in *count. A question over the
 * encoder's window is cut. */
distil_status tool_index_search(struct tool_index *index, const distil_model *model,
                                const char *question, size_t length, struct tool_hit *hits,
                                int most, int *count, distil_error *error);

/* The cosine of the question that was searched for last and a piece of a passage, with the headings over it. */
distil_status tool_index_compare(struct tool_index *index, const distil_model *model,
                                 const char *section, const char *piece, size_t length,
                                 float *similarity, distil_error *error);

#endif
