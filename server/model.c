/* model.c: see model.h. */
#include "server/model.h"

#include <stdlib.h>
#include <string.h>

#include "server/projection.h"

const char *server_model_task(distil_task task)
{
    static const char *const names[SERVER_TASKS] = {
        [DISTIL_TASK_NONE] = "embedding",
        [DISTIL_TASK_CLASSIFY] = "sequence-classification",
        [DISTIL_TASK_TOKENS] = "token-classification",
        [DISTIL_TASK_ANSWER] = "question-answering",
    };
    return names[task];
}

const char *server_model_pooling(distil_pooling pooling)
{
    static const char *const names[] = {
        [DISTIL_POOLING_MEAN] = "mean", [DISTIL_POOLING_CLS] = "cls", [DISTIL_POOLING_MAX] = "max"};
    return names[pooling];
}

/* A model whose labels are exactly NEGATIVE and POSITIVE answers in terms of sentiment. */
static void find_sentiment(struct server_model *model)
{
    int i;
    model->positive = model->negative = -1;
    if (model->info->task != DISTIL_TASK_CLASSIFY || model->info->label_count != 2 ||
        model->info->problem != DISTIL_SOFTMAX)
        return;
    for (i = 0; i < 2; i++) {
        const char *label = distil_label(model->model, i);
        const char *other = distil_label(model->model, 1 - i);
        if (strcmp(label, "POSITIVE") == 0 && strcmp(other, "NEGATIVE") == 0) {
            model->positive = i;
            model->negative = 1 - i;
        }
    }
}

size_t server_model_width(const struct server_model *model, const distil_tokens *text)
{
    switch (model->info->task) {
    case DISTIL_TASK_NONE:
        return (size_t)model->info->hidden;
    case DISTIL_TASK_CLASSIFY:
        return (size_t)model->info->label_count + SERVER_PROJECTION;
    case DISTIL_TASK_TOKENS:
    case DISTIL_TASK_ANSWER:
        break;
    }
    return (size_t)model->info->label_count * (size_t)distil_tokens_count(text);
}

/* Floats of the largest batch: of many texts, or of one alone that is longer than a batch may be. */
static size_t largest_output(const distil_info *info, int batch_texts)
{
    size_t texts = (size_t)batch_texts, window = (size_t)info->window;
    size_t tokens = DISTIL_EMPTY_TOKENS * texts > window ? DISTIL_EMPTY_TOKENS * texts : window;
    if (info->task == DISTIL_TASK_NONE)
        return texts * (size_t)info->hidden;
    if (info->task == DISTIL_TASK_CLASSIFY)
        return texts * (size_t)(info->label_count + SERVER_PROJECTION);
    return tokens * (size_t)(info->label_count + 1);
}

/* Logits of each text, and behind them the projection of what they were made of. */
static distil_status classify(const struct server_model *model, const struct server_seat *seat,
                              const distil_tokens *const *texts, int count, distil_error *error)
{
    size_t labels = (size_t)model->info->label_count, width = labels + SERVER_PROJECTION;
    size_t hidden = (size_t)model->info->hidden;
    distil_status status =
        distil_logits_first(seat->session, texts, count, seat->output, seat->first, error);
    int i;
    /* from the last on, as they move to where nothing lies that has yet to move */
    for (i = count - 1; i >= 0; i--) {
        float *output = seat->output + (size_t)i * width;
        memmove(output, seat->output + (size_t)i * labels, labels * sizeof(float));
        server_project(seat->first + (size_t)i * hidden, (int)hidden, output + labels);
    }
    return status;
}

distil_status server_model_compute(const struct server_model *model, const struct server_seat *seat,
                                   const distil_tokens *const *texts, int count,
                                   distil_error *error)
{
    switch (model->info->task) {
    case DISTIL_TASK_NONE:
        return distil_pool(seat->session, texts, count, seat->output, error);
    case DISTIL_TASK_CLASSIFY:
        return classify(model, seat, texts, count, error);
    case DISTIL_TASK_ANSWER:
        return distil_spans(seat->session, texts, count, seat->output, error);
    case DISTIL_TASK_TOKENS:
        break;
    }
    return distil_fail(error, DISTIL_TASK, "%s classifies tokens, which nothing asks for",
                       model->info->path);
}

