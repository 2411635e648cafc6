/* SPDX-License-Identifier: MIT */
#ifndef SYNC_SEM_H
#define SYNC_SEM_H

/*
 * The kernel of the semaphore: everything but the waiting itself, so that a batch can wait for a
 * permit and for something else with one wait, and the model checker can run it.
 *
 *   free > 0   permits that anybody may take
 *   free < 0   the debt: what those who wait still miss
 *   bank       permits set aside for the queue (guarded by lock); below 0, what a lowered total or
 *              a waiter that left drew in advance
 *
 * Taking is one subtraction, giving is one addition, and the old value says what it meant. Who
 * takes k and found less has taken what was there, owes the rest, and brings what it found to the
 * bank under the lock when it joins the queue. Who gives k and found a debt brings what it paid of
 * it to the bank, and serves the queue. What was not debt was free for others at once.
 *
 * I1  What all waiters want = debt + bank + what is on its way to the bank. Only what has arrived
 *     there is granted.
 * I2  Strictly first in, first out: free > 0 says that all who wait are paid for; so who finds its
 *     k overtakes nobody. The head waits until the bank has all it wants, and later ones behind it.
 * I3  A grant takes from the bank in the critical section in which word_wake() ended the wait. A
 *     grant that loses (cancel, timeout) is a leaving: sem_forget().
 * I4  Who leaves without a grant draws its want from the bank and gives it back: what others owe is
 *     paid with it, the rest is free. Then the queue is served: the new head may want less.
 * I5  Lowering the total takes like a waiter that is not in the queue and is served first: by the
 *     sum, bank stays below 0 until it is paid. Raising gives.
 * I6  A giver's last access is the addition, or, with a debt, the unlock: until it has been there,
 *     what it paid cannot be granted (I1), so the waiter's frame, and the semaphore with it, last.
 *     Who was granted goes through the lock once before its frame and perhaps the semaphore go
 *     (sem_leave). A task that was parked need not: its granter queues it after the unlock.
 *     Exception: more than WAKE_BATCH grants by one call, which takes the lock again after the
 *     first of them.
 * I7  A bounded one changes by CAS, which neither makes nor finds a debt, or under the lock: nothing
 *     is ever on its way to its bank. So what nobody holds is free, where positive, + bank.
 * I8  free counts in 64 bits: no debt overflows. An addition that passes INT_MAX is taken back if
 *     that many are still too many; if not, others took them and it was right.
 * I9  All zero but free and total is valid (JD_SEM_INIT): the queue's head is made on first use,
 *     under the lock.
 *
 * Linearisation: the change of free; for a grant, word_wake(). Progress: wait-free while permits
 * last, a leaf lock with waiters. Threads: any.
 * Rejected: one word of free, total and a flag for the queue, changed by CAS: a load and a CAS cost
 * twice an addition (ADR 0012); giving back what was taken in vain (others see too few meanwhile, a
 * try fails without reason); partial grants to the head; futex semaphores (no order, no tasks).
 */
#include <limits.h>

#include <jackdaw/sync.h>

#include "base/mark.h"
#include "task/wait_list.h"

struct sem {
    JD_ATOMIC(int64_t) free;
    struct spin lock;
    uint32_t is_bounded; /* constant */
    struct list queue;   /* struct waiter, guarded by lock; next is NULL before the first use */
    int64_t bank;        /* guarded by lock */
    JD_ATOMIC(int64_t) total; /* written under the lock */
};

static inline void sem_init_kernel(struct sem *s, uint32_t total, bool is_bounded)
{
    atom_init(&s->free, (int64_t)total);
    spin_init(&s->lock);
    s->is_bounded = is_bounded;
    s->queue.next = NULL;
    s->queue.prev = NULL;
    s->bank = 0;
    atom_init(&s->total, (int64_t)total);
}

/* What of k a taker found, or a giver paid. */
static inline int64_t sem_part(int64_t amount, int64_t k)
{
    if (amount <= 0)
        return 0;
    return amount < k ? amount : k;
}

