/* pages.h: files that the program carries in itself; see .cmake/embed.cmake. Each is NUL-terminated, which its length leaves out. */
#ifndef SERVER_PAGES_H
#define SERVER_PAGES_H

#include <stddef.h>

extern const char server_page_openapi[]; /* server/openapi.json */
extern const size_t server_page_openapi_length;
extern const char server_page_docs[]; /* server/docs.html */
extern const size_t server_page_docs_length;

#endif
