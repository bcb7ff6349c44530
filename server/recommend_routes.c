/* recommend_routes.c: POST /api/recommend, which answers a profile with items of the catalogue, and
 * POST /api/recommend/score, which takes a score for one of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/exchange.h"
#include "server/inputs.h"
#include "server/internal.h"
#include "server/offers.h"
#include "server/recommender.h"
#include "server/routes.h"

enum { USUAL_RECOMMENDATIONS = 10 };

/* ---- what requests say ---- */

/* A field that must be there. False with 400 answered where it is not, or null. */
static bool get(struct server_exchange *exchange, const cJSON *root, const char *field,
                const char *expected, const cJSON **value)
{
    *value = cJSON_GetObjectItemCaseSensitive(root, field);
    if (*value && !cJSON_IsNull(*value))
        return true;
    server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field, "`%s` is missing: %s is expected",
                field, expected);
    return false;
}

/* A whole number from low to high. False with 400 answered for anything else. */
static bool get_integer(struct server_exchange *exchange, const cJSON *value, const char *field,
                        int low, int high, int *number)
{
    char text[SERVER_JSON_NUMBER];
    if (!cJSON_IsNumber(value)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field,
                    "`%s` must be a whole number from %d to %d, not %s", field, low, high,
                    server_json_type(value));
        return false;
    }
    if (!(value->valuedouble >= low && value->valuedouble <= high) ||
        value->valuedouble != trunc(value->valuedouble)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field,
                    "`%s` must be a whole number from %d to %d, not %s", field, low, high,
                    server_json_number(value->valuedouble, text));
        return false;
    }
    *number = (int)value->valuedouble;
    return true;
}

/* A string. False with 400 answered for anything else. */
static bool get_string(struct server_exchange *exchange, const cJSON *root, const char *field,
                       const char **text)
{
    const cJSON *value;
    if (!get(exchange, root, field, "a string", &value))
        return false;
    if (!cJSON_IsString(value)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field, "`%s` must be a string, not %s",
                    field, server_json_type(value));
        return false;
    }
    *text = value->valuestring;
    return true;
}

static bool get_gender(struct server_exchange *exchange, const cJSON *root, int *gender)
{
    const char *name;
    if (!get_string(exchange, root, "gender", &name))
        return false;
    *gender = server_gender_find(name);
    if (*gender < 0)
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "gender",
                    "`gender` must be \"M\", \"F\" or \"O\", not \"%.40s\"", name);
    return *gender >= 0;
}

static bool get_occupation(struct server_exchange *exchange, const cJSON *root, int *occupation)
{
    char known[400] = "";
    const char *name;
    size_t used = 0;
    int i;
    if (!get_string(exchange, root, "occupation", &name))
        return false;
    *occupation = server_occupation_find(name);
    if (*occupation >= 0)
        return true;
    for (i = 0; i < SERVER_OCCUPATIONS; i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, i ? ", %s" : "%s",
                                 server_occupation_name(i));
    server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "occupation",
                "`occupation` must be one of %s, not \"%.40s\"", known, name);
    return false;
}

/* Whether there is a recommender; if not, 503 is answered. */
static bool has_recommender(struct server_exchange *exchange)
{
    const struct server *server = exchange->server;
    if (server_get_state(server) == SERVER_LOADING) {
        exchange->retry_after = 1;
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL, "the scores are being loaded");
        return false;
    }
    if (!server->recommender)
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL, "nothing is recommended here: %s",
                    server->state_dir ? "there is no catalogue of items"
                                      : "there is no state directory to keep scores in");
    return server->recommender != NULL;
}

/* Answers what was not done, of which `failed` says what that means. */
static void fail(struct server_exchange *exchange, enum server_outcome outcome, const char *failed)
{
    if (outcome != SERVER_OUTCOME_FAILED) {
        server_fail_handed(exchange, outcome, "requests to the recommender");
        return;
    }
    exchange->retry_after = 1 + (int)(server_random(exchange->server) % 3);
    server_fail(exchange, 503, SERVER_ERROR_BACKEND, NULL, "%s", failed);
}

