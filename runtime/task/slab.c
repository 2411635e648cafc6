/* SPDX-License-Identifier: MIT */
/*
 * Chunks, caches and the depot of task records: see slab.h.
 */
#include "task/slab.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "task/stub.h"
#include "task/task.h"

struct slab_chunk {
    struct slab_chunk *next; /* constant */
    struct jd_task records[SLAB_CHUNK_RECORDS];
};

/* A free record keeps its word (type stability); fn and arg carry the links. */
static struct jd_task *free_next(const struct jd_task *t)
{
    return (struct jd_task *)t->arg;
}

static void cache_push(struct slab_cache *cache, struct jd_task *t)
{
    t->arg = cache->free;
    cache->free = t;
    cache->count++;
}

static struct jd_task *cache_pop(struct slab_cache *cache)
{
    struct jd_task *t = cache->free;

    cache->free = free_next(t);
    cache->count--;
    return t;
}

void slab_depot_init(struct slab_depot *d)
{
    spin_init(&d->lock);
    d->batches = NULL;
    d->loose = (struct slab_cache){ NULL, 0 };
}

static bool chunk_new(struct slab_cache *cache, struct runtime_stub *stub)
{
    struct slab_chunk *chunk = mem_aligned(JD_CACHE_LINE, sizeof(*chunk));

    if (!chunk)
        return false;
    for (unsigned i = SLAB_CHUNK_RECORDS; i-- > 0;) {
        atom_init(&chunk->records[i].target.word.bits, WORD_DONE);
        cache_push(cache, &chunk->records[i]);
    }
    spin_lock(&stub->chunk_lock);
    chunk->next = stub->chunks;
    stub->chunks = chunk;
    spin_unlock(&stub->chunk_lock);
    return true;
}

/* Depot lock held. The batch's records follow each other through arg; fn links the batches. */
static void depot_push(struct slab_depot *d, struct slab_cache *from)
{
    struct jd_task *first = NULL;

    for (unsigned i = 0; i < SLAB_BATCH; i++) {
        struct jd_task *t = cache_pop(from);

        t->arg = first;
        first = t;
    }
    first->link.node.next = (__typeof__(first->link.node.next))ATOMIC_INITIAL(
        d->batches ? &d->batches->link.node : NULL);
    d->batches = first;
}

static bool depot_pop(struct slab_depot *d, struct slab_cache *to)
{
    struct jd_task *first = d->batches;
    struct qnode *next;

    if (!first)
        return false;
    next = atom_load(&first->link.node.next, relaxed); /* Relaxed: guarded by the depot's lock. */
    d->batches = next ? JD_CONTAINER_OF(next, struct jd_task, link.node) : NULL;
    while (first) {
        struct jd_task *t = first;

        first = free_next(t);
        cache_push(to, t);
    }
    return true;
}

struct jd_task *slab_take(struct slab_depot *d, struct slab_cache *cache, struct runtime_stub *stub)
{
    if (JD_UNLIKELY(!cache->free)) {
        bool filled;

        spin_lock(&d->lock);
        filled = depot_pop(d, cache);
        spin_unlock(&d->lock);
        if (!filled && !chunk_new(cache, stub))
            return NULL;
    }
    return cache_pop(cache);
}

void slab_put(struct slab_depot *d, struct slab_cache *cache, struct jd_task *t)
{
    cache_push(cache, t);
    if (JD_UNLIKELY(cache->count >= 2 * SLAB_BATCH + SLAB_CHUNK_RECORDS)) {
        MARK(RECORDS_SPILLED);
        spin_lock(&d->lock);
        depot_push(d, cache);
        spin_unlock(&d->lock);
    }
}

struct jd_task *slab_take_shared(struct slab_depot *d, struct runtime_stub *stub)
{
    struct jd_task *t = NULL;

    spin_lock(&d->lock);
    if (d->loose.free || depot_pop(d, &d->loose) || chunk_new(&d->loose, stub))
        t = cache_pop(&d->loose);
    spin_unlock(&d->lock);
    return t;
}

void slab_put_shared(struct slab_depot *d, struct jd_task *t)
{
    spin_lock(&d->lock);
    cache_push(&d->loose, t);
    if (d->loose.count >= 2 * SLAB_BATCH)
        depot_push(d, &d->loose);
    spin_unlock(&d->lock);
}

void slab_chunks_free(struct slab_chunk *chunks)
{
    while (chunks) {
        struct slab_chunk *next = chunks->next;

        mem_free_aligned(chunks, JD_CACHE_LINE, sizeof(*chunks));
        chunks = next;
    }
}

uint32_t slab_count_used(struct runtime_stub *stub)
{
    uint32_t used = 0;

    for (struct slab_chunk *chunk = stub->chunks; chunk; chunk = chunk->next)
        for (unsigned i = 0; i < SLAB_CHUNK_RECORDS; i++)
            used += chunk->records[i].id != 0;
    return used;
}

/* A reference on a record that may be free: only from non-zero. */
static bool record_ref(struct jd_task *t)
{
    uint32_t refs = atom_load(&t->future.refs, relaxed); /* Relaxed: the CAS decides. */

    do { /* bounded by the other holders' changes */
        if (refs == 0)
            return false;
        /* [REF-2] Acquire, pairs with the release store of refs in task_init(): the record of
         * this life is complete. */
    } while (!atom_cas(&t->future.refs, &refs, refs + 1, acquire, relaxed));
    return true;
}

int slab_foreach(struct runtime_stub *stub, int (*fn)(struct jd_task *t, void *arg), void *arg)
{
    struct slab_chunk *chunk;
    int stop = 0;

    spin_lock(&stub->chunk_lock);
    chunk = stub->chunks;
    spin_unlock(&stub->chunk_lock);
    for (; chunk && !stop; chunk = chunk->next) {
        for (unsigned i = 0; i < SLAB_CHUNK_RECORDS && !stop; i++) {
            struct jd_task *t = &chunk->records[i];

            if (!record_ref(t))
                continue;
            if (!outcome_is_done(&t->future.outcome))
                stop = fn(t, arg);
            future_unref(&t->future);
        }
    }
    return stop;
}
