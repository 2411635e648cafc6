/* SPDX-License-Identifier: MIT */
#ifndef CLI_HOSTS_H
#define CLI_HOSTS_H

/*
 * A semaphore for each host and port that a batch has items for.
 *
 * I1  A host lives while items hold it: a million hosts one after the other need no memory.
 *
 * Threads: one at a time; the semaphores: any.
 */
#include <stddef.h>

#include <jackdaw/jackdaw.h>

#define HOST_BUCKETS 1024u

struct host {
    jd_sem sem;
    struct host *next;
    unsigned refs;
    size_t len;
    char name[];
};

struct hosts {
    unsigned limit;
    struct host *buckets[HOST_BUCKETS];
};

/* The host of a URL, with one more reference; NULL: out of memory. */
struct host *host_get(struct hosts *h, const char *url, size_t len);
/* NULL is a no-op. */
void host_put(struct hosts *h, struct host *host);

#endif /* CLI_HOSTS_H */
