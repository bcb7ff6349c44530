/* config.json: what each field comes to, and what is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tests/suite.h"
#include "weights/config.h"

static char *directory;
static struct weights_arena arena;
static struct weights_config config;
static struct weights_source_config source;
static distil_error error;

static void setup(void)
{
    directory = fixture_directory();
}

static void teardown(void)
{
    weights_arena_free(&arena);
    fixture_remove(directory);
}

static distil_status read_edited(const char *text, const char *from, const char *to)
{
    fixture_edit(directory, "config.json", text, from, to);
    config = (struct weights_config){0};
    error.message[0] = '\0';
    return weights_read_config(&config, &source, &arena, fixture_path(directory, "config.json"),
                               &error);
}

START_TEST(reads_distilbert)
{
    ck_assert_int_eq(read_edited(fixture_distilbert_config, "{", "{"), DISTIL_OK);
    ck_assert_int_eq(config.architecture, WEIGHTS_DISTILBERT);
    ck_assert_int_eq(config.task, WEIGHTS_TASK_SEQUENCE_CLASSIFICATION);
    ck_assert_int_eq(config.problem, WEIGHTS_SINGLE_LABEL);
    ck_assert_int_eq(config.head_activation, WEIGHTS_RELU);
    ck_assert_int_eq(config.hidden, 8);
    ck_assert_int_eq(config.layers, 2);
    ck_assert_int_eq(config.heads, 2);
    ck_assert_int_eq(config.ffn, 16);
    ck_assert_int_eq(config.vocab, 12);
    ck_assert_int_eq(config.window, 6);
    ck_assert(config.norm_eps == 1e-12f);
    ck_assert_int_eq(config.label_count, 3);
    ck_assert_str_eq(config.labels[0], "bad");
    ck_assert_str_eq(config.labels[2], "good");
    ck_assert_str_eq(source.architecture, "DistilBertForSequenceClassification");
}
END_TEST

START_TEST(reads_bert)
{
    ck_assert_int_eq(read_edited(fixture_bert_config, "{", "{"), DISTIL_OK);
    ck_assert_int_eq(config.architecture, WEIGHTS_BERT);
    ck_assert_int_eq(config.task, WEIGHTS_TASK_NONE);
    ck_assert_int_eq(config.head_activation, WEIGHTS_TANH);
    ck_assert(config.norm_eps == 1e-6f);
    ck_assert_int_eq(config.label_count, 0);
    ck_assert_int_eq(source.token_types, 2);
}
END_TEST

START_TEST(reads_variants)
{
    const char *base = fixture_distilbert_config;
    ck_assert_int_eq(read_edited(base, "false,", "true,"), DISTIL_OK); /* sinusoidal_pos_embds */
    ck_assert_int_eq(read_edited(base, "\"activation\": \"gelu\"", "\"activation\": null"),
                     DISTIL_OK);
    ck_assert_int_eq(read_edited(base, "ForSequenceClassification", "Model"), DISTIL_OK);
    ck_assert_int_eq(config.task, WEIGHTS_TASK_NONE);
    ck_assert_int_eq(config.label_count, 0);
    ck_assert_int_eq(read_edited(base, "[\"DistilBertForSequenceClassification\"]", "null"),
                     DISTIL_OK);
    ck_assert_int_eq(config.task, WEIGHTS_TASK_NONE);
    ck_assert_int_eq(read_edited(base, "ForSequence", "ForToken"), DISTIL_OK);
    ck_assert_int_eq(config.task, WEIGHTS_TASK_TOKEN_CLASSIFICATION);
    ck_assert_int_eq(read_edited(base, "\"id2label\"", "\"num_labels\": 3, \"id2label\""),
                     DISTIL_OK);
    ck_assert_int_eq(read_edited(base, "\"id2label\"", "\"unused\""), DISTIL_OK);
    ck_assert_int_eq(config.label_count, 2);
    ck_assert_str_eq(config.labels[1], "LABEL_1");
    ck_assert_int_eq(read_edited(base, "\"id2label\"", "\"num_labels\": 4, \"unused\""), DISTIL_OK);
    ck_assert_int_eq(config.label_count, 4);
    ck_assert_str_eq(config.labels[3], "LABEL_3");
    ck_assert_int_eq(read_edited(base, "\"id2label\"",
                                 "\"problem_type\": \"multi_label_classification\", \"id2label\""),
                     DISTIL_OK);
    ck_assert_int_eq(config.problem, WEIGHTS_MULTI_LABEL);
    ck_assert_int_eq(
        read_edited(base, "\"id2label\"", "\"problem_type\": \"regression\", \"id2label\""),
        DISTIL_OK);
    ck_assert_int_eq(config.problem, WEIGHTS_REGRESSION);
    ck_assert_int_eq(read_edited(base, "\"id2label\"", "\"num_labels\": 1, \"unused\""), DISTIL_OK);
    ck_assert_int_eq(config.problem, WEIGHTS_REGRESSION);
}
END_TEST

