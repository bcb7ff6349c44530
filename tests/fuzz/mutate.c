#include "tests/fuzz/mutate.h"

#include <ctype.h>
#include <string.h>
#include <sys/time.h>

enum { CHANGES_MOST = 4, PIECE_MOST = 64, PATIENCE_SECONDS = 20 };

/* What readers may stumble over, in place of a number or anywhere. */
static const char *const numbers[] = {"0",
                                      "-1",
                                      "1",
                                      "-0",
                                      "01",
                                      "5",
                                      "6",
                                      "101",
                                      "131",
                                      "255",
                                      "65535",
                                      "65536",
                                      "2147483647",
                                      "2147483648",
                                      "4294967296",
                                      "9223372036854775807",
                                      "18446744073709551615",
                                      "99999999999999999999",
                                      "1e308",
                                      "1e309",
                                      "-1e309",
                                      "1e-320",
                                      "0.5",
                                      "nan",
                                      "inf",
                                      "0x10",
                                      ""};
static const char *const pieces[] = {"\"",
                                     "\\",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     ":",
                                     "\t",
                                     "\n",
                                     "\r\n",
                                     "|",
                                     "null",
                                     "true",
                                     "false",
                                     "\"\"",
                                     "{}",
                                     "[]",
                                     "[[[[[[",
                                     "\\u0000",
                                     "\\ud800",
                                     "\\udc00",
                                     "\xC3",
                                     "\xE9",
                                     " ",
                                     "\xF0\x9F\x98\x80",
                                     "\xEF\xBB\xBF",
                                     "\xED\xA0\x80",
                                     "\xFF",
                                     "'",
                                     "(",
                                     ")"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

uint64_t fuzz_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

size_t fuzz_below(uint64_t *state, size_t limit)
{
    return limit ? (size_t)(fuzz_random(state) % limit) : 0;
}

void fuzz_set(struct fuzz_input *input, const void *bytes, size_t size)
{
    input->length = size < FUZZ_ROOM ? size : FUZZ_ROOM;
    memcpy(input->bytes, bytes, input->length);
    input->bytes[input->length] = '\0';
}

/* Puts size bytes in the place of `removed` ones at `at`, where there is room. */
static void replace(struct fuzz_input *input, size_t at, size_t removed, const char *bytes,
                    size_t size)
{
    size_t rest = input->length - at - removed;
    if (at + size + rest > FUZZ_ROOM)
        return;
    memmove(input->bytes + at + size, input->bytes + at + removed, rest);
    memcpy(input->bytes + at, bytes, size);
    input->length = at + size + rest;
    input->bytes[input->length] = '\0';
}

static void replace_by(struct fuzz_input *input, size_t at, size_t removed, const char *text)
{
    replace(input, at, removed, text, strlen(text));
}

/* Replaces the first run of digits from somewhere on. */
static void change_number(struct fuzz_input *input, uint64_t *state)
{
    size_t at = fuzz_below(state, input->length), end;
    while (at < input->length && !isdigit((unsigned char)input->bytes[at]))
        at++;
    for (end = at; end < input->length && isdigit((unsigned char)input->bytes[end]);)
        end++;
    replace_by(input, at, end - at, numbers[fuzz_below(state, COUNT(numbers))]);
}

static void change(struct fuzz_input *input, uint64_t *state)
{
    char piece[PIECE_MOST];
    size_t at = fuzz_below(state, input->length), to = fuzz_below(state, input->length + 1);
    size_t size = fuzz_below(state, PIECE_MOST) + 1;
    size = size < input->length - at ? size : input->length - at;
    memcpy(piece, input->bytes + at, size);
    switch (fuzz_below(state, 9)) {
    case 0:
        input->bytes[at] ^= (char)(1U << fuzz_below(state, 8));
        break;
    case 1:
        input->bytes[at] = (char)fuzz_random(state);
        break;
    case 2:
        replace_by(input, at, fuzz_below(state, 2), pieces[fuzz_below(state, COUNT(pieces))]);
        break;
    case 3:
    case 4:
        change_number(input, state);
        break;
    case 5: /* removed */
        replace(input, at, size, "", 0);
        break;
    case 6: /* repeated elsewhere, maybe often */
        for (size_t times = fuzz_below(state, 8) ? 1 : fuzz_below(state, 200); times-- > 0;)
            replace(input, to, 0, piece, size);
        break;
    case 7: /* written over */
        replace(input, to, size < input->length - to ? size : input->length - to, piece, size);
        break;
    default:
        replace(input, to, input->length - to, "", 0);
    }
}

void fuzz_mutate(struct fuzz_input *input, uint64_t *state)
{
    size_t changes = fuzz_below(state, 2) ? 1 : fuzz_below(state, CHANGES_MOST) + 1;
    for (size_t i = changes; i-- > 0 && input->length > 0;)
        change(input, state);
}

void fuzz_watch(void)
{
    /* of the process's own time, which goes on however busy or frozen the machine is */
    const struct itimerval patience = {.it_value.tv_sec = PATIENCE_SECONDS};
    setitimer(ITIMER_PROF, &patience, NULL); /* SIGPROF ends the process */
}
