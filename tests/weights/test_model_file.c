/* Conversion: what a model file holds against its source, and what is refused of a damaged one. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fixture.h"
#include "tests/suite.h"
#include "weights/names.h"

static char *source, *output;

static void setup(void)
{
    source = fixture_directory();
    output = fixture_directory();
}

static void teardown(void)
{
    fixture_remove(source);
    fixture_remove(output);
}

static void write_as(const struct weights_model *model, const char *name, enum weights_dtype dtype)
{
    distil_error error = {.message = ""};
    distil_status status =
        weights_write(model, fixture_path(output, name), dtype, NULL, NULL, NULL, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
}

/* The type that a file of `dtype` stores a tensor in. */
static enum weights_dtype stored_dtype(const struct weights_slot *slot, enum weights_dtype dtype)
{
    if (slot->vector)
        return WEIGHTS_F32;
    if (dtype == WEIGHTS_I8 && strcmp(slot->name, "embeddings.position") == 0)
        return WEIGHTS_F16;
    return dtype;
}

/* Every value of every tensor of b is what a's becomes in the type. */
static void compare(const struct weights_model *a, const struct weights_model *b,
                    enum weights_dtype dtype)
{
    int count = weights_slot_count(&a->config);
    ck_assert_int_eq(count, weights_slot_count(&b->config));
    for (int i = 0; i < count; i++) {
        struct weights_slot slot;
        weights_slot_at(&slot, &a->config, i);
        const struct weights_tensor *x = weights_slot_tensor_const(a, &slot);
        const struct weights_tensor *y = weights_slot_tensor_const(b, &slot);
        ck_assert_ptr_nonnull(x->data);
        ck_assert_ptr_nonnull(y->data);
        ck_assert_int_eq(x->rows, y->rows);
        ck_assert_int_eq(x->cols, y->cols);
        ck_assert_int_eq(y->dtype, stored_dtype(&slot, dtype));
        for (long row = 0; row < x->rows; row++) {
            float largest = 0;
            for (long col = 0; col < x->cols; col++)
                largest = fmaxf(largest, fabsf(fixture_value(x, row, col)));
            if (y->dtype == WEIGHTS_I8)
                ck_assert(y->scale[row] == largest / 127);
            for (long col = 0; col < x->cols; col++) {
                float before = fixture_value(x, row, col), after = fixture_value(y, row, col);
                float bound = y->dtype == WEIGHTS_F32   ? 0
                              : y->dtype == WEIGHTS_F16 ? 0x1p-11f * fabsf(before) + 0x1p-25f
                                                        : 0.5001f * y->scale[row];
                ck_assert_msg(fabsf(before - after) <= bound, "%s[%ld][%ld]: %g became %g",
                              slot.name, row, col, (double)before, (double)after);
            }
        }
    }
}

static void compare_configuration(const struct weights_model *a, const struct weights_model *b)
{
    ck_assert_int_eq(a->config.architecture, b->config.architecture);
    ck_assert_int_eq(a->config.task, b->config.task);
    ck_assert_int_eq(a->config.problem, b->config.problem);
    ck_assert_int_eq(a->config.head_activation, b->config.head_activation);
    ck_assert_int_eq(a->config.hidden, b->config.hidden);
    ck_assert_int_eq(a->config.layers, b->config.layers);
    ck_assert_int_eq(a->config.heads, b->config.heads);
    ck_assert_int_eq(a->config.ffn, b->config.ffn);
    ck_assert_int_eq(a->config.vocab, b->config.vocab);
    ck_assert_int_eq(a->config.window, b->config.window);
    ck_assert(a->config.norm_eps == b->config.norm_eps);
    ck_assert_int_eq(a->config.label_count, b->config.label_count);
    for (int i = 0; i < a->config.label_count; i++)
        ck_assert_str_eq(a->config.labels[i], b->config.labels[i]);
    const struct weights_tokenizer *x = &a->tokenizer, *y = &b->tokenizer;
    ck_assert_int_eq(x->count, y->count);
    for (int i = 0; i < x->count; i++) {
        ck_assert_int_eq(x->tokens[i] == NULL, y->tokens[i] == NULL);
        if (x->tokens[i])
            ck_assert_str_eq(x->tokens[i], y->tokens[i]);
    }
    ck_assert_int_eq(x->added_count, y->added_count);
    for (int i = 0; i < x->added_count; i++) {
        const struct weights_added_token *s = &x->added[i], *t = &y->added[i];
        ck_assert_str_eq(s->content, t->content);
        ck_assert(s->id == t->id && s->special == t->special && s->single_word == t->single_word &&
                  s->lstrip == t->lstrip && s->rstrip == t->rstrip &&
                  s->normalized == t->normalized && s->outside == t->outside);
    }
    ck_assert(x->clean_text == y->clean_text && x->chinese_chars == y->chinese_chars &&
              x->lowercase == y->lowercase && x->strip_accents == y->strip_accents);
    ck_assert_str_eq(x->prefix, y->prefix);
    ck_assert_int_eq(x->max_word_characters, y->max_word_characters);
    ck_assert(x->unk == y->unk && x->cls == y->cls && x->sep == y->sep && x->pad == y->pad &&
              x->mask == y->mask);
}

