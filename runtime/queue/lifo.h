/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_LIFO_H
#define QUEUE_LIFO_H

/*
 * The LIFO slot of one worker: the item that its running task woke last.
 *
 * I1  Only the owner puts; owner and thieves take, all by exchange: an item is taken once, or
 *     displaced once by the next put, never both.
 * I2  It is not announced to sleepers (ready.c I1): an empty look by others proves nothing.
 *
 * Threads: lifo_put: the owner. lifo_take, lifo_is_empty: any.
 * Rejected: no thieves (a task that burns would keep the one it woke from running).
 */
#include <stdbool.h>

#include "atomic/atomic.h"

struct lifo {
    JD_ATOMIC(void *) item;
};

static inline void lifo_init(struct lifo *l)
{
    atom_init(&l->item, (void *)0);
}

/* Owner. The item that was there and must go elsewhere, or NULL. */
static inline void *lifo_put(struct lifo *l, void *item)
{
    /* Relaxed: only the owner fills the slot, so an empty one stays empty until our store. */
    if (!atom_load(&l->item, relaxed)) {
        /* [LIFO-1] Release, pairs with the exchanges of the owner and of thieves: whoever gets the
         * item sees it whole. */
        atom_store(&l->item, item, release);
        return (void *)0;
    }
    return atom_exchange(&l->item, item, release); /* [LIFO-1] a thief may be faster: NULL */
}

/* NULL: nothing here, or another one was faster. */
static inline void *lifo_take(struct lifo *l)
{
    /* Relaxed look, then [LIFO-1] acquire exchange: a thief may be faster. */
    if (!atom_load(&l->item, relaxed))
        return (void *)0;
    return atom_exchange(&l->item, (void *)0, acquire);
}

static inline bool lifo_is_empty(const struct lifo *l)
{
    return !atom_load(&l->item, relaxed); /* Relaxed: a hint for others, exact for the owner. */
}

#endif /* QUEUE_LIFO_H */
