/* SPDX-License-Identifier: MIT */
#ifndef SCHED_LIVE_H
#define SCHED_LIVE_H

/*
 * How many tasks live: begun and ended ones, counted by each worker for itself and by strangers in
 * common, and summed by who wants to know (api/run.c).
 *
 * I1  A task is counted as begun before anybody can run it, and as ended after its last step.
 * I2  The reader sums all ends first, then all begins. Who sees an end sees the begins before it,
 *     so equal sums mean that at the moment in between nothing lived; a difference may be old.
 *
 * A reader that wants to sleep until nothing lives must look again: no order makes it see the last
 * end (sched/park.c does so within a millisecond).
 *
 * Threads: live_begin, live_end: the owner. The _shared ones and the looks: any.
 * Rejected: one counter for all (a shared line per spawn and end).
 */
#include "atomic/atomic.h"

struct live {
    JD_ATOMIC(uint64_t) begun;
    JD_ATOMIC(uint64_t) ended;
};

static inline void live_begin(struct live *l)
{
    /* Relaxed: who sees the task's end [COUNT-2] sees this, by way of the queue that it came
     * through. Single writer. */
    atom_store(&l->begun, atom_load(&l->begun, relaxed) + 1, relaxed);
}

static inline void live_begin_shared(struct live *l)
{
    atom_fetch_add(&l->begun, 1, relaxed); /* Relaxed: as above. */
}

static inline void live_end(struct live *l)
{
    /* [COUNT-2] Release, pairs with live_ended(): brings the begins that its reader must see, and
     * what the task did before its memory is freed. */
    atom_store(&l->ended, atom_load(&l->ended, relaxed) + 1, release);
}

static inline void live_end_shared(struct live *l)
{
    atom_fetch_add(&l->ended, 1, release); /* [COUNT-2] */
}

static inline uint64_t live_ended(const struct live *l)
{
    return atom_load(&l->ended, acquire); /* [COUNT-2] Acquire: the begins before that end. */
}

static inline uint64_t live_begun(const struct live *l)
{
    return atom_load(&l->begun, relaxed); /* Relaxed: after live_ended(), which acquired. */
}

#endif /* SCHED_LIVE_H */
