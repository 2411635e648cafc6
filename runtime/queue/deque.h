/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_DEQUE_H
#define QUEUE_DEQUE_H

/*
 * The fork deque of one worker: Chase-Lev on a growable ring. The owner pushes and takes the newest
 * item at the bottom, thieves steal the oldest one at the top.
 *
 * I1  The items are the indexes [top, bottom); bottom is one lower during a take.
 * I2  bottom is written by the owner only. top only grows, by CAS, one by one: each success hands
 *     out the item at the old top, exactly once.
 * I3  The owner takes index b without a CAS only if it saw top < b after storing bottom = b. Both
 *     are seq_cst, and so are a thief's loads of top and bottom and every CAS of top [DQ-1]: a
 *     thief that sees top == b read it after the CAS that the owner missed, hence after the owner's
 *     store; it then reads bottom <= b (empty), or the bottom of a later push at b (a new item).
 * I4  For the last item (top == b) owner and thieves compete by the CAS of top.
 * I5  A thief loads top, bottom, and only then the ring: the ring in which the push that it saw put
 *     item `top`, or a newer one with a copy. The index top cannot be reused before top moves (I4),
 *     so what it read is right if its CAS succeeds. (crossbeam#728 loaded the ring too early.)
 * I6  A slot is reused only after the owner has seen top beyond it [DQ-3].
 *
 * Linearisation: push at the store of bottom; take at its load of top, or the CAS for the last
 * item; steal at the CAS. Progress: take and push wait-free (but for growth), steal wait-free (a
 * lost race is reported, not retried). Reclamation: old rings live until deque_fini(), see ring.h.
 *
 * Fork pushes are released, not seq_cst: a fork looks relaxed for idle workers, and the watchdog
 * repairs a miss. A thief that must be sure uses the ready FIFO.
 *
 * Threads: deque_init, deque_fini, deque_push, deque_take: the owner. All others: anyone.
 *
 * Rejected: seq_cst fences as in Le et al. (ThreadSanitizer models none); a membarrier in the thief
 * (flat fan-out twice as slow as one worker); the split deque (5 ns less per fork, comes later).
 */
#include "queue/ring.h"

struct deque {
    /* Thieves' line. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) top;
    /* Owner's line: thieves read bottom and ring, the rest is private to the owner. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) bottom;
    JD_ATOMIC(struct ring *) ring;
    uint64_t top_seen; /* a former value of top */
    const struct ring_memory *memory;
};

/* False when there is no memory. `memory` is borrowed until deque_fini(). */
static inline bool deque_init(struct deque *d, unsigned capacity_log2,
                              const struct ring_memory *memory)
{
    struct ring *ring = ring_new(memory, UINT64_C(1) << capacity_log2, /* older= */ NULL);

    if (!ring)
        return false;
    atom_init(&d->top, (uint64_t)0);
    atom_init(&d->bottom, (uint64_t)0);
    atom_init(&d->ring, ring);
    d->top_seen = 0;
    d->memory = memory;
    return true;
}

static inline void deque_fini(struct deque *d)
{
    /* Relaxed: no other thread is near any more. */
    ring_free_chain(d->memory, atom_load(&d->ring, relaxed));
}

/* Owner, ring full as far as top_seen tells. The ring to push into; NULL: no memory. */
static JD_NOINLINE JD_UNUSED struct ring *deque_make_room(struct deque *d, struct ring *ring,
                                                          uint64_t bottom)
{
    /* [DQ-3] Acquire, pairs with the CAS in deque_steal(): the thief has finished reading its slot
     * before we overwrite it. */
    d->top_seen = atom_load(&d->top, acquire);
    if (bottom - d->top_seen <= ring->mask)
        return ring;
    ring = ring_grow(d->memory, ring, d->top_seen, bottom, bottom - d->top_seen + 1);
    if (ring) {
        /* [DQ-4] Release, pairs with the load of ring in deque_steal(): publishes the copies. */
        atom_store(&d->ring, ring, release);
    }
    return ring;
}

