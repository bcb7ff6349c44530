/* documents.h: the documents of a folder, read into passages. */
#ifndef TOOLS_DOCUMENTS_H
#define TOOLS_DOCUMENTS_H

#include "tools/passages.h"
#include "tools/progress.h"

enum { TOOL_DOCUMENT_MEGABYTES = 16 }; /* that a document may have */

/* What came of it. Each file that could not be taken as it is has been told of on standard error. */
struct tool_documents {
    long read;   /* documents */
    long failed; /* files and folders that could not be read, are too large, or hold no text */
    long links;  /* symbolic links, which are not followed */
    long others; /* files of other kinds, which are left alone */
};

/* Reads path, a file, or a folder with all those below it, in the order of their names. In a folder
 * those that end in .md, .markdown, .txt, .text or .rst count, and nothing whose name begins with a
 * dot. A symbolic link is followed where it is the path itself. Malformed UTF-8 is read as U+FFFD and
 * told of. An error is that the path does not exist, or that memory ran out. */
distil_status tool_read_documents(struct tool_passages *passages, const char *path,
                                  struct tool_documents *documents, struct tool_progress *progress,
                                  distil_error *error);

#endif
