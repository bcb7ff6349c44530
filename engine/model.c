#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/bundled.h"
#include "engine/cpus.h"
#include "engine/level.h"
#include "engine/memory.h"
#include "engine/team.h"
#include "weights/pack.h"

/* Matrices of one layer, in the order of their pack jobs. */
enum { QKV, OUTPUT, UP, DOWN, LAYER_MATRICES };

/* Everything that loading packs, shared by the threads that do it. */
struct packing {
    struct distil_model *model;
    struct engine_team *team;
    struct weights_pack_job *jobs;
    int count;
    long *first_panel; /* (count + 1): panels of all jobs before this one */
    char *scratch;     /* one piece a thread */
    size_t scratch_size;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static const char *const precision_names[KERN_SCHEMES] = {[KERN_F32] = "fp32",
                                                          [KERN_BF16] = "bf16",
                                                          [KERN_INT8] = "int8",
                                                          [KERN_SPLIT_BF16] = "fp32",
                                                          [KERN_INT7] = "int8"};

/* How a level computes a precision fastest within its accuracy: fp32 by three to five bf16 products where there
 * are tiles for them, int8 with fewer bits where that pays. */
static enum kern_scheme fastest_scheme(const struct kern_table *kernels, enum kern_scheme precision)
{
    if (precision == KERN_F32 && kernels->level == KERN_AMX)
        return KERN_SPLIT_BF16;
    return precision == KERN_INT8 ? kernels->fast_int8 : precision;
}

/* Integer products without instructions made for them are no faster than float ones. */
static enum kern_scheme fastest_precision(enum kern_level level)
{
    return level >= KERN_DOTPROD ? KERN_INT8 : KERN_F32;
}

static distil_status choose_scheme(const distil_options *options, const struct kern_table *kernels,
                                   enum kern_scheme *scheme, distil_error *error)
{
    const char *name = options ? options->precision : NULL;
    *scheme = fastest_scheme(kernels, fastest_precision(kernels->level));
    if (!name || !*name)
        return DISTIL_OK;
    for (int i = 0; i < KERN_SCHEMES; i++) {
        if (precision_names[i] && strcmp(name, precision_names[i]) == 0) {
            *scheme = fastest_scheme(kernels, (enum kern_scheme)i);
            return DISTIL_OK;
        }
    }
    return distil_fail(error, DISTIL_INVALID,
                       "precision: expected fp32, bf16 or int8, found '%.40s'", name);
}

static struct weights_pack_job pack_job(const struct distil_model *model, enum kern_scheme scheme,
                                        struct kern_weights *packed,
                                        const struct weights_linear *linear)
{
    return (struct weights_pack_job){
        .table = &model->kernels,
        .scheme = scheme,
        .parts = {linear},
        .part_count = 1,
        .packed = packed,
    };
}

static void list_jobs(struct packing *packing)
{
    struct distil_model *model = packing->model;
    const struct weights_model *weights = model->weights;
    struct weights_pack_job *job = packing->jobs;
    for (int i = 0; i < weights->config.layers; i++) {
        const struct weights_layer *from = &weights->layers[i];
        struct engine_layer *to = &model->layers[i];
        job[QKV] = pack_job(model, model->scheme, &to->qkv, &from->query);
        job[QKV].parts[1] = &from->key;
        job[QKV].parts[2] = &from->value;
        job[QKV].part_count = 3;
        job[OUTPUT] = pack_job(model, model->scheme, &to->output, &from->output);
        job[UP] = pack_job(model, model->scheme, &to->up, &from->up);
        job[DOWN] = pack_job(model, model->scheme, &to->down, &from->down);
        job += LAYER_MATRICES;
    }
    if (weights->head_dense.weight.data)
        *job++ = pack_job(model, model->scheme, &model->head_dense, &weights->head_dense);
    /* The last product is small and decides: it stays in float. */
    if (weights->head.weight.data)
        *job++ = pack_job(model, KERN_F32, &model->head, &weights->head);
    packing->count = (int)(job - packing->jobs);
    for (int i = 0; i < packing->count; i++)
        if (packing->jobs[i].scheme == KERN_F32)
            packing->jobs[i].scheme = weights_held_scheme(&packing->jobs[i]);
}

static void point_norms(struct distil_model *model)
{
    for (int i = 0; i < model->weights->config.layers; i++) {
        const struct weights_layer *from = &model->weights->layers[i];
        struct engine_layer *to = &model->layers[i];
        to->attention_norm =
            (struct engine_norm){from->attention_norm.gamma.data, from->attention_norm.beta.data};
        to->output_norm =
            (struct engine_norm){from->output_norm.gamma.data, from->output_norm.beta.data};
    }
}

/* A team's share of the packing: panels of all matrices, 8 at a time as threads become free. */
static void pack_share(void *context, int thread)
{
    enum { BATCH = 8 };
    const struct packing *packing = context;
    void *scratch = packing->scratch + (size_t)thread * packing->scratch_size;
    long total = packing->first_panel[packing->count];
    int job = 0;
    for (;;) {
        long start = BATCH * engine_team_ticket(packing->team);
        if (start >= total)
            return;
        for (long panel = start; panel < start + BATCH && panel < total; panel++) {
            while (panel >= packing->first_panel[job + 1])
                job++;
            weights_pack_panel(&packing->jobs[job], panel - packing->first_panel[job], scratch);
        }
    }
}

static void fill_positions(struct distil_model *model)
{
    const struct weights_config *config = &model->weights->config;
    for (long i = 0; i < config->window; i++) {
        float *to = model->position + i * config->hidden;
        const float *row = weights_row(&model->weights->position, i, &model->kernels, to);
        if (row != to)
            memcpy(to, row, (size_t)config->hidden * sizeof *to);
    }
}

static distil_status pack_model(struct distil_model *model, distil_error *error)
{
    const struct weights_config *config = &model->weights->config;
    struct packing packing = {.model = model};
    size_t positions = (size_t)config->window * (size_t)config->hidden * sizeof(float);
    size_t deepest = (size_t)(config->ffn > config->hidden ? config->ffn : config->hidden);
    int jobs_most = config->layers * LAYER_MATRICES + 2;
    distil_status status = DISTIL_NO_MEMORY;

    model->layers = calloc((size_t)config->layers, sizeof *model->layers);
    packing.jobs = calloc((size_t)jobs_most, sizeof *packing.jobs);
    packing.first_panel = calloc((size_t)jobs_most + 1, sizeof *packing.first_panel);
    if (!model->layers || !packing.jobs || !packing.first_panel)
        goto no_memory;
    list_jobs(&packing);
    point_norms(model);

    model->memory_size = (positions + 63) / 64 * 64;
    for (int i = 0; i < packing.count; i++) {
        model->memory_size += weights_pack_bytes(&packing.jobs[i]);
        packing.first_panel[i + 1] = packing.first_panel[i] + weights_pack_panels(&packing.jobs[i]);
    }
    model->memory = engine_memory_map(model->memory_size);
    if (!model->memory)
        goto no_memory;
    model->position = model->memory;
    char *memory = (char *)model->memory + (positions + 63) / 64 * 64;
    for (int i = 0; i < packing.count; i++) {
        weights_pack_begin(&packing.jobs[i], memory);
        memory += weights_pack_bytes(&packing.jobs[i]);
    }

    status = engine_team_create(&packing.team, engine_cpu_count(), error);
    if (status)
        goto done;
    packing.scratch_size = weights_pack_scratch((long)deepest);
    packing.scratch =
        engine_memory_map(packing.scratch_size * (size_t)engine_team_threads(packing.team));
    if (!packing.scratch)
        goto no_memory;
    fill_positions(model);
    engine_team_run(packing.team, pack_share, &packing);
    goto done;

no_memory:
    status = distil_fail(error, DISTIL_NO_MEMORY, "%s: no memory to pack the weights",
                         model->weights->path);
done:
    if (packing.team)
        engine_memory_unmap(packing.scratch,
                            packing.scratch_size * (size_t)engine_team_threads(packing.team));
    engine_team_free(packing.team);
    free(packing.jobs);
    free(packing.first_panel);
    return status;
}

static distil_status choose_pooling(const distil_options *options,
                                    const struct weights_config *config, distil_pooling *pooling,
                                    distil_error *error)
{
    static const char *const names[] = {"mean", "cls", "max"};
    const char *name = options ? options->pooling : NULL;
    *pooling = (distil_pooling)config->pooling; /* the two list the same */
    if (!name || !*name)
        return DISTIL_OK;
    for (int i = 0; i < 3; i++) {
        *pooling = (distil_pooling)i;
        if (strcmp(name, names[i]) == 0)
            return DISTIL_OK;
    }
    return distil_fail(error, DISTIL_INVALID, "pooling: expected mean, cls or max, found '%.40s'",
                       name);
}

static distil_task task_of(enum weights_task task)
{
    switch (task) {
    case WEIGHTS_TASK_SEQUENCE_CLASSIFICATION:
        return DISTIL_TASK_CLASSIFY;
    case WEIGHTS_TASK_TOKEN_CLASSIFICATION:
        return DISTIL_TASK_TOKENS;
    case WEIGHTS_TASK_QUESTION_ANSWERING:
        return DISTIL_TASK_ANSWER;
    case WEIGHTS_TASK_NONE:
        break;
    }
    return DISTIL_TASK_NONE;
}

static distil_problem problem_of(enum weights_problem problem)
{
    switch (problem) {
    case WEIGHTS_MULTI_LABEL:
        return DISTIL_SIGMOID;
    case WEIGHTS_REGRESSION:
        return DISTIL_REGRESSION;
    case WEIGHTS_SINGLE_LABEL:
        break;
    }
    return DISTIL_SOFTMAX;
}

static void fill_info(struct distil_model *model)
{
    const struct weights_config *config = &model->weights->config;
    model->info = (distil_info){
        .path = model->weights->path,
        .digest = model->weights->digest,
        .precision = precision_names[model->scheme],
        .cpu = model->kernels.name,
        .task = task_of(config->task),
        .problem = problem_of(config->problem),
        .hidden = config->hidden,
        .layers = config->layers,
        .heads = config->heads,
        .ffn = config->ffn,
        .vocab = config->vocab,
        .window = config->window,
        .label_count = config->label_count,
        .normalize = config->normalize,
    };
}

distil_status distil_model_open(const char *path, const distil_options *options, distil_model **out,
                                distil_error *error)
{
    double start = seconds_now();
    struct distil_model *model = NULL;
    char *bundled = NULL;
    enum kern_level level;
    distil_pooling pooling = DISTIL_POOLING_MEAN;
    distil_status status;

    *out = NULL;
    model = calloc(1, sizeof *model);
    if (!model)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a model");
    status = engine_choose_level(options ? options->cpu : NULL, &level, error);
    if (!status) {
        kern_table_init(&model->kernels, level);
        status = choose_scheme(options, &model->kernels, &model->scheme, error);
    }
    if (!status && !path) {
        status = engine_default_model(&bundled, error);
        path = bundled;
    }
    if (!status)
        status = weights_open(&model->weights, path, error);
    if (!status)
        status = choose_pooling(options, &model->weights->config, &pooling, error);
    if (!status)
        status = engine_tokenizer_create(&model->tokenizer, &model->weights->tokenizer, error);
    if (!status)
        status = pack_model(model, error);
    free(bundled);
    if (status) {
        distil_model_free(model);
        return status;
    }
    fill_info(model);
    model->info.pooling = pooling;
    if (options && options->normalize)
        model->info.normalize = options->normalize > 0;
    model->info.load_seconds = seconds_now() - start;
    *out = model;
    return DISTIL_OK;
}

distil_status distil_model_verify(const distil_model *model, distil_error *error)
{
    return *model->info.digest ? weights_verify(model->weights, error) : DISTIL_OK;
}

int distil_model_same_file(const distil_model *a, const distil_model *b)
{
    return weights_same(a->weights, b->weights);
}

void distil_model_free(distil_model *model)
{
    if (!model)
        return;
    engine_tokenizer_free(model->tokenizer);
    engine_memory_unmap(model->memory, model->memory_size);
    weights_free(model->weights);
    free(model->layers);
    free(model);
}

const distil_info *distil_model_info(const distil_model *model)
{
    return &model->info;
}

const char *distil_label(const distil_model *model, int i)
{
    const struct weights_config *config = &model->weights->config;
    return i >= 0 && i < config->label_count ? config->labels[i] : NULL;
}

const char *distil_token(const distil_model *model, int32_t id)
{
    return engine_token(model->tokenizer, id);
}
