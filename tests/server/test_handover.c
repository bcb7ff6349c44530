/* test_handover.c: what is handed over to threads of their own: its order, its bounds, and its end. */
#include "server/handover.h"

#include <check.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/drift_monitor.h"
#include "server/internal.h"
#include "server/login.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

enum { OUTCOMES = SERVER_OUTCOME_STOPPED + 1 };

static const char password[] = "a long sentence";

/* ---- the handover itself ---- */

static int counts[OUTCOMES]; /* by the one thread of a test */

static void count(struct server_handed *handed)
{
    counts[handed->outcome]++;
}

START_TEST(what_is_taken_is_in_order_and_bounded)
{
    struct server_handover handover;
    struct server_handed each[4], late = {.done = count}, *first;
    int i;
    server_handover_init(&handover, 3);
    ck_assert_ptr_null(server_handover_take(&handover, 9, SERVER_HANDOVER_AT_ONCE));
    for (i = 0; i < 4; i++) {
        each[i] = (struct server_handed){.done = count};
        ck_assert_int_eq(server_handover_push(&handover, &each[i]), i < 3);
    }
    ck_assert_int_eq(each[3].outcome, SERVER_OUTCOME_FULL);
    first = server_handover_take(&handover, 2, SERVER_HANDOVER_NEVER);
    ck_assert(first == &each[0] && first->next == &each[1] && !first->next->next);
    server_handed_end(first, SERVER_OUTCOME_FAILED);
    ck_assert_int_eq(counts[SERVER_OUTCOME_FAILED], 2);
    ck_assert(server_handover_push(&handover, &each[3]));
    server_handover_stop(&handover);
    ck_assert(server_handover_is_stopped(&handover));
    ck_assert_ptr_null(server_handover_take(&handover, 9, SERVER_HANDOVER_NEVER));
    ck_assert(!server_handover_push(&handover, &late));
    ck_assert_int_eq(late.outcome, SERVER_OUTCOME_STOPPED);
    server_handover_finish(&handover);
    ck_assert_int_eq(counts[SERVER_OUTCOME_STOPPED], 2);
    server_handover_destroy(&handover);
}
END_TEST

START_TEST(a_take_gives_up_in_time)
{
    struct server_handover handover;
    int64_t began = server_now();
    server_handover_init(&handover, 1);
    ck_assert_ptr_null(server_handover_take(&handover, 1, began + 30000000));
    ck_assert_int_ge(server_now() - began, 30000000);
    server_handover_destroy(&handover);
}
END_TEST

/* ---- the server's own queues ---- */

/* Keeps a thread in the first thing that it is done with. */
struct gate {
    sem_t entered, open;
    atomic_int ended[OUTCOMES];
};

static void on_end(struct server_handed *handed)
{
    struct gate *gate = handed->context;
    if (atomic_fetch_add(&gate->ended[handed->outcome], 1) == 0 &&
        handed->outcome == SERVER_OUTCOME_DONE) {
        sem_post(&gate->entered);
        sem_wait(&gate->open);
    }
}

/* A queue of the server's: how something is handed over, how many may wait, and a request that does so too, if any can. */
struct overfilled {
    void (*push)(const struct fixture *f, int i, struct server_handed handed);
    int most;
    const char *method, *path, *body;
};

static void expect_full(const struct fixture *f, const struct overfilled *queue)
{
    struct client client;
    struct reply reply;
    char after[16] = "";
    ck_assert(client_open(&client, f->port));
    client_request(&client, queue->method, queue->path, queue->body, &reply);
    expect_reply(&reply, 503, "the queue is full: too many ");
    expect_reply(&reply, 503, "\"error_type\":\"Overloaded\"");
    reply_header(&reply, "Retry-After", after, sizeof(after));
    ck_assert_int_ge(strtol(after, NULL, 10), 1);
    ck_assert_int_le(strtol(after, NULL, 10), 3);
    client_close(&client);
}

/* Hands over one, in which the thread is then kept, and as many as may wait; the next one must be refused at once. Then the
 * gate opens, and all others must be done with. */
static void overfill(const struct fixture *f, const struct overfilled *queue)
{
    struct gate gate;
    int i;
    memset(&gate, 0, sizeof(gate));
    sem_init(&gate.entered, 0, 0);
    sem_init(&gate.open, 0, 0);
    const struct server_handed handed = {.done = on_end, .context = &gate};
    queue->push(f, 0, handed);
    sem_wait(&gate.entered);
    for (i = 1; i <= queue->most; i++)
        queue->push(f, i, handed);
    ck_assert_int_eq(atomic_load(&gate.ended[SERVER_OUTCOME_FULL]), 0);
    queue->push(f, queue->most + 1, handed);
    ck_assert_int_eq(atomic_load(&gate.ended[SERVER_OUTCOME_FULL]), 1);
    if (queue->path)
        expect_full(f, queue);
    sem_post(&gate.open);
    while (atomic_load(&gate.ended[SERVER_OUTCOME_DONE]) < queue->most + 1)
        pause_ms(1);
    ck_assert_int_eq(atomic_load(&gate.ended[SERVER_OUTCOME_STOPPED]), 0);
    sem_destroy(&gate.entered);
    sem_destroy(&gate.open);
}

