#include "tools/documents.h"

#include <errno.h>
#include <fts.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "tools/markdown.h"
#include "tools/output.h"
#include "tools/prose.h"
#include "weights/file.h"

#define MOST_BYTES ((size_t)TOOL_DOCUMENT_MEGABYTES << 20)

/* Tells of a file that cannot be taken as it is. */
static void warn(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(const char *path, const char *format, ...)
{
    va_list arguments;
    fputs("distild ask: ", stderr);
    tool_plain_text(stderr, path, strlen(path), 0);
    fputs(": ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- one file ---- */

/* The file's bytes, to be freed; NULL with the reason told. */
static char *read_file(const char *path, size_t *length)
{
    char *bytes = NULL;
    distil_error error;
    if (weights_read_file(&bytes, length, path, MOST_BYTES, &error)) {
        fputs("distild ask: ", stderr);
        tool_plain_text(stderr, error.message, strlen(error.message), 0);
        fputc('\n', stderr);
    } else if (memchr(bytes, '\0', *length)) {
        warn(path, "holds bytes that no text has: left out");
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

/* The text in well-formed UTF-8: the same where it is, else a new one in its place; NULL where memory
 * runs out. */
static char *mend(const char *path, char *text, size_t *length)
{
    size_t at = 0, put = 0, bad = 0, first = 0;
    int skip;
    for (; at < *length;) {
        int bytes = tool_character(text + at, *length - at, &skip);
        first = bytes || bad ? first : at;
        bad += !bytes;
        at += (size_t)(bytes ? bytes : skip);
    }
    if (bad == 0)
        return text;
    warn(path, "%zu place%s malformed UTF-8, the first one at byte %zu: read as U+FFFD", bad,
         bad == 1 ? " has" : "s have", first);
    char *mended = malloc(*length + 3 * bad);
    for (at = 0; mended && at < *length;) {
        int bytes = tool_character(text + at, *length - at, &skip);
        memcpy(mended + put, bytes ? text + at : "\xEF\xBF\xBD", bytes ? (size_t)bytes : 3);
        put += bytes ? (size_t)bytes : 3;
        at += (size_t)(bytes ? bytes : skip);
    }
    free(text);
    *length = put;
    return mended;
}

static const char *ending_of(const char *path)
{
    const char *name = strrchr(path, '/');
    const char *dot = strrchr(name ? name : path, '.');
    return dot ? dot + 1 : "";
}

static bool is_markdown(const char *path)
{
    const char *ending = ending_of(path);
    return strcasecmp(ending, "md") == 0 || strcasecmp(ending, "markdown") == 0;
}

static bool is_document(const char *path)
{
    const char *ending = ending_of(path);
    return is_markdown(path) || strcasecmp(ending, "txt") == 0 || strcasecmp(ending, "text") == 0 ||
           strcasecmp(ending, "rst") == 0;
}

static void take_file(struct tool_passages *passages, const char *path,
                      struct tool_documents *documents)
{
    size_t length;
    char *text = read_file(path, &length);
    if (!text) {
        documents->failed++;
        return;
    }
    text = mend(path, text, &length);
    if (!text) {
        passages->status = DISTIL_NO_MEMORY;
        return;
    }
    size_t mark = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    tool_passages_file(passages, path);
    if (is_markdown(path))
        tool_read_markdown(passages, text + mark, length - mark);
    else
        tool_read_prose(passages, text + mark, length - mark);
    tool_passages_end(passages);
    documents->read++;
    free(text);
}

/* ---- a folder ---- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void take_entry(struct tool_passages *passages, FTS *walk, FTSENT *entry,
                       struct tool_documents *documents)
{
    bool given = entry->fts_level == FTS_ROOTLEVEL;
    bool hidden = !given && entry->fts_name[0] == '.';
    switch (entry->fts_info) {
    case FTS_D:
        if (hidden)
            fts_set(walk, entry, FTS_SKIP);
        break;
    case FTS_F:
        if (given || (!hidden && is_document(entry->fts_path)))
            take_file(passages, entry->fts_path, documents);
        else
            documents->others++;
        break;
    case FTS_SL:
    case FTS_SLNONE:
        documents->links++;
        break;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        warn(entry->fts_path, "%s", strerror(entry->fts_errno));
        documents->failed++;
        break;
    case FTS_DEFAULT:
        documents->others++;
        break;
    default:
        break;
    }
}

distil_status tool_read_documents(struct tool_passages *passages, const char *path,
                                  struct tool_documents *documents, struct tool_progress *progress,
                                  distil_error *error)
{
    union {
        const char *from;
        char *to;
    } root = {path}; /* fts_open takes a plain pointer, and does not write through it */
    char *const roots[] = {root.to, NULL};
    struct stat about;
    if (stat(path, &about) != 0)
        return distil_fail(error, errno == ENOENT ? DISTIL_NOT_FOUND : DISTIL_IO, "%s: %s", path,
                           strerror(errno));
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    if (!walk)
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    FTSENT *entry;
    errno = 0;
    while (!passages->status && (entry = fts_read(walk))) {
        take_entry(passages, walk, entry, documents);
        tool_progress_update(progress, 0, 0, documents->read);
        errno = 0;
    }
    int reason = passages->status ? 0 : errno;
    fts_close(walk);
    if (passages->status)
        return distil_fail(error, passages->status, "out of memory for the documents of %s", path);
    return reason ? distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(reason)) : DISTIL_OK;
}
