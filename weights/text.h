/* text.h: a string that grows, for the JSON that is written. */
#ifndef WEIGHTS_TEXT_H
#define WEIGHTS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "weights/distil_status.h"

/* Zero-initialise. Once memory runs out `failed` stays true and nothing more is added, so it is
 * checked once at the end. */
struct weights_text {
    char *data; /* NUL-terminated; NULL while empty */
    size_t length, capacity;
    bool failed;
};

void weights_text_add(struct weights_text *text, const char *bytes, size_t length);
void weights_text_format(struct weights_text *text, const char *format, ...) DISTIL_PRINTF(2, 3);
/* Adds a JSON string with its quotes. */
void weights_text_json(struct weights_text *text, const char *string);
void weights_text_free(struct weights_text *text);

#endif
