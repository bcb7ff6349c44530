/* test_serving.c: a real model behind the server: answers over HTTP, from many connections at once,
 * are those of the library called directly. Skipped where there is no model. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/json_input.h"
#include "server/json_writer.h"
#include "server/server.h"
#include "tests/server/http_client.h"
#include "tests/suite.h"

enum { SKIP = 77, CONNECTIONS = 32, MAX_TEXTS = 100, MAX_LINE = 2000 };

static const char *const own_texts[] = {
    "a charming and often affecting journey",
    "unflinchingly bleak and desperate",
    "allows us to hope that nolan is poised to embark on a major career",
    "caf\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80 \"quoted\" \\ and\ttabs",
    "no",
    "it 's slow -- very , very slow .",
};

struct texts {
    char *each[MAX_TEXTS];
    distil_prediction expected[MAX_TEXTS];
    int count;
};

/* One of the connections, which asks every CONNECTIONS-th text. */
struct asker {
    pthread_t thread;
    const struct texts *texts;
    const distil_model *model;
    int port, first, wrong, unanswered;
};

/* The bundled model, else the one among the shared files; NULL where there is neither. */
static distil_model *open_model(char *path, size_t size)
{
    const char *shared = getenv("DISTILD_SHARED"), *source = getenv("DISTILD_SOURCE_DIR");
    distil_model *model = NULL;
    path[0] = '\0';
    if (distil_model_open(NULL, NULL, &model, NULL) == DISTIL_OK)
        return model;
    if (shared)
        snprintf(path, size, "%s/models/sst2-minilm", shared);
    else
        snprintf(path, size, "%s/../shared/models/sst2-minilm", source ? source : ".");
    return distil_model_open(path, NULL, &model, NULL) == DISTIL_OK ? model : NULL;
}

/* SST-2 validation sentences where they are at hand, after texts of our own. */
static void read_texts(struct texts *texts)
{
    const char *shared = getenv("DISTILD_SHARED"), *source = getenv("DISTILD_SOURCE_DIR");
    char path[1000], line[MAX_LINE];
    size_t i;
    FILE *file;
    for (i = 0; i < sizeof(own_texts) / sizeof(*own_texts); i++)
        texts->each[texts->count++] = strdup(own_texts[i]);
    if (shared)
        snprintf(path, sizeof(path), "%s/data/sst2/validation.tsv", shared);
    else
        snprintf(path, sizeof(path), "%s/../shared/data/sst2/validation.tsv",
                 source ? source : ".");
    file = fopen(path, "r");
    if (!file || !fgets(line, sizeof(line), file)) /* the header */
        return;
    while (texts->count < MAX_TEXTS && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\t\n")] = '\0';
        if (line[0])
            texts->each[texts->count++] = strdup(line);
    }
    fclose(file);
}

static char *body_of(const char *text)
{
    struct server_json json = {0};
    size_t length;
    server_json_begin_object(&json);
    server_json_put_string(&json, "text", text);
    server_json_end_object(&json);
    server_json_raw(&json, "", 1);
    return server_json_take(&json, &length);
}

/* Whether an answer is the expected one, to the last digits that other texts in the batch may
 * change. */
static bool matches(const struct reply *reply, const char *text, const char *label, float score)
{
    struct server_problem problem;
    cJSON *root = server_json_parse(reply->body, reply->body_length, &problem);
    const cJSON *sentiment = cJSON_GetObjectItemCaseSensitive(root, "sentiment");
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(root, "score");
    const cJSON *echo = cJSON_GetObjectItemCaseSensitive(root, "text");
    bool same = cJSON_IsString(sentiment) && cJSON_IsNumber(given) && cJSON_IsString(echo) &&
                strcmp(sentiment->valuestring, label) == 0 &&
                strcmp(echo->valuestring, text) == 0 && given->valuedouble > score - 1e-4 &&
                given->valuedouble < score + 1e-4;
    cJSON_Delete(root);
    return same;
}

static void *ask(void *argument)
{
    struct asker *asker = argument;
    struct client client;
    struct reply reply;
    int i;
    if (!client_open(&client, asker->port)) {
        asker->unanswered++;
        return NULL;
    }
    for (i = asker->first; i < asker->texts->count; i += CONNECTIONS) {
        const distil_prediction *expected = &asker->texts->expected[i];
        char *body = body_of(asker->texts->each[i]);
        client_request(&client, "POST", "/predict", body, &reply);
        free(body);
        if (reply.status != 200)
            asker->unanswered++;
        else if (!matches(&reply, asker->texts->each[i],
                          distil_label(asker->model, expected->label), expected->score))
            asker->wrong++;
    }
    client_close(&client);
    return NULL;
}

START_TEST(answers_are_the_librarys)
{
    struct server_model_options model_options = {0};
    struct server_options options = server_options_default();
    static struct texts texts;
    struct asker askers[CONNECTIONS];
    struct server *server;
    distil_session *session;
    distil_error error;
    char path[1000];
    int i, wrong = 0, unanswered = 0;
    distil_model *model = open_model(path, sizeof(path));
    ck_assert_ptr_nonnull(model);
    read_texts(&texts);
    ck_assert_int_eq(distil_session_create(model, 0, &session, &error), DISTIL_OK);
    for (i = 0; i < texts.count; i++)
        ck_assert_int_eq(distil_predict(session, (const char *const *)&texts.each[i], 1,
                                        &texts.expected[i], &error),
                         DISTIL_OK);
    distil_session_free(session);

    model_options.path = path[0] ? path : NULL;
    options.models = &model_options;
    options.model_count = 1;
    options.port = 0;
    options.max_queue_ms = 0; /* none is turned away, however slow the machine */
    options.log.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ck_assert_msg(server_start(&options, &server, &error) == DISTIL_OK, "%s", error.message);
    ck_assert_msg(server_load(server, &error) == DISTIL_OK, "%s", error.message);
    for (i = 0; i < CONNECTIONS; i++) {
        askers[i] = (struct asker){
            .texts = &texts, .model = model, .port = server_port(server), .first = i};
        ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (i = 0; i < CONNECTIONS; i++) {
        pthread_join(askers[i].thread, NULL);
        wrong += askers[i].wrong;
        unanswered += askers[i].unanswered;
    }
    server_free(server);
    close(options.log.fd);
    ck_assert_int_eq(unanswered, 0);
    ck_assert_int_eq(wrong, 0);
    while (texts.count > 0)
        free(texts.each[--texts.count]);
    distil_model_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("serving");
    TCase *tests = tcase_create("serving");
    char path[1000];
    distil_model *model = open_model(path, sizeof(path));
    if (!model) {
        fprintf(stderr, "skipped: no bundled model, and none at %s\n", path);
        return SKIP;
    }
    distil_model_free(model);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, answers_are_the_librarys);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
