/* Whole checkpoints with one thing wrong: each is refused with a message that names the file and
 * the tensor or field. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "tests/suite.h"

static char *directory;
static struct fixture_checkpoint checkpoint;

static void setup(void)
{
    directory = fixture_directory();
    fixture_text(directory, "config.json", fixture_distilbert_config);
    fixture_text(directory, "tokenizer.json", fixture_tokenizer);
    fixture_distilbert(&checkpoint, "distilbert.", "F32");
    fixture_add(&checkpoint, "pre_classifier.weight", "F32", HIDDEN, HIDDEN);
    fixture_add(&checkpoint, "pre_classifier.bias", "F32", 0, HIDDEN);
    fixture_add(&checkpoint, "classifier.weight", "F32", LABELS, HIDDEN);
    fixture_add(&checkpoint, "classifier.bias", "F32", 0, LABELS);
}

static void teardown(void)
{
    fixture_clear(&checkpoint);
    fixture_remove(directory);
}

static void write_model(void)
{
    fixture_safetensors(directory, "model.safetensors", &checkpoint, 0, checkpoint.count);
}

START_TEST(accepts_the_fixture)
{
    write_model();
    weights_free(fixture_open(directory));
}
END_TEST

START_TEST(refuses_missing_tensors)
{
    /* Each in turn, so that no tensor is optional by mistake. */
    struct fixture_checkpoint all = checkpoint;
    for (int i = 0; i < all.count; i++) {
        checkpoint = all;
        checkpoint.tensors[i] = checkpoint.tensors[--checkpoint.count];
        write_model();
        /* Without the word table the prefix cannot be told, and the name is given without it. */
        const char *name = all.tensors[i].name;
        const char *told = strstr(name, "word_embeddings") ? strchr(name, '.') + 1 : name;
        fixture_refused(directory, DISTIL_FORMAT, 3, "model.safetensors: tensor ", told,
                        "is missing: expected shape [");
    }
    checkpoint = all;
}
END_TEST

START_TEST(refuses_misshapen_tensors)
{
    struct fixture_tensor *tensor =
        fixture_find(&checkpoint, "distilbert.transformer.layer.1.ffn.lin1.weight");
    tensor->shape[0] = HIDDEN;
    tensor->shape[1] = FFN;
    write_model();
    fixture_refused(
        directory, DISTIL_FORMAT, 2, "model.safetensors: tensor ",
        "distilbert.transformer.layer.1.ffn.lin1.weight: expected shape [16, 8], found [8, 16]");
    tensor->rank = 1;
    tensor->shape[0] = FFN * HIDDEN;
    write_model();
    fixture_refused(directory, DISTIL_FORMAT, 1, "expected shape [16, 8], found [128]");
}
END_TEST

START_TEST(refuses_other_head_size)
{
    fixture_edit(directory, "config.json", fixture_distilbert_config, ", \"2\": \"good\"", "");
    write_model();
    fixture_refused(directory, DISTIL_FORMAT, 1,
                    "tensor classifier.weight: expected shape [2, 8], found [3, 8]");
}
END_TEST

START_TEST(refuses_other_layer_counts)
{
    fixture_edit(directory, "config.json", fixture_distilbert_config, "\"n_layers\": 2",
                 "\"n_layers\": 3");
    write_model();
    fixture_refused(directory, DISTIL_FORMAT, 1,
                    "tensor distilbert.transformer.layer.2.attention.q_lin.weight is missing");
    fixture_edit(directory, "config.json", fixture_distilbert_config, "\"n_layers\": 2",
                 "\"n_layers\": 1");
    fixture_refused(directory, DISTIL_FORMAT, 2, "tensor distilbert.transformer.layer.1.",
                    "not expected in a DistilBertForSequenceClassification of 1 layers");
}
END_TEST

START_TEST(refuses_extra_tensors)
{
    fixture_add(&checkpoint, "distilbert.transformer.layer.0.attention.rotary", "F32", 0, 2);
    write_model();
    fixture_refused(directory, DISTIL_FORMAT, 2, "model.safetensors: tensor ",
                    "distilbert.transformer.layer.0.attention.rotary: not expected");
    fixture_drop(&checkpoint, "distilbert.transformer.layer.0.attention.rotary");
    fixture_edit(directory, "config.json", fixture_distilbert_config, "ForSequenceClassification",
                 "Model");
    write_model();
    fixture_refused(directory, DISTIL_FORMAT, 1,
                    "pre_classifier.weight: not expected in a DistilBertModel");
}
END_TEST

static const float bad_values[] = {NAN, INFINITY, -INFINITY};
static const char *const float_types[] = {"F32", "F16", "BF16"};

