/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_RING_H
#define QUEUE_RING_H

/*
 * The array under fifo.h and deque.h: a power of two of atomic pointers, addressed by 64-bit
 * indexes that never wrap in practice and never go back, so an index has no ABA.
 *
 * I1  Only the owner writes slots, and only in the newest ring.
 * I2  After ring_grow() the old ring is never written again. It stays in the chain `older` until
 *     ring_free_chain(): a thief may still read it. The chain is smaller than the newest ring.
 * I3  Slots are atomic and relaxed: a thief may read a slot that is being reused, and throws the
 *     value away because its CAS on the index fails. Order comes from the indexes.
 *
 * Memory comes through two function pointers, so that the model checker compiles this unchanged.
 *
 * Rejected: freeing old rings by epochs (the sum of all old ones is below the newest's size);
 * 32-bit indexes (they wrap within seconds under a preempted thief).
 */
#include <stdbool.h>
#include <stdint.h>

#include "atomic/atomic.h"
#include "base/assert.h"
#include "base/attr.h"

#define RING_CAPACITY_LOG2_MAX 32 /* 32 GiB of slots: beyond it a push fails instead */

struct ring_memory {
    void *(*alloc)(size_t bytes); /* may answer NULL; aligned like malloc */
    void (*free)(void *ptr, size_t bytes);
};

struct ring_slot {
    JD_ATOMIC(void *) item;
};

struct ring {
    struct ring *older; /* owner only */
    uint64_t mask;      /* constant; capacity - 1 */
    struct ring_slot slots[];
};

static inline size_t ring_bytes(uint64_t capacity)
{
    return sizeof(struct ring) + (size_t)capacity * sizeof(struct ring_slot);
}

static inline struct ring *ring_new(const struct ring_memory *memory, uint64_t capacity,
                                    struct ring *older)
{
    JD_ASSERT(capacity > 0 && (capacity & (capacity - 1)) == 0);
    if (capacity > (UINT64_C(1) << RING_CAPACITY_LOG2_MAX))
        return NULL;
    struct ring *r = memory->alloc(ring_bytes(capacity));
    if (!r)
        return NULL;
    r->older = older;
    r->mask = capacity - 1;
    for (uint64_t i = 0; i < capacity; i++)
        atom_init(&r->slots[i].item, (void *)0);
    return r;
}

static inline void ring_put(struct ring *r, uint64_t index, void *item)
{
    /* Relaxed: I3. */
    atom_store(&r->slots[index & r->mask].item, item, relaxed);
}

static inline void *ring_get(struct ring *r, uint64_t index)
{
    /* Relaxed: I3. */
    return atom_load(&r->slots[index & r->mask].item, relaxed);
}

/* Owner. A ring with room for `needed` items and [from, to) copied; NULL when there is no memory,
 * and then nothing has changed. The caller publishes it. */
static inline struct ring *ring_grow(const struct ring_memory *memory, struct ring *old,
                                     uint64_t from, uint64_t to, uint64_t needed)
{
    uint64_t capacity = (old->mask + 1) * 2;

    while (capacity < needed)
        capacity *= 2;
    struct ring *r = ring_new(memory, capacity, old);
    if (!r)
        return NULL;
    for (uint64_t i = from; i != to; i++)
        ring_put(r, i, ring_get(old, i));
    return r;
}

static inline void ring_free_chain(const struct ring_memory *memory, struct ring *r)
{
    while (r) {
        struct ring *older = r->older;

        memory->free(r, ring_bytes(r->mask + 1));
        r = older;
    }
}

#endif /* QUEUE_RING_H */