static const enum weights_dtype written[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
static const char *const sources[] = {"F32", "F16", "BF16"};

START_TEST(converts_distilbert)
{
    for (int i = 0; i < 3; i++) {
        fixture_distilbert_directory(source, sources[i]);
        struct weights_model *model = fixture_open(source);
        ck_assert_str_eq(model->digest, "");
        write_as(model, "x", written[_i]);
        struct weights_model *read = fixture_open(fixture_path(output, "x"));
        ck_assert_uint_eq(strlen(read->digest), 64);
        compare(model, read, written[_i]);
        compare_configuration(model, read);
        distil_error error = {.message = ""};
        ck_assert_msg(weights_verify(read, &error) == DISTIL_OK, "%s", error.message);
        ck_assert_int_eq(weights_verify(model, &error), DISTIL_INVALID);
        weights_free(read);
        weights_free(model);
    }
    ck_assert_int_eq(fixture_count(output), 1);
}
END_TEST

START_TEST(converts_bert)
{
    fixture_bert_directory(source, sources[_i]);
    struct weights_model *model = fixture_open(source);
    ck_assert_ptr_null(model->head.weight.data);
    ck_assert_ptr_null(model->head_dense.weight.data);
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_bert(&checkpoint, "", "F32");
    const float *type =
        fixture_find(&checkpoint, "embeddings.token_type_embeddings.weight")->values;
    const float *position =
        fixture_find(&checkpoint, "embeddings.position_embeddings.weight")->values;
    ck_assert_int_eq(model->position.dtype, WEIGHTS_F32);
    for (int i = 0; i < HIDDEN; i++) {
        ck_assert(fixture_value(&model->token_type, 0, i) == type[HIDDEN + i] - type[i]);
        for (int row = 0; row < WINDOW; row++)
            ck_assert(fixture_value(&model->position, row, i) ==
                      position[row * HIDDEN + i] + type[i]);
    }
    write_as(model, "x", written[_i]);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    compare(model, read, written[_i]);
    compare_configuration(model, read);
    weights_free(read);
    weights_free(model);
    fixture_clear(&checkpoint);
}
END_TEST

/* Names with a prefix, gamma and beta, buffers and heads that are not served: all lead to the same
 * model. */
START_TEST(reads_other_bert_names)
{
    fixture_bert_directory(source, "F32");
    struct weights_model *plain = fixture_open(source);
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_bert(&checkpoint, "", "F32");
    for (int i = 0; i < checkpoint.count; i++) {
        char *name = checkpoint.tensors[i].name, *end;
        if ((end = strstr(name, "LayerNorm.weight")))
            strcpy(end, "LayerNorm.gamma");
        else if ((end = strstr(name, "LayerNorm.bias")))
            strcpy(end, "LayerNorm.beta");
        memmove(name + 5, name, strlen(name) + 1);
        memcpy(name, "bert.", 5);
    }
    fixture_add(&checkpoint, "bert.embeddings.position_ids", "F32", 1, WINDOW);
    fixture_add(&checkpoint, "bert.pooler.dense.bias", "F32", 0, HIDDEN);
    fixture_add(&checkpoint, "cls.predictions.bias", "F32", 0, VOCAB);
    fixture_safetensors(source, "model.safetensors", &checkpoint, 0, checkpoint.count);
    fixture_edit(source, "config.json", fixture_bert_config, "BertModel", "BertForMaskedLM");
    struct weights_model *other = fixture_open(source);
    compare(plain, other, WEIGHTS_F32);
    weights_free(plain);
    weights_free(other);
    fixture_clear(&checkpoint);
}
END_TEST

START_TEST(reads_bert_heads)
{
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_bert(&checkpoint, "bert.", "F32");
    fixture_add(&checkpoint, "bert.pooler.dense.weight", "F32", HIDDEN, HIDDEN);
    fixture_add(&checkpoint, "bert.pooler.dense.bias", "F32", 0, HIDDEN);
    fixture_add(&checkpoint, "classifier.weight", "F32", 2, HIDDEN);
    fixture_add(&checkpoint, "classifier.bias", "F32", 0, 2);
    fixture_safetensors(source, "model.safetensors", &checkpoint, 0, checkpoint.count);
    fixture_text(source, "tokenizer.json", fixture_tokenizer);
    fixture_edit(source, "config.json", fixture_bert_config, "BertModel",
                 "BertForSequenceClassification");
    struct weights_model *model = fixture_open(source);
    ck_assert_int_eq(model->config.head_activation, WEIGHTS_TANH);
    ck_assert(fixture_value(&model->head_dense.weight, 1, 2) ==
              fixture_find(&checkpoint, "bert.pooler.dense.weight")->values[HIDDEN + 2]);
    ck_assert(fixture_value(&model->head.bias, 0, 1) ==
              fixture_find(&checkpoint, "classifier.bias")->values[1]);
    weights_free(model);
    fixture_edit(source, "config.json", fixture_bert_config, "BertModel",
                 "BertForTokenClassification");
    model = fixture_open(source);
    ck_assert_ptr_null(model->head_dense.weight.data);
    ck_assert_ptr_nonnull(model->head.weight.data);
    weights_free(model);
    strcpy(fixture_find(&checkpoint, "classifier.weight")->name, "qa_outputs.weight");
    strcpy(fixture_find(&checkpoint, "classifier.bias")->name, "qa_outputs.bias");
    fixture_safetensors(source, "model.safetensors", &checkpoint, 0, checkpoint.count);
    fixture_edit(source, "config.json", fixture_bert_config, "BertModel",
                 "BertForQuestionAnswering");
    model = fixture_open(source);
    ck_assert_int_eq(model->config.task, WEIGHTS_TASK_QUESTION_ANSWERING);
    ck_assert(fixture_value(&model->head.weight, 1, 3) ==
              fixture_find(&checkpoint, "qa_outputs.weight")->values[HIDDEN + 3]);
    write_as(model, "x", WEIGHTS_I8);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    compare(model, read, WEIGHTS_I8);
    compare_configuration(model, read);
    weights_free(read);
    weights_free(model);
    fixture_clear(&checkpoint);
}
END_TEST

/* A checkpoint with one token type has nothing to add for the second text of a pair. */
START_TEST(reads_one_token_type)
{
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_bert(&checkpoint, "", "F32");
    struct fixture_tensor *types =
        fixture_find(&checkpoint, "embeddings.token_type_embeddings.weight");
    types->shape[0] = 1;
    types->count = HIDDEN;
    fixture_safetensors(source, "model.safetensors", &checkpoint, 0, checkpoint.count);
    fixture_text(source, "tokenizer.json", fixture_tokenizer);
    fixture_edit(source, "config.json", fixture_bert_config, "\"type_vocab_size\": 2",
                 "\"type_vocab_size\": 1");
    struct weights_model *model = fixture_open(source);
    ck_assert_ptr_null(model->token_type.data);
    write_as(model, "x", WEIGHTS_F32);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    ck_assert_ptr_null(read->token_type.data);
    weights_free(read);
    weights_free(model);
    fixture_clear(&checkpoint);
}
END_TEST

static void same_bytes(const char *one, const char *two)
{
    size_t size, other;
    unsigned char *a = fixture_read(fixture_path(output, one), &size);
    unsigned char *b = fixture_read(fixture_path(output, two), &other);
    ck_assert_uint_eq(size, other);
    ck_assert_mem_eq(a, b, size);
    free(a);
    free(b);
}

/* The same source gives the same bytes, and so does converting what was converted. */
START_TEST(is_deterministic)
{
    fixture_distilbert_directory(source, "F16");
    struct weights_model *model = fixture_open(source);
    write_as(model, "a", written[_i]);
    write_as(model, "b", written[_i]);
    same_bytes("a", "b");
    struct weights_model *read = fixture_open(fixture_path(output, "a"));
    write_as(read, "b", written[_i]);
    same_bytes("a", "b");
    weights_free(read);
    /* The values of fp16 survive a detour through fp32. */
    write_as(model, "wide", WEIGHTS_F32);
    read = fixture_open(fixture_path(output, "wide"));
    write_as(read, "b", written[_i]);
    same_bytes("a", "b");
    weights_free(read);
    weights_free(model);
}
END_TEST

static void visit(void *context, const struct weights_entry *entry)
{
    size_t *next = context;
    ck_assert_ptr_nonnull(entry->name);
    /* In file order, and aligned for their type. */
    ck_assert_uint_eq(
        *next % (strcmp(entry->dtype, "F32") ? strcmp(entry->dtype, "F16") ? 1 : 2 : 4), 0);
    *next += entry->bytes;
}

START_TEST(is_aligned)
{
    fixture_bert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    write_as(model, "x", written[_i]);
    weights_free(model);
    model = fixture_open(fixture_path(output, "x"));
    size_t total = 0, size;
    weights_each(model, visit, &total);
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    ck_assert_uint_eq((8 + header) % 64, 0);
    ck_assert_uint_eq(8 + header + total, size);
    free(bytes);
    weights_free(model);
}
END_TEST

/* No byte of a file can change without it being refused, at opening or by its digest. */
START_TEST(notices_every_change)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    write_as(model, "x", written[_i]);
    weights_free(model);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    size_t step = size / 1500 + 1;
    int by_digest = 0, at_opening = 0;
    for (size_t at = 0; at < size; at += step) {
        distil_error error = {.message = ""};
        bytes[at] ^= 1u << at % 8;
        fixture_write(output, "y", bytes, size);
        bytes[at] ^= 1u << at % 8;
        distil_status status = weights_open(&model, fixture_path(output, "y"), &error);
        at_opening += status != DISTIL_OK;
        if (status)
            continue;
        ck_assert_msg(weights_verify(model, &error) == DISTIL_FORMAT, "byte %zu", at);
        by_digest++;
        weights_free(model);
    }
    ck_assert_int_gt(by_digest, 100);
    ck_assert_int_gt(at_opening, 100);
    free(bytes);
}
END_TEST