START_TEST(refuses_values_that_are_not_finite)
{
    for (int i = 0; i < 3; i++) {
        struct fixture_tensor *tensor =
            fixture_find(&checkpoint, "distilbert.embeddings.word_embeddings.weight");
        float before = tensor->values[17];
        tensor->values[17] = bad_values[_i];
        for (int j = 0; j < checkpoint.count; j++)
            checkpoint.tensors[j].dtype = float_types[i];
        write_model();
        fixture_refused(
            directory, DISTIL_FORMAT, 2, "model.safetensors: tensor ",
            "word_embeddings.weight: expected finite values, found NaN or infinity at element 17");
        tensor->values[17] = before;
        tensor = fixture_find(&checkpoint, "classifier.bias");
        before = tensor->values[2];
        tensor->values[2] = bad_values[_i];
        write_model();
        fixture_refused(directory, DISTIL_FORMAT, 1,
                        "tensor classifier.bias: expected finite values");
        tensor->values[2] = before;
    }
}
END_TEST

START_TEST(refuses_other_types)
{
    fixture_find(&checkpoint, "classifier.bias")->dtype = "I16"; /* as wide as F16 */
    write_model();
    fixture_refused(directory, DISTIL_UNSUPPORTED, 1,
                    "tensor classifier.bias: dtype: expected F32, F16 or BF16, found I16");
}
END_TEST

START_TEST(refuses_missing_files)
{
    fixture_refused(directory, DISTIL_NOT_FOUND, 2, directory, "expected model.safetensors or");
    fixture_text(directory, "pytorch_model.bin", "x");
    fixture_refused(directory, DISTIL_NOT_FOUND, 1, "found pytorch_model.bin: save it with");
    write_model();
    unlink(fixture_path(directory, "tokenizer.json"));
    fixture_refused(directory, DISTIL_NOT_FOUND, 1, "vocab.txt");
    unlink(fixture_path(directory, "config.json"));
    fixture_refused(directory, DISTIL_NOT_FOUND, 1, "config.json: cannot open");
    fixture_refused(fixture_path(directory, "no/such"), DISTIL_NOT_FOUND, 1,
                    "no/such: cannot open");
}
END_TEST

START_TEST(refuses_special_files)
{
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json"};
    write_model();
    for (int i = 0; i < 3; i++) {
        const char *path = fixture_path(directory, names[i]),
                   *kept = fixture_path(directory, "kept");
        ck_assert_int_eq(rename(path, kept), 0);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        fixture_refused(directory, DISTIL_FORMAT, 2, names[i],
                        "expected a regular file, found a FIFO");
        unlink(path);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        fixture_refused(directory, DISTIL_FORMAT, 2, names[i],
                        "expected a regular file, found a directory");
        rmdir(path);
        ck_assert_int_eq(symlink("/dev/zero", path), 0);
        fixture_refused(directory, DISTIL_FORMAT, 2, names[i],
                        "expected a regular file, found a device");
        unlink(path);
        ck_assert_int_eq(symlink("kept", path), 0); /* as model caches have them */
        weights_free(fixture_open(directory));
        unlink(path);
        ck_assert_int_eq(rename(fixture_path(directory, "kept"), fixture_path(directory, names[i])),
                         0);
    }
    ck_assert_int_eq(mkfifo(fixture_path(directory, "fifo"), 0600), 0);
    fixture_refused(fixture_path(directory, "fifo"), DISTIL_FORMAT, 1, "found a FIFO");
    fixture_refused("/dev/zero", DISTIL_FORMAT, 1, "found a device");
}
END_TEST

START_TEST(refuses_cut_files)
{
    write_model();
    const char *path = fixture_path(directory, "model.safetensors");
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(truncate(path, info.st_size - 1), 0);
    fixture_refused(directory, DISTIL_FORMAT, 2, "model.safetensors: tensor classifier.bias",
                    "is the file cut off?");
    fixture_refused(path, DISTIL_FORMAT, 1, "model.safetensors");
}
END_TEST

/* Two shards and an index with every tensor in it; extra goes into the index before the map's end.
 */
static void write_shards(const char *second, const char *extra)
{
    static char index[1 << 16];
    int half = checkpoint.count / 2;
    size_t used = (size_t)snprintf(index, sizeof index, "{\"metadata\": {}, \"weight_map\": {");
    fixture_safetensors(directory, "model-00001-of-00002.safetensors", &checkpoint, 0, half);
    fixture_safetensors(directory, "model-00002-of-00002.safetensors", &checkpoint, half,
                        checkpoint.count);
    for (int i = 0; i < checkpoint.count; i++)
        used += (size_t)snprintf(index + used, sizeof index - used, "%s\"%s\": \"%s\"",
                                 i ? ", " : "", checkpoint.tensors[i].name,
                                 i < half ? "model-00001-of-00002.safetensors" : second);
    snprintf(index + used, sizeof index - used, "%s}}", extra);
    fixture_text(directory, "model.safetensors.index.json", index);
}

