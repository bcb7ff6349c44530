/* mutate.h: inputs that are nearly right, made of right ones by a seed. */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_ROOM = 1 << 16 };

struct fuzz_input {
    size_t length;
    char bytes[FUZZ_ROOM + 1]; /* with a NUL behind the input, which may hold others */
};

/* Splitmix64: the same numbers of the same seed everywhere. */
uint64_t fuzz_random(uint64_t *state);
/* 0 <= number < limit */
size_t fuzz_below(uint64_t *state, size_t limit);

/* Copies size bytes, of which more than FUZZ_ROOM are left out. */
void fuzz_set(struct fuzz_input *input, const void *bytes, size_t size);

/* Makes one change, or up to four: bits, bytes, numbers and brackets replaced, pieces removed, repeated or moved, the end cut off. */
void fuzz_mutate(struct fuzz_input *input, uint64_t *state);

/* Ends the process, saying so, when it has computed for 20 seconds since: an input must not take so long. */
void fuzz_watch(void);

#endif
