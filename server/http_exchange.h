/* http_exchange.h: an exchange and its connection as the parts of the HTTP front end share them:
 * http.c (callbacks and threads), http_request.c (headers and body), http_work.c, http_answer.c. */
#ifndef SERVER_HTTP_EXCHANGE_H
#define SERVER_HTTP_EXCHANGE_H

#include <microhttpd.h>

#include "server/connections.h"
#include "server/exchange.h"
#include "server/reader.h"
#include "server/trace.h"

struct server_http_thread {
    struct server *server;
    uint64_t number; /* of the next request: of this thread, from a range of its own */
    struct MHD_Daemon *daemon;
    struct server_token_pool pool;
    struct server_meter *meter;
    struct server_connections *connections;
};

/* An exchange with what the HTTP library needs of it. */
struct server_http_exchange {
    struct server_exchange exchange; /* first: the two share their address */
    struct MHD_Connection *connection;
    struct server_connection *kept; /* what outlives the requests of the connection; may be NULL */
    int fd;                         /* of the connection, while the exchange is suspended */
    size_t discarded;
    struct server_reading reading; /* where the body is large */
    int64_t handed;                /* to the reader, when */
    struct server_trace trace;
    bool close;            /* the connection, after the answer */
    bool expects_continue; /* before it sends the body */
    bool arriving;         /* counted as such: its body is on its way */
    bool counted;          /* as in flight: the request is complete */
    bool cut;              /* the client left before it had its answer */
    bool suspended;        /* waits for the workers or the reader, or has waited */
};

static inline struct server_http_exchange *server_http_of(struct server_exchange *exchange)
{
    return (struct server_http_exchange *)(void *)exchange;
}

/* What is kept of a connection for as long as it is open. */
struct server_connection *server_http_kept(struct MHD_Connection *connection);
/* Begins an exchange: reads the headers and answers what they alone decide, such as 404. target is
 * the request's, in either form. NULL when memory runs out. */
struct server_http_exchange *server_http_begin(struct server_http_thread *thread,
                                               struct MHD_Connection *connection,
                                               const char *target, const char *method,
                                               const char *version);
/* Takes a piece of the body; false when the connection is to be cut. */
bool server_http_take_body(struct server_http_exchange *http, const char *data, size_t size);

/* No longer counts an exchange as arriving, if it does. */
void server_http_arrived(struct server_http_exchange *http);

/* The descriptor of a connection; -1 where there is none. */
int server_http_descriptor(struct MHD_Connection *connection);
/* Answers 503 to a request with a body of so many bytes for which the queue has no room, or no time, whatever it asks; false
 * where it may have. */
bool server_http_shed(struct server_exchange *exchange, uint64_t bytes);
/* Lets the handler loose on a complete request, and sends what it answers or puts the connection to
 * sleep until others have answered. */
enum MHD_Result server_http_dispatch(struct server_http_exchange *http);

/* Puts the connection to sleep, or lets it sleep on, and sets those to work who will wake it; false where
 * the exchange is answered or waits for nobody. */
bool server_http_go_on(struct server_http_exchange *http);

/* Sends the answer that the exchange holds. */
enum MHD_Result server_http_respond(struct server_http_exchange *http);
/* The same before the body has been read. The library then closes the connection. */
enum MHD_Result server_http_respond_early(struct server_http_exchange *http);
/* Counts an exchange that has ended. */
void server_http_count_exchange(const struct server_http_exchange *http);
/* Writes a line about an exchange that has ended. */
void server_http_log_exchange(const struct server_http_exchange *http);

#endif