/* ---- POST /api/recommend ---- */

static bool read_profile(struct server_exchange *exchange, const cJSON *root,
                         struct server_listing *wanted)
{
    const cJSON *age, *most = cJSON_GetObjectItemCaseSensitive(root, "max_recs");
    wanted->most = USUAL_RECOMMENDATIONS;
    return get(exchange, root, "age", "a whole number", &age) &&
           get_integer(exchange, age, "age", 0, SERVER_AGE_MOST, &wanted->shown.profile.age) &&
           get_gender(exchange, root, &wanted->shown.profile.gender) &&
           get_occupation(exchange, root, &wanted->shown.profile.occupation) &&
           (!most || cJSON_IsNull(most) ||
            get_integer(exchange, most, "max_recs", 1, SERVER_SHOWN_MOST, &wanted->most));
}

static void answer_list(struct server_exchange *exchange)
{
    const struct server_recommender *recommender = exchange->server->recommender;
    const struct server_listing *listing = exchange->request;
    struct server_json json = {0};
    char id[SERVER_SHOWN_TEXT];
    int i;
    if (listing->handed.outcome != SERVER_OUTCOME_DONE) {
        fail(exchange, listing->handed.outcome, "the recommendations could not be made");
        return;
    }
    if (!server_shown_write(&listing->shown, server_recommender_key(recommender), id)) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "no id could be made");
        return;
    }
    server_json_begin_object(&json);
    server_json_key(&json, "recommendations");
    server_json_begin_array(&json);
    for (i = 0; i < listing->shown.count; i++)
        server_json_string(&json,
                           distil_catalogue_cell(listing->stock->items, listing->items[i], 0));
    server_json_end_array(&json);
    server_json_put_string(&json, "id", id);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

/* Hands the list over; the connection sleeps already. */
static void submit_list(struct server_exchange *exchange)
{
    server_recommender_push_listing(exchange->server->recommender, exchange->request);
}

/* Makes the list in place and answers, or has the connection sleep until it is made. */
static void begin_list(struct server_exchange *exchange)
{
    const struct server *server = exchange->server;
    struct server_listing *listing = exchange->request;
    listing->stock = &exchange->offer->stock;
    listing->shown.at = (int64_t)time(NULL);
    listing->handed.done = server_wake_handed;
    listing->handed.context = exchange;
    if (server_catalogue_is_large(exchange->offer->catalogue)) {
        exchange->submit = submit_list;
        exchange->finish = answer_list;
        return;
    }
    server_recommender_list(server->recommender, listing);
    answer_list(exchange);
}

/* The profile in words has become a vector. */
static void finish_embedding(struct server_exchange *exchange)
{
    struct server_listing *listing = exchange->request;
    if (!server_job_succeeded(exchange, 500))
        return;
    listing->embedding = exchange->job.outputs[0];
    begin_list(exchange);
}

/* Takes the first model whose embeddings the catalogue knows; false where there is none. */
static bool use_encoder(struct server_exchange *exchange)
{
    struct server *server = exchange->server;
    int count = server_models_count(server->models), i;
    for (i = 0; i < count; i++) {
        struct server_model *model = server_models_use_at(server->models, i);
        if (model->info->task == DISTIL_TASK_NONE &&
            server_recommender_knows(exchange->offer->stock.items, model->info)) {
            exchange->model = model;
            return true;
        }
        server_models_leave(server->models, model);
    }
    return false;
}

static void embed(struct server_exchange *exchange, const struct server_profile *profile)
{
    char text[SERVER_PROFILE_TEXT];
    distil_error error;
    server_recommender_words(exchange->server->recommender, profile, text, sizeof(text));
    if (!server_work_create(exchange, 1))
        return;
    if (server_work_encode(exchange, 0, text, NULL, DISTIL_TRUNCATE_RIGHT, &error))
        server_fail(exchange, 500, SERVER_ERROR_TOKENIZER, NULL,
                    "the profile's text cannot be encoded: %s", error.message);
    else
        exchange->finish = finish_embedding;
}