enum { MOST_ATTEMPTS = 32, MOST_REQUESTS = 64, MOST_HANDED = MOST_REQUESTS + 2 };

static void push_attempt(const struct fixture *f, int i, struct server_handed handed)
{
    static struct server_attempt attempts[MOST_HANDED];
    attempts[i] = (struct server_attempt){.handed = handed};
    memcpy(attempts[i].password, password, sizeof(password));
    server_login_push(f->server->login, &attempts[i]);
    if (i > MOST_ATTEMPTS) /* it is not taken, and leaves nothing of the password */
        ck_assert_int_eq(attempts[i].password[0], 0);
}

static void push_comparison(const struct fixture *f, int i, struct server_handed handed)
{
    static struct server_drift_request requests[MOST_HANDED];
    requests[i] = (struct server_drift_request){.handed = handed};
    server_drift_monitor_ask(f->server->drift, &requests[i]);
}

static void push_reload(const struct fixture *f, int i, struct server_handed handed)
{
    static struct server_reload_request requests[MOST_HANDED];
    requests[i] = (struct server_reload_request){.handed = handed};
    server_reloader_ask(f->server->reloader, &requests[i]);
}

/* A server with all of them, and the folder of its state. */
static void start_whole(struct fixture *f, char *folder, char *secret)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(secret, sizeof(password), "%s", password);
    prepare(f, "fake");
    f->options.state_dir = folder;
    f->options.access.session_password = secret;
}

static void remove_folder(const char *folder)
{
    char command[100];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Searches have tests of their own. */
START_TEST(every_queue_is_bounded)
{
    static const struct overfilled queues[] = {
        {push_attempt, MOST_ATTEMPTS, "POST", "/api/login", "{\"session_password\":\"wrong\"}"},
        {push_comparison, MOST_REQUESTS, "GET", "/drift", NULL},
        {push_reload, MOST_REQUESTS, NULL, NULL, NULL},
    };
    struct fixture f;
    char folder[] = "/tmp/distild-handover-XXXXXX", secret[sizeof(password)];
    size_t i;
    start_whole(&f, folder, secret);
    launch(&f);
    for (i = 0; i < sizeof(queues) / sizeof(*queues); i++)
        overfill(&f, &queues[i]);
    stop(&f);
    remove_folder(folder);
}
END_TEST

/* ---- the end ---- */

static void *ask_on(void *argument)
{
    const int *port = argument;
    struct client client;
    struct reply reply;
    if (!client_open(&client, *port))
        return NULL;
    do
        client_request(&client, "GET", "/drift", NULL, &reply);
    while (reply.status);
    client_close(&client);
    return NULL;
}

/* Whoever waits when the server ends has an answer, also where that is the reader's to write, and whoever asks meanwhile
 * does no harm. */
START_TEST(the_end_answers_what_waits)
{
    enum { CLIENTS = 6, LARGE = 6000 };
    struct fixture f;
    struct client clients[CLIENTS];
    struct reply reply;
    char folder[] = "/tmp/distild-handover-XXXXXX", secret[sizeof(password)];
    char body[LARGE + 100], head[200];
    pthread_t asking;
    int i;
    start_whole(&f, folder, secret);
    launch(&f);
    ck_assert_int_eq(pthread_create(&asking, NULL, ask_on, &f.port), 0);
    snprintf(body, sizeof(body), "%*s", LARGE, "{\"session_password\":\"wrong\"}");
    snprintf(head, sizeof(head),
             "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", strlen(body));
    for (i = 0; i < CLIENTS; i++) {
        ck_assert(client_open(&clients[i], f.port));
        ck_assert(client_send_text(&clients[i], head));
        ck_assert(client_send_text(&clients[i], body));
    }
    while (server_in_flight(f.server) < 2)
        pause_ms(1);
    stop(&f);
    for (i = 0; i < CLIENTS; i++) {
        client_read(&clients[i], false, &reply);
        ck_assert_msg(reply.status == 401 || reply.status == 503, "%d %s", reply.status,
                      reply.body);
        client_close(&clients[i]);
    }
    pthread_join(asking, NULL);
    remove_folder(folder);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_is_taken_is_in_order_and_bounded,
        a_take_gives_up_in_time,
        every_queue_is_bounded,
        the_end_answers_what_waits,
    };
    return run_tests("handover", 60, tests, sizeof(tests) / sizeof(*tests));
}
