/* model_comparison.c: see model_comparison.h. */
#include "model_comparison.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "fixture.h"
#include "weights/names.h"

/* The type that a file of `dtype` stores a tensor in. */
static enum weights_dtype stored_dtype(const struct weights_slot *slot, enum weights_dtype dtype)
{
    if (slot->vector)
        return WEIGHTS_F32;
    if (dtype == WEIGHTS_I8 && strcmp(slot->name, "embeddings.position") == 0)
        return WEIGHTS_F16;
    return dtype;
}

void compare_models(const struct weights_model *a, const struct weights_model *b,
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

void compare_configurations(const struct weights_model *a, const struct weights_model *b)
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
