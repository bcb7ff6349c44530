/* reader.h: a thread that makes sense of large requests and writes their answers, so that the threads which read and write HTTP
 * never spend long on one: JSON of two megabytes, or a text of that size, takes up to a third of a
 * second, in which no other of their connections would be answered. */
#ifndef SERVER_READER_H
#define SERVER_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/distil.h"

struct server_reader;

/* What is to be read, within whoever waits for it. */
struct server_reading {
    size_t bytes; /* 0: it counts for nothing and is never refused */
    /* Called by the reader's thread, in order of arrival; ending: the server ends, and nothing is
       worth being read any more. */
    void (*read)(struct server_reading *reading, bool ending);
    struct server_reading *next; /* the reader's own */
};

/* most_bytes: that may wait, unless they are one request's. */
distil_status server_reader_start(size_t most_bytes, struct server_reader **reader,
                                  distil_error *error);
/* From any thread; false where too much waits. */
bool server_reader_push(struct server_reader *reader, struct server_reading *reading);
/* Lets what waits know that the server ends, and ends. NULL is ignored. */
void server_reader_free(struct server_reader *reader);

#endif
