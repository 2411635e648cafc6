/* SPDX-License-Identifier: MIT */
#ifndef CLI_HTTP_CALL_H
#define CLI_HTTP_CALL_H

/*
 * One HTTP/1.1 GET over a connection of its own: as small as a client can be.
 *
 * Threads: tasks. Rejected: keep-alive (the demonstration is about many connections).
 */
#include <stddef.h>

/*
 * GET `path` from `address`; the body goes to `body`, terminated. The HTTP status, or a negative
 * errno: -EPROTO for an answer that is none, -ENOBUFS for one that does not fit, else as the
 * network calls.
 */
int http_get(const char *address, const char *path, char *body, size_t room);

#endif /* CLI_HTTP_CALL_H */
