/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_INJECTOR_H
#define QUEUE_INJECTOR_H

/*
 * The runtime's global queue: tasks from plain threads, and what a worker's FIFO could not hold.
 * Sharded; each shard is a FIFO list under a spin lock with a length that is read without it.
 *
 * I1  A shard's list and the writes of its len are guarded by its lock. len is the list's length
 *     whenever the lock is free.
 * I2  FIFO per shard. With one shard (up to 16 workers) that is FIFO over all; with more, per
 *     producer that keeps its hint, as far as one taker is concerned.
 * I3  A taker looks at all shards, from its hint on, so no shard is forgotten; it takes a lock only
 *     where len is not 0.
 *
 * Park protocol (Dekker), with the idle word of the scheduler:
 *   S1 injector_push() stores len, seq_cst [INJ-1]   P1 the worker announces itself idle, seq_cst
 *   S2 loads the idle word, seq_cst                  P2 injector_is_empty() loads len, seq_cst
 *   If S2 misses P1 then P2 sees S1; otherwise a task would wait beside a sleeping worker.
 *
 * Threads: all functions but init: anyone.
 *
 * Why a lock: this is an edge, one entry per task that a plain thread spawns (which wakes a worker
 * for 3.5 us) or per overflow of many. A pop of n takes one lock, where a lock-free list needs n
 * operations on shared lines, and nodes stay intrusive. Rejected: ck_fifo_mpmc (a foreign node per
 * entry, double-width CAS, needs safe reclamation), ck_ring (bounded), ck_stack (LIFO: starves).
 */
#include "atomic/spin.h"
#include "queue/qlist.h"

#define INJECTOR_WORKERS_PER_SHARD 8
#define INJECTOR_ONE_SHARD_WORKERS 16 /* up to here one shard, for the stronger order */

struct injector_shard {
    JD_ALIGNED(JD_CACHE_LINE) struct spin lock;
    JD_ATOMIC(uint64_t) len; /* written under the lock, read by anyone */
    struct qlist list;       /* guarded by the lock */
};

struct injector {
    struct injector_shard *shards; /* constant; the caller's array */
    unsigned shard_count;          /* constant */
};

static inline unsigned injector_shards_for(unsigned workers)
{
    return workers <= INJECTOR_ONE_SHARD_WORKERS ? 1 : workers / INJECTOR_WORKERS_PER_SHARD;
}

/* The shards are the caller's memory, aligned to JD_CACHE_LINE, until nobody uses the injector. */
static inline void injector_init(struct injector *inj, struct injector_shard *shards,
                                 unsigned shard_count)
{
    JD_ASSERT(shard_count > 0);
    inj->shards = shards;
    inj->shard_count = shard_count;
    for (unsigned i = 0; i < shard_count; i++) {
        spin_init(&shards[i].lock);
        atom_init(&shards[i].len, (uint64_t)0);
        qlist_init(&shards[i].list);
    }
}

/* The nodes first .. last, linked by next, count of them, in one piece. The hint (a worker's or
 * thread's number) picks the shard. The caller then looks for parked workers. */
static inline void injector_push_chain(struct injector *inj, unsigned hint, struct qnode *first,
                                       struct qnode *last, unsigned count)
{
    struct injector_shard *s = &inj->shards[hint % inj->shard_count];

    spin_lock(&s->lock);
    qlist_push_chain(&s->list, first, last);
    /* Relaxed: written under this lock only. */
    uint64_t len = atom_load(&s->len, relaxed);
    /* [INJ-1] seq_cst, pairs with the load in injector_is_empty(): S1. The lock publishes the
     * nodes. */
    atom_store(&s->len, len + count, seq_cst);
    spin_unlock(&s->lock);
}

static inline void injector_push(struct injector *inj, unsigned hint, struct qnode *node)
{
    injector_push_chain(inj, hint, node, node, 1);
}

static inline unsigned injector_pop_shard(struct injector_shard *s, struct qlist *out, unsigned max)
{
    unsigned count = 0;
    struct qnode *node;

    /* Relaxed: a hint; who must be sure has asked injector_is_empty() before, and then coherence
     * forbids an older value here. */
    if (atom_load(&s->len, relaxed) == 0)
        return 0;
    spin_lock(&s->lock);
    while (count < max && (node = qlist_pop(&s->list))) {
        qlist_push(out, node);
        count++;
    }
    /* Relaxed, both: written under this lock only; a taker wakes nobody, and a late sight of the
     * smaller number costs a look at an empty list. */
    atom_store(&s->len, atom_load(&s->len, relaxed) - count, relaxed);
    spin_unlock(&s->lock);
    return count;
}

/* Appends at most max nodes to *out, oldest first per shard; returns their number. */
static inline unsigned injector_pop_batch(struct injector *inj, unsigned hint, struct qlist *out,
                                          unsigned max)
{
    unsigned count = 0;

    for (unsigned i = 0; i < inj->shard_count && count < max; i++) {
        struct injector_shard *s = &inj->shards[(hint + i) % inj->shard_count];

        count += injector_pop_shard(s, out, max - count);
    }
    return count;
}

/* A hint, for the size of a fair share. */
static inline uint64_t injector_len(struct injector *inj)
{
    uint64_t len = 0;

    for (unsigned i = 0; i < inj->shard_count; i++)
        len += atom_load(&inj->shards[i].len, relaxed); /* Relaxed: a heuristic. */
    return len;
}

/* P2 of the park protocol above: the caller has announced itself by a seq_cst operation before. */
static inline bool injector_is_empty(struct injector *inj)
{
    for (unsigned i = 0; i < inj->shard_count; i++) {
        /* [INJ-1] seq_cst, pairs with the store in injector_push_chain(). */
        if (atom_load(&inj->shards[i].len, seq_cst) != 0)
            return false;
    }
    return true;
}

#endif /* QUEUE_INJECTOR_H */
