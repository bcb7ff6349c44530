/* reader.c: see reader.h. */
#include "server/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "server/queue.h"

/* Readings in order of arrival. */
struct line {
    struct server_reading *first, *last;
};

struct server_reader {
    size_t most_bytes;
    pthread_t thread, watch;
    bool started;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed, alarm;
    struct line answers, requests;
    int64_t alarm_at; /* the first deadline of a request that waits; 0: none */
    size_t bytes;     /* of what waits and of what is being read */
    bool ending;
};

static void append(struct line *line, struct server_reading *reading)
{
    reading->next = NULL;
    if (line->first)
        line->last->next = reading;
    else
        line->first = reading;
    line->last = reading;
}

static struct server_reading *take_first(struct line *line)
{
    struct server_reading *reading = line->first;
    if (reading)
        line->first = reading->next;
    return reading;
}

/* ---- reading ---- */

/* Takes the next one, waiting for it; NULL at the end. */
static struct server_reading *take(struct server_reader *reader, enum server_turn *turn)
{
    struct server_reading *reading;
    pthread_mutex_lock(&reader->lock);
    while (!reader->answers.first && !reader->requests.first && !reader->ending)
        pthread_cond_wait(&reader->changed, &reader->lock);
    reading = take_first(&reader->answers);
    if (!reading)
        reading = take_first(&reader->requests);
    *turn = reader->ending ? SERVER_TURN_ENDING : SERVER_TURN;
    pthread_mutex_unlock(&reader->lock);
    return reading;
}

static void give_room(struct server_reader *reader, size_t bytes)
{
    pthread_mutex_lock(&reader->lock);
    reader->bytes -= bytes;
    pthread_mutex_unlock(&reader->lock);
}

static void *run(void *argument)
{
    struct server_reader *reader = argument;
    struct server_reading *reading;
    enum server_turn turn;
    while ((reading = take(reader, &turn))) {
        const size_t bytes = reading->bytes;
        if (turn == SERVER_TURN && reading->deadline > 0 && server_now() >= reading->deadline)
            turn = SERVER_TURN_LATE;
        reading->read(reading, turn);
        give_room(reader, bytes);
    }
    return NULL;
}

/* ---- deadlines of what waits ---- */

/* Takes out the requests whose deadlines have passed, and sets the alarm to the first of the others. */
static struct server_reading *take_late(struct server_reader *reader)
{
    struct line late = {0}, rest = {0};
    struct server_reading *reading;
    const int64_t now = server_now();
    reader->alarm_at = 0;
    while ((reading = take_first(&reader->requests))) {
        const bool is_late = reading->deadline > 0 && now >= reading->deadline;
        append(is_late ? &late : &rest, reading);
        if (is_late)
            reader->bytes -= reading->bytes;
        else if (reading->deadline > 0 &&
                 (reader->alarm_at == 0 || reading->deadline < reader->alarm_at))
            reader->alarm_at = reading->deadline;
    }
    reader->requests = rest;
    return late.first;
}

/* Waits for the alarm; false at the end. */
static bool wait_for_alarm(struct server_reader *reader)
{
    while (!reader->ending && (reader->alarm_at == 0 || server_now() < reader->alarm_at)) {
        const struct timespec at = {.tv_sec = reader->alarm_at / 1000000000,
                                    .tv_nsec = reader->alarm_at % 1000000000};
        if (reader->alarm_at == 0)
            pthread_cond_wait(&reader->alarm, &reader->lock);
        else
            pthread_cond_timedwait(&reader->alarm, &reader->lock, &at);
    }
    return !reader->ending;
}

/* While one request is read, others learn of their deadlines by this thread. */
static void *watch(void *argument)
{
    struct server_reader *reader = argument;
    pthread_mutex_lock(&reader->lock);
    while (wait_for_alarm(reader)) {
        struct server_reading *late = take_late(reader);
        pthread_mutex_unlock(&reader->lock);
        while (late) {
            struct server_reading *reading = late;
            late = late->next;
            reading->read(reading, SERVER_TURN_LATE);
        }
        pthread_mutex_lock(&reader->lock);
    }
    pthread_mutex_unlock(&reader->lock);
    return NULL;
}

/* ---- lifecycle ---- */

static void end_threads(struct server_reader *reader, bool watching)
{
    pthread_mutex_lock(&reader->lock);
    reader->ending = true;
    pthread_cond_signal(&reader->changed);
    pthread_cond_signal(&reader->alarm);
    pthread_mutex_unlock(&reader->lock);
    if (watching)
        pthread_join(reader->watch, NULL);
    pthread_join(reader->thread, NULL);
}

distil_status server_reader_start(size_t most_bytes, struct server_reader **reader,
                                  distil_error *error)
{
    struct server_reader *made = calloc(1, sizeof(*made));
    pthread_condattr_t attributes;
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for reading requests");
    made->most_bytes = most_bytes;
    pthread_condattr_init(&attributes); /* none of these can fail on Linux */
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, NULL);
    pthread_cond_init(&made->alarm, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&made->thread, NULL, run, made) == 0) {
        made->started = pthread_create(&made->watch, NULL, watch, made) == 0;
        if (!made->started)
            end_threads(made, false);
    }
    if (!made->started) {
        server_reader_free(made);
        return distil_fail(error, DISTIL_SYSTEM,
                           "the threads that read large requests could not be started");
    }
    *reader = made;
    return DISTIL_OK;
}

/* Whether a request fits beside what waits. */
static bool has_room(const struct server_reader *reader, size_t bytes)
{
    return !reader->ending && (reader->bytes == 0 || (bytes <= reader->most_bytes &&
                                                      reader->bytes <= reader->most_bytes - bytes));
}

bool server_reader_push(struct server_reader *reader, struct server_reading *reading)
{
    const int64_t deadline = reading->deadline;
    bool room = true;
    pthread_mutex_lock(&reader->lock);
    if (reading->bytes == 0) {
        append(&reader->answers, reading);
    } else if ((room = has_room(reader, reading->bytes))) {
        append(&reader->requests, reading);
        reader->bytes += reading->bytes;
        if (deadline > 0 && (reader->alarm_at == 0 || deadline < reader->alarm_at)) {
            reader->alarm_at = deadline;
            pthread_cond_signal(&reader->alarm);
        }
    }
    pthread_cond_signal(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
    return room;
}

void server_reader_stop(struct server_reader *reader)
{
    if (!reader || !reader->started)
        return;
    reader->started = false;
    end_threads(reader, true);
}

void server_reader_free(struct server_reader *reader)
{
    if (!reader)
        return;
    server_reader_stop(reader);
    pthread_cond_destroy(&reader->alarm);
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->lock);
    free(reader);
}
