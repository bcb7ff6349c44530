/* requests.h: the requests that the load generator sends, made beforehand. */
#ifndef PERF_HTTP_REQUESTS_H
#define PERF_HTTP_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>

struct requests {
    int count;
    char **texts; /* (count): whole requests, head and body */
    size_t *lengths;
};

/* Where requests go and what is in them; zero: not given. */
struct requests_options {
    const char *host;   /* for the header Host */
    const char *method; /* GET has no body */
    const char *path;
    const char *body;   /* the same for all, instead of texts */
    const char *tsv;    /* file with a text in the first column of each line after the first */
    const char *fields; /* further members of each text's object, as JSON without braces */
    int least_words, most_words; /* of random texts, where there is no file */
    const char *headers;         /* further lines, each ended by CR and LF */
};

/* Says on standard error what is wrong, and returns false. */
bool requests_make(const struct requests_options *options, struct requests *requests);
void requests_free(struct requests *requests);

#endif
