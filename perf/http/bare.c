/* bare.c: what libmicrohttpd does by itself: one epoll thread that answers every POST with a small
 * JSON text. What the server's HTTP layer is measured against.
 *
 *   perf_bare PORT      until standard input ends; then prints the CPU seconds that it took */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { CONNECTIONS = 10000 };

static char answer[] = "{\"status\":\"healthy\",\"model_loaded\":true,\"device\":\"cpu\"}";

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    static const char seen;
    struct MHD_Response *response;
    enum MHD_Result result;
    union {
        const void *from;
        void *to;
    } mark = {&seen};
    (void)cls;
    (void)url;
    (void)method;
    (void)version;
    (void)data;
    if (!*context) {
        *context = mark.to;
        return MHD_YES;
    }
    if (*size > 0) {
        *size = 0;
        return MHD_YES;
    }
    response = MHD_create_response_from_buffer(sizeof(answer) - 1, answer, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type", "application/json");
    result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 0;
    struct rusage usage;
    struct MHD_Daemon *daemon =
        port > 0 ? MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, (unsigned short)port, NULL, NULL,
                                    on_request, NULL, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
                                    MHD_OPTION_END)
                 : NULL;
    if (!daemon) {
        fputs("usage: perf_bare PORT, of a port that is free\n", stderr);
        return 2;
    }
    while (getchar() != EOF)
        continue;
    MHD_stop_daemon(daemon);
    getrusage(RUSAGE_SELF, &usage);
    printf("%.3f\n", (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    return 0;
}
