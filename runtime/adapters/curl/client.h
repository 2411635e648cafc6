/* SPDX-License-Identifier: MIT */
#ifndef CURL_CLIENT_H
#define CURL_CLIENT_H

/*
 * The transfers of one runtime: a multi handle and the task that drives it.
 *
 *   word = IDLE      no driver; who adds a command starts one
 *        | NULL      the driver is awake, or about to be
 *        | ASLEEP    the driver waits in jd_poll(); who adds a command writes to wake_fd
 *        | a stack of commands
 *
 * I1  Handles of libcurl are not thread-safe. The multi handle, and an easy handle from its start
 *     command to its end, belong to the driver; there is at most one driver.
 * I2  A driver lives while transfers do, in a shielded scope: what ends it is the end of the
 *     transfers, and these end with their tasks. So none is left when a runtime shuts down.
 * I3  A transfer lives in the frame of its task, which leaves only after the permit of its end, and
 *     after a stop command also that of the command. A release of `ended` is the last access.
 * I4  Sockets of libcurl are in an epoll instance of the client, and only that is known to the
 *     reactor: nothing of Jackdaw refers to a descriptor that libcurl may close and get again.
 *
 * Why one driver and not one per worker: docs/adr/0013-one-driver-for-curl.md.
 */
#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#include <jackdaw/jackdaw.h>

#include "atomic/atomic.h"

#define TRANSFER_BUCKETS 256u

struct transfer;

struct command {
    struct command *next;
    struct transfer *transfer;
    bool is_stop;
};

struct transfer {
    CURL *easy;
    jd_sem ended; /* a permit when it has ended, another when a stop command was carried out */
    struct command start, stop;
    /* Written by the driver before the end. */
    CURLcode code;
    int error; /* why it ended without a code; 0: it has one */
    /* The driver's. */
    struct transfer *next; /* in its bucket */
    bool is_active;
};

struct client {
    JD_ATOMIC(struct command *) word;
    JD_ATOMIC(jd_task *) driver; /* to tell the driver from other tasks, by itself */
    jd_runtime *rt;
    int wake_fd;
    /* The driver's. */
    int epoll_fd;
    CURLM *multi;
    int64_t deadline; /* when libcurl wants to be called; JD_FOREVER */
    int broken;       /* a negative errno: no socket can be watched any more */
    unsigned active;
    unsigned kept; /* connections, used ones included: twice as many as were used at once */
    struct transfer *transfers[TRANSFER_BUCKETS];
};

/* The one of the caller's runtime, made on first use. */
int client_current(struct client **ret);

/*
 * Runs a transfer whose easy handle is set up; suspends. Its code and error are set when this returns
 * 0; else nothing has happened.
 */
JD_SUSPENDS int client_run(struct client *c, struct transfer *t);

/* error.c: the negative errno of a code; 0 for CURLE_OK. */
int transfer_error(CURL *easy, CURLcode code);

#endif /* CURL_CLIENT_H */