/* A copy is another file, and so is one that was written to, though both state the same digest. */
START_TEST(knows_the_same_file)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    fixture_distilbert_directory(source, "F32");
    struct weights_model *directory = fixture_open(source), *again = fixture_open(source);
    ck_assert(!weights_same(directory, again)); /* whose files nobody remembers */
    write_as(directory, "x", WEIGHTS_F32);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    fixture_write(output, "y", bytes, size);
    struct weights_model *first = fixture_open(fixture_path(output, "x"));
    struct weights_model *second = fixture_open(fixture_path(output, "x"));
    struct weights_model *copy = fixture_open(fixture_path(output, "y"));
    ck_assert(weights_same(first, second));
    ck_assert(!weights_same(first, directory));
    ck_assert_str_eq(first->digest, copy->digest);
    ck_assert(!weights_same(first, copy));
    ck_assert_int_eq(utimensat(AT_FDCWD, fixture_path(output, "x"), times, 0), 0);
    struct weights_model *touched = fixture_open(fixture_path(output, "x"));
    ck_assert(!weights_same(first, touched));
    weights_free(touched);
    weights_free(copy);
    weights_free(second);
    weights_free(first);
    weights_free(again);
    weights_free(directory);
    free(bytes);
}
END_TEST

START_TEST(refuses_every_cut)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    write_as(model, "x", WEIGHTS_I8);
    weights_free(model);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    for (size_t cut = 0; cut < size; cut += 13) {
        fixture_write(output, "y", bytes, cut);
        fixture_refused(fixture_path(output, "y"), DISTIL_FORMAT, 1, "/y: ");
    }
    free(bytes);
}
END_TEST