/* Owner. False = full and it could not grow; nothing changed. */
static inline bool deque_push(struct deque *d, void *item)
{
    /* Relaxed, both: only the owner writes them. */
    uint64_t bottom = atom_load(&d->bottom, relaxed);
    struct ring *ring = atom_load(&d->ring, relaxed);

    if (JD_UNLIKELY(bottom - d->top_seen > ring->mask)) {
        ring = deque_make_room(d, ring, bottom);
        if (!ring)
            return false;
    }
    ring_put(ring, bottom, item);
    /* [DQ-2] Release, pairs with the load of bottom in deque_steal(): publishes the item, what it
     * points to, and the ring. */
    atom_store(&d->bottom, bottom + 1, release);
    return true;
}

/* Owner. The newest item, or NULL. */
static inline void *deque_take(struct deque *d)
{
    /* Relaxed, both: only the owner writes them. */
    uint64_t bottom = atom_load(&d->bottom, relaxed);
    struct ring *ring = atom_load(&d->ring, relaxed);

    if (bottom == d->top_seen) /* top_seen <= top <= bottom: empty, and no locked operation */
        return NULL;
    bottom--;
    /* [DQ-1] seq_cst, pairs with the loads in deque_steal(): I3. */
    atom_store(&d->bottom, bottom, seq_cst);
    uint64_t top = atom_load(&d->top, seq_cst);
    void *item = NULL;

    if (JD_LIKELY((int64_t)(bottom - top) > 0))
        return ring_get(ring, bottom);
    if (top == bottom) {
        item = ring_get(ring, bottom);
        /* [DQ-1] seq_cst, pairs with deque_steal(): I3, I4. Relaxed on failure: the winner is a
         * thief, and nothing of its is read. */
        if (!atom_cas(&d->top, &top, top + 1, seq_cst, relaxed))
            item = NULL;
    }
    /* Empty now: top == bottom + 1. [DQ-2] Release, pairs with the load of bottom in deque_steal().
     * Relaxed would let it pass our failing CAS: the thief that beats us could read this bottom
     * before, and item `bottom` without having acquired its push. */
    atom_store(&d->bottom, bottom + 1, release);
    d->top_seen = bottom + 1;
    return item;
}

/* Anyone. The oldest item. NULL: empty (*ret_lost false) or another thread was faster (true). */
static inline void *deque_steal(struct deque *d, bool *ret_lost)
{
    *ret_lost = false;
    /* [DQ-1] seq_cst, pairs with deque_take(): top before bottom, I3. */
    uint64_t top = atom_load(&d->top, seq_cst);
    /* [DQ-1] As above. [DQ-2] Acquire part, pairs with the release in deque_push(). */
    uint64_t bottom = atom_load(&d->bottom, seq_cst);

    if ((int64_t)(bottom - top) <= 0)
        return NULL;
    /* [DQ-4] Acquire, pairs with the release in deque_make_room(). After bottom: I5. */
    struct ring *ring = atom_load(&d->ring, acquire);
    void *item = ring_get(ring, top);

    /* [DQ-1] seq_cst: I3, I4. [DQ-3] Release part: our slot read comes before its reuse. Relaxed on
     * failure: what we read is thrown away. */
    if (!atom_cas(&d->top, &top, top + 1, seq_cst, relaxed)) {
        *ret_lost = true;
        return NULL;
    }
    return item;
}

/* A hint: exact only for the owner while nobody steals. */
static inline uint64_t deque_len(struct deque *d)
{
    /* Relaxed: a heuristic. */
    uint64_t top = atom_load(&d->top, relaxed);
    int64_t len = (int64_t)(atom_load(&d->bottom, relaxed) - top);

    return len > 0 ? (uint64_t)len : 0;
}

#endif /* QUEUE_DEQUE_H */
