#include "tools/recommend_texts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/estimator.h"
#include "tools/progress.h"

enum { BATCH = 32 };

/* An encoder at work. */
struct encoder {
    distil_model *model;
    distil_session *session;
    int width;
    distil_tokens *tokens[BATCH];
    struct tool_progress progress;
    size_t done, total; /* texts */
};

static void close_encoder(struct encoder *encoder)
{
    for (int i = 0; i < BATCH; i++)
        distil_tokens_free(encoder->tokens[i]);
    distil_session_free(encoder->session);
    distil_model_free(encoder->model);
}

static distil_status open_encoder(struct encoder *encoder,
                                  const struct tool_model_settings *settings, distil_error *error)
{
    distil_status status = tool_open_model(settings, &encoder->model, error);
    if (!status && distil_model_info(encoder->model)->task != DISTIL_TASK_NONE)
        status = distil_fail(error, DISTIL_TASK,
                             "%s: the model has a head, so it is no encoder of sentences",
                             distil_model_info(encoder->model)->path);
    if (!status)
        status =
            distil_session_create(encoder->model, (int)settings->threads, &encoder->session, error);
    if (!status)
        encoder->width = distil_model_info(encoder->model)->hidden;
    return status;
}

/* Text i of films or users. */
typedef const char *text_source(const struct tool_movielens *data, int i, char *room);

static const char *text_of_film(const struct tool_movielens *data, int i, char *room)
{
    (void)room;
    return data->items[i].text;
}

static const char *text_of_user(const struct tool_movielens *data, int i, char *room)
{
    server_profile_render(server_profile_template, &data->users[i].profile, room,
                          SERVER_PROFILE_TEXT);
    return room;
}

static void scale_to_one(float *vector, int width)
{
    double squares = 0;
    for (int i = 0; i < width; i++)
        squares += (double)vector[i] * (double)vector[i];
    for (int i = 0; i < width && squares > 0; i++)
        vector[i] = (float)((double)vector[i] / sqrt(squares));
}

/* Embeds count texts: (count, width), each of length 1. */
static distil_status embed(struct encoder *encoder, const struct tool_movielens *data,
                           text_source *source, int count, float *vectors, distil_error *error)
{
    char room[SERVER_PROFILE_TEXT];
    distil_status status = DISTIL_OK;
    for (int first = 0; first < count && !status; first += BATCH) {
        int n = count - first < BATCH ? count - first : BATCH;
        float *out = vectors + (size_t)first * (size_t)encoder->width;
        for (int i = 0; i < n && !status; i++) {
            const char *text = source(data, first + i, room);
            status = distil_encode(encoder->model, text, strlen(text), NULL, 0,
                                   DISTIL_TRUNCATE_RIGHT, &encoder->tokens[i], error);
        }
        if (!status)
            status = distil_embed(encoder->session, (const distil_tokens *const *)encoder->tokens,
                                  n, out, error);
        for (int i = 0; i < n && !status; i++)
            scale_to_one(out + (size_t)i * (size_t)encoder->width, encoder->width);
        encoder->done += (size_t)n;
        tool_progress_update(&encoder->progress, encoder->done, encoder->total,
                             (long)encoder->done);
    }
    return status;
}

struct vectors {
    const float *each;
    int width;
};

static void take_vector(const void *context, int i, float *vector)
{
    const struct vectors *vectors = context;
    memcpy(vector, vectors->each + (size_t)i * (size_t)vectors->width,
           (size_t)vectors->width * sizeof *vector);
}

/* Of each user with each film. */
static distil_status compare(const struct tool_movielens *data, const float *users,
                             const float *films, int width, int8_t *similarities,
                             distil_error *error)
{
    size_t n = (size_t)data->item_count, w = (size_t)width;
    float *cosines = malloc(n * sizeof *cosines);
    if (!cosines)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %zu similarities", n);
    for (size_t user = 0; user < (size_t)data->user_count; user++) {
        for (size_t i = 0; i < n; i++) {
            float sum = 0;
            for (size_t k = 0; k < w; k++)
                sum += users[user * w + k] * films[i * w + k];
            cosines[i] = sum;
        }
        server_similarity_standardise(cosines, (int)n);
        for (size_t i = 0; i < n; i++)
            similarities[user * n + i] = (int8_t)lrintf(16 * cosines[i]);
    }
    free(cosines);
    return DISTIL_OK;
}

distil_status tool_recommend_texts_make(const struct tool_movielens *data,
                                        const struct tool_model_settings *model,
                                        struct tool_recommend_texts *texts, distil_error *error)
{
    struct encoder encoder = {0};
    size_t users = (size_t)data->user_count, films = (size_t)data->item_count;
    float *user_vectors = NULL, *film_vectors = NULL;
    distil_status status = open_encoder(&encoder, model, error);
    if (status)
        goto out;
    user_vectors = malloc(users * (size_t)encoder.width * sizeof *user_vectors);
    film_vectors = malloc(films * (size_t)encoder.width * sizeof *film_vectors);
    texts->components = malloc(films * SERVER_COMPONENTS * sizeof *texts->components);
    texts->similarities = malloc(users * films);
    if (!user_vectors || !film_vectors || !texts->components || !texts->similarities) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for %zu users and %zu films",
                             users, films);
        goto out;
    }
    encoder.total = users + films;
    tool_progress_start(&encoder.progress, "embedding", "texts", true);
    status = embed(&encoder, data, text_of_film, data->item_count, film_vectors, error);
    if (!status)
        status = embed(&encoder, data, text_of_user, data->user_count, user_vectors, error);
    tool_progress_end(&encoder.progress);
    const struct vectors vectors = {film_vectors, encoder.width};
    if (!status)
        status = server_components_compute(data->item_count, encoder.width, take_vector, &vectors,
                                           texts->components, error);
    if (!status)
        status =
            compare(data, user_vectors, film_vectors, encoder.width, texts->similarities, error);
out:
    free(user_vectors);
    free(film_vectors);
    close_encoder(&encoder);
    return status;
}

void tool_recommend_texts_free(struct tool_recommend_texts *texts)
{
    free(texts->components);
    free(texts->similarities);
}
