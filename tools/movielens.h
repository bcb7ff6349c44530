/* movielens.h: users, films and scores in the files of MovieLens-100K. */
#ifndef TOOLS_MOVIELENS_H
#define TOOLS_MOVIELENS_H

#include <stdint.h>

#include "server/profile.h"

enum { TOOL_FOLDS_MOST = 5 };

struct tool_viewer {
    long id; /* as the files have it, from 1 */
    struct server_profile profile;
};

struct tool_film {
    long id;
    char *text;   /* title and genres, UTF-8: "Heat (1995): Action, Crime, Thriller" */
    size_t title; /* bytes of it that are the title */
};

struct tool_rating {
    int user, item; /* in the arrays of users and films */
    float score;    /* 0..5 */
    int64_t time;   /* seconds since 1970 */
};

struct tool_ratings {
    struct tool_rating *each;
    long count, capacity;
};

/* Zero-initialise. */
struct tool_movielens {
    struct tool_viewer *users;
    struct tool_film *items;
    int user_count, item_count;
    long user_capacity, item_capacity;
    struct tool_ratings all; /* u.data, by time, where there are no folds */
    int folds;               /* of u1.base, u1.test ... */
    struct tool_ratings base[TOOL_FOLDS_MOST], test[TOOL_FOLDS_MOST];
};

/* Reads u.user, u.item (in Latin-1), and either u.data or, where wanted, the pairs u1.base and u1.test to
 * u5.base and u5.test, as many as there are. Errors name the file, the line and what was expected. */
distil_status tool_movielens_read(struct tool_movielens *data, const char *folder, bool folds,
                                  distil_error *error);
/* Whether there is a first fold in the folder. */
bool tool_movielens_has_folds(const char *folder);
void tool_movielens_free(struct tool_movielens *data);

#endif
