/* server_fixture.h: a server on a free port with the engine of fake_engine.c behind it. */
#ifndef TESTS_SERVER_SERVER_FIXTURE_H
#define TESTS_SERVER_SERVER_FIXTURE_H

#include <stdint.h>

#include "server/server.h"
#include "tests/server/http_client.h"

struct fixture {
    struct server_model_options model;
    struct server_options options;
    struct server *server;
    int port;
};

/* Options for a server on a free port that logs, at the level that does most, to nowhere. */
void prepare(struct fixture *f, const char *model);
/* Starts a prepared server, without loading its model. */
void begin(struct fixture *f);
void load(struct fixture *f);
/* Begins and loads a prepared server. */
void launch(struct fixture *f);
/* Prepares one, too. */
void start(struct fixture *f, const char *model);
void stop(struct fixture *f);

/* Fails the test unless the answer has the status and its body holds the part. */
void expect_reply(const struct reply *reply, int status, const char *part);
/* What the answer to a text begins with, as the fake engine computes it. */
void expected_sentiment(const char *text, char *answer, size_t size);

/* Makes the file of "fake:file=PATH" say what the model is, in one step. */
void say_model(const char *path, const char *model);

/* Connections that the server says to have closed for that reason. */
double closed(int port, const char *reason);

/* Since a time of server_now. */
double seconds_since(int64_t began);

/* Waits until so many requests are with the workers or the reader, or wait for them. */
void wait_for_suspended(const struct fixture *f, int count);
/* Waits until so many requests have come whole and are not yet fully answered. */
void wait_for_in_flight(const struct fixture *f, int count);

/* Shuts and opens the gate before which models with one wait, and how many batches or texts wait there. */
void fake_shut(void);
void fake_open(void);
int fake_at_gate(void);
/* Texts that the fake engine has computed, or begun to, in this process, and in how many batches. */
int fake_computed_texts(void);
int fake_passes(void);
/* Models that are open now. */
int fake_open_models(void);

#endif