/* Edits that keep the length of the header, and what the message must say. */
static const struct {
    const char *from, *to;
    distil_status status;
    const char *message;
} edits[] = {
    {"format_version\":\"1\"", "format_version\":\"3\"", DISTIL_UNSUPPORTED,
     "distild.format_version: this distild reads up to 2, found 3: the file needs a newer distild"},
    {"format_version\":\"1\"", "format_version\":\"x\"", DISTIL_FORMAT,
     "distild.format_version: expected a number"},
    {"distild.format_version", "distild.format_versio_", DISTIL_FORMAT,
     "expected a distild model file"},
    {"distild.digest\":\"", "distild.digest\":\"Z", DISTIL_FORMAT,
     "distild.digest: expected 64 digits in lower-case hex"},
    {"\\\"heads\\\":2", "\\\"heads\\\":3", DISTIL_FORMAT, "distild.config: 3 heads do not divide"},
    {"\\\"layers\\\":2", "\\\"layers\\\":3", DISTIL_FORMAT,
     "tensor layers.2.attention.query.weight is missing"},
    {"\\\"layers\\\":2", "\\\"layers\\\":1", DISTIL_FORMAT, "is not expected"},
    {"\\\"layers\\\":2", "\\\"layers\\\":0", DISTIL_FORMAT,
     "distild.config: layers: expected an integer from 1"},
    {"\\\"vocab\\\":12", "\\\"vocab\\\":13", DISTIL_FORMAT,
     "tensor embeddings.word: expected shape [13, 8], found [12, 8]"},
    {"\\\"vocab\\\":12", "\\\"vocab\\\": 9", DISTIL_FORMAT, "expected an id below 9"},
    {"\\\"gelu\\\"", "\\\"relu\\\"", DISTIL_UNSUPPORTED, "activation"},
    {"\\\"unk\\\":1", "\\\"unk\\\":x", DISTIL_FORMAT, "distild.tokenizer: malformed JSON"},
    {"\"embeddings.word\":", "\"embeddings.w0rd\":", DISTIL_FORMAT,
     "tensor embeddings.word is missing"},
    {"embeddings.word.scale", "embeddings.word.scal_", DISTIL_FORMAT,
     "tensor embeddings.word.scale: expected F32 scales for the I8 rows of embeddings.word, found "
     "nothing"},
    {"{\"dtype\":\"I8\"", "{\"dtype\":\"U8\"", DISTIL_FORMAT,
     "dtype: expected F32, F16 or I8, found U8"},
};

