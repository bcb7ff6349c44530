/* fuzz_routes ROUTE|all COUNT [SEED]: sends COUNT bodies that are nearly right to a route of a server with small real models, over a
 * connection that is kept. Each must be answered, in JSON, with 2xx or 4xx, and /health afterwards.
 *
 * A run that ends badly names the body, and writes it to fuzz_routes.body. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/json_input.h"
#include "server/server.h"
#include "tests/fuzz/mutate.h"
#include "tests/server/http_client.h"
#include "weights/catalogue.h"
#include "weights/weights.h"

enum { PATH_ROOM = 1000, PROGRESS = 20000, ITEMS = 4, WIDTH = 32, VALUES_MOST = 32, TRIES = 30 };

static const struct route {
    const char *path, *bodies[3];
} routes[] = {
    {"/predict",
     {"{\"text\":\"a joy\",\"product_id\":\"p1\",\"timestamp\":\"2026-01-02T03:04:05Z\"}",
      "{\"inputs\":[[\"a joy\"],[\"a "
      "bore\",\"end\"]],\"raw_scores\":true,\"truncate\":true,\"truncation_direction\":\"Left\"}",
      "{\"text\":\"caf\\u00e9 \\ud83d\\ude00\",\"product_id\":\"7\",\"timestamp\":\"2026-01-02T"
      "03:04:05+01:00\"}"}},
    {"/prediction",
     {"{\"texts\":[\"a joy\",\"a bore\"]}", "{\"texts\":[\"x\"],\"model\":\"classifier\"}"}},
    {"/answer",
     {"{\"question\":\"What stops?\",\"context\":\"The pump stops. A float stops "
      "it.\",\"top_k\":2,\"max_seq_len\":20,"
      "\"doc_stride\":5,\"max_answer_len\":9,\"handle_impossible_answer\":true,\"threshold\":0.1}",
      "{\"inputs\":{\"question\":\"Who?\",\"context\":\"Ada lives in "
      "Kiel.\"},\"parameters\":{\"top_k\":2}}"}},
    {"/embed",
     {"{\"inputs\":[\"one\",[2,5,3]],\"truncate\":true,\"dimensions\":4,\"normalize\":false}",
      "{\"inputs\":\"a text\",\"truncation_direction\":\"Right\"}"}},
    {"/api/similar",
     {"{\"text\":\"a nurse\",\"top_k\":2}", "{\"id\":\"b\",\"top_k\":3}",
      "{\"vector\":[1,0,-2.5,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,3e-3]}"}},
    {"/api/recommend",
     {"{\"age\":31,\"gender\":\"F\",\"occupation\":\"librarian\",\"max_recs\":4}",
      "{\"age\":130,\"gender\":\"O\",\"occupation\":\"none\"}"}},
    {"/api/recommend/score", {"{\"id\":\"%s\",\"movie\":\"a\",\"score\":4.5}"}},
    {"/feedback", {"{\"id\":\"%s\",\"label\":\"positive\"}"}},
    {"/api/login", {"{\"session_password\":\"wrong horse\"}"}},
};

struct place {
    char folder[PATH_ROOM], catalogue[PATH_ROOM + 16], state[PATH_ROOM + 16],
        encoder[PATH_ROOM + 16], models[2][PATH_ROOM + 64];
    struct server *server;
    int port;
    char token[2000];
};

static void die(const char *what, const char *which)
{
    fprintf(stderr, "fuzz_routes: %s: %s\n", which, what);
    exit(1);
}

static void must(distil_status status, const distil_error *error)
{
    if (status)
        die(error->message, "making the server");
}

/* ---- the server ---- */

/* The encoder as a model file, whose digest says that it made the catalogue. */
static void make_encoder(const struct place *place, const char *source, char digest[65])
{
    char path[PATH_ROOM + 64];
    struct weights_model *model = NULL;
    distil_model *opened = NULL;
    distil_error error;
    snprintf(path, sizeof path, "%s/tests/golden/tiny-outputs/bert-mean", source);
    must(weights_open(&model, path, &error), &error);
    must(weights_write(model, place->encoder, WEIGHTS_F32, NULL, NULL, NULL, &error), &error);
    weights_free(model);
    must(distil_model_open(place->encoder, NULL, &opened, &error), &error);
    snprintf(digest, 65, "%s", distil_model_info(opened)->digest);
    distil_model_free(opened);
}

