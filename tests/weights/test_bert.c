/* BERT checkpoints: what becomes of their token types, names and heads, and of all that in a model file. */
#include <check.h>
#include <string.h>

#include "directories.h"
#include "fixture.h"
#include "model_comparison.h"
#include "tests/suite.h"

static const enum weights_dtype written[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
static const char *const sources[] = {"F32", "F16", "BF16"};

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
    fixture_convert(output, "x", model, written[_i]);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    compare_models(model, read, written[_i]);
    compare_configurations(model, read);
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
    compare_models(plain, other, WEIGHTS_F32);
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
    fixture_convert(output, "x", model, WEIGHTS_I8);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    compare_models(model, read, WEIGHTS_I8);
    compare_configurations(model, read);
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
    fixture_convert(output, "x", model, WEIGHTS_F32);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    ck_assert_ptr_null(read->token_type.data);
    weights_free(read);
    weights_free(model);
    fixture_clear(&checkpoint);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bert");
    TCase *tests = tcase_create("bert");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, directories_make, directories_remove);
    tcase_add_loop_test(tests, converts_bert, 0, 3);
    tcase_add_test(tests, reads_other_bert_names);
    tcase_add_test(tests, reads_bert_heads);
    tcase_add_test(tests, reads_one_token_type);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