START_TEST(refuses_edits)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    write_as(model, "x", WEIGHTS_I8);
    weights_free(model);
    size_t size, length = strlen(edits[_i].to);
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    unsigned char *at = memmem(bytes, size, edits[_i].from, strlen(edits[_i].from));
    ck_assert_ptr_nonnull(at);
    memcpy(at, edits[_i].to, length);
    fixture_write(output, "y", bytes, size);
    free(bytes);
    fixture_refused(fixture_path(output, "y"), edits[_i].status, 2, "/y: ", edits[_i].message);
}
END_TEST

/* A file may be replaced while it is in use, by itself too. */
START_TEST(replaces_a_file_in_use)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    write_as(model, "x", WEIGHTS_F32);
    struct weights_model *used = fixture_open(fixture_path(output, "x"));
    write_as(used, "x", WEIGHTS_I8);
    compare(model, used, WEIGHTS_F32);
    struct weights_model *now = fixture_open(fixture_path(output, "x"));
    compare(model, now, WEIGHTS_I8);
    weights_free(now);
    weights_free(used);
    weights_free(model);
    weights_free(NULL);
}
END_TEST

START_TEST(keeps_added_tokens)
{
    fixture_distilbert_directory(source, "F32");
    fixture_edit(source, "tokenizer.json", fixture_tokenizer, "\"normalized\": false}],",
                 "\"normalized\": false}, {\"id\": 11, \"content\": \"a \\\"new\\\"\\ttoken\\\\\", "
                 "\"special\": false, \"single_word\": true, \"lstrip\": true, \"rstrip\": false, "
                 "\"normalized\": true}],");
    struct weights_model *model = fixture_open(source);
    ck_assert_str_eq(model->tokenizer.tokens[11], "a \"new\"\ttoken\\");
    write_as(model, "x", WEIGHTS_F16);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    compare_configuration(model, read);
    ck_assert(read->tokenizer.added[5].outside);
    weights_free(read);
    weights_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model file");
    TCase *tests = tcase_create("conversion");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, converts_distilbert, 0, 3);
    tcase_add_loop_test(tests, converts_bert, 0, 3);
    tcase_add_test(tests, reads_other_bert_names);
    tcase_add_test(tests, reads_bert_heads);
    tcase_add_test(tests, reads_one_token_type);
    tcase_add_loop_test(tests, is_deterministic, 0, 3);
    tcase_add_loop_test(tests, is_aligned, 0, 3);
    tcase_add_loop_test(tests, notices_every_change, 0, 3);
    tcase_add_test(tests, knows_the_same_file);
    tcase_add_test(tests, refuses_every_cut);
    tcase_add_loop_test(tests, refuses_edits, 0, (int)(sizeof edits / sizeof *edits));
    tcase_add_test(tests, replaces_a_file_in_use);
    tcase_add_test(tests, keeps_added_tokens);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
