#include "tests/engine/comparison.h"

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weights/weights.h"

static bool read_arguments(struct comparison *comparison, int argc, char **argv)
{
    if (argc < 3)
        return false;
    comparison->fixture = argv[2];
    for (int i = 3; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--reduced") == 0)
            comparison->reduced = true;
        else if (strcmp(argv[i], "--cases") == 0 && more)
            comparison->cases = argv[++i];
        else if (strcmp(argv[i], "--store") == 0 && more)
            comparison->store = argv[++i];
        else if (strcmp(argv[i], "--tolerance") == 0 && more)
            comparison->tolerance = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--split-tolerance") == 0 && more)
            comparison->split_tolerance = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--texts") == 0 && more)
            comparison->most_texts = strtol(argv[++i], NULL, 10);
        else
            return false;
    }
    return true;
}

/* Finds what MODEL names; false where "shared:" leads nowhere. */
static bool find_model(struct comparison *comparison, const char *name)
{
    const char *shared = getenv("DISTILD_SHARED"), *source = getenv("DISTILD_SOURCE_DIR");
    if (strncmp(name, "shared:", 7) != 0) {
        snprintf(comparison->model, sizeof(comparison->model), "%s", name);
        return true;
    }
    if (shared)
        snprintf(comparison->model, sizeof(comparison->model), "%s/%s", shared, name + 7);
    else
        snprintf(comparison->model, sizeof(comparison->model), "%s/../shared/%s",
                 source ? source : ".", name + 7);
    return access(comparison->model, R_OK) == 0;
}

/* Converts the model to a file of the type of --store in the temporary directory, and goes on with the file. */
static bool store(struct comparison *comparison)
{
    static const enum weights_dtype dtypes[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    const char *directory = getenv("TMPDIR");
    char path[sizeof(comparison->model)];
    struct weights_model *model = NULL;
    distil_error error = {.message = "no such type"};
    distil_status status = DISTIL_INVALID;
    snprintf(path, sizeof(path), "%s/comparison-%ld.distild", directory ? directory : "/tmp",
             (long)getpid());
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(*dtypes); i++) {
        if (strcmp(comparison->store, weights_dtype_name(dtypes[i])) != 0)
            continue;
        status = weights_open(&model, comparison->model, &error);
        if (status == DISTIL_OK)
            status = weights_write(model, path, dtypes[i], NULL, NULL, NULL, &error);
        weights_free(model);
    }
    if (status != DISTIL_OK)
        fprintf(stderr, "--store %s: %s\n", comparison->store, error.message);
    memcpy(comparison->model, path, sizeof(path));
    return status == DISTIL_OK;
}

int comparison_begin(struct comparison *comparison, int argc, char **argv)
{
    *comparison = (struct comparison){.tolerance = 1e-4, .most_texts = LONG_MAX};
    if (!read_arguments(comparison, argc, argv)) {
        fprintf(
            stderr,
            "usage: %s MODEL FIXTURE [--cases FILE] [--reduced] [--store DTYPE] [--tolerance X] "
            "[--split-tolerance X] [--texts N]\n",
            argv[0]);
        return 2;
    }
    if (!find_model(comparison, argv[1])) {
        printf("skipped: %s is not there (DISTILD_SHARED names its parent)\n", comparison->model);
        return 77;
    }
    if (comparison->store && !store(comparison)) {
        comparison_end(comparison);
        return 1;
    }
    return 0;
}

void comparison_end(const struct comparison *comparison)
{
    if (comparison->store)
        unlink(comparison->model);
}

double comparison_bound(const struct comparison *comparison, const distil_model *model)
{
    const bool split = strcmp(distil_model_info(model)->cpu, "amx") == 0;
    return split && comparison->split_tolerance > 0 ? comparison->split_tolerance
                                                    : comparison->tolerance;
}

int comparison_texts(const struct comparison *comparison, const int32_t *offsets, int texts,
                     int hidden, long most)
{
    int count = 0;
    for (long work = 0; count < texts && count < comparison->most_texts; count++) {
        work += (long)(offsets[count + 1] - offsets[count]) * hidden * hidden;
        if (work > most)
            break;
    }
    return count;
}

bool subject_open(struct subject *subject, const char *model, const distil_options *options,
                  const int32_t *ids, const int32_t *offsets, int texts)
{
    const char *required = getenv("DISTILD_REQUIRE_LEVELS");
    distil_error error;
    memset(subject, 0, sizeof(*subject));
    distil_status status = distil_model_open(model, options, &subject->model, &error);
    if (status == DISTIL_UNSUPPORTED && !(required && strstr(required, options->cpu))) {
        printf("%s %s: skipped: %s\n", options->precision, options->cpu, error.message);
        return false;
    }
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_str_eq(distil_model_info(subject->model)->cpu, options->cpu);
    ck_assert_str_eq(distil_model_info(subject->model)->precision, options->precision);
    status = distil_session_create(subject->model, 0, &subject->session, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    subject->texts = calloc((size_t)texts, sizeof(distil_tokens *));
    ck_assert_ptr_nonnull(subject->texts);
    subject->count = texts;
    for (int i = 0; i < texts; i++) {
        status = distil_tokens_from_ids(subject->model, ids + offsets[i],
                                        offsets[i + 1] - offsets[i], &subject->texts[i], &error);
        ck_assert_msg(status == DISTIL_OK, "text %d: %s", i, error.message);
    }
    return true;
}

void subject_close(struct subject *subject)
{
    for (int i = 0; i < subject->count; i++)
        distil_tokens_free(subject->texts[i]);
    free(subject->texts);
    distil_session_free(subject->session);
    distil_model_free(subject->model);
}
