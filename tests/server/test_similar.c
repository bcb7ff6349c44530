/* test_similar.c: searches of a large catalogue that wait: too many of them, for too long, and while another catalogue comes. */
#include <check.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/offers.h"
#include "tests/server/folder.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"
#include "weights/catalogue.h"

enum { ITEMS = 16384, WIDTH = 64, NAME = 12, WAITING = 256 };

struct searching {
    struct fixture f;
    char path[PATH_ROOM], password[16];
};

/* Items "PREFIXnumber", of which each 64th has the same vector. */
static void write_catalogue(const char *path, char prefix)
{
    static const char *const names[] = {"id"};
    static char strings[ITEMS][NAME];
    static uint64_t offsets[ITEMS];
    struct weights_catalogue_writer *writer;
    for (int i = 0; i < ITEMS; i++) {
        snprintf(strings[i], NAME, "%c%d", prefix, i);
        offsets[i] = (uint64_t)i * NAME;
    }
    const struct weights_catalogue_source source = {.name = "items",
                                                    .table = {.items = ITEMS,
                                                              .columns = 1,
                                                              .names = names,
                                                              .strings = strings[0],
                                                              .string_bytes = sizeof(strings),
                                                              .offsets = offsets},
                                                    .encoder = "",
                                                    .width = WIDTH,
                                                    .dtype = WEIGHTS_F32};
    ck_assert_int_eq(weights_catalogue_begin(&writer, &source, path, NULL), DISTIL_OK);
    for (int i = 0; i < ITEMS; i++) {
        float vector[WIDTH] = {0};
        vector[i % WIDTH] = 1;
        ck_assert_int_eq(weights_catalogue_put(writer, vector), DISTIL_OK);
    }
    ck_assert_int_eq(weights_catalogue_finish(writer), DISTIL_OK);
    weights_catalogue_close(writer);
}

/* max_queue: texts that may wait; 0: as many as by default. */
static void set_up_queue(struct searching *s, const char *model, int max_queue)
{
    memset(s, 0, sizeof(*s));
    make_folder();
    path_of("items.catalogue", s->path);
    snprintf(s->password, sizeof(s->password), "a sentence");
    write_catalogue(s->path, 'a');
    prepare(&s->f, model);
    s->f.options.catalogue = s->path;
    s->f.options.state_dir = folder_path();
    s->f.options.access.session_password = s->password;
    if (max_queue > 0)
        s->f.options.max_queue = max_queue;
    begin(&s->f);
    load(&s->f);
}

static void set_up(struct searching *s)
{
    set_up_queue(s, "fake", 0);
}

static void tear_down(struct searching *s)
{
    stop(&s->f);
    remove_folder();
}

/* A search that, once it is done, holds up the thread that searches until it is let go. */
struct holding {
    struct server_search search;
    struct server_offer *offer;
    distil_match match;
    float vector[WIDTH];
    sem_t held, go;
};

static void hold(struct server_handed *handed)
{
    struct holding *holding = handed->context;
    sem_post(&holding->held);
    sem_wait(&holding->go);
}

static void begin_holding(struct holding *holding, struct server *server)
{
    *holding = (struct holding){.offer = server_offers_use(server->offers), .vector = {1}};
    holding->search = (struct server_search){.vector = holding->vector,
                                             .limit = 1,
                                             .matches = &holding->match,
                                             .handed = {.done = hold, .context = holding}};
    sem_init(&holding->held, 0, 0);
    sem_init(&holding->go, 0, 0);
    ck_assert(server_catalogue_is_large(holding->offer->catalogue));
    server_catalogue_push(holding->offer->catalogue, &holding->search);
    sem_wait(&holding->held);
}

static void end_holding(struct holding *holding, struct server *server)
{
    sem_post(&holding->go);
    server_offers_leave(server->offers, holding->offer);
}

static const char by_id[] = "POST /api/similar HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n"
                            "%s\r\n{\"id\":\"a7\",\"top_k\":1}";

/* Sends a question by id, with more headers. */
static void send_question(struct client *client, int port, const char *headers)
{
    char text[400];
    snprintf(text, sizeof(text), by_id, headers);
    ck_assert(client_open(client, port));
    ck_assert(client_send_text(client, text));
}