static void make_catalogue(const struct place *place, const char *digest)
{
    static const char *const names[] = {"id", "text", "year"};
    static const char strings[] = "a\0one\0x\0b\0two\0y\0c\0three\0z\0d\0\0";
    static const uint64_t offsets[ITEMS][3] = {{0, 2, 6}, {8, 10, 14}, {16, 18, 24}, {26, 28, 6}};
    struct weights_catalogue_writer *writer = NULL;
    distil_error error;
    const struct weights_catalogue_source source = {.name = "items",
                                                    .table = {.items = ITEMS,
                                                              .columns = 3,
                                                              .names = names,
                                                              .strings = strings,
                                                              .string_bytes = sizeof strings,
                                                              .offsets = offsets[0]},
                                                    .encoder = digest,
                                                    .width = WIDTH,
                                                    .dtype = WEIGHTS_F32};
    must(weights_catalogue_begin(&writer, &source, place->catalogue, &error), &error);
    for (int i = 0; i < ITEMS; i++) {
        float vector[WIDTH] = {1};
        vector[i + 1] = (float)i;
        must(weights_catalogue_put(writer, vector), &error);
    }
    must(weights_catalogue_finish(writer), &error);
    weights_catalogue_close(writer);
}

/* A string member of an answer, copied; a JSON object is expected. */
static void member(const struct reply *reply, const char *name, char *value, size_t size)
{
    struct server_problem problem;
    cJSON *root = server_json_parse(reply->body, reply->body_length, &problem);
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, name));
    if (!text)
        die(reply->body, name);
    snprintf(value, size, "%s", text);
    cJSON_Delete(root);
}

