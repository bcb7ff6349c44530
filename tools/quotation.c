#include "tools/quotation.h"

#include <stdbool.h>
#include <string.h>

static bool blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t';
}

/* Whether a sentence begins at byte i, behind white space. */
static bool begins(const char *text, size_t i)
{
    if (i < 2 || !blank(text[i - 1]) || blank(text[i]))
        return false;
    size_t before = i - 1;
    while (before > 0 && blank(text[before]))
        before--;
    return strchr(".!?", text[before]) != NULL || (text[i - 1] == '\n' && text[i - 2] == '\n');
}

struct tool_quotation tool_quote(const char *text, size_t length, size_t from, size_t to,
                                 size_t most)
{
    struct tool_quotation quotation = {from, to, 0, 0};
    size_t *start = &quotation.start, *end = &quotation.end;
    size_t word = from;
    while (*start > 0 && !begins(text, *start)) {
        if (from - *start >= most && word < from) {
            *start = word;
            quotation.cut_before = 1;
            break;
        }
        --*start;
        if (*start > 0 && blank(text[*start - 1]) && !blank(text[*start]))
            word = *start;
    }
    word = to;
    while (*end < length && !(*end > to && begins(text, *end))) {
        if (*end - to >= most && word > to) {
            *end = word;
            quotation.cut_after = 1;
            break;
        }
        if (*end > to && blank(text[*end]) && !blank(text[*end - 1]))
            word = *end;
        ++*end;
    }
    while (*end > to && blank(text[*end - 1]))
        --*end;
    return quotation;
}
