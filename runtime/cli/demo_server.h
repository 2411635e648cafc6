/* SPDX-License-Identifier: MIT */
#ifndef CLI_DEMO_SERVER_H
#define CLI_DEMO_SERVER_H

/*
 * The far end of the demonstration: an HTTP/1.1 server on a free loopback port that answers each
 * request after a while, as a remote service would.
 *
 * I1  `serving` counts requests from their last header byte to the first byte of the answer: the
 *     client has the call in flight all that time, so this never exceeds the client's number.
 *
 * Threads: start and stop: one task. The counters: everybody.
 */
#include <jackdaw/jackdaw.h>

#include "atomic/atomic.h"

struct demo_server {
    char address[64]; /* constant once started; as jd_dial() reads it */
    uint64_t seed;    /* of the delays */
    int listen_fd;
    jd_task *task;
    JD_ATOMIC(uint64_t) requests;
    JD_ATOMIC(uint32_t) serving;
    JD_ATOMIC(uint32_t) serving_max;
};

/* 0 or a negative errno; then stop it. */
int demo_server_start(struct demo_server *s, uint64_t seed);
/* Awaits the handlers, also in a cancelled scope. */
void demo_server_stop(struct demo_server *s);

#endif /* CLI_DEMO_SERVER_H */
