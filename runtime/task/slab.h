/* SPDX-License-Identifier: MIT */
#ifndef TASK_SLAB_H
#define TASK_SLAB_H

/*
 * Type-stable memory for task records: chunks of 64 that are never returned before the stub dies,
 * a free list per worker, and a shared depot through which batches flow from workers that free
 * more than they make to workers that make more than they free.
 *
 * I1  A record is in exactly one free list or in use; `id` is 0 while it is free.
 * I2  A worker's list is touched by that worker only; the depot by all, under its lock, in batches
 *     of SLAB_BATCH, so the lock is taken once per SLAB_BATCH records at most.
 * I3  Chunks are linked once and stay: slab_foreach() walks them without a lock on the records and
 *     takes a reference by CAS from non-zero before it looks inside.
 *
 * Threads: the cache: its worker. The depot, slab_foreach: any.
 * Rejected: malloc per task (+5.7 ns, and not type-stable); remote free lists per owner (one CAS
 * per cross-worker free, where batches amortise it).
 */
#include <stdbool.h>

#include "atomic/spin.h"

struct jd_task;
struct runtime_stub;

#define SLAB_BATCH 32
#define SLAB_CHUNK_RECORDS 64

struct slab_cache {
    struct jd_task *free; /* linked through fn */
    unsigned count;
};

struct slab_depot {
    struct spin lock;
    struct jd_task *batches; /* lists of SLAB_BATCH; the first of each links them through arg */
    struct slab_cache loose; /* of threads that are no workers */
};

struct slab_chunk;

void slab_depot_init(struct slab_depot *d);
/* A free record, or NULL: out of memory. Its word counts on from its former life. */
struct jd_task *slab_take(struct slab_depot *d, struct slab_cache *cache,
                          struct runtime_stub *stub);
void slab_put(struct slab_depot *d, struct slab_cache *cache, struct jd_task *t);
/* For threads that are no workers. */
struct jd_task *slab_take_shared(struct slab_depot *d, struct runtime_stub *stub);
void slab_put_shared(struct slab_depot *d, struct jd_task *t);
void slab_chunks_free(struct slab_chunk *chunks);

/* Records in use; exact while nothing runs and stub->lock is held. */
uint32_t slab_count_used(struct runtime_stub *stub);

/* Calls fn with a reference held on each live task, until it returns non-zero, which is returned. */
int slab_foreach(struct runtime_stub *stub, int (*fn)(struct jd_task *t, void *arg), void *arg);

#endif /* TASK_SLAB_H */