/* k permits (>= 1) at once or none, and without waiting. */
static inline bool sem_try_take(struct sem *s, uint32_t k)
{
    /* Relaxed: only a guess, the CAS decides. */
    int64_t free = atom_load(&s->free, relaxed);

    while (free >= (int64_t)k) { /* bounded by others' success */
        /* [SEM-1] Acquire, pairs with the release of a permit: sees what its holder did. */
        if (atom_cas_weak(&s->free, &free, free - (int64_t)k, acquire, relaxed))
            return true;
    }
    return false;
}

/* k permits were taken if it found as many (the result). Else they are owed: sem_join_owing(). */
static inline int64_t sem_take(struct sem *s, uint32_t k)
{
    /* [SEM-1] Acquire: as sem_try_take(); what was found in part, too, is handed on by the bank. */
    return atom_fetch_sub(&s->free, (int64_t)k, acquire);
}

/*
 * Unbounded: gives k back. The result is for sem_settle() if it is below 0, and for sem_undo() if it
 * is over INT_MAX - k; else all is done.
 */
static inline int64_t sem_put(struct sem *s, uint32_t k)
{
    /* [SEM-1] Release, pairs with the acquire in sem_take() and, by way of the lock, with a grant. */
    return atom_fetch_add(&s->free, (int64_t)k, release);
}

/* I8. True: it is undone, there are too many. */
static inline bool sem_undo(struct sem *s, uint32_t k)
{
    int64_t free = atom_load(&s->free, relaxed); /* Relaxed: only a guess, the CAS decides. */

    while (free > INT_MAX) { /* bounded by others' success */
        /* Relaxed: nothing was done under these permits. */
        if (atom_cas_weak(&s->free, &free, free - (int64_t)k, relaxed, relaxed))
            return true;
    }
    return false;
}

/* Lock held. */
static inline struct waiter *sem_head(struct sem *s)
{
    if (!s->queue.next)
        list_init(&s->queue); /* I9 */
    return list_is_empty(&s->queue) ? NULL : JD_CONTAINER_OF(s->queue.next, struct waiter, link);
}

/* Lock held: k come back, for the debt or for all. */
static inline void sem_put_locked(struct sem *s, int64_t k)
{
    /* [SEM-1] Release: as sem_put(), for those whose permits are handed on here. */
    s->bank += sem_part(-atom_fetch_add(&s->free, k, release), k);
}

/* Lock held: a waiter that is not in the queue any more was not granted (I4). */
static inline void sem_forget(struct sem *s, const struct waiter *node)
{
    s->bank -= (int64_t)node->want;
    sem_put_locked(s, (int64_t)node->want);
}

/*
 * Lock held: grants from the head on. True: the batch is full; flush it without the lock and call
 * again.
 */
static inline bool sem_serve(struct sem *s, struct wake_batch *batch)
{
    struct waiter *node;

    while ((node = sem_head(s)) && s->bank >= (int64_t)node->want) { /* bounded by the queue */
        if (batch->count == WAKE_BATCH) {
            MARK(GRANT_ROUNDS);
            return true;
        }
        list_del(&node->link);
        if (waiter_grant(node, batch))
            s->bank -= (int64_t)node->want;
        else
            sem_forget(s, node); /* I3 */
    }
    return false;
}

/* After sem_put() found a debt: the last access but for what sem_serve() says. */
static inline bool sem_settle(struct sem *s, uint32_t k, int64_t found, struct wake_batch *batch)
{
    bool full;

    spin_lock(&s->lock);
    s->bank += sem_part(-found, (int64_t)k);
    full = sem_serve(s, batch);
    spin_unlock(&s->lock);
    return full;
}

/* Bounded: gives k back (true), if no debt is open and the total, as far as seen, allows it. */
static inline bool sem_put_bounded(struct sem *s, uint32_t k)
{
    /* Relaxed: only a guess, the CAS decides. */
    int64_t free = atom_load(&s->free, relaxed);

    /* Relaxed: a total that is being changed is looked at again under the lock before anybody is
     * refused; but one too many that comes in this moment may be let pass. */
    while (free >= 0 && free + (int64_t)k <= atom_load(&s->total, relaxed)) {
        /* [SEM-1] Release: as sem_put(). Bounded by others' success. */
        if (atom_cas_weak(&s->free, &free, free + (int64_t)k, release, relaxed))
            return true;
    }
    return false;
}

