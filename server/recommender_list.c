/* recommender_list.c: choosing the items of a list.
 *
 * An item that is never shown is never scored, so that what is thought of it never changes. One place in
 * ten, at the end of a list, therefore goes to an item for which a draw from what is believed of it
 * comes out best (Thompson sampling): one with few scores may win it, one that many found bad will not. The
 * rest of the list is the best there is, and costs nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/recommender_internal.h"

enum {
    SHARE_OF_TRIALS = 10, /* one place in so many */
    DRAWS_MOST = 2048     /* items that are drawn for, of a larger catalogue */
};

struct choice {
    int item;
    float value;
};

/* The best so far, by falling value, of the same value by rising item. */
struct choices {
    int count, most;
    struct choice each[SERVER_SHOWN_MOST];
};

static bool is_better(const struct choice *a, const struct choice *b)
{
    return a->value > b->value || (a->value == b->value && a->item < b->item);
}

static void offer(struct choices *choices, struct choice choice)
{
    int i;
    if (choices->count == choices->most &&
        (choices->most == 0 || !is_better(&choice, &choices->each[choices->most - 1])))
        return;
    if (choices->count < choices->most)
        choices->count++;
    for (i = choices->count - 1; i > 0 && is_better(&choice, &choices->each[i - 1]); i--)
        choices->each[i] = choices->each[i - 1];
    choices->each[i] = choice;
}

static bool has(const struct choices *choices, int item)
{
    int i;
    for (i = 0; i < choices->count; i++)
        if (choices->each[i].item == item)
            return true;
    return false;
}

/* ---- chance ---- */

static uint64_t draw(uint64_t *state)
{
    /* splitmix64 */
    uint64_t x = *state += 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

/* More than 0, at most 1. */
static double draw_uniform(uint64_t *state)
{
    return ((double)(draw(state) >> 11) + 1) / 9007199254740992.0;
}

static float draw_normal(uint64_t *state)
{
    static const double turn = 6.283185307179586;
    double length = sqrt(-2 * log(draw_uniform(state)));
    return (float)(length * cos(turn * draw_uniform(state)));
}

/* Places for trials in a list: a tenth, with what is left over settled by chance. */
static int trials_of(int most, uint64_t *state)
{
    int left = most % SHARE_OF_TRIALS;
    return most / SHARE_OF_TRIALS + (draw(state) % SHARE_OF_TRIALS < (uint64_t)left);
}

/* ---- the list ---- */

/* What is known of every item for one profile. */
struct outlook {
    int items;
    float *similarities, *expected, *doubts; /* (items) each */
};

static void choose(const struct outlook *outlook, int most, uint64_t *state, struct choices *best,
                   struct choices *trials)
{
    int draws = outlook->items < DRAWS_MOST ? outlook->items : DRAWS_MOST, i;
    trials->most = most < outlook->items ? trials_of(most, state) : 0;
    best->most = (most < outlook->items ? most : outlook->items) - trials->most;
    for (i = 0; i < outlook->items; i++)
        offer(best, (struct choice){i, outlook->expected[i]});
    for (i = 0; trials->most > 0 && i < draws; i++) {
        int item = draws == outlook->items ? i : (int)(draw(state) % (uint64_t)outlook->items);
        if (!has(best, item) && !has(trials, item))
            offer(trials, (struct choice){item, outlook->expected[item] +
                                                    outlook->doubts[item] * draw_normal(state)});
    }
}

static void fill(const struct outlook *outlook, const struct choices *from,
                 struct server_listing *listing)
{
    struct server_shown *shown = &listing->shown;
    int i;
    for (i = 0; i < from->count; i++, shown->count++) {
        int item = from->each[i].item;
        listing->items[shown->count] = item;
        shown->items[shown->count] =
            server_shown_hash(distil_catalogue_cell(listing->stock->items, item, 0));
        shown->similarities[shown->count] = outlook->similarities ? outlook->similarities[item] : 0;
    }
}

/* Finds out what is known of every item. An embedding that cannot be compared counts as none. */
static void look(const struct server_listing *listing, float *memory, struct outlook *outlook)
{
    const struct server_profile *profile = &listing->shown.profile;
    size_t n = (size_t)outlook->items;
    float *similarities = memory + 2 * n;
    if (listing->embedding && distil_catalogue_scores(listing->stock->items, listing->embedding,
                                                      similarities, NULL) == DISTIL_OK) {
        server_similarity_standardise(similarities, outlook->items);
        outlook->similarities = similarities;
    }
    outlook->expected = memory;
    outlook->doubts = memory + n;
    server_estimator_predict_all(listing->stock->estimator, profile, outlook->similarities,
                                 outlook->expected);
    server_estimator_doubt_all(listing->stock->estimator, profile, outlook->doubts);
}

void server_recommender_list(struct server_recommender *recommender, struct server_listing *listing)
{
    struct outlook outlook = {.items = (int)distil_catalogue_info(listing->stock->items)->items};
    float *memory = malloc(3 * (size_t)outlook.items * sizeof(*memory));
    struct choices best = {0}, trials = {0};
    uint64_t state;
    listing->handed.outcome = SERVER_OUTCOME_FAILED;
    listing->shown.count = 0;
    if (memory && server_shown_begin(&listing->shown)) {
        memcpy(&state, listing->shown.number, sizeof(state));
        look(listing, memory, &outlook);
        choose(&outlook, listing->most, &state, &best, &trials);
        fill(&outlook, &best, listing);
        fill(&outlook, &trials, listing);
        listing->handed.outcome = SERVER_OUTCOME_DONE;
        atomic_fetch_add_explicit(&recommender->lists, 1, memory_order_relaxed);
    }
    free(memory);
}

void *server_recommender_list_on(void *argument)
{
    struct server_recommender *recommender = argument;
    struct server_handed *handed;
    while ((handed = server_handover_take(&recommender->listings, 1, SERVER_HANDOVER_NEVER))) {
        struct server_listing *listing = (struct server_listing *)(void *)handed;
        server_recommender_list(recommender, listing);
        handed->done(handed);
    }
    return NULL;
}