void server_handle_recommend(struct server_exchange *exchange)
{
    struct server_listing *wanted;
    cJSON *root;
    bool good;
    if (!has_recommender(exchange) || !(root = server_input_object(exchange)))
        return;
    exchange->offer = server_offers_use(exchange->server->offers);
    wanted = calloc(1, sizeof(*wanted));
    exchange->request = wanted;
    exchange->request_free = free;
    if (!wanted)
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
    good = wanted && read_profile(exchange, root, wanted);
    cJSON_Delete(root);
    if (good && use_encoder(exchange))
        embed(exchange, &wanted->shown.profile);
    else if (good)
        begin_list(exchange);
}

/* ---- POST /api/recommend/score ---- */

static void finish_score(struct server_exchange *exchange)
{
    const struct server_scoring *scoring = exchange->request;
    if (scoring->handed.outcome == SERVER_OUTCOME_DONE)
        server_answer_static(exchange, 200, "\"Ok\"");
    else
        fail(exchange, scoring->handed.outcome,
             "the score could not be written to the disk, and does not count");
}

/* Hands the score over; the connection sleeps already. */
static void submit_score(struct server_exchange *exchange)
{
    server_recommender_push_scoring(exchange->server->recommender, exchange->request);
}

/* What was shown under an id. False with 400 answered for one that was not given out, or is too old. */
static bool read_id(struct server_exchange *exchange, const char *id, struct server_shown *shown)
{
    const unsigned char *key = server_recommender_key(exchange->server->recommender);
    const char *wrong = server_shown_read(id, key, (int64_t)time(NULL), shown);
    if (wrong)
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "id", "`id` %s", wrong);
    return !wrong;
}

static bool get_score(struct server_exchange *exchange, const cJSON *root, float *value)
{
    const cJSON *score;
    if (!get(exchange, root, "score", "a number", &score))
        return false;
    if (!cJSON_IsNumber(score) ||
        !(score->valuedouble >= 0 && score->valuedouble <= SERVER_SCORE_MOST)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "score",
                    "`score` must be a number from 0 to %d%s%s", SERVER_SCORE_MOST,
                    cJSON_IsNumber(score) ? "" : ", not ",
                    cJSON_IsNumber(score) ? "" : server_json_type(score));
        return false;
    }
    *value = (float)score->valuedouble;
    return true;
}

static bool read_score(struct server_exchange *exchange, const cJSON *root,
                       struct server_scoring *scoring)
{
    const struct server_stock *stock = &exchange->offer->stock;
    const char *id, *movie;
    struct server_shown shown;
    int place;
    if (!get_string(exchange, root, "id", &id) || !get_string(exchange, root, "movie", &movie) ||
        !get_score(exchange, root, &scoring->row.score) || !read_id(exchange, id, &shown))
        return false;
    place = server_shown_find(&shown, movie);
    scoring->item = place < 0 ? -1 : distil_catalogue_find(stock->items, movie);
    if (scoring->item < 0) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "movie",
                    place < 0 ? "`movie` was not recommended under this id"
                              : "`movie` is no longer in the catalogue");
        return false;
    }
    scoring->stock = stock;
    memcpy(scoring->row.shown, shown.number, sizeof(shown.number));
    scoring->row.item = distil_catalogue_cell(stock->items, scoring->item, 0);
    scoring->row.profile = shown.profile;
    scoring->row.similarity = shown.similarities[place];
    return true;
}

static int64_t wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void server_handle_score(struct server_exchange *exchange)
{
    struct server_scoring *scoring;
    cJSON *root;
    if (!has_recommender(exchange) || !(root = server_input_object(exchange)))
        return;
    exchange->offer = server_offers_use(exchange->server->offers);
    scoring = calloc(1, sizeof(*scoring));
    exchange->request = scoring;
    exchange->request_free = free;
    if (!scoring) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
    } else if (read_score(exchange, root, scoring)) {
        scoring->row.at_ns = wall_clock();
        scoring->handed.done = server_wake_handed;
        scoring->handed.context = exchange;
        exchange->submit = submit_score;
        exchange->finish = finish_score;
    }
    cJSON_Delete(root);
}