/* An edit of a configuration, and what the message must say. */
static const struct {
    const char *config, *from, *to;
    distil_status status;
    const char *message;
} bad[] = {
#define D fixture_distilbert_config
#define B fixture_bert_config
    {D, "\"distilbert\"", "\"roberta\"", DISTIL_UNSUPPORTED,
     "model_type: expected \"distilbert\" or \"bert\", found \"roberta\""},
    {D, "\"model_type\"", "\"model\"", DISTIL_FORMAT,
     "model_type: expected a string, found nothing"},
    {D, "DistilBertForSequenceClassification", "DistilBertForMultipleChoice", DISTIL_UNSUPPORTED,
     "architectures: \"DistilBertForMultipleChoice\""},
    {D, "DistilBertForSequenceClassification", "BertModel", DISTIL_UNSUPPORTED, "BertModel"},
    {D, "[\"DistilBertForSequenceClassification\"]", "\"x\"", DISTIL_FORMAT,
     "architectures: expected an array"},
    {D, "[\"DistilBertForSequenceClassification\"]", "[]", DISTIL_FORMAT,
     "architectures: expected an array"},
    {D, "\"gelu\"", "\"gelu_new\"", DISTIL_UNSUPPORTED,
     "activation: expected \"gelu\" (by erf), found \"gelu_new\""},
    {D, "\"n_heads\": 2", "\"n_heads\": 3", DISTIL_FORMAT,
     "3 heads do not divide a hidden size of 8"},
    {D, "\"n_heads\": 2", "\"n_heads\": 0", DISTIL_FORMAT, "n_heads: expected an integer from 1"},
    {D, "\"dim\": 8", "\"dim\": -8", DISTIL_FORMAT,
     "dim: expected an integer from 1 to 65536, found the number -8"},
    {D, "\"dim\": 8", "\"dim\": 8.5", DISTIL_FORMAT, "dim: expected an integer"},
    {D, "\"dim\": 8", "\"dim\": \"8\"", DISTIL_FORMAT,
     "dim: expected an integer from 1 to 65536, found the string \"8\""},
    {D, "\"dim\": 8", "\"dim\": 1e300", DISTIL_FORMAT, "dim: expected an integer"},
    {D, "\"dim\": 8", "\"dim\": null", DISTIL_FORMAT,
     "dim: expected an integer from 1 to 65536, found nothing"},
    {D, "\"n_layers\": 2", "\"n_layers\": 2147483647", DISTIL_FORMAT,
     "n_layers: expected an integer from 1 to 256, found the number 2147483647"},
    {D, "\"n_layers\": 2", "\"n_layers\": 0", DISTIL_FORMAT, "n_layers"},
    {D, "\"hidden_dim\": 16", "\"hidden_dim\": 0", DISTIL_FORMAT, "hidden_dim"},
    {D, "\"vocab_size\": 12", "\"vocab_size\": 99999999999", DISTIL_FORMAT, "vocab_size"},
    {D, "\"max_position_embeddings\": 6", "\"max_position_embeddings\": 0", DISTIL_FORMAT,
     "max_position_embeddings"},
    {D, "\"id2label\"", "\"problem_type\": \"x\", \"id2label\"", DISTIL_FORMAT,
     "problem_type: expected"},
    {D, "\"id2label\"", "\"num_labels\": 2, \"id2label\"", DISTIL_FORMAT,
     "id2label: expected 2 labels, found 3"},
    {D, "\"2\": \"good\"", "\"3\": \"good\"", DISTIL_FORMAT,
     "id2label: expected each of 0 to 2 once"},
    {D, "\"2\": \"good\"", "\"x\": \"good\"", DISTIL_FORMAT, "found \"x\""},
    {D, "\"2\": \"good\"", "\"00\": \"good\"", DISTIL_FORMAT, "found \"00\""},
    {D, "\"2\": \"good\"", "\"2\": 2", DISTIL_FORMAT,
     "id2label: 2: expected a string, found the number 2"},
    {D, "\"2\": \"good\"", "\"2\": \"bad\"", DISTIL_FORMAT, "the label \"bad\" appears twice"},
    {D, "\"2\": \"good\"", "\"1\": \"good\"", DISTIL_FORMAT, "\"1\" appears twice"},
    {D, "ForSequenceClassification", "ForQuestionAnswering", DISTIL_UNSUPPORTED,
     "question answering: expected 2 labels (start and end), found 3"},
    {D, "}}", "}", DISTIL_FORMAT, "malformed JSON"},
    {D, "\"bad\"", "\"b\xc3\"", DISTIL_FORMAT, "not valid UTF-8"},
    {B, "\"gelu\"", "\"relu\"", DISTIL_UNSUPPORTED,
     "hidden_act: expected \"gelu\" (by erf), found \"relu\""},
    {B, "\"absolute\"", "\"relative_key\"", DISTIL_UNSUPPORTED,
     "position_embedding_type: expected \"absolute\", found \"relative_key\""},
    {B, "1e-06", "0", DISTIL_FORMAT, "layer_norm_eps: expected a number"},
    {B, "1e-06", "\"x\"", DISTIL_FORMAT, "layer_norm_eps: expected a number"},
    {B, "\"type_vocab_size\": 2", "\"type_vocab_size\": 0", DISTIL_FORMAT, "type_vocab_size"},
    {B, "\"hidden_act\"", "\"is_decoder\": true, \"hidden_act\"", DISTIL_UNSUPPORTED,
     "is_decoder: expected false"},
    {B, "\"hidden_act\"", "\"is_decoder\": 1, \"hidden_act\"", DISTIL_FORMAT,
     "is_decoder: expected true or false"},
    {B, "BertModel", "BertLMHeadModel", DISTIL_UNSUPPORTED, "BertLMHeadModel"},
    {B, "\"num_attention_heads\": 2", "\"num_attention_heads\": 5", DISTIL_FORMAT, "5 heads"},
};

START_TEST(refuses)
{
    ck_assert_int_eq(read_edited(bad[_i].config, bad[_i].from, bad[_i].to), bad[_i].status);
    ck_assert_msg(strstr(error.message, bad[_i].message) != NULL, "expected \"%s\" in: %s",
                  bad[_i].message, error.message);
    ck_assert_msg(strstr(error.message, "config.json: ") != NULL, "expected the file in: %s",
                  error.message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config.json");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, reads_distilbert);
    tcase_add_test(tests, reads_bert);
    tcase_add_test(tests, reads_variants);
    tcase_add_loop_test(tests, refuses, 0, (int)(sizeof bad / sizeof *bad));
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
