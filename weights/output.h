/* output.h: writing a file of this project's own: safetensors that name their digest, whole or not at all.
 *
 *   struct weights_output output;
 *   status = weights_output_open(&output, path, error);
 *   ... weights_output_header, weights_output_put and weights_output_finish, each unless one before it failed
 *   weights_output_close(&output); */
#ifndef WEIGHTS_OUTPUT_H
#define WEIGHTS_OUTPUT_H

#include <nettle/sha2.h>
#include <stddef.h>
#include <sys/types.h>

#include "weights/distil_status.h"
#include "weights/replacement.h"
#include "weights/safetensors.h"
#include "weights/text.h"

/* The data of the files that are written begins at a multiple of it. */
enum { WEIGHTS_DATA_ALIGN = 64 };

/* In the header; its value is written last. */
#define WEIGHTS_KEY_DIGEST "distild.digest"
enum { WEIGHTS_DIGEST_LENGTH = 64 };

struct weights_output {
    struct weights_replacement file;
    distil_error *error;
    off_t digest_at;
    struct sha256_ctx hash;
};

/* Whatever it returns, weights_output_close is to be called. path and error must outlive it. */
distil_status weights_output_open(struct weights_output *output, const char *path,
                                  distil_error *error);
/* Pads the JSON with spaces and writes it with its length before it. It holds WEIGHTS_KEY_DIGEST with 64 zeros, spelt
 * "key":"0000...". */
distil_status weights_output_header(struct weights_output *output, struct weights_text *header);
distil_status weights_output_put(struct weights_output *output, const void *data, size_t bytes);
/* Writes the digest, syncs, and renames. */
distil_status weights_output_finish(struct weights_output *output);
/* Removes what has not been finished. */
void weights_output_close(struct weights_output *output);

/* Reads the whole file: SHA-256 with the digits of the stated digest read as zeros. DISTIL_FORMAT where it is another. */
distil_status weights_check_digest(const struct weights_safetensors *file, const char *stated,
                                   distil_error *error);

#endif
