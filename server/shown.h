/* shown.h: the id of a list of recommendations, which ties scores to what was shown.
 *
 * The id says itself what it stands for: when, to what profile, and which items, with a code that only
 * the server's key can make (HMAC-SHA-256, cut to 128 bits). So nothing is kept for a list that
 * nobody scores, an id outlives the server, and none can be made up. */
#ifndef SERVER_SHOWN_H
#define SERVER_SHOWN_H

#include <stdint.h>

#include "server/profile.h"

enum {
    SERVER_SHOWN_MOST = 100, /* items of a list */
    SERVER_SHOWN_KEY = 32,
    SERVER_SHOWN_NUMBER = 12, /* random bytes that tell one list from every other */
    SERVER_SHOWN_DAYS = 7,    /* for which an id is good */
    SERVER_SHOWN_TEXT = 760   /* characters of an id, with its NUL */
};

struct server_shown {
    unsigned char number[SERVER_SHOWN_NUMBER];
    int64_t at; /* seconds since 1970 */
    struct server_profile profile;
    int count;
    uint32_t items[SERVER_SHOWN_MOST];     /* server_shown_hash of each item's name */
    float similarities[SERVER_SHOWN_MOST]; /* as server_similarity_quantise has them */
};

/* Fills in a number. False where there are no random bytes to be had. */
bool server_shown_begin(struct server_shown *shown);
uint32_t server_shown_hash(const char *item);
/* Where an item stands in the list; -1 where it does not. */
int server_shown_find(const struct server_shown *shown, const char *item);

/* Writes the id of a list; false where the code cannot be made. */
bool server_shown_write(const struct server_shown *shown, const unsigned char key[SERVER_SHOWN_KEY],
                        char text[SERVER_SHOWN_TEXT]);
/* Reads an id, at a time in seconds since 1970. NULL, with *shown filled in, or what is wrong with it,
 * a part of a sentence of static storage. */
const char *server_shown_read(const char *text, const unsigned char key[SERVER_SHOWN_KEY],
                              int64_t now, struct server_shown *shown);

#endif