static distil_status make_seats(struct server_model *model, const struct server_lanes *lanes,
                                int batch_texts, distil_error *error)
{
    size_t floats = largest_output(model->info, batch_texts);
    int i;
    model->seats = calloc((size_t)lanes->count, sizeof(*model->seats));
    model->costs = calloc((size_t)lanes->kinds, sizeof(*model->costs));
    if (!model->seats || !model->costs)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a model");
    model->lane_count = lanes->count;
    for (i = 0; i < lanes->count; i++) {
        const struct server_lane *lane = &lanes->each[i];
        struct server_seat *seat = &model->seats[i];
        distil_status status =
            distil_session_create(model->model, lane->cores, &seat->session, error);
        if (status)
            return status;
        seat->output = malloc(floats * sizeof(float));
        if (model->info->task == DISTIL_TASK_CLASSIFY)
            seat->first = calloc((size_t)batch_texts, (size_t)model->info->hidden * sizeof(float));
        if (!seat->output || (model->info->task == DISTIL_TASK_CLASSIFY && !seat->first))
            return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a model");
        server_cost_init(&model->costs[lane->kind], model->info, lane->cores);
    }
    return DISTIL_OK;
}

distil_status server_model_open(struct server_model *model,
                                const struct server_model_options *options,
                                const struct server_lanes *lanes, int batch_texts,
                                distil_error *error)
{
    distil_status status;
    memset(model, 0, sizeof(*model));
    status = distil_model_open(options->path, &options->engine, &model->model, error);
    if (status)
        return status;
    model->name = options->name ? options->name : SERVER_DEFAULT_MODEL;
    model->info = distil_model_info(model->model);
    find_sentiment(model);
    if (options->verify)
        status = distil_model_verify(model->model, error);
    model->predictions = calloc((size_t)model->info->label_count + 1, sizeof(atomic_ullong));
    if (!status && !model->predictions)
        status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the model's counters");
    if (!status)
        status = make_seats(model, lanes, batch_texts, error);
    if (!status)
        status = distil_self_test(model->seats[0].session, error);
    if (status)
        server_model_close(model);
    return status;
}

int server_model_best(const struct server_model *model, const float *scores)
{
    int best = 0, i;
    for (i = 1; i < model->info->label_count; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

void server_model_count(const struct server_model *model, const float *logits)
{
    int i;
    if (model->info->problem != DISTIL_SIGMOID) {
        i = server_model_best(model, logits);
        atomic_fetch_add_explicit(&model->predictions[i], 1, memory_order_relaxed);
        return;
    }
    for (i = 0; i < model->info->label_count; i++)
        if (logits[i] >= 0)
            atomic_fetch_add_explicit(&model->predictions[i], 1, memory_order_relaxed);
}

static bool same_labels(const struct server_model *a, const struct server_model *b)
{
    int i;
    if (a->info->label_count != b->info->label_count)
        return false;
    for (i = 0; i < a->info->label_count; i++)
        if (strcmp(distil_label(a->model, i), distil_label(b->model, i)) != 0)
            return false;
    return true;
}

void server_model_inherit(struct server_model *model, struct server_model *before)
{
    int i;
    if (!same_labels(model, before))
        return;
    for (i = 0; i < model->info->label_count; i++)
        atomic_fetch_add(&model->predictions[i], atomic_exchange(&before->predictions[i], 0));
}

void server_model_close(struct server_model *model)
{
    int i;
    if (!model)
        return;
    for (i = 0; i < model->lane_count; i++) {
        distil_session_free(model->seats[i].session);
        free(model->seats[i].output);
        free(model->seats[i].first);
    }
    free(model->seats);
    free(model->costs);
    distil_model_free(model->model);
    free(model->predictions);
    memset(model, 0, sizeof(*model));
}