START_TEST(reads_shards)
{
    write_shards("model-00002-of-00002.safetensors", "");
    struct weights_model *model = fixture_open(directory);
    const struct fixture_tensor *last = fixture_find(&checkpoint, "classifier.weight");
    for (int i = 0; i < LABELS * HIDDEN; i++)
        ck_assert(fixture_value(&model->head.weight, i / HIDDEN, i % HIDDEN) == last->values[i]);
    weights_free(model);
}
END_TEST

static const char *const shard_names[] = {
    "../model-00002-of-00002.safetensors",
    "/etc/model.safetensors",
    "..",
    "sub/model.safetensors",
    "model-00002-of-00002.bin",
    ".safetensors",
    "",
};

START_TEST(refuses_shard_names)
{
    write_shards(shard_names[_i], "");
    fixture_refused(directory, DISTIL_FORMAT, 3,
                    "model.safetensors.index.json: weight_map: tensor distilbert.",
                    "in the same directory, found the string", shard_names[_i]);
}
END_TEST

START_TEST(refuses_bad_indexes)
{
    write_shards("model-00003-of-00002.safetensors", "");
    fixture_refused(directory, DISTIL_NOT_FOUND, 1,
                    "model-00003-of-00002.safetensors: cannot open");
    write_shards("model-00001-of-00002.safetensors", "");
    fixture_refused(directory, DISTIL_FORMAT, 2,
                    "model-00001-of-00002.safetensors: expected tensor ",
                    "index.json says is in it");
    write_shards("model-00002-of-00002.safetensors", ", \"more\": 3");
    fixture_refused(directory, DISTIL_FORMAT, 1, "weight_map: tensor more: expected the name");
    write_shards("model-00002-of-00002.safetensors",
                 ", \"more\": \"model-00002-of-00002.safetensors\"");
    fixture_refused(directory, DISTIL_FORMAT, 1, "expected tensor more, which");
    fixture_text(directory, "model.safetensors.index.json", "{\"weight_map\": []}");
    fixture_refused(directory, DISTIL_FORMAT, 1,
                    "weight_map: expected an object with tensors, found an array");
    /* A tensor that the shards have and the index does not. */
    write_shards("model-00002-of-00002.safetensors", "");
    fixture_add(&checkpoint, "unlisted", "F32", 0, 2);
    fixture_safetensors(directory, "model-00002-of-00002.safetensors", &checkpoint,
                        (checkpoint.count - 1) / 2, checkpoint.count);
    fixture_refused(directory, DISTIL_FORMAT, 1, "index.json: weight_map: expected the");
    /* The same tensor in both shards. */
    fixture_safetensors(directory, "model-00002-of-00002.safetensors", &checkpoint, 0,
                        checkpoint.count - 1);
    fixture_refused(directory, DISTIL_FORMAT, 1, "index.json: weight_map: expected the");
}
END_TEST

START_TEST(refuses_too_many_tokens)
{
    fixture_edit(directory, "config.json", fixture_distilbert_config, "\"vocab_size\": 12",
                 "\"vocab_size\": 9");
    struct fixture_tensor *word =
        fixture_find(&checkpoint, "distilbert.embeddings.word_embeddings.weight");
    word->shape[0] = 9;
    word->count = 9 * HIDDEN;
    write_model();
    fixture_refused(directory, DISTIL_FORMAT, 2, "tokenizer.json: ",
                    "expected an id below 9, the rows of the word embeddings, found the number 9");
}
END_TEST

START_TEST(refuses_other_safetensors)
{
    write_model();
    fixture_refused(fixture_path(directory, "model.safetensors"), DISTIL_FORMAT, 2,
                    "model.safetensors: ", "give the directory that has its config.json");
    fixture_refused(fixture_path(directory, "config.json"), DISTIL_FORMAT, 1,
                    "config.json: expected a safetensors file, such as a model");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad weights");
    TCase *tests = tcase_create("checkpoints");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, accepts_the_fixture);
    tcase_add_test(tests, refuses_missing_tensors);
    tcase_add_test(tests, refuses_misshapen_tensors);
    tcase_add_test(tests, refuses_other_head_size);
    tcase_add_test(tests, refuses_other_layer_counts);
    tcase_add_test(tests, refuses_extra_tensors);
    tcase_add_loop_test(tests, refuses_values_that_are_not_finite, 0, 3);
    tcase_add_test(tests, refuses_other_types);
    tcase_add_test(tests, refuses_missing_files);
    tcase_add_test(tests, refuses_special_files);
    tcase_add_test(tests, refuses_cut_files);
    tcase_add_test(tests, reads_shards);
    tcase_add_loop_test(tests, refuses_shard_names, 0,
                        (int)(sizeof shard_names / sizeof *shard_names));
    tcase_add_test(tests, refuses_bad_indexes);
    tcase_add_test(tests, refuses_too_many_tokens);
    tcase_add_test(tests, refuses_other_safetensors);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
