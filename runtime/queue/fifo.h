/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_FIFO_H
#define QUEUE_FIFO_H

/*
 * The ready queue of one worker: a growable lock-free FIFO. The owner pushes at the tail; the
 * owner and any thief claim from the head, one item or up to half of them, with one CAS.
 *
 * I1  head <= tail; the items are the indexes [head, tail), oldest first. Both only grow.
 * I2  tail is written by the owner only; head only by a CAS that claims [head, head + n).
 * I3  An index is claimed exactly once: head is 64 bits and never returns to a former value, so of
 *     all CASes that expect h one succeeds. What a loser read is thrown away.
 * I4  A slot is reused only after the owner has seen head beyond it [FIFO-1], so a claimer whose
 *     CAS succeeds has read the right item.
 * I5  A claimer loads head, then tail [FIFO-2], then the ring. The ring that a push wrote to was
 *     published before that push's tail, so it, or a newer one with a copy [FIFO-3], is found.
 *
 * Linearisation: push at the store of tail, claim at the CAS of head, empty at the load of tail.
 * Progress: push wait-free (but for growth), pop and steal lock-free: a CAS fails only because
 * another thread claimed. Reclamation: old rings live until fifo_fini(), see ring.h.
 *
 * Park protocol (Dekker), with the idle word of the scheduler:
 *   S1 fifo_push() stores tail, seq_cst [FIFO-4]   P1 the worker announces itself idle, seq_cst
 *   S2 loads the idle word, seq_cst                P2 fifo_is_empty() loads tail, seq_cst [FIFO-4]
 *   If S2 misses P1 then P2 sees S1; otherwise a ready task would wait beside a sleeping worker.
 *
 * Threads: fifo_init, fifo_fini, fifo_push*: the owner. All others: anyone.
 *
 * Rejected: Tokio's fixed ring of 256 with an overflow queue (two orders, two places to look);
 * claims of 8 by the owner (0.7 ns against 4.7, but stranded behind a long task until thieves can
 * revoke them); Chase-Lev with steals one by one.
 */
#include "base/mark.h"
#include "queue/ring.h"

struct fifo {
    /* Claimers' line: owner and thieves, by CAS. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) head;
    /* Owner's line: thieves read tail and ring, the rest is private to the owner. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) tail;
    JD_ATOMIC(struct ring *) ring;
    uint64_t head_seen; /* a former value of head: spares the owner the claimers' line */
    const struct ring_memory *memory;
};

/* False when there is no memory. `memory` is borrowed until fifo_fini(). */
static inline bool fifo_init(struct fifo *f, unsigned capacity_log2,
                             const struct ring_memory *memory)
{
    struct ring *ring = ring_new(memory, UINT64_C(1) << capacity_log2, /* older= */ NULL);

    if (!ring)
        return false;
    atom_init(&f->head, (uint64_t)0);
    atom_init(&f->tail, (uint64_t)0);
    atom_init(&f->ring, ring);
    f->head_seen = 0;
    f->memory = memory;
    return true;
}

/* Items still inside are the caller's loss; no other thread may be near any more. */
static inline void fifo_fini(struct fifo *f)
{
    /* Relaxed: no other thread is near. */
    ring_free_chain(f->memory, atom_load(&f->ring, relaxed));
}

/* Owner, ring full as far as head_seen tells. The ring to push into; NULL: no memory. */
static JD_NOINLINE JD_UNUSED struct ring *fifo_make_room(struct fifo *f, struct ring *ring,
                                                         uint64_t tail, uint64_t count)
{
    /* [FIFO-1] Acquire, pairs with the claiming CAS: the claimer has finished reading its slots
     * before we overwrite them. */
    f->head_seen = atom_load(&f->head, acquire);
    if (tail + count - f->head_seen <= ring->mask + 1)
        return ring;
    ring = ring_grow(f->memory, ring, f->head_seen, tail, tail + count - f->head_seen);
    if (ring) {
        MARK(FIFO_GREW);
        /* [FIFO-3] Release, pairs with the load of ring in fifo_claim(): publishes the copies. */
        atom_store(&f->ring, ring, release);
    }
    return ring;
}

/* Owner. The ring, after making sure that `count` items fit behind `tail`; NULL: no memory. */
static JD_ALWAYS_INLINE struct ring *fifo_reserve(struct fifo *f, uint64_t tail, uint64_t count)
{
    /* Relaxed: only the owner writes the ring pointer. */
    struct ring *ring = atom_load(&f->ring, relaxed);

    if (JD_LIKELY(tail + count - f->head_seen <= ring->mask + 1))
        return ring;
    return fifo_make_room(f, ring, tail, count);
}

/* Owner. All n items in this order with one publication, or false (full and no memory; nothing
 * changed). The caller then looks for a parked worker. */
