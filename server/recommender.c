/* recommender.c: see recommender.h. The life of a recommender, and its thread; recommender_list.c
 * makes lists. */
#include "server/recommender.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/metrics.h"
#include "server/recommender_internal.h"
#include "server/utf8.h"

enum { MOST_SCORINGS = 1024, MOST_LISTINGS = 64, MOST_TOGETHER = 256 };

/* ---- threads ---- */

static struct server_scoring *scoring_of(struct server_handed *handed)
{
    return (struct server_scoring *)(void *)handed; /* which stands first in it */
}

static distil_status store_all(struct server_recommender *recommender, struct server_handed *first,
                               distil_error *error)
{
    struct server_score_store *store = recommender->store;
    struct server_handed *each;
    distil_status status = server_score_store_begin(store, error);
    for (each = first; each && !status; each = each->next) {
        struct server_scoring *scoring = scoring_of(each);
        status = server_score_store_put(store, &scoring->row, &scoring->replaced, &scoring->before,
                                        error);
    }
    if (!status)
        status = server_score_store_commit(store, error);
    if (status)
        server_score_store_rollback(store);
    return status;
}

static struct server_score score_of(const struct server_score_row *row, long item, float score)
{
    return (struct server_score){
        .item = (int)item, .profile = row->profile, .similarity = row->similarity, .score = score};
}

/* Teaches a score to a stock, which may have come after the one that it was given to. */
static void teach(const struct server_recommender *recommender, const struct server_stock *stock,
                  const struct server_scoring *scoring)
{
    long item = stock == scoring->stock ? scoring->item
                                        : distil_catalogue_find(stock->items, scoring->row.item);
    struct server_score score = score_of(&scoring->row, item, scoring->row.score);
    distil_error error;
    if (item < 0)
        return;
    if (scoring->replaced) {
        struct server_score before = score_of(&scoring->row, item, scoring->before);
        server_estimator_remove(stock->estimator, &before);
    }
    if (server_estimator_add(stock->estimator, &score, &error))
        server_log_printf(recommender->log, SERVER_LOG_ERROR,
                          "a score is kept, but counts only after a restart: %s", error.message);
}

/* Keeps and teaches scores, in one transaction. */
static void process(struct server_recommender *recommender, struct server_handed *first)
{
    struct server_handed *each;
    unsigned long long count = 0;
    distil_error error;
    for (each = first; each; each = each->next)
        count++;
    if (store_all(recommender, first, &error)) {
        atomic_fetch_add_explicit(&recommender->lost, count, memory_order_relaxed);
        server_log_printf(recommender->log, SERVER_LOG_ERROR, "scores could not be kept: %s",
                          error.message);
        server_handed_end(first, SERVER_OUTCOME_FAILED);
        return;
    }
    for (each = first; each; each = each->next) {
        teach(recommender, recommender->stock, scoring_of(each));
        if (recommender->next)
            teach(recommender, recommender->next, scoring_of(each));
    }
    atomic_fetch_add_explicit(&recommender->kept, count, memory_order_relaxed);
    atomic_store_explicit(&recommender->learned,
                          server_estimator_count(recommender->stock->estimator),
                          memory_order_relaxed);
    server_handed_end(first, SERVER_OUTCOME_DONE);
}

/* Between two steps of learning. */
static void process_waiting(void *context)
{
    struct server_recommender *recommender = context;
    struct server_handed *first =
        server_handover_take(&recommender->scorings, MOST_TOGETHER, SERVER_HANDOVER_AT_ONCE);
    if (first)
        process(recommender, first);
}

/* Between two passes over all scores. */
static void process_between(void *context, int pass, int most)
{
    (void)pass;
    (void)most;
    process_waiting(context);
}

static distil_status take_row(void *context, const struct server_score_row *row,
                              distil_error *error)
{
    struct server_recommender *recommender = context;
    const struct server_stock *next = recommender->next;
    long item = distil_catalogue_find(next->items, row->item);
    struct server_score score = score_of(row, item, row->score);
    if (item < 0) {
        recommender->strangers++;
        return DISTIL_OK;
    }
    return server_estimator_store(next->estimator, &score, error);
}

/* Learns all scores that were kept for another stock, and takes that. */
static distil_status learn_stock(struct server_recommender *recommender, struct server_stock *stock,
                                 distil_error *error)
{
    distil_status status;
    recommender->strangers = 0;
    recommender->next = stock;
    status = server_score_store_each(recommender->store, take_row, recommender, error);
    if (!status && server_estimator_count(stock->estimator) > 0)
        status = server_estimator_settle(stock->estimator, process_between, recommender, error);
    recommender->next = NULL;
    if (status)
        return status;
    recommender->stock = stock;
    atomic_store(&recommender->learned, server_estimator_count(stock->estimator));
    if (recommender->strangers > 0)
        server_log_printf(
            recommender->log, SERVER_LOG_WARN,
            "%lld scores are of items that are not in the catalogue, and do not count",
            (long long)recommender->strangers);
    return DISTIL_OK;
}

