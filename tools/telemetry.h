/* telemetry.h: what an installation may tell of itself: bundles of aggregates that are numbered, signed, and readable by
 * whoever is to let them out.
 *
 * A bundle is a JSON object whose last member is "signature": Ed25519, of all bytes before the comma and newline that
 * stand in front of it. Each names the digest of the one before, so that a missing or changed one shows.
 * docs/telemetry.md has the fields, which are all that there are: nothing that users sent is among them. */
#ifndef TOOLS_TELEMETRY_H
#define TOOLS_TELEMETRY_H

#include <stdint.h>
#include <stdio.h>

#include "tools/state.h"
#include "weights/distil_status.h"

#define TOOL_TELEMETRY_FORMAT "distild telemetry 1"

enum {
    TOOL_DIGEST_SIZE = 65,         /* SHA-256 in hexadecimal, with its NUL */
    TOOL_TELEMETRY_MOST = 1 << 26, /* bytes of a bundle */
    TOOL_KEY_MOST = 8192           /* bytes of a key in PEM */
};

/* How far the bundles of an installation have come. */
struct tool_telemetry_place {
    int64_t number;                  /* of the last bundle; 0: none */
    int64_t seq;                     /* of the last prediction told of */
    int64_t until;                   /* feedback before then was told of; nanoseconds since 1970 */
    char previous[TOOL_DIGEST_SIZE]; /* digest of the last bundle; "" */
};

/* What a bundle is to tell of. */
struct tool_telemetry_range {
    int64_t after, last;  /* predictions: after < seq <= last */
    int64_t since, until; /* feedback: since <= at_ns < until */
};

/* Writes the members "predictions" and "feedback" of a bundle: groups of the database at path. The last prediction
 * there is becomes range->last. */
distil_status tool_telemetry_write(FILE *out, const char *path, struct tool_telemetry_range *range,
                                   distil_error *error);

/* The key in a file, which is made, for its owner alone, where there is none. To be freed by
 * tool_telemetry_key_free. */
struct tool_telemetry_key;
distil_status tool_telemetry_key_open(const char *path, struct tool_telemetry_key **key,
                                      distil_error *error);
void tool_telemetry_key_free(struct tool_telemetry_key *key);
/* Its public half in PEM, to be freed. */
distil_status tool_telemetry_public(const struct tool_telemetry_key *key, char **pem,
                                    distil_error *error);
/* Appends the signature and the end of the object to a bundle, which is malloc's and NUL-terminated. */
distil_status tool_telemetry_sign(const struct tool_telemetry_key *key, char **bundle,
                                  distil_error *error);
/* Neither text is written to. DISTIL_FORMAT where a bundle was not signed by the key, a public one in PEM, or was changed since. */
distil_status tool_telemetry_check(char *bundle, size_t length, char *public_pem,
                                   distil_error *error);
void tool_telemetry_digest(const char *bytes, size_t length, char digest[TOOL_DIGEST_SIZE]);

/* 'telemetry verify': checks files in the given order, and that they follow each other; prints a line for each. key_file:
 * the installation's public key in PEM; NULL takes that of the bundle, which says nothing of who made it. */
int tool_telemetry_verify(const char *key_file, int count, char **files);

#endif
