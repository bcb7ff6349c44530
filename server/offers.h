/* offers.h: what clients search and are recommended: a catalogue, and what was learned of its items.
 *
 * Like a model it can be replaced while requests use it: a request keeps the one that it began with, and the old one is freed
 * when the last such request has ended. */
#ifndef SERVER_OFFERS_H
#define SERVER_OFFERS_H

#include "server/catalogue.h"
#include "server/recommender.h"

struct server_offers;

struct server_offer {
    struct server_catalogue *catalogue;
    struct server_stock
        stock; /* its items; nothing is learned of them where nothing is recommended */
};

/* Opens the catalogue at path; threads and verify as server_catalogue_open has them. */
distil_status server_offer_open(const char *path, int threads, bool verify,
                                struct server_offer **offer, distil_error *error);
/* To be called when nobody uses it. NULL is ignored. */
void server_offer_free(struct server_offer *offer);

/* Takes over the first offer where it succeeds. */
distil_status server_offers_create(struct server_offer *first, struct server_offers **offers,
                                   distil_error *error);
/* To be called when no offer is in use any more. NULL is ignored. */
void server_offers_free(struct server_offers *offers);
/* Ends the searches of the offer that there is, as server_catalogue_stop. NULL is ignored. */
void server_offers_stop(struct server_offers *offers);

/* The offer that there is, to be given back with server_offers_leave. */
struct server_offer *server_offers_use(struct server_offers *offers);
/* offer: NULL is ignored. */
void server_offers_leave(struct server_offers *offers, struct server_offer *offer);
/* Puts an offer in the place of the one before, and returns when nobody uses that any more and it is freed. */
void server_offers_put(struct server_offers *offers, struct server_offer *offer);

#endif