static void count(struct server_handed *handed)
{
    sem_post(handed->context);
}

START_TEST(a_full_queue_is_said_at_once)
{
    static struct server_search waiting[WAITING];
    static distil_match matches[WAITING];
    struct searching s;
    struct holding holding;
    struct client client;
    struct reply reply;
    char after[16];
    sem_t ended;
    set_up(&s);
    sem_init(&ended, 0, 0);
    begin_holding(&holding, s.f.server);
    for (int i = 0; i < WAITING; i++) {
        waiting[i] = (struct server_search){.vector = holding.vector,
                                            .limit = 1,
                                            .matches = &matches[i],
                                            .handed = {.done = count, .context = &ended}};
        server_catalogue_push(holding.offer->catalogue, &waiting[i]);
    }
    send_question(&client, s.f.port, "");
    client_read(&client, false, &reply);
    expect_reply(&reply, 503, "the queue is full: too many searches of the catalogue wait");
    expect_reply(&reply, 503, "\"error_type\":\"Overloaded\"");
    reply_header(&reply, "Retry-After", after, sizeof(after));
    ck_assert_int_ge(strtol(after, NULL, 10), 1);
    ck_assert_int_le(strtol(after, NULL, 10), 3);
    request(s.f.port, "GET", "/health", NULL, &reply);
    expect_reply(&reply, 200, "healthy");
    request(s.f.port, "GET", "/metrics", NULL, &reply);
    expect_reply(&reply, 200, "distild_requests_shed_total{reason=\"queue_full\"} 1\n");
    end_holding(&holding, s.f.server);
    for (int i = 0; i < WAITING; i++)
        sem_wait(&ended);
    client_request(&client, "POST", "/api/similar", "{\"id\":\"a7\",\"top_k\":1}", &reply);
    expect_reply(&reply, 200, "{\"items\":[{\"id\":\"a71\",\"score\":1}]}");
    client_close(&client);
    tear_down(&s);
}
END_TEST

START_TEST(a_deadline_that_passes_ends_a_search)
{
    struct searching s;
    struct holding holding;
    struct client late, patient;
    struct reply reply;
    set_up(&s);
    begin_holding(&holding, s.f.server);
    send_question(&late, s.f.port, "X-Request-Timeout-Ms: 20\r\n");
    send_question(&patient, s.f.port, "");
    wait_for_suspended(&s.f, 2);
    pause_ms(100);
    end_holding(&holding, s.f.server);
    client_read(&late, false, &reply);
    expect_reply(&reply, 504, "\"error_type\":\"Timeout\"");
    client_read(&patient, false, &reply);
    expect_reply(&reply, 200, "{\"items\":[{\"id\":\"a71\",\"score\":1}]}");
    client_close(&late);
    client_close(&patient);
    tear_down(&s);
}
END_TEST

static void ask(int port, const char *body, int status, const char *part)
{
    struct reply reply;
    request(port, "POST", "/api/similar", body, &reply);
    expect_reply(&reply, status, part);
}

