/* server_formats.h: files that the server reads: what it kept itself, and who may ask. make and read are those of
 * struct fuzz_format. */
#ifndef TESTS_FUZZ_SERVER_FORMATS_H
#define TESTS_FUZZ_SERVER_FORMATS_H

#include <stdbool.h>

void fuzz_make_scores(const char *folder);
bool fuzz_read_scores(const char *folder);
void fuzz_make_predictions(const char *folder);
bool fuzz_read_predictions(const char *folder);
void fuzz_make_drift_rows(const char *folder);
bool fuzz_read_drift_rows(const char *folder);
void fuzz_make_drift_columns(const char *folder);
bool fuzz_read_drift_columns(const char *folder);
void fuzz_make_api_keys(const char *folder);
bool fuzz_read_api_keys(const char *folder);
void fuzz_make_token_keys(const char *folder);
bool fuzz_read_token_keys(const char *folder);

#endif
