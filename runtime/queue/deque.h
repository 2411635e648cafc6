/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_DEQUE_H
#define QUEUE_DEQUE_H

/*
 * The fork deque of one worker: Chase-Lev with a private end. The owner pushes and takes the newest
 * item at the bottom, thieves steal the oldest one at the top.
 *
 *       top            split             bottom
 *        |   public      |     private     |
 *        thieves steal   |   the owner takes without a fence or a locked operation
 *
 *   split word = index | DEQUE_WANTED | DEQUE_LEASED | DEQUE_PUBLIC
 *
 * I1  The items are the indexes [top, bottom); those below split are public. bottom is one lower
 *     during a take, and so is split during a take from the public part.
 * I2  bottom is written by the owner only. top only grows, by CAS, one by one: each success hands
 *     out the item at the old top, exactly once.
 * I3  The owner takes a public index b without a CAS only if it saw top < b after storing split = b.
 *     Both are seq_cst, and so are a thief's loads of top and split and every CAS of top [DQ-1]: a
 *     thief that sees top == b read it after the CAS that the owner missed, hence after the owner's
 *     store; it then reads split <= b (empty), or the split of a later item at b (a new one).
 * I4  For the last public item (top == b) owner and thieves compete by the CAS of top.
 * I5  A thief loads top, split, and only then the ring: the ring in which the push that it saw put
 *     item `top`, or a newer one with a copy. The index top cannot be reused before top moves (I4),
 *     so what it read is right if its CAS succeeds. (crossbeam#728 loaded the ring too early.)
 * I6  A slot is reused only after the owner has seen top beyond it [DQ-3].
 * I7  Flags make the split word greater than any index. So the owner's one look at it, in each push
 *     and take, says both "this item is private" and "nobody has asked for anything".
 * I8  Who raises split: the owner, by CAS, in answer to a flag; or the forcer, which first sets
 *     DEQUE_LEASED, then passes a heavy fence [DQ-5], then reads bottom, and only if the lease still
 *     stands raises split to it, by CAS. Takes that did not see the lease were before the fence, so
 *     the forcer sees their bottom. Takes that see it end it by CAS before they take anything.
 *     There is one forcer at a time, so a lease that stands is its own.
 *
 * Linearisation: push at the store of bottom; take at that store if the item is private, else at its
 * load of top, or the CAS for the last item; steal at the CAS. Progress: push and take lock-free (an
 * answer repeats its CAS when a flag comes), steal wait-free (a lost race is reported, not retried).
 * Reclamation: old rings live until deque_fini(), see ring.h.
 *
 * A fork looks relaxed for idle workers, and the watchdog repairs a miss; it is the forcer, too: an
 * owner that burns is asked at the next tick. A thief that must be sure uses the ready FIFO.
 *
 * Threads: deque_init, deque_fini, deque_push, deque_take, deque_publish: the owner. deque_lease,
 * deque_force: the forcer. All others: anyone.
 *
 * Rejected: all public (a locked operation in each take, two in the take of the last item: ADR 0011);
 * tail and split in one word (its indexes are reused, so a thief's CAS may succeed on a dead item);
 * a heavy fence per steal (flat fan-out twice as slow as one worker); a lock between forcer and
 * owner (a forcer that loses its CPU would stop the owner).
 */
#include "base/mark.h"
#include "queue/ring.h"

#define DEQUE_LEASED (UINT64_C(1) << 63) /* the forcer is about to raise split */
#define DEQUE_WANTED (UINT64_C(1) << 62) /* a thief found private items only */
#define DEQUE_PUBLIC (UINT64_C(1) << 61) /* heavy fences are refused here: keep nothing private */
#define DEQUE_ASKED (DEQUE_LEASED | DEQUE_WANTED)
#define DEQUE_INDEX (DEQUE_PUBLIC - 1) /* never wraps: it grows by one per steal */

struct deque {
    /* Thieves' lines; the owner reads split. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) top;
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) split;
    /* Owner's line: thieves read ring, and bottom when nothing is public. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) bottom;
    JD_ATOMIC(struct ring *) ring;
    uint64_t top_seen; /* a former value of top */
    const struct ring_memory *memory;
};