/* Learns the stock that somebody waits for, if anybody does. False when the end has come. */
static bool restock(struct server_recommender *recommender)
{
    struct server_stock *wanted;
    bool stopped;
    pthread_mutex_lock(&recommender->lock);
    stopped = recommender->stopped;
    wanted = recommender->wanted;
    pthread_mutex_unlock(&recommender->lock);
    if (stopped || !wanted)
        return !stopped;
    recommender->status = learn_stock(recommender, wanted, &recommender->error);
    pthread_mutex_lock(&recommender->lock);
    recommender->wanted = NULL;
    pthread_cond_signal(&recommender->restocked);
    pthread_mutex_unlock(&recommender->lock);
    return true;
}

static void *learn_on(void *argument)
{
    struct server_recommender *recommender = argument;
    struct server_handed *first;
    distil_error error;
    do {
        first = server_handover_take(&recommender->scorings, MOST_TOGETHER, SERVER_HANDOVER_NEVER);
        if (first)
            process(recommender, first);
        if (first && server_estimator_is_due(recommender->stock->estimator) &&
            server_estimator_learn(recommender->stock->estimator, process_waiting, recommender,
                                   &error))
            server_log_printf(recommender->log, SERVER_LOG_WARN,
                              "what items have in common was not learned anew: %s", error.message);
    } while (restock(recommender));
    return NULL;
}

void server_recommender_push_scoring(struct server_recommender *recommender,
                                     struct server_scoring *scoring)
{
    if (!server_handover_push(&recommender->scorings, &scoring->handed))
        scoring->handed.done(&scoring->handed);
}

void server_recommender_push_listing(struct server_recommender *recommender,
                                     struct server_listing *listing)
{
    if (!server_handover_push(&recommender->listings, &listing->handed))
        listing->handed.done(&listing->handed);
}

/* ---- beginning ---- */

static bool is_line(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = strlen(text), step;
    for (; length > 0 && *at >= ' '; at += step, length -= step)
        if ((step = server_utf8_sequence(at, length)) == 0)
            return false;
    return length == 0;
}

static distil_status read_template(struct server_recommender *recommender, const char *path,
                                   distil_error *error)
{
    char text[SERVER_TEMPLATE_MOST + 2];
    distil_error problem;
    ssize_t length;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    length = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (length < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    if (length > 0 && text[length - 1] == '\n')
        length--;
    text[length] = '\0';
    if (strlen(text) != (size_t)length || !is_line(text))
        return distil_fail(error, DISTIL_FORMAT, "%s: a template must be a line of UTF-8", path);
    if (server_template_check(text, &problem))
        return distil_fail(error, DISTIL_FORMAT, "%s: %s", path, problem.message);
    memcpy(recommender->template_text, text, (size_t)length + 1);
    return DISTIL_OK;
}

void server_stock_clear(struct server_stock *stock)
{
    server_estimator_free(stock->estimator);
    stock->estimator = NULL;
}

static distil_status open_store(struct server_recommender *recommender, const char *state_dir,
                                distil_error *error)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", state_dir, SERVER_SCORE_FILE) >= (int)sizeof(path))
        return distil_fail(error, DISTIL_IO, "%.200s: the name is too long", state_dir);
    return server_score_store_open(path, &recommender->store, error);
}

static distil_status start_threads(struct server_recommender *recommender, distil_error *error)
{
    if (pthread_create(&recommender->learner, NULL, learn_on, recommender) == 0)
        recommender->started = 1;
    if (recommender->started == 1 &&
        pthread_create(&recommender->lister, NULL, server_recommender_list_on, recommender) == 0)
        recommender->started = 2;
    return recommender->started == 2
               ? DISTIL_OK
               : distil_fail(error, DISTIL_SYSTEM,
                             "the recommender's threads could not be started");
}

static distil_status prepare(struct server_recommender *recommender,
                             const struct server_recommender_options *options,
                             struct server_stock *stock, distil_error *error)
{
    distil_status status = DISTIL_OK;
    pthread_mutex_init(&recommender->lock, NULL); /* neither can fail on Linux */
    pthread_cond_init(&recommender->restocked, NULL);
    server_handover_init(&recommender->scorings, MOST_SCORINGS);
    server_handover_init(&recommender->listings, MOST_LISTINGS);
    recommender->log = options->log;
    if (options->template_file)
        status = read_template(recommender, options->template_file, error);
    else
        snprintf(recommender->template_text, sizeof(recommender->template_text), "%s",
                 server_profile_template);
    if (!status)
        status = server_estimator_of_catalogue(stock->items, &stock->estimator, error);
    if (!status)
        status = open_store(recommender, options->state_dir, error);
    if (!status)
        status = learn_stock(recommender, stock, error);
    return status ? status : start_threads(recommender, error);
}

