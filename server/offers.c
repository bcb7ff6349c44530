/* offers.c: see offers.h. */
#include "server/offers.h"

#include <pthread.h>
#include <stdlib.h>

/* An offer and how many requests use it. */
struct held {
    struct server_offer offer; /* first: the two share their address */
    int users;
};

struct server_offers {
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t left;  /* an offer lost its last user */
    struct held *now;
};

static struct held *held_of(struct server_offer *offer)
{
    return (struct held *)(void *)offer;
}

distil_status server_offer_open(const char *path, int threads, bool verify,
                                struct server_offer **offer, distil_error *error)
{
    struct held *held = calloc(1, sizeof(*held));
    distil_status status;
    *offer = NULL;
    if (!held)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the catalogue");
    status = server_catalogue_open(path, threads, verify, &held->offer.catalogue, error);
    if (status) {
        free(held);
        return status;
    }
    held->offer.stock.items = server_catalogue_items(held->offer.catalogue);
    *offer = &held->offer;
    return DISTIL_OK;
}

void server_offer_free(struct server_offer *offer)
{
    if (!offer)
        return;
    server_stock_clear(&offer->stock);
    server_catalogue_free(offer->catalogue);
    free(held_of(offer));
}

distil_status server_offers_create(struct server_offer *first, struct server_offers **offers,
                                   distil_error *error)
{
    struct server_offers *made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the catalogue");
    pthread_mutex_init(&made->lock, NULL); /* neither can fail on Linux */
    pthread_cond_init(&made->left, NULL);
    made->now = held_of(first);
    *offers = made;
    return DISTIL_OK;
}

void server_offers_stop(struct server_offers *offers)
{
    struct server_offer *now;
    if (!offers)
        return;
    now = server_offers_use(offers);
    server_catalogue_stop(now->catalogue);
    server_offers_leave(offers, now);
}

void server_offers_free(struct server_offers *offers)
{
    if (!offers)
        return;
    server_offer_free(&offers->now->offer);
    pthread_cond_destroy(&offers->left);
    pthread_mutex_destroy(&offers->lock);
    free(offers);
}

struct server_offer *server_offers_use(struct server_offers *offers)
{
    struct held *held;
    pthread_mutex_lock(&offers->lock);
    held = offers->now;
    held->users++;
    pthread_mutex_unlock(&offers->lock);
    return &held->offer;
}

void server_offers_leave(struct server_offers *offers, struct server_offer *offer)
{
    if (!offer)
        return;
    pthread_mutex_lock(&offers->lock);
    if (--held_of(offer)->users == 0)
        pthread_cond_signal(&offers->left);
    pthread_mutex_unlock(&offers->lock);
}

void server_offers_put(struct server_offers *offers, struct server_offer *offer)
{
    struct held *before;
    pthread_mutex_lock(&offers->lock);
    before = offers->now;
    offers->now = held_of(offer);
    while (before->users > 0)
        pthread_cond_wait(&offers->left, &offers->lock);
    pthread_mutex_unlock(&offers->lock);
    server_offer_free(&before->offer);
}
