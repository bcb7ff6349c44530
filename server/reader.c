/* reader.c: see reader.h. */
#include "server/reader.h"

#include <pthread.h>
#include <stdlib.h>

struct server_reader {
    size_t most_bytes;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct server_reading *first, *last;
    size_t bytes; /* of what waits and of what is being read */
    bool ending;
};

/* Takes the next one, waiting for it; NULL at the end. */
static struct server_reading *take(struct server_reader *reader, bool *ending)
{
    struct server_reading *reading;
    pthread_mutex_lock(&reader->lock);
    while (!reader->first && !reader->ending)
        pthread_cond_wait(&reader->changed, &reader->lock);
    reading = reader->first;
    if (reading)
        reader->first = reading->next;
    *ending = reader->ending;
    pthread_mutex_unlock(&reader->lock);
    return reading;
}

static void *run(void *argument)
{
    struct server_reader *reader = argument;
    struct server_reading *reading;
    bool ending;
    while ((reading = take(reader, &ending))) {
        size_t bytes = reading->bytes;
        reading->read(reading, ending); /* after which it may be gone */
        pthread_mutex_lock(&reader->lock);
        reader->bytes -= bytes;
        pthread_mutex_unlock(&reader->lock);
    }
    return NULL;
}

distil_status server_reader_start(size_t most_bytes, struct server_reader **reader,
                                  distil_error *error)
{
    struct server_reader *made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for reading requests");
    made->most_bytes = most_bytes;
    pthread_mutex_init(&made->lock, NULL); /* neither can fail on Linux */
    pthread_cond_init(&made->changed, NULL);
    if (pthread_create(&made->thread, NULL, run, made)) {
        pthread_cond_destroy(&made->changed);
        pthread_mutex_destroy(&made->lock);
        free(made);
        return distil_fail(error, DISTIL_SYSTEM,
                           "the thread that reads large requests could not be started");
    }
    *reader = made;
    return DISTIL_OK;
}

bool server_reader_push(struct server_reader *reader, struct server_reading *reading)
{
    bool room;
    pthread_mutex_lock(&reader->lock);
    room = reading->bytes == 0 || reader->bytes == 0 ||
           (reading->bytes <= reader->most_bytes &&
            reader->bytes <= reader->most_bytes - reading->bytes);
    if (room) {
        reading->next = NULL;
        if (reader->first)
            reader->last->next = reading;
        else
            reader->first = reading;
        reader->last = reading;
        reader->bytes += reading->bytes;
        pthread_cond_signal(&reader->changed);
    }
    pthread_mutex_unlock(&reader->lock);
    return room;
}

void server_reader_free(struct server_reader *reader)
{
    if (!reader)
        return;
    pthread_mutex_lock(&reader->lock);
    reader->ending = true;
    pthread_cond_signal(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
    pthread_join(reader->thread, NULL);
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->lock);
    free(reader);
}
