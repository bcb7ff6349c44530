/* access_files.h: files of keys that a test writes. */
#ifndef TESTS_SERVER_ACCESS_FILES_H
#define TESTS_SERVER_ACCESS_FILES_H

#include <stddef.h>
#include <sys/types.h>

/* Hashes of keys. */
#define HASH_A "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* abc */
#define HASH_B "sha256:cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34" /* def */
#define HASH_C "sha256:50ae61e841fac4e8f9e40baf2ad36ec868922ea48368c18f9535e47db56dd7fb" /* ghi */

/* A file of the mode with the content, in a place of its own; to be unlinked. */
void write_file(char path[64], const char *content, size_t length, mode_t mode);
/* The same of a text, for its owner alone. */
void write_text(char path[64], const char *content);

#endif
