/* tokenize_driver.c: the tokenizer on a pipe, for the parity test and the benchmark, which drive it
 * from Python.
 *
 * Standard input holds a specification, then records; all numbers are 32-bit and of the machine's
 * byte order. specification: flags (1 clean, 2 chinese, 4 lowercase, 8 strip), longest word, unk,
 * cls, sep, pad, mask, prefix, token count, tokens, added count, added tokens (id, flags: 1
 * single_word, 2 lstrip, 4 rstrip, 8 normalized, 16 special, 32 outside; content) record: window,
 * truncation, has pair, text and, with a pair, the second text where a string is its length and
 * bytes. Each record is answered with status, full count, count, then per token its id, type,
 * special, start and end. With --time SECONDS the records are all read first, then encoded again
 * and again, and the answer is lines of tokens and seconds, one for each round. --create prints the
 * seconds of making a tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/tokenizer.h"

struct record {
    struct engine_encode_options options;
    char *text, *pair;
    size_t length, pair_length;
};

static void quit(const char *message)
{
    fprintf(stderr, "tokenize_driver: %s\n", message);
    exit(1);
}

/* CPU seconds: the machine may have other work. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        quit("out of memory");
    return memory;
}

static int read_number(int32_t *value)
{
    return fread(value, sizeof *value, 1, stdin) == 1;
}

static int32_t number(void)
{
    int32_t value;
    if (!read_number(&value))
        quit("input ends too early");
    return value;
}

static char *string(size_t *length)
{
    size_t n = (size_t)number();
    char *bytes = allocate(n + 1, 1);
    if (fread(bytes, 1, n, stdin) != n)
        quit("input ends too early");
    if (length)
        *length = n;
    return bytes;
}

static void read_spec(struct weights_tokenizer *spec)
{
    int32_t flags = number();
    spec->clean_text = flags & 1;
    spec->chinese_chars = flags & 2;
    spec->lowercase = flags & 4;
    spec->strip_accents = flags & 8;
    spec->max_word_characters = number();
    spec->unk = number();
    spec->cls = number();
    spec->sep = number();
    spec->pad = number();
    spec->mask = number();
    spec->prefix = string(NULL);
    spec->count = number();
    spec->tokens = allocate((size_t)spec->count, sizeof *spec->tokens);
    for (int i = 0; i < spec->count; i++)
        spec->tokens[i] = string(NULL);
    spec->added_count = number();
    spec->added = allocate((size_t)spec->added_count, sizeof *spec->added);
    for (int i = 0; i < spec->added_count; i++) {
        struct weights_added_token *added = &spec->added[i];
        added->id = number();
        flags = number();
        added->single_word = flags & 1;
        added->lstrip = flags & 2;
        added->rstrip = flags & 4;
        added->normalized = flags & 8;
        added->special = flags & 16;
        added->outside = flags & 32;
        added->content = string(NULL);
    }
}

static void free_spec(struct weights_tokenizer *spec)
{
    for (int i = 0; i < spec->count; i++) {
        char *token;
        memcpy(&token, &spec->tokens[i], sizeof token);
        free(token);
    }
    for (int i = 0; i < spec->added_count; i++)
        free(spec->added[i].content);
    free(spec->tokens);
    free(spec->added);
    free(spec->prefix);
}

static int read_record(struct record *record)
{
    int32_t window;
    memset(record, 0, sizeof *record);
    if (!read_number(&window))
        return 0;
    record->options.window = window;
    record->options.truncation = (enum engine_truncation)number();
    int has_pair = number();
    record->text = string(&record->length);
    if (has_pair)
        record->pair = string(&record->pair_length);
    return 1;
}

static void answer(const struct engine_tokenizer *tokenizer, const struct record *record,
                   struct engine_encoding *encoding)
{
    distil_status status = engine_encode(tokenizer, record->text, record->length, record->pair,
                                         record->pair_length, &record->options, encoding, NULL);
    int32_t head[3] = {(int32_t)status, encoding->full_count, encoding->count};
    fwrite(head, sizeof head, 1, stdout);
    for (int i = 0; i < encoding->count; i++) {
        int32_t token[5] = {encoding->ids[i], encoding->types[i], encoding->special[i],
                            encoding->offsets[i][0], encoding->offsets[i][1]};
        fwrite(token, sizeof token, 1, stdout);
    }
}

static void time_records(const struct engine_tokenizer *tokenizer, const struct record *records,
                         size_t count, double seconds)
{
    struct engine_encoding encoding = {0};
    double end = now() + seconds;
    do {
        double start = now();
        long tokens = 0;
        for (size_t i = 0; i < count; i++) {
            engine_encode(tokenizer, records[i].text, records[i].length, NULL, 0,
                          &records[i].options, &encoding, NULL);
            tokens += encoding.count;
        }
        printf("%ld %.9f\n", tokens, now() - start);
    } while (now() < end);
    engine_encoding_free(&encoding);
}

static void time_creation(const struct weights_tokenizer *spec)
{
    for (int i = 0; i < 51; i++) {
        struct engine_tokenizer *tokenizer;
        double start = now();
        if (engine_tokenizer_create(&tokenizer, spec, NULL))
            quit("no tokenizer");
        printf("%.9f\n", now() - start);
        engine_tokenizer_free(tokenizer);
    }
}

int main(int argc, char **argv)
{
    struct weights_tokenizer spec = {0};
    struct engine_tokenizer *tokenizer;
    distil_error error;
    read_spec(&spec);
    if (argc > 1 && strcmp(argv[1], "--create") == 0) {
        time_creation(&spec);
        free_spec(&spec);
        return 0;
    }
    if (engine_tokenizer_create(&tokenizer, &spec, &error))
        quit(error.message);
    free_spec(&spec);

    struct record record;
    if (argc > 2 && strcmp(argv[1], "--time") == 0) {
        size_t count = 0, capacity = 1 << 18;
        struct record *records = allocate(capacity, sizeof *records);
        while (count < capacity && read_record(&records[count]))
            count++;
        time_records(tokenizer, records, count, strtod(argv[2], NULL));
        for (size_t i = 0; i < count; i++) {
            free(records[i].text);
            free(records[i].pair);
        }
        free(records);
    } else {
        struct engine_encoding encoding = {0};
        while (read_record(&record)) {
            answer(tokenizer, &record, &encoding);
            free(record.text);
            free(record.pair);
        }
        engine_encoding_free(&encoding);
    }
    engine_tokenizer_free(tokenizer);
    return 0;
}