enum sem_put { SEM_DONE, SEM_REFUSED, SEM_AGAIN };

/*
 * Bounded, under the lock, after sem_put_bounded() in vain. SEM_AGAIN: there is no debt any more;
 * unlock and do it the short way, since permits must not be out before our last access (I6).
 */
static inline enum sem_put sem_put_indebted(struct sem *s, uint32_t k)
{
    /* Relaxed: while it is below 0, only the holder of the lock adds to it (I7). */
    int64_t free = atom_load(&s->free, relaxed);

    if (sem_part(free, INT_MAX) + s->bank + (int64_t)k > atom_load(&s->total, relaxed))
        return SEM_REFUSED;
    if (free >= 0)
        return SEM_AGAIN;
    sem_put_locked(s, (int64_t)k);
    return SEM_DONE;
}

/* Lock held. False: with what was released beyond the total, that would be too many. */
static inline bool sem_set_total(struct sem *s, uint32_t total)
{
    int64_t grown = (int64_t)total - atom_load(&s->total, relaxed); /* Relaxed: under the lock. */
    int64_t free = atom_load(&s->free, relaxed); /* Relaxed: only a guess, the CAS decides. */

    do { /* lock-free: a failure is another's success */
        if (free + grown > INT_MAX)
            return false;
        /* Relaxed: nobody did anything under these permits, and an RMW keeps the chain to those
         * who take later from those who gave before. */
    } while (!atom_cas_weak(&s->free, &free, free + grown, relaxed, relaxed));
    if (grown > 0)
        s->bank += sem_part(-free, grown);
    else
        s->bank += grown + sem_part(free, -grown);  /* I5 */
    atom_store(&s->total, (int64_t)total, relaxed); /* Relaxed: see sem_put_bounded(). */
    return true;
}

/* Lock held: the end of the queue for who found less than it wants. */
static inline void sem_enqueue(struct sem *s, struct waiter *node, int64_t found)
{
    (void)sem_head(s);
    s->bank += sem_part(found, (int64_t)node->want);
    list_add_tail(&s->queue, &node->link);
}

/*
 * Takes what it wants (true) when it is there, or joins the queue. A node that is still queued from
 * an earlier wait keeps its place and now serves the wait it is given.
 */
static inline bool sem_join(struct sem *s, struct waiter *node, uint32_t seq)
{
    bool taken = false;

    spin_lock(&s->lock);
    node->seq = seq;
    if (!list_is_linked(&node->link)) {
        int64_t found = sem_take(s, node->want);

        taken = found >= (int64_t)node->want;
        if (!taken)
            sem_enqueue(s, node,
                        found); /* serves nobody: it was free, so all others are paid for */
    }
    spin_unlock(&s->lock);
    return taken;
}

/* Joins the queue after sem_take() in vain. True: as sem_serve(). */
static inline bool sem_join_owing(struct sem *s, struct waiter *node, int64_t found,
                                  struct wake_batch *batch)
{
    bool full;

    spin_lock(&s->lock);
    sem_enqueue(s, node, found);
    full = sem_serve(s, batch); /* who took later may be before us, and need what we found */
    spin_unlock(&s->lock);
    return full;
}

/*
 * After the wait, granted or not, before the node's frame ends, but for I6. True: as sem_serve().
 */
static inline bool sem_leave(struct sem *s, struct waiter *node, struct wake_batch *batch)
{
    bool full = false;

    spin_lock(&s->lock);
    if (list_is_linked(&node->link)) {
        list_del(&node->link);
        sem_forget(s, node); /* I4 */
        full = sem_serve(s, batch);
    }
    spin_unlock(&s->lock);
    return full;
}

/*
 * The rest is in sem.c: it queues the targets whose waits were ended.
 */

/* 0 or -EOVERFLOW. */
int sem_give(struct sem *s, uint32_t k);
/* sem_leave(), and whatever follows from it. */
void sem_quit(struct sem *s, struct waiter *node);

static inline struct sem *sem_of(const jd_sem *s)
{
    return (struct sem *)(uintptr_t)s;
}
_Static_assert(sizeof(struct sem) <= sizeof(jd_sem), "a jd_sem holds a struct sem");

#endif /* SYNC_SEM_H */
