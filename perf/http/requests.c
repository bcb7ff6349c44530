/* requests.c: see requests.h. */
#include "requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MADE_TEXTS = 1000, MOST_TEXTS = 100000 };

static const char *const words[] = {
    "the",   "film",  "is",    "a",      "warm",  "funny", "story", "of",   "people", "who",
    "never", "quite", "learn", "what",   "they",  "want",  "and",   "yet",  "slow",   "dull",
    "with",  "scene", "after", "bright", "actor", "plot",  "badly", "made", "great",  "music"};

/* Writes a text as a JSON string's contents. */
static void write_escaped(FILE *out, const char *text, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(out, "\\u%04x", byte);
        else
            fputc(byte, out);
    }
}

static bool add(const struct requests_options *options, struct requests *requests, const char *body,
                size_t length)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out;
    if (requests->count % 1024 == 0) {
        size_t room = (size_t)requests->count + 1024;
        char **texts = realloc(requests->texts, room * sizeof(char *));
        size_t *lengths;
        if (!texts)
            return false;
        requests->texts = texts;
        lengths = realloc(requests->lengths, room * sizeof(size_t));
        if (!lengths)
            return false;
        requests->lengths = lengths;
    }
    out = open_memstream(&text, &size);
    if (!out)
        return false;
    fprintf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", options->method, options->path, options->host,
            options->headers ? options->headers : "");
    if (body)
        fprintf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", length);
    fputs("\r\n", out);
    if (body)
        fwrite(body, 1, length, out);
    if (fclose(out))
        return false;
    requests->texts[requests->count] = text;
    requests->lengths[requests->count++] = size;
    return true;
}

static bool add_text(const struct requests_options *options, struct requests *requests,
                     const char *text, size_t length)
{
    char *body = NULL;
    size_t size;
    FILE *out = open_memstream(&body, &size);
    bool added;
    if (!out)
        return false;
    fputs("{\"text\":\"", out);
    write_escaped(out, text, length);
    fprintf(out, "\"%s%s}", options->fields ? "," : "", options->fields ? options->fields : "");
    if (fclose(out))
        return false;
    added = add(options, requests, body, size);
    free(body);
    return added;
}

static bool add_file(const struct requests_options *options, struct requests *requests)
{
    FILE *file = fopen(options->tsv, "r");
    char *line = NULL;
    size_t room = 0;
    bool added = true, first = true;
    if (!file) {
        perror(options->tsv);
        return false;
    }
    while (added && requests->count < MOST_TEXTS && getline(&line, &room, file) > 0) {
        size_t length = strcspn(line, "\t\r\n");
        if (!first && length > 0)
            added = add_text(options, requests, line, length);
        first = false;
    }
    free(line);
    fclose(file);
    return added;
}

static bool add_random(const struct requests_options *options, struct requests *requests)
{
    unsigned random = 12345;
    bool added = true;
    int i, k;
    for (i = 0; i < MADE_TEXTS && added; i++) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        int range = options->most_words - options->least_words + 1, count;
        if (!out)
            return false;
        random = random * 1103515245U + 12345U;
        count = options->least_words + (int)((random >> 8) % (unsigned)range);
        for (k = 0; k < count; k++) {
            random = random * 1103515245U + 12345U;
            fprintf(out, "%s%s", k ? " " : "",
                    words[(random >> 8) % (sizeof(words) / sizeof(*words))]);
        }
        if (fclose(out))
            return false;
        added = add_text(options, requests, text, size);
        free(text);
    }
    return added;
}

bool requests_make(const struct requests_options *options, struct requests *requests)
{
    bool made;
    memset(requests, 0, sizeof(*requests));
    if (strcmp(options->method, "GET") == 0)
        made = add(options, requests, NULL, 0);
    else if (options->body)
        made = add(options, requests, options->body, strlen(options->body));
    else if (options->tsv)
        made = add_file(options, requests);
    else
        made = add_random(options, requests);
    if (made && requests->count > 0)
        return true;
    fprintf(stderr, "no requests could be made\n");
    requests_free(requests);
    return false;
}

void requests_free(struct requests *requests)
{
    int i;
    for (i = 0; i < requests->count; i++)
        free(requests->texts[i]);
    free((void *)requests->texts);
    free(requests->lengths);
    memset(requests, 0, sizeof(*requests));
}