/* False when there is no memory. `memory` is borrowed until deque_fini(). */
static inline bool deque_init(struct deque *d, unsigned capacity_log2,
                              const struct ring_memory *memory, bool may_force)
{
    struct ring *ring = ring_new(memory, UINT64_C(1) << capacity_log2, /* older= */ NULL);

    if (!ring)
        return false;
    /* From 1: bottom - 1 of an empty deque is an index. */
    atom_init(&d->top, (uint64_t)1);
    atom_init(&d->split, may_force ? 1 : 1 | DEQUE_PUBLIC);
    atom_init(&d->bottom, (uint64_t)1);
    atom_init(&d->ring, ring);
    d->top_seen = 1;
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
        MARK(DEQUE_GREW);
        /* [DQ-4] Release, pairs with the load of ring in deque_steal(): publishes the copies. */
        atom_store(&d->ring, ring, release);
    }
    return ring;
}

/*
 * Owner. Answers the flags: makes the older half of the private items, or all of them, public. The
 * new split word, without flags but for DEQUE_PUBLIC.
 */
static inline uint64_t deque_answer(struct deque *d, uint64_t bottom, bool all)
{
    /* Relaxed: only a guess, the CAS decides. */
    uint64_t split = atom_load(&d->split, relaxed), next;

    do { /* bounded by new flags */
        uint64_t index = split & DEQUE_INDEX;
        uint64_t count = bottom > index ? bottom - index : 0;

        if (!all && !(split & DEQUE_PUBLIC))
            count = (count + 1) / 2;
        next = (index + count) | (split & DEQUE_PUBLIC);
        /* [DQ-2] Release, pairs with the load of split in deque_steal(): publishes the items, what
         * they point to, and the ring. It also ends a lease (I8). */
    } while (!atom_cas_weak(&d->split, &split, next, release, relaxed));
    return next;
}

/* Owner. Shows all items to thieves. */
static inline void deque_publish(struct deque *d)
{
    /* Relaxed: only the owner writes it. */
    (void)deque_answer(d, atom_load(&d->bottom, relaxed), /* all= */ true);
}

/* Somebody asked: the slow end of a push. */
static JD_NOINLINE JD_UNUSED void deque_answer_push(struct deque *d, uint64_t bottom)
{
    (void)deque_answer(d, bottom, /* all= */ false);
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
    /* [DQ-2] Release, pairs with the load of bottom in deque_force(). */
    atom_store(&d->bottom, bottom + 1, release);
    /* Relaxed: a flag that comes later is answered by the next operation. */
    if (JD_UNLIKELY(atom_load(&d->split, relaxed) > bottom + 1))
        deque_answer_push(d, bottom + 1);
    return true;
}

/* Owner, bottom lowered to b: b is public, or somebody asked, or the deque is empty. */
static JD_NOINLINE JD_UNUSED void *deque_take_slow(struct deque *d, uint64_t b)
{
    /* Relaxed, both: only the owner writes the ring; flags are answered by CAS. */
    uint64_t split = atom_load(&d->split, relaxed);
    struct ring *ring = atom_load(&d->ring, relaxed);
    void *item = NULL;

    if (split & DEQUE_ASKED)
        split = deque_answer(d, b, /* all= */ false);
    if ((split & DEQUE_INDEX) <= b)
        return ring_get(ring, b);
    if (b + 1 == d->top_seen) { /* top_seen <= top <= b + 1: empty, and no locked operation */
        /* Relaxed: as it was before. */
        atom_store(&d->bottom, b + 1, relaxed);
        return NULL;
    }
    split &= DEQUE_PUBLIC;
    /* [DQ-1] seq_cst, pairs with the loads in deque_steal(): I3. It may overwrite flags: a lease is
     * over then, and a wish is repeated. */
    atom_store(&d->split, split | b, seq_cst);
    uint64_t top = atom_load(&d->top, seq_cst);

    if (JD_LIKELY((int64_t)(b - top) > 0))
        return ring_get(ring, b);
    if (top == b) {
        item = ring_get(ring, b);
        /* [DQ-1] seq_cst, pairs with deque_steal(): I3, I4. Relaxed on failure: the winner is a
         * thief, and nothing of its is read. */
        if (!atom_cas(&d->top, &top, top + 1, seq_cst, relaxed)) {
            MARK(TAKE_LOST);
            item = NULL;
        }
    }
    /* Empty now: top == b + 1. [DQ-2] Release, pairs with the load of split in deque_steal().
     * Relaxed would let it pass our failing CAS: the thief that beats us could read this split
     * before, and item b without having acquired its push. */
    atom_store(&d->split, split | (b + 1), release);
    /* Relaxed: nothing is private. */
    atom_store(&d->bottom, b + 1, relaxed);
    d->top_seen = b + 1;
    return item;
}

