/* notify.h: tells the service manager what the server is doing, as sd_notify(3) describes: datagrams
 * to the socket that NOTIFY_SOCKET names. Without that variable nothing is sent. */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

#include <stdint.h>

void server_notify_ready(void);
void server_notify_reloading(void);
void server_notify_stopping(void);

/* Milliseconds between two signs of life that the manager is to get, half of what WATCHDOG_USEC
 * allows; 0 where it asks for none of this process. */
int64_t server_notify_period(void);
void server_notify_alive(void);

#endif