distil_status server_recommender_create(const struct server_recommender_options *options,
                                        struct server_stock *stock,
                                        struct server_recommender **recommender,
                                        distil_error *error)
{
    struct server_recommender *made = calloc(1, sizeof(*made));
    distil_status status = made ? prepare(made, options, stock, error)
                                : distil_fail(error, DISTIL_NO_MEMORY,
                                              "out of memory for the "
                                              "recommender");
    *recommender = NULL;
    if (status) {
        server_recommender_free(made);
        server_stock_clear(stock);
    } else {
        *recommender = made;
    }
    return status;
}

distil_status server_recommender_restock(struct server_recommender *recommender,
                                         struct server_stock *stock, distil_error *error)
{
    distil_status status = server_estimator_of_catalogue(stock->items, &stock->estimator, error);
    if (status)
        return status;
    pthread_mutex_lock(&recommender->lock);
    recommender->wanted = stock;
    pthread_mutex_unlock(&recommender->lock);
    server_handover_wake(&recommender->scorings);
    pthread_mutex_lock(&recommender->lock);
    while (recommender->wanted && !recommender->ended)
        pthread_cond_wait(&recommender->restocked, &recommender->lock);
    if (recommender->wanted)
        status = distil_fail(error, DISTIL_BUSY, "the server is stopping");
    else if ((status = recommender->status))
        *error = recommender->error;
    recommender->wanted = NULL;
    pthread_mutex_unlock(&recommender->lock);
    return status;
}

/* Says to the threads, or to who waits for them, that the end has come. */
static void say(struct server_recommender *recommender, bool *what)
{
    pthread_mutex_lock(&recommender->lock);
    *what = true;
    pthread_cond_signal(&recommender->restocked);
    pthread_mutex_unlock(&recommender->lock);
}

void server_recommender_stop(struct server_recommender *recommender)
{
    if (!recommender || !recommender->started)
        return;
    say(recommender, &recommender->stopped);
    server_handover_stop(&recommender->scorings);
    server_handover_stop(&recommender->listings);
    pthread_join(recommender->learner, NULL);
    if (recommender->started > 1)
        pthread_join(recommender->lister, NULL);
    recommender->started = 0;
    say(recommender, &recommender->ended);
    server_handover_finish(&recommender->scorings);
    server_handover_finish(&recommender->listings);
}

void server_recommender_free(struct server_recommender *recommender)
{
    if (!recommender)
        return;
    server_recommender_stop(recommender);
    server_score_store_close(recommender->store);
    server_handover_destroy(&recommender->scorings);
    server_handover_destroy(&recommender->listings);
    pthread_cond_destroy(&recommender->restocked);
    pthread_mutex_destroy(&recommender->lock);
    free(recommender);
}

/* ---- what it knows ---- */

void server_recommender_words(const struct server_recommender *recommender,
                              const struct server_profile *profile, char *text, size_t size)
{
    server_profile_render(recommender->template_text, profile, text, size);
}

bool server_recommender_knows(const distil_catalogue *items, const distil_info *model)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(items);
    bool known = *facts->encoder && *model->digest;
    return facts->width == model->hidden && *facts->encoder &&
           (!known || strcmp(facts->encoder, model->digest) == 0);
}

const unsigned char *server_recommender_key(const struct server_recommender *recommender)
{
    return server_score_store_key(recommender->store);
}

static unsigned long long count_of(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void server_recommender_write_metrics(const struct server_recommender *recommender, FILE *out)
{
    server_metrics_family(out, "distild_recommendations_total", "counter",
                          "Lists of recommendations that were made.");
    fprintf(out, "distild_recommendations_total %llu\n",
            recommender ? count_of(&recommender->lists) : 0);
    server_metrics_family(out, "distild_recommender_scores_total", "counter",
                          "Scores given to recommendations, by whether they could be kept.");
    fprintf(out,
            "distild_recommender_scores_total{outcome=\"kept\"} %llu\n"
            "distild_recommender_scores_total{outcome=\"lost\"} %llu\n",
            recommender ? count_of(&recommender->kept) : 0,
            recommender ? count_of(&recommender->lost) : 0);
    server_metrics_family(out, "distild_recommender_scores_learned", "gauge",
                          "Scores that recommendations follow from.");
    fprintf(out, "distild_recommender_scores_learned %lld\n",
            recommender
                ? (long long)atomic_load_explicit(&recommender->learned, memory_order_relaxed)
                : 0);
}
