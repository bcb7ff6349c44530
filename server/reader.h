/* reader.h: a thread that makes sense of large requests and writes their answers, so that the threads which read and write HTTP
 * never spend long on one: JSON of two megabytes, or a text of that size, takes up to a third of a
 * second, in which no other of their connections would be answered. */
#ifndef SERVER_READER_H
#define SERVER_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/distil.h"

struct server_reader;

/* How a request's turn comes. */
enum server_turn {
    SERVER_TURN,
    SERVER_TURN_LATE,  /* its deadline passed while it waited: it is not worth being read */
    SERVER_TURN_ENDING /* the server ends: nothing is worth being read any more */
};

/* What is to be read, within whoever waits for it. */
struct server_reading {
    size_t
        bytes; /* 0: an answer to be written: it goes first, counts for nothing and is never refused */
    int64_t deadline; /* monotonic nanoseconds; 0: none */
    /* Called once, by one of the reader's threads; after it the reading may be gone. */
    void (*read)(struct server_reading *reading, enum server_turn turn);
    struct server_reading *next; /* the reader's own */
};

/* most_bytes: that may wait, unless they are one request's. */
distil_status server_reader_start(size_t most_bytes, struct server_reader **reader,
                                  distil_error *error);
/* From any thread; false where too much waits, and after the end. */
bool server_reader_push(struct server_reader *reader, struct server_reading *reading);
/* Lets what waits know that the server ends, and ends the threads. Nobody may have an answer written any more; requests are
 * refused. NULL is ignored. */
void server_reader_stop(struct server_reader *reader);
/* Stops and frees. NULL is ignored. */
void server_reader_free(struct server_reader *reader);

#endif
