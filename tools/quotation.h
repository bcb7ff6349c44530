/* quotation.h: the sentence that an answer stands in. */
#ifndef TOOLS_QUOTATION_H
#define TOOLS_QUOTATION_H

#include <stddef.h>

struct tool_quotation {
    size_t start, end;         /* bytes of the passage */
    int cut_before, cut_after; /* 1: the sentence goes on, and is cut between words */
};

/* What to quote of a passage's text for the answer text[from, to): the sentences that it is in, cut to
 * about `most` bytes on each side of it. Two line breaks end a sentence, one does not. */
struct tool_quotation tool_quote(const char *text, size_t length, size_t from, size_t to,
                                 size_t most);

#endif
