/* models.c: see models.h. */
#include "server/models.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A model and how many requests use it. */
struct held {
    struct server_model model; /* first: the two share their address */
    int users;
};

struct server_models {
    const struct server_options *options;
    const struct server_lanes *lanes;
    int count;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t left;  /* a model lost its last user */
    struct held **each;   /* (count); NULL until it is loaded */
};

static const char *name_of(const struct server_model_options *options)
{
    return options->name ? options->name : SERVER_DEFAULT_MODEL;
}

static distil_status check_names(const struct server_options *options, distil_error *error)
{
    int i, k;
    for (i = 0; i < options->model_count; i++) {
        const char *name = name_of(&options->models[i]);
        if (!*name)
            return distil_fail(error, DISTIL_INVALID, "model %d has an empty name", i + 1);
        for (k = 0; k < i; k++)
            if (strcmp(name, name_of(&options->models[k])) == 0)
                return distil_fail(error, DISTIL_INVALID, "two models are named \"%s\"", name);
    }
    return DISTIL_OK;
}

distil_status server_models_create(const struct server_options *options,
                                   const struct server_lanes *lanes, struct server_models **models,
                                   distil_error *error)
{
    struct server_models *made;
    distil_status status = check_names(options, error);
    if (status)
        return status;
    made = calloc(1, sizeof(*made));
    if (!made || !(made->each = calloc((size_t)options->model_count, sizeof(struct held *)))) {
        free(made);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the models");
    }
    made->options = options;
    made->lanes = lanes;
    made->count = options->model_count;
    pthread_mutex_init(&made->lock, NULL); /* neither can fail on Linux */
    pthread_cond_init(&made->left, NULL);
    *models = made;
    return DISTIL_OK;
}

static void free_held(struct held *held)
{
    if (!held)
        return;
    server_model_close(&held->model);
    free(held);
}

void server_models_free(struct server_models *models)
{
    int i;
    if (!models)
        return;
    for (i = 0; i < models->count; i++)
        free_held(models->each[i]);
    free(models->each);
    pthread_cond_destroy(&models->left);
    pthread_mutex_destroy(&models->lock);
    free(models);
}

/* Opens a model, which nobody uses yet. */
static distil_status open_held(const struct server_models *models, int i, bool verify,
                               struct held **held, distil_error *error)
{
    const struct server_options *options = models->options;
    struct server_model_options chosen = options->models[i];
    distil_status status;
    chosen.verify |= verify;
    *held = calloc(1, sizeof(**held));
    if (!*held)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a model");
    status = server_model_open(&(*held)->model, &chosen, models->lanes,
                               server_batch_texts(options->max_batch_tokens), error);
    if (status) {
        free(*held);
        *held = NULL;
    }
    return status;
}

distil_status server_models_load(struct server_models *models, distil_error *error)
{
    distil_status status = DISTIL_OK;
    int i;
    for (i = 0; i < models->count && !status; i++)
        status = open_held(models, i, models->options->verify, &models->each[i], error);
    return status;
}

/* Puts a model in its place, and waits until nobody uses the one before. Returns that. */
static struct held *put(struct server_models *models, int i, struct held *held)
{
    struct held *before;
    pthread_mutex_lock(&models->lock);
    before = models->each[i];
    models->each[i] = held;
    while (before->users > 0)
        pthread_cond_wait(&models->left, &models->lock);
    pthread_mutex_unlock(&models->lock);
    return before;
}

distil_status server_models_swap(struct server_models *models, int i, struct server_queue *queue,
                                 enum server_swap *swap, distil_error *error)
{
    struct held *held, *before = models->each[i]; /* replaced by this thread alone */
    distil_status status = open_held(models, i, true, &held, error);
    if (status)
        return status;
    /* whoever asks for what the one before does would be answered no more */
    if (held->model.info->task != before->model.info->task) {
        status = distil_fail(error, DISTIL_TASK,
                             "%s: the model is for %s, and cannot replace one for %s",
                             held->model.info->path, server_model_task(held->model.info->task),
                             server_model_task(before->model.info->task));
        free_held(held);
        return status;
    }
    /* The digest of the one before is what its file states: it may have been served unread, damaged. */
    if (distil_model_same_file(held->model.model, before->model.model) &&
        strcmp(held->model.info->digest, before->model.info->digest) == 0) {
        *swap = SERVER_UNCHANGED;
        free_held(held);
        return DISTIL_OK;
    }
    server_queue_inherit(queue, &held->model, &before->model);
    server_model_inherit(&held->model, &before->model);
    *swap = SERVER_SWAPPED;
    before = put(models, i, held);
    server_model_inherit(&held->model, &before->model); /* what was counted since */
    free_held(before);
    return DISTIL_OK;
}

int server_models_count(const struct server_models *models)
{
    return models->count;
}

struct server_model *server_models_use_at(struct server_models *models, int i)
{
    struct held *held;
    pthread_mutex_lock(&models->lock);
    held = models->each[i];
    held->users++;
    pthread_mutex_unlock(&models->lock);
    return &held->model;
}

struct server_model *server_models_use(struct server_models *models, const char *name)
{
    int i;
    for (i = 0; i < models->count; i++)
        if (strcmp(name, name_of(&models->options->models[i])) == 0)
            return server_models_use_at(models, i);
    return NULL;
}

struct server_model *server_models_use_task(struct server_models *models, distil_task task)
{
    struct held *held = NULL;
    int i;
    pthread_mutex_lock(&models->lock);
    for (i = 0; i < models->count && !held; i++)
        if (models->each[i]->model.info->task == task)
            held = models->each[i];
    if (held)
        held->users++;
    pthread_mutex_unlock(&models->lock);
    return held ? &held->model : NULL;
}

void server_models_leave(struct server_models *models, struct server_model *model)
{
    struct held *held = (struct held *)(void *)model;
    if (!model)
        return;
    pthread_mutex_lock(&models->lock);
    if (--held->users == 0)
        pthread_cond_signal(&models->left);
    pthread_mutex_unlock(&models->lock);
}