static inline bool fifo_push_many(struct fifo *f, void *const *items, unsigned n)
{
    /* Relaxed: only the owner writes tail. */
    uint64_t tail = atom_load(&f->tail, relaxed);
    struct ring *ring = fifo_reserve(f, tail, n);

    if (JD_UNLIKELY(!ring))
        return false;
    for (unsigned i = 0; i < n; i++)
        ring_put(ring, tail + i, items[i]);
    /* [FIFO-2] Release part, pairs with the acquire in fifo_claim(): publishes the items, what they
     * point to, and the ring. [FIFO-4] seq_cst part: S1 of the park protocol above. */
    atom_store(&f->tail, tail + n, seq_cst);
    return true;
}

/* Owner. False = full and it could not grow; nothing changed. The caller then looks for a parked
 * worker. */
static JD_ALWAYS_INLINE bool fifo_push(struct fifo *f, void *item)
{
    /* Relaxed: only the owner writes tail. */
    uint64_t tail = atom_load(&f->tail, relaxed);
    struct ring *ring = fifo_reserve(f, tail, 1);

    if (JD_UNLIKELY(!ring))
        return false;
    ring_put(ring, tail, item);
    /* [FIFO-2] [FIFO-4] As in fifo_push_many(). */
    atom_store(&f->tail, tail + 1, seq_cst);
    return true;
}

/* Owner. Like fifo_push() without S1 (4 ns less): for a caller that comes back to the item itself,
 * that wakes nobody, or that ends a series of these with a fifo_push(). */
static JD_ALWAYS_INLINE bool fifo_push_quiet(struct fifo *f, void *item)
{
    /* Relaxed: only the owner writes tail. */
    uint64_t tail = atom_load(&f->tail, relaxed);
    struct ring *ring = fifo_reserve(f, tail, 1);

    if (JD_UNLIKELY(!ring))
        return false;
    ring_put(ring, tail, item);
    /* [FIFO-2] Release, pairs with the acquire in fifo_claim(): publishes the item. */
    atom_store(&f->tail, tail + 1, release);
    return true;
}

/* Claims the oldest items into out[]: half of them rounded up, or all, but at most max. */
static JD_ALWAYS_INLINE unsigned fifo_claim(struct fifo *f, void **out, unsigned max, bool half)
{
    /* Relaxed: a stale head makes the CAS fail; tail carries the order. */
    uint64_t head = atom_load(&f->head, relaxed);

    for (;;) { /* lock-free: each failure is another thread's claim */
        /* [FIFO-2] Acquire, pairs with the release of tail in the pushes: we see the slots below
         * tail, what the items point to, and the ring they are in. */
        uint64_t tail = atom_load(&f->tail, acquire);
        int64_t len = (int64_t)(tail - head); /* < 0: an old tail beside a new head */

        if (len <= 0)
            return 0;
        uint64_t want = half ? ((uint64_t)len + 1) / 2 : (uint64_t)len;
        unsigned n = want < max ? (unsigned)want : max;
        /* [FIFO-3] Acquire, pairs with the release in fifo_make_room(): a newer ring than our tail
         * asks for comes with its copies. */
        struct ring *ring = atom_load(&f->ring, acquire);

        for (unsigned i = 0; i < n; i++)
            out[i] = ring_get(ring, head + i);
        /* [FIFO-1] Release, pairs with the acquire in fifo_make_room(): our slot reads come before
         * their reuse. Relaxed on failure: tail is loaded again. */
        if (atom_cas(&f->head, &head, head + n, release, relaxed))
            return n;
        MARK(CLAIM_LOST);
    }
}

/* The oldest item, or NULL. One CAS. */
static inline void *fifo_pop(struct fifo *f)
{
    void *item;

    return fifo_claim(f, &item, 1, /* half= */ false) ? item : NULL;
}

/* Half of the items, rounded up, at most max, oldest first. One successful CAS. 0 = empty. */
static inline unsigned fifo_steal(struct fifo *victim, void **out, unsigned max)
{
    return fifo_claim(victim, out, max, /* half= */ true);
}

/* A hint: exact only for the owner while nobody claims. */
static inline uint64_t fifo_len(struct fifo *f)
{
    /* Relaxed: a heuristic. Head first, so that a claim in between cannot make it negative on x86;
     * elsewhere the sign is checked. */
    uint64_t head = atom_load(&f->head, relaxed);
    int64_t len = (int64_t)(atom_load(&f->tail, relaxed) - head);

    return len > 0 ? (uint64_t)len : 0;
}

/* P2 of the park protocol above: the caller has announced itself by a seq_cst operation before. */
static inline bool fifo_is_empty(struct fifo *f)
{
    /* Relaxed: any value that head ever had tells the truth about the items below it (taken); an
     * old one errs to "not empty". */
    uint64_t head = atom_load(&f->head, relaxed);

    /* [FIFO-4] seq_cst, pairs with the stores of tail in fifo_push() and fifo_push_many(). */
    return (int64_t)(atom_load(&f->tail, seq_cst) - head) <= 0;
}

#endif /* QUEUE_FIFO_H */