/* Owner. The newest item, or NULL. */
static inline void *deque_take(struct deque *d)
{
    /* Relaxed: only the owner writes it. */
    uint64_t b = atom_load(&d->bottom, relaxed) - 1;

    /* [DQ-2] Release, pairs with the load in deque_force(), which needs the pushes below b. */
    atom_store(&d->bottom, b, release);
    /* [DQ-5] The owner's half, pairs with the heavy fence between deque_lease() and deque_force():
     * either they see this bottom, or we see the lease (I8). */
    atom_fence_light();
    if (JD_LIKELY(atom_load(&d->split, relaxed) <= b))
        return ring_get(atom_load(&d->ring, relaxed), b); /* Relaxed, both: ours */
    return deque_take_slow(d, b);
}

/* Anyone. The oldest item. NULL: empty (*ret_lost false) or another thread was faster (true). */
static inline void *deque_steal(struct deque *d, bool *ret_lost)
{
    *ret_lost = false;
    /* [DQ-1] seq_cst, pairs with deque_take_slow(): top before split, I3. */
    uint64_t top = atom_load(&d->top, seq_cst);
    /* [DQ-1] As above. [DQ-2] Acquire part, pairs with whoever raised split. */
    uint64_t split = atom_load(&d->split, seq_cst);

    if ((int64_t)((split & DEQUE_INDEX) - top) <= 0)
        return NULL;
    /* [DQ-4] Acquire, pairs with the release in deque_make_room(). After split: I5. */
    struct ring *ring = atom_load(&d->ring, acquire);
    void *item = ring_get(ring, top);

    /* [DQ-1] seq_cst: I3, I4. [DQ-3] Release part: our slot read comes before its reuse. Relaxed on
     * failure: what we read is thrown away. */
    if (!atom_cas(&d->top, &top, top + 1, seq_cst, relaxed)) {
        MARK(STEAL_LOST);
        *ret_lost = true;
        return NULL;
    }
    return item;
}

/* Anyone, a hint: is something public? If only private items are there, asks for some of them. */
static inline bool deque_ask(struct deque *d)
{
    /* Relaxed, all: a wish. Its order is that of the answer. */
    uint64_t split = atom_load(&d->split, relaxed);
    uint64_t index = split & DEQUE_INDEX;

    if ((int64_t)(index - atom_load(&d->top, relaxed)) > 0)
        return true;
    if (!(split & DEQUE_ASKED) && atom_load(&d->bottom, relaxed) > index)
        (void)atom_cas(&d->split, &split, split | DEQUE_WANTED, relaxed,
                       relaxed); /* or another's */
    return false;
}

/* The forcer. True: there are private items, and a heavy fence and deque_force() must follow. */
static inline bool deque_lease(struct deque *d)
{
    /* Relaxed, all: the heavy fence orders them. */
    uint64_t split = atom_load(&d->split, relaxed);

    if (atom_load(&d->bottom, relaxed) <= (split & DEQUE_INDEX))
        return false;
    return atom_cas(&d->split, &split, split | DEQUE_LEASED, relaxed, relaxed);
}

/* The forcer, after the heavy fence: shows all items unless the owner has answered (I8). */
static inline void deque_force(struct deque *d)
{
    /* Relaxed: the CAS decides. */
    uint64_t split = atom_load(&d->split, relaxed), bottom;

    if (!(split & DEQUE_LEASED))
        return;
    /* [DQ-2] Acquire, pairs with the release in deque_push() and deque_take(). */
    bottom = atom_load(&d->bottom, acquire);
    if (bottom < (split & DEQUE_INDEX))
        bottom = split & DEQUE_INDEX;
    /* [DQ-2] Release, pairs with the load of split in deque_steal(). */
    if (atom_cas(&d->split, &split, bottom, release, relaxed)) /* losing: the owner answered */
        MARK(FORKS_FORCED);
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
