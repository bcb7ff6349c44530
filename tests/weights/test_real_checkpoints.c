/* The real checkpoints that the build has beside it, converted and compared value by value. DISTILD_SHARED names where
 * they are; skipped without them. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fixture.h"
#include "tests/suite.h"
#include "weights/names.h"

enum { SKIP = 77 };

static char checkpoint[4096];

static void compare(const struct weights_model *a, const struct weights_model *b,
                    const struct weights_slot *slot)
{
    const struct weights_tensor *x = weights_slot_tensor_const(a, slot);
    const struct weights_tensor *y = weights_slot_tensor_const(b, slot);
    ck_assert_int_eq(x->rows, y->rows);
    ck_assert_int_eq(x->cols, y->cols);
    for (long row = 0; row < x->rows; row++) {
        float largest = 0, worst = 0;
        for (long col = 0; col < x->cols; col++) {
            float before = fixture_value(x, row, col);
            largest = fmaxf(largest, fabsf(before));
            worst = fmaxf(worst, fabsf(before - fixture_value(y, row, col)));
        }
        float scale = largest / 127;
        if (y->dtype == WEIGHTS_I8)
            ck_assert(y->scale[row] == scale);
        ck_assert_msg(worst <= (y->dtype == WEIGHTS_I8 ? 0.5001f * scale : 0), "%s row %ld: %g",
                      slot->name, row, (double)worst);
    }
}

START_TEST(converts_every_tensor)
{
    static const enum weights_dtype types[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    char *directory = fixture_directory();
    const char *path = fixture_path(directory, "x");
    struct weights_model *model = fixture_open(checkpoint);
    ck_assert_int_eq(model->config.task, WEIGHTS_TASK_SEQUENCE_CLASSIFICATION);
    ck_assert_int_eq(model->tokenizer.count, 30522);
    ck_assert_str_eq(model->config.labels[1], "POSITIVE");
    distil_error error = {.message = ""};
    ck_assert_msg(weights_write(model, path, types[_i], NULL, NULL, NULL, &error) == DISTIL_OK,
                  "%s", error.message);
    struct weights_model *read = fixture_open(path);
    ck_assert_msg(weights_verify(read, &error) == DISTIL_OK, "%s", error.message);
    for (int i = 0; i < model->tokenizer.count; i++)
        ck_assert_str_eq(model->tokenizer.tokens[i], read->tokenizer.tokens[i]);
    int count = weights_slot_count(&model->config);
    ck_assert_int_eq(count, 4 + 6 * 16 + 4);
    for (int i = 0; i < count; i++) {
        struct weights_slot slot;
        weights_slot_at(&slot, &model->config, i);
        compare(model, read, &slot);
        const struct weights_tensor *tensor = weights_slot_tensor_const(read, &slot);
        if (!slot.vector && tensor->rows > 2) /* mapped at a multiple of 64 */
            ck_assert_uint_eq((uintptr_t)tensor->data % 64, 0);
    }
    weights_free(read);
    weights_free(model);
    fixture_remove(directory);
}
END_TEST

int main(void)
{
    const char *shared = getenv("DISTILD_SHARED"), *root = getenv("DISTILD_SOURCE_DIR");
    struct stat info;
    if (shared)
        snprintf(checkpoint, sizeof checkpoint, "%s/models/sst2-minilm", shared);
    else
        snprintf(checkpoint, sizeof checkpoint, "%s/../shared/models/sst2-minilm",
                 root ? root : ".");
    if (stat(checkpoint, &info)) {
        fprintf(stderr, "skipped: %s is not there\n", checkpoint);
        return SKIP;
    }
    Suite *suite = suite_create("real checkpoints");
    TCase *tests = tcase_create("conversion");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, converts_every_tensor, 0, 3);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