static void begin(struct place *place)
{
    const char *base = getenv("TMPDIR"), *source = getenv("DISTILD_SOURCE_DIR");
    char digest[65], password[] = "correct horse";
    struct server_options options = server_options_default();
    distil_error error;
    struct reply reply;
    source = source ? source : ".";
    snprintf(place->folder, sizeof place->folder, "%.900s/distild-fuzz-XXXXXX",
             base ? base : "/tmp");
    if (!mkdtemp(place->folder))
        die("no folder can be made", place->folder);
    snprintf(place->catalogue, sizeof place->catalogue, "%s/catalogue", place->folder);
    snprintf(place->state, sizeof place->state, "%s/state", place->folder);
    snprintf(place->encoder, sizeof place->encoder, "%s/encoder", place->folder);
    snprintf(place->models[0], sizeof place->models[0],
             "%.900s/tests/golden/tiny/distilbert-single", source);
    snprintf(place->models[1], sizeof place->models[1],
             "%.900s/tests/golden/tiny-outputs/bert-spans", source);
    make_encoder(place, source, digest);
    make_catalogue(place, digest);
    const struct server_model_options models[] = {
        {.name = "classifier", .path = place->models[0]},
        {.name = "answerer", .path = place->models[1]},
        {.name = "encoder", .path = place->encoder},
    };
    options.port = 0;
    options.models = models;
    options.model_count = 3;
    options.threads = 1;
    options.http_threads = 1;
    options.state_dir = place->state;
    options.state_required = true;
    options.predictions.enabled = true;
    options.catalogue = place->catalogue;
    options.access.session_password = password;
    options.log.level = SERVER_LOG_ERROR;
    options.log.fd = STDERR_FILENO;
    must(server_start(&options, &place->server, &error), &error);
    must(server_load(place->server, &error), &error);
    place->port = server_port(place->server);
    request(place->port, "POST", "/api/login", "{\"session_password\":\"correct horse\"}", &reply);
    member(&reply, "access_token", place->token, sizeof place->token);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    (void)about;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void end(struct place *place)
{
    server_free(place->server);
    nftw(place->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- asking ---- */

static void send_once(struct client *client, const struct place *place, const char *path,
                      const struct fuzz_input *body, struct reply *reply)
{
    char head[4000];
    int length = snprintf(head, sizeof head,
                          "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                          "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
                          path, place->token, body->length);
    reply->status = 0;
    if (client_send(client, head, (size_t)length) && client_send(client, body->bytes, body->length))
        client_read(client, false, reply);
}

/* A server whose disk is slow may say so, after two seconds: it is asked again, as Retry-After has it. */
static void send_body(struct client *client, const struct place *place, const char *path,
                      const struct fuzz_input *body, struct reply *reply)
{
    int tries = 0;
    do
        send_once(client, place, path, body, reply);
    while (reply->status == 503 && strstr(reply->head, "Retry-After: ") && ++tries < TRIES);
}

/* A body of the route; where it names an id, one that the server has just given. */
static void make_body(struct client *client, const struct place *place, const struct route *route,
                      int which, struct fuzz_input *body)
{
    char text[FUZZ_ROOM], id[FUZZ_ROOM / 2] = "";
    static struct reply reply;
    if (strstr(route->bodies[which], "%s")) {
        const struct route *from = strcmp(route->path, "/feedback") == 0 ? &routes[0] : &routes[5];
        fuzz_set(body, from->bodies[0], strlen(from->bodies[0]));
        send_body(client, place, from->path, body, &reply);
        member(&reply, "id", id, sizeof id);
    }
    snprintf(text, sizeof text, "%.*s%s%s", (int)strcspn(route->bodies[which], "%"),
             route->bodies[which], id, *id ? strstr(route->bodies[which], "%s") + 2 : "");
    fuzz_set(body, text, strlen(text));
}

/* Whether the answer is one that a body may get, and in JSON. */
static bool good(const struct reply *reply)
{
    struct server_problem problem;
    cJSON *root = server_json_parse(reply->body, reply->body_length, &problem);
    bool fine = root && ((reply->status >= 200 && reply->status < 300) ||
                         (reply->status >= 400 && reply->status < 500));
    cJSON_Delete(root);
    return fine;
}

static void fail(const struct route *route, const struct fuzz_input *body,
                 const struct reply *reply)
{
    FILE *file = fopen("fuzz_routes.body", "w");
    if (file) {
        fwrite(body->bytes, 1, body->length, file);
        fclose(file);
    }
    fprintf(stderr, "fuzz_routes: %s answered %d %.300s, to %.2000s\n", route->path, reply->status,
            reply->body, body->bytes);
    exit(1);
}

static int count_bodies(const struct route *route)
{
    int count = 0;
    while (count < 3 && route->bodies[count])
        count++;
    return count;
}

static void run(const struct place *place, const struct route *route, long count, uint64_t seed)
{
    static struct fuzz_input valid[3], body;
    static struct client client;
    static struct reply reply;
    const int bodies = count_bodies(route);
    long accepted = 0;
    if (!client_open(&client, place->port))
        die("it cannot be connected to", route->path);
    for (int i = 0; i < bodies; i++) {
        make_body(&client, place, route, i, &valid[i]);
        send_body(&client, place, route->path, &valid[i], &reply);
        if (!good(&reply) || (reply.status != 200 && strcmp(route->path, "/api/login") != 0))
            fail(route, &valid[i], &reply);
    }
    for (long i = 0; i < count; i++) {
        body = valid[fuzz_below(&seed, (size_t)bodies)];
        fuzz_mutate(&body, &seed);
        send_body(&client, place, route->path, &body, &reply);
        if (!good(&reply))
            fail(route, &body, &reply);
        accepted += reply.status == 200;
        if (strstr(reply.head, "onnection: close")) {
            client_close(&client);
            if (!client_open(&client, place->port))
                die("it cannot be connected to any more", route->path);
        }
        if ((i + 1) % PROGRESS == 0)
            fprintf(stderr, "%s: %ld of %ld\n", route->path, i + 1, count);
    }
    client_close(&client);
    request(place->port, "GET", "/health", NULL, &reply);
    if (reply.status != 200)
        die("/health is not answered any more", route->path);
    fprintf(stderr, "%s: %ld bodies, of which %ld were accepted\n", route->path, count, accepted);
}

int main(int argc, char **argv)
{
    static struct place place;
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    bool found = false;
    if (count > 0)
        begin(&place);
    for (size_t i = 0; i < sizeof routes / sizeof *routes && count > 0; i++) {
        if (strcmp(argv[1], "all") != 0 && strcmp(argv[1], routes[i].path) != 0)
            continue;
        found = true;
        run(&place, &routes[i], count, seed);
    }
    end(&place);
    if (found)
        return 0;
    fputs("usage: fuzz_routes ROUTE|all COUNT [SEED]\nroutes:", stderr);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        fprintf(stderr, " %s", routes[i].path);
    fputc('\n', stderr);
    return 2;
}
