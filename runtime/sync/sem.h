/* SPDX-License-Identifier: MIT */
#ifndef SYNC_SEM_H
#define SYNC_SEM_H

/*
 * The kernel of the semaphore: everything but the waiting itself, so that a batch can wait for a
 * permit and for something else with one wait, and the model checker can run it.
 *
 *   word = free permits, signed (32) | SEM_QUEUED (1) | total (31)
 *
 * I1  free + permits held = total + what was released beyond it. Free may be negative: total was
 *     lowered below what is held, and releases pay the debt first.
 * I2  SEM_QUEUED is set while the queue has nodes. Then only the holder of the lock writes the
 *     word; else anybody does, by CAS. So the bound of a bounded one, being in the word as well,
 *     cannot change between a look at it and the CAS.
 * I3  Strictly first in, first out: nobody takes a permit while SEM_QUEUED is set; the head waits
 *     until all it wants is free, and later ones behind it, also where fewer would do.
 * I4  A grant takes the permits from the word in the same critical section in which word_wake()
 *     ended the wait. A grant that loses (cancel, timeout) takes nothing and the next is served.
 * I5  Who leaves the queue without a grant serves it: the new head may want less.
 * I6  A granter's last access is the unlock; who was granted goes through the lock once before its
 *     frame and perhaps the semaphore go (sem_leave). A task that was parked need not: its granter
 *     queues it after the unlock. Exception: more than WAKE_BATCH grants by one call, which takes
 *     the lock again after the first of them.
 * I7  All zero but the first word is valid (JD_SEM_INIT): the queue's head is made on first use,
 *     under the lock.
 *
 * Linearisation: the CAS, or the store in sem_serve(). Progress: lock-free without waiters, a leaf
 * lock with them. Threads: any.
 * Rejected: partial grants to the head (a cancel must give them back, and whoever looks in between
 * sees neither); futex semaphores (no order, no tasks); a version count for resize (I2 does it).
 */
#include <limits.h>

#include <jackdaw/sync.h>

#include "task/wait_list.h"

#define SEM_QUEUED (UINT64_C(1) << 32)
#define SEM_TOTAL_SHIFT 33

struct sem {
    JD_ATOMIC(uint64_t) word;
    struct spin lock;
    uint32_t is_bounded; /* constant */
    struct list queue;   /* struct waiter, guarded by lock; next is NULL before the first use */
};

static inline int32_t sem_free(uint64_t word)
{
    return (int32_t)(uint32_t)word;
}

static inline uint32_t sem_total(uint64_t word)
{
    return (uint32_t)(word >> SEM_TOTAL_SHIFT);
}

static inline uint64_t sem_word(uint32_t total, int32_t free, uint64_t queued)
{
    return ((uint64_t)total << SEM_TOTAL_SHIFT) | queued | (uint32_t)free;
}

static inline uint64_t sem_with_free(uint64_t word, int64_t free)
{
    return (word & ~(uint64_t)UINT32_MAX) | (uint32_t)(int32_t)free;
}

static inline void sem_init_kernel(struct sem *s, uint32_t total, bool is_bounded)
{
    atom_init(&s->word, sem_word(total, (int32_t)total, 0));
    spin_init(&s->lock);
    s->is_bounded = is_bounded;
    s->queue.next = NULL;
    s->queue.prev = NULL;
}

/* k permits (>= 1) at once, without waiting. */
static inline bool sem_try_take(struct sem *s, uint32_t k)
{
    /* Relaxed: only a guess, the CAS decides. */
    uint64_t word = atom_load(&s->word, relaxed);

    while (!(word & SEM_QUEUED) && sem_free(word) >= (int64_t)k) { /* bounded by others' success */
        /* [SEM-1] Acquire, pairs with the release of a permit: sees what its holder did. */
        if (atom_cas_weak(&s->word, &word, sem_with_free(word, sem_free(word) - (int64_t)k),
                          acquire, relaxed))
            return true;
    }
    return false;
}

/* Can k come back? As things are in this word. */
static inline bool sem_fits(const struct sem *s, uint64_t word, uint32_t k)
{
    int64_t most = s->is_bounded ? (int64_t)sem_total(word) : INT_MAX;

    return sem_free(word) + (int64_t)k <= most;
}

enum sem_fast { SEM_DONE, SEM_REFUSED, SEM_MUST_LOCK };

/* Gives k back, if nobody waits. */
static inline enum sem_fast sem_try_give(struct sem *s, uint32_t k)
{
    /* Relaxed: only a guess, the CAS decides. */
    uint64_t word = atom_load(&s->word, relaxed);

    while (!(word & SEM_QUEUED)) { /* bounded by others' success */
        if (!sem_fits(s, word, k))
            return SEM_REFUSED;
        /* [SEM-1] Release, pairs with the acquire in sem_try_take() and, by way of the lock, with
         * a later grant. */
        if (atom_cas_weak(&s->word, &word, sem_with_free(word, sem_free(word) + (int64_t)k),
                          release, relaxed))
            return SEM_DONE;
    }
    return SEM_MUST_LOCK;
}