/* Logs in, and asks to be recommended something: the catalogue knows no model that embeds, so that no text is computed. */
static void expect_recommendations(int port)
{
    static const char body[] = "{\"age\":30,\"gender\":\"F\",\"occupation\":\"artist\"}";
    struct client client;
    struct reply reply;
    char request[2000], token[1500];
    ck_assert(client_open(&client, port));
    client_request(&client, "POST", "/api/login", "{\"session_password\":\"a sentence\"}", &reply);
    ck_assert_int_eq(sscanf(reply.body, "{\"access_token\":\"%1499[^\"]", token), 1);
    snprintf(request, sizeof(request),
             "POST /api/recommend HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             token, strlen(body), body);
    ck_assert(client_send_text(&client, request));
    client_read(&client, false, &reply);
    expect_reply(&reply, 200, "{\"recommendations\":[\"");
    client_close(&client);
}

START_TEST(what_computes_no_text_is_answered_while_texts_are_refused)
{
    static const char text[] =
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"text\":\"x\"}";
    enum { LARGE = 8000 };
    static char body[LARGE + 1];
    struct searching s;
    struct client computed, waiting;
    struct reply reply;
    int length = snprintf(body, sizeof(body), "{\"top_k\":1,\"vector\":[0,1");
    for (int i = 2; i < WIDTH; i++)
        length += snprintf(body + length, sizeof(body) - (size_t)length, ",0");
    length += snprintf(body + length, sizeof(body) - (size_t)length, "]}");
    memset(body + length, ' ', (size_t)(LARGE - length)); /* it is read on another thread */
    set_up_queue(&s, "fake:gate", 1);
    fake_shut();
    ck_assert(client_open(&computed, s.f.port) && client_send_text(&computed, text));
    wait_until(fake_at_gate() == 1);
    ck_assert(client_open(&waiting, s.f.port) && client_send_text(&waiting, text));
    wait_for_suspended(&s.f, 2);
    request(s.f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 503, "the queue is full: 1 texts");
    ask(s.f.port, "{\"id\":\"a7\",\"top_k\":1}", 200, "a71");
    ask(s.f.port, body, 200, "{\"items\":[{\"id\":\"a1\",\"score\":1}]}");
    expect_recommendations(s.f.port);
    fake_open();
    client_read(&computed, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    client_read(&waiting, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    client_close(&computed);
    client_close(&waiting);
    tear_down(&s);
}
END_TEST

/* Waits until the catalogue has been reloaded so often, and as often in vain. */
static void wait_for_reloads(struct searching *s, unsigned succeeded, unsigned failed)
{
    const struct server_reload_record *record = &s->f.server->reloads[SERVER_RELOAD_CATALOGUE];
    wait_until(atomic_load(&record->succeeded) >= succeeded &&
               atomic_load(&record->failed) >= failed);
    ck_assert_uint_eq(atomic_load(&record->succeeded), succeeded);
    ck_assert_uint_eq(atomic_load(&record->failed), failed);
}

START_TEST(another_catalogue_takes_the_place_of_the_one_before)
{
    struct searching s;
    struct holding holding;
    struct client client;
    struct reply reply;
    char other[PATH_ROOM + 4];
    FILE *file;
    set_up(&s);
    snprintf(other, sizeof(other), "%s.new", s.path);
    write_catalogue(other, 'b');
    ck_assert_int_eq(rename(other, s.path), 0);
    begin_holding(&holding, s.f.server);
    send_question(&client, s.f.port, ""); /* of the one that was there */
    while (atomic_load(&s.f.server->suspended) == 0)
        pause_ms(1);
    server_reload(s.f.server);
    for (int i = 0; i < 3000; i++) { /* the new one answers, though questions to the old one wait */
        request(s.f.port, "POST", "/api/similar", "{\"id\":\"b7\",\"top_k\":1}", &reply);
        if (reply.status == 200)
            break;
        expect_reply(&reply, 404, "no item");
        pause_ms(10);
    }
    expect_reply(&reply, 200, "{\"items\":[{\"id\":\"b71\",\"score\":1}]}");
    end_holding(&holding, s.f.server);
    client_read(&client, false, &reply);
    expect_reply(&reply, 200, "{\"items\":[{\"id\":\"a71\",\"score\":1}]}");
    client_close(&client);
    wait_for_reloads(&s, 1, 0);
    file = fopen(other, "w");
    ck_assert_ptr_nonnull(file);
    fputs("no catalogue", file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(rename(other, s.path), 0);
    server_reload(s.f.server);
    wait_for_reloads(&s, 1, 1);
    ask(s.f.port, "{\"id\":\"b7\",\"top_k\":1}", 200, "b71");
    ask(s.f.port, "{\"id\":\"a7\",\"top_k\":1}", 404, "no item");
    tear_down(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_full_queue_is_said_at_once,
        a_deadline_that_passes_ends_a_search,
        what_computes_no_text_is_answered_while_texts_are_refused,
        another_catalogue_takes_the_place_of_the_one_before,
    };
    return run_tests("similar", 120, tests, sizeof(tests) / sizeof(*tests));
}
