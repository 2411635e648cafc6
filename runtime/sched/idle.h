/* SPDX-License-Identifier: MIT */
#ifndef SCHED_IDLE_H
#define SCHED_IDLE_H

/*
 * Who sleeps, who searches, whom to wake: the kernel of the park and wake protocol.
 *
 *   producer                                  worker that found nothing
 *   P1 publish the work (seq_cst)             W1 leave `searching`, set the own parked bit (seq_cst)
 *   P2 look: parked and nobody searching?     W2 look at every source of work again
 *
 * Law: if P2 does not see W1, then W2 sees P1. Both sides use seq_cst operations, so either the
 * producer wakes somebody or the worker finds the work itself; otherwise a task would sleep in a
 * queue while all workers sleep (lost wake-up).
 *
 * I1  A parked bit is set by its worker and cleared by whoever wakes it, exactly one of them wins.
 * I2  The waker counts the woken worker as searching before it rings the bell, so later producers
 *     do not wake a second one for the same work.
 * I3  A searcher that found work and was the last one wakes one more if more work may exist; a
 *     searcher that gives up looks again after it left `searching` (W2).
 * I4  A worker holds the lock of its completion queue from before W1 until it has reaped, so no
 *     thief can eat its wake-up (reactor_park_begin); if that lock is busy it does not park.
 *
 * Threads: any. Cost: a producer in a busy system pays two loads of a line that rarely changes.
 * Rejected: an eventcount word (needs a futex; workers sleep in their ports); one 64-bit word for
 * all (128 workers do not fit).
 */
#include <stdbool.h>

#include "atomic/atomic.h"
#include "base/assert.h"
#include "base/attr.h"
#include "base/mark.h"

#define IDLE_WORDS 4 /* 256 workers */
#define IDLE_WORKERS_MAX (IDLE_WORDS * 64)

struct idle {
    JD_ATOMIC(uint32_t) searching; /* workers that look for work, woken ones included */
    JD_ATOMIC(uint32_t) parked;    /* number of set bits below; may be ahead of them */
    JD_ATOMIC(uint64_t) bits[IDLE_WORDS];
};

static inline void idle_init(struct idle *idle)
{
    atom_init(&idle->searching, 0);
    atom_init(&idle->parked, 0);
    for (unsigned i = 0; i < IDLE_WORDS; i++)
        atom_init(&idle->bits[i], 0);
}

/* P2. After a seq_cst publication of work. */
static inline bool idle_wants_wake(const struct idle *idle)
{
    /* [IDLE-2] [IDLE-3] Seq_cst, pairs with idle_park_announce(). */
    return atom_load(&idle->parked, seq_cst) != 0 && atom_load(&idle->searching, seq_cst) == 0;
}

/* Chooses and claims a parked worker; -1 when none. The caller rings its bell. */
static inline int idle_claim(struct idle *idle)
{
    for (unsigned word = 0; word < IDLE_WORDS; word++) {
        /* [IDLE-4] Seq_cst, after P1: a bit that we miss was set after P1, so W2 finds the work. */
        uint64_t bits = atom_load(&idle->bits[word], seq_cst);

        while (bits) {
            unsigned bit = (unsigned)__builtin_ctzll(bits);
            uint64_t mask = UINT64_C(1) << bit;

            /* [IDLE-3] Seq_cst: I2. Before the bit: a worker that wakes by itself right after we
             * took its bit counts itself as searching and may leave at once. */
            atom_fetch_add(&idle->searching, 1, seq_cst);
            /* [IDLE-4] Acq_rel RMW, pairs with idle_park_retract(): one of the two owns the
             * wake (I1). */
            if (atom_fetch_and(&idle->bits[word], ~mask, acq_rel) & mask) {
                atom_fetch_sub(&idle->parked, 1, seq_cst); /* [IDLE-2] */
                return (int)(word * 64 + bit);
            }
            atom_fetch_sub(&idle->searching, 1, seq_cst); /* [IDLE-3] it is awake */
            MARK(WAKE_LOST);
            bits &= ~mask;
        }
    }
    return -1;
}

/* Claims this very worker, if it is parked. The caller rings its bell. */
static inline bool idle_claim_worker(struct idle *idle, unsigned worker)
{
    uint64_t mask = UINT64_C(1) << (worker % 64);

    /* [IDLE-4] Seq_cst load after the caller's publication: a bit that we miss was set later. */
    if (!(atom_load(&idle->bits[worker / 64], seq_cst) & mask))
        return false;
    atom_fetch_add(&idle->searching, 1, seq_cst); /* [IDLE-3] first, as in idle_claim() */
    if (!(atom_fetch_and(&idle->bits[worker / 64], ~mask, acq_rel) & mask)) { /* [IDLE-4] */
        atom_fetch_sub(&idle->searching, 1, seq_cst);                         /* [IDLE-3] */
        return false;
    }
    atom_fetch_sub(&idle->parked, 1, seq_cst); /* [IDLE-2] */
    return true;
}

/* At most `limit` searchers at once; false = do not search, park. */
static inline bool idle_search_begin(struct idle *idle, uint32_t limit)
{
    /* Relaxed: a heuristic bound. */
    if (atom_load(&idle->searching, relaxed) >= limit)
        return false;
    atom_fetch_add(&idle->searching, 1, seq_cst); /* [IDLE-3] */
    return true;
}

/* The searcher found work. True when it was the last: wake one more if there may be more (I3). */
static inline bool idle_search_found(struct idle *idle)
{
    uint32_t before = atom_fetch_sub(&idle->searching, 1, seq_cst); /* [IDLE-3] */

    JD_ASSERT(before > 0);
    return before == 1;
}

/* W1. The caller holds the lock of its completion queue (I4) and then does W2. */
static inline void idle_park_announce(struct idle *idle, unsigned worker, bool was_searching)
{
    uint64_t mask = UINT64_C(1) << (worker % 64);

    /* [IDLE-2] Before the bit: a producer that sees no bit yet retries nothing, but sees parked. */
    atom_fetch_add(&idle->parked, 1, seq_cst);
    atom_fetch_or(&idle->bits[worker / 64], mask, seq_cst); /* [IDLE-4] */
    if (was_searching)
        atom_fetch_sub(&idle->searching, 1, seq_cst); /* [IDLE-3] */
}

/* Awake again. True: it woke by itself. False: a waker claimed it, so it counts as searching. */
static inline bool idle_park_retract(struct idle *idle, unsigned worker)
{
    uint64_t mask = UINT64_C(1) << (worker % 64);

    /* [IDLE-4] */
    if (!(atom_fetch_and(&idle->bits[worker / 64], ~mask, acq_rel) & mask))
        return false;
    atom_fetch_sub(&idle->parked, 1, seq_cst); /* [IDLE-2] */
    return true;
}

#endif /* SCHED_IDLE_H */