/* Lock held. */
static inline struct waiter *sem_head(struct sem *s)
{
    if (!s->queue.next)
        list_init(&s->queue); /* I7 */
    return list_is_empty(&s->queue) ? NULL : JD_CONTAINER_OF(s->queue.next, struct waiter, link);
}

/*
 * Lock held and SEM_QUEUED set: grants from the head on, and clears the flag with the last node.
 * True: the batch is full; flush it without the lock and call again.
 */
static inline bool sem_serve(struct sem *s, struct wake_batch *batch)
{
    /* Relaxed: guarded by the lock, since the flag is set (I2). */
    uint64_t word = atom_load(&s->word, relaxed);
    struct waiter *node;
    int64_t free = sem_free(word);
    bool full = false;

    while ((node = sem_head(s)) && free >= (int64_t)node->want) { /* bounded by the queue */
        full = batch->count == WAKE_BATCH;
        if (full)
            break;
        list_del(&node->link);
        if (waiter_grant(node, batch))
            free -= (int64_t)node->want;
    }
    word = sem_with_free(word, free) & ~SEM_QUEUED;
    /* [SEM-1] Release: as sem_try_give(). */
    atom_store(&s->word, node ? word | SEM_QUEUED : word, release);
    return full;
}

/*
 * Changes the word by k permits that come back and a new total. Lock held, or to be tried by CAS.
 * False: that would be too many.
 */
static inline bool sem_changed(const struct sem *s, uint64_t word, uint32_t k, uint32_t total,
                               uint64_t *ret_word)
{
    int64_t grown = (int64_t)total - (int64_t)sem_total(word);

    if (k > 0 && !sem_fits(s, word, k))
        return false;
    if (sem_free(word) + grown + (int64_t)k > INT_MAX)
        return false;
    *ret_word = sem_word(total, (int32_t)(sem_free(word) + grown + (int64_t)k), word & SEM_QUEUED);
    return true;
}

/*
 * Under the lock, for those who found SEM_QUEUED set. SEM_MUST_LOCK: nobody waits any more; unlock
 * and do it the short way, since permits must not be out before our last access (I6).
 */
static JD_ALWAYS_INLINE enum sem_fast sem_change_queued(struct sem *s, uint32_t k,
                                                        const uint32_t *total)
{
    /* Relaxed: guarded by the lock while the flag is set. */
    uint64_t word = atom_load(&s->word, relaxed);

    if (!(word & SEM_QUEUED))
        return SEM_MUST_LOCK;
    if (!sem_changed(s, word, k, total ? *total : sem_total(word), &word))
        return SEM_REFUSED;
    /* Relaxed: read under the lock until sem_serve() has stored it again. */
    atom_store(&s->word, word, relaxed);
    return SEM_DONE;
}

/*
 * Joins the queue, or takes what it wants right away (true) when nobody is before it. A node that
 * is still queued from an earlier wait keeps its place and now serves the wait it is given.
 */
static inline bool sem_join(struct sem *s, struct waiter *node, uint32_t seq)
{
    bool taken = false;
    uint64_t word;

    spin_lock(&s->lock);
    node->seq = seq;
    /* Relaxed: the CAS decides, or the lock guards. */
    word = atom_load(&s->word, relaxed);
    while (!(word & SEM_QUEUED)) { /* bounded by others' success */
        uint64_t next = word | SEM_QUEUED;

        taken = sem_free(word) >= (int64_t)node->want;
        if (taken)
            next = sem_with_free(word, sem_free(word) - (int64_t)node->want);
        /* [SEM-1] Acquire as in sem_try_take(); with the flag, too: permits that came back before
         * it are handed on by sem_serve() with what their holders did. */
        if (atom_cas_weak(&s->word, &word, next, acquire, relaxed))
            break;
    }
    if (!taken && !list_is_linked(&node->link)) {
        (void)sem_head(s);
        list_add_tail(&s->queue, &node->link);
    }
    spin_unlock(&s->lock);
    return taken;
}

/*
 * After the wait, granted or not, before the node's frame ends, but for I6. True as sem_serve():
 * the batch is full and there is more to do.
 */
static inline bool sem_leave(struct sem *s, struct waiter *node, struct wake_batch *batch)
{
    bool full = false;

    spin_lock(&s->lock);
    if (list_is_linked(&node->link)) {
        list_del(&node->link);
        full = sem_serve(s, batch); /* I5 */
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
