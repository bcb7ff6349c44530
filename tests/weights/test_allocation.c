/* Every allocation of opening and of writing a model fails in turn: the call says so, and leaves nothing behind. The
 * linker sends the program's allocations through the functions here; cJSON is given them. */
#include <check.h>
#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tests/suite.h"

static bool counting;
static long allocations, failing, live; /* failing: number of the one that fails, 0 for none */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *string);
char *__real_strndup(const char *string, size_t length);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *string);
char *__wrap_strndup(const char *string, size_t length);
void __wrap_free(void *memory);

static bool refuse(void)
{
    return counting && ++allocations == failing;
}

static void *note(void *memory)
{
    live += counting && memory;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : note(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : note(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (refuse())
        return NULL;
    void *moved = __real_realloc(memory, size);
    live += counting && moved && !memory;
    return moved;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return refuse() ? NULL : note(__real_aligned_alloc(alignment, size));
}

char *__wrap_strdup(const char *string)
{
    return refuse() ? NULL : note(__real_strdup(string));
}

char *__wrap_strndup(const char *string, size_t length)
{
    return refuse() ? NULL : note(__real_strndup(string, length));
}

void __wrap_free(void *memory)
{
    live -= counting && memory;
    __real_free(memory);
}

static void begin(long which)
{
    allocations = 0;
    live = 0;
    failing = which;
    counting = true;
}

/* Opens path with the n-th allocation failing, for every n until none fails. */
static void fail_each_opening(const char *path)
{
    long n = 1, refused = 0;
    for (;; n++) {
        struct weights_model *model = NULL;
        distil_error error = {.message = ""};
        begin(n);
        distil_status status = weights_open(&model, path, &error);
        weights_free(model);
        counting = false;
        ck_assert_msg(live == 0, "allocation %ld: %ld left over", n, live);
        if (status == DISTIL_OK) {
            ck_assert_int_lt(allocations, n);
            break;
        }
        refused++;
        ck_assert_ptr_null(model);
        /* cJSON does not tell a lack of memory from malformed text. */
        ck_assert_msg(status == DISTIL_NO_MEMORY || strstr(error.message, "malformed JSON"),
                      "%d: %s", status, error.message);
    }
    ck_assert_int_gt(refused, 50);
}

START_TEST(opening)
{
    char *directory = fixture_directory();
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_distilbert_directory(directory, "F16");
    fail_each_opening(directory);
    struct weights_model *model = fixture_open(directory);
    const char *path = fixture_path(directory, "x");
    ck_assert_int_eq(weights_write(model, path, WEIGHTS_I8, NULL, NULL, NULL, NULL), DISTIL_OK);
    weights_free(model);
    fail_each_opening(path);
    fixture_bert_directory(directory, "BF16");
    remove(fixture_path(directory, "tokenizer.json"));
    fixture_text(directory, "vocab.txt", fixture_vocab);
    fixture_text(directory, "tokenizer_config.json",
                 "{\"added_tokens_decoder\": {\"10\": {\"content\": \"new\", \"special\": true}}}");
    fail_each_opening(directory);
    remove(fixture_path(directory, "model.safetensors"));
    fixture_bert(&checkpoint, "", "F32");
    fixture_safetensors(directory, "one.safetensors", &checkpoint, 0, checkpoint.count);
    static char index[1 << 14];
    size_t used = (size_t)snprintf(index, sizeof index, "{\"weight_map\": {");
    for (int i = 0; i < checkpoint.count; i++)
        used += (size_t)snprintf(index + used, sizeof index - used, "%s\"%s\": \"one.safetensors\"",
                                 i ? ", " : "", checkpoint.tensors[i].name);
    snprintf(index + used, sizeof index - used, "}}");
    fixture_text(directory, "model.safetensors.index.json", index);
    fail_each_opening(directory);
    fixture_clear(&checkpoint);
    fixture_remove(directory);
}
END_TEST

static int count_files(const char *directory)
{
    int count = 0;
    DIR *listing = opendir(directory);
    ck_assert_ptr_nonnull(listing);
    while (readdir(listing))
        count++;
    closedir(listing);
    return count - 2;
}

START_TEST(writing)
{
    char *source = fixture_directory(), *directory = fixture_directory();
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    const char *path = fixture_path(directory, "x");
    long n = 1;
    for (;; n++) {
        distil_error error = {.message = ""};
        begin(n);
        distil_status status = weights_write(model, path, WEIGHTS_I8, NULL, NULL, NULL, &error);
        counting = false;
        ck_assert_msg(live == 0, "allocation %ld: %ld left over", n, live);
        if (status == DISTIL_OK)
            break;
        ck_assert_msg(status == DISTIL_NO_MEMORY, "%d: %s", status, error.message);
        ck_assert_int_le(count_files(directory), 1);
    }
    ck_assert_int_gt(n, 10);
    weights_free(model);
    fixture_remove(directory);
    fixture_remove(source);
}
END_TEST

int main(void)
{
    cJSON_Hooks hooks = {.malloc_fn = __wrap_malloc, .free_fn = __wrap_free};
    cJSON_InitHooks(&hooks);
    const TTest *const tests[] = {opening, writing};
    return run_tests("allocation", 60, tests, sizeof(tests) / sizeof(*tests));
}
