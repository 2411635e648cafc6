/* SPDX-License-Identifier: MIT */
/*
 * Asking something of a running batch: what is wanted is written to atomics, then a slot of its own,
 * `poke`, is pushed on `done`, which wakes the consumer like any other slot.
 *
 * I1  `is_poked` is set from before the push until the consumer has taken the slot off and looks: so
 *     it is in the stack once at most. Who finds it set need not push: the look is still to come.
 *
 * Threads: batch_obey(): the consumer. The others: any, while somebody keeps the batch.
 */
#include "group/batch.h"

static void poke(struct batch *b)
{
    /* [BATCH-3] Acq_rel, pairs with batch_obey(). Release: what was asked for before this is seen by
     * the look that follows. Acquire: the consumer has left the slot, which we write now. */
    if (!atom_exchange(&b->is_poked, 1, acq_rel))
        batch_push_from_anywhere(b, &b->poke);
}

void batch_ask_limit(struct batch *b, uint32_t limit)
{
    atom_store(&b->asked_limit, limit, relaxed); /* Relaxed: published by [BATCH-3] */
    poke(b);
}

void batch_ask_drain(struct batch *b)
{
    atom_store(&b->asked_to_drain, 1, relaxed); /* Relaxed: published by [BATCH-3] */
    poke(b);
}

void batch_obey(struct batch *b)
{
    uint32_t limit;

    /* [BATCH-3] Acq_rel, pairs with poke(). Acquire: the look below sees all that was asked for.
     * Release: we have left the slot. */
    (void)atom_exchange(&b->is_poked, 0, acq_rel);
    limit = atom_load(&b->asked_limit, relaxed); /* Relaxed, both: by [BATCH-3] */
    if (atom_load(&b->asked_to_drain, relaxed))
        b->drained = true;
    if (limit == 0)
        return;
    b->limit_max = limit;
    if (!(b->o.flags & JD_BATCH_ADAPTIVE) || limit < b->limit)
        batch_limit_set(b, limit); /* else it rises to there as the calls allow */
}
