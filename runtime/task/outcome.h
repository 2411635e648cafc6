/* SPDX-License-Identifier: MIT */
#ifndef TASK_OUTCOME_H
#define TASK_OUTCOME_H

/*
 * The heart of a future: one word that says pending or done, guards the list of those who want to
 * know, and publishes the result.
 *
 *   word = address of the first node | OUTCOME_LOCKED | OUTCOME_DONE
 *
 * I1  DONE is set once, by the holder of the lock bit, after the result was written. Whoever
 *     reads DONE with acquire may read the result without a lock, for ever.
 * I2  Nodes (waiters in their frames, callbacks on the heap) are linked and unlinked under the
 *     lock bit only; after DONE waiters are only taken off, never added.
 * I3  The completer wakes waiters in batches: it ends their waits under the lock and queues the
 *     targets after it. It holds a reference of its own until its last access.
 * I4  First in, first out over waiters and callbacks alike.
 *
 * Pending with an empty list is 0, so the common completion is one CAS and one store.
 * Threads: any. Rejected: a lock-free stack of nodes (removal of a cancelled waiter and FIFO order
 * need a second protocol each); a lock beside the word (8 more bytes in every task).
 */
#include "task/wait_list.h"

#define OUTCOME_LOCKED ((uintptr_t)1)
#define OUTCOME_DONE ((uintptr_t)2)
#define OUTCOME_FLAGS ((uintptr_t)3)

struct outcome {
    JD_ATOMIC(uintptr_t) word;
};

static inline void outcome_init(struct outcome *o)
{
    atom_init(&o->word, 0);
}

static inline bool outcome_is_done(const struct outcome *o)
{
    /* [OUT-1] Acquire, pairs with the release in outcome_unlock() that published DONE (I1). */
    return (atom_load(&o->word, acquire) & OUTCOME_DONE) != 0;
}

/* Returns the word without the lock bit: flags and first node. */
static inline uintptr_t outcome_lock(struct outcome *o)
{
    /* Relaxed: only a guess, the CAS decides. */
    uintptr_t word = atom_load(&o->word, relaxed);

    for (;;) { /* bounded by the holder's section */
        if (word & OUTCOME_LOCKED) {
            spin_hint();
            word = atom_load(&o->word, relaxed);
            /* [OUT-2] Acquire, pairs with the release in outcome_unlock(): sees the list. */
        } else if (atom_cas_weak(&o->word, &word, word | OUTCOME_LOCKED, acquire, relaxed)) {
            return word;
        }
    }
}

static inline void outcome_unlock(struct outcome *o, struct list *first, uintptr_t done)
{
    /* [OUT-1] [OUT-2] Release: publishes the list, and with DONE the result. */
    atom_store(&o->word, (uintptr_t)first | done, release);
}

static inline struct list *outcome_first(uintptr_t word)
{
    return (struct list *)(word & ~OUTCOME_FLAGS);
}

/* Lock held. A circular list without a head: returns the new first node. */
static inline struct list *outcome_append(struct list *first, struct list *node)
{
    if (!first) {
        list_init(node);
        return node;
    }
    list_add_tail(first, node);
    return first;
}

/* Lock held, node in the list. Returns the new first node. */
static inline struct list *outcome_unlink(struct list *first, struct list *node)
{
    struct list *next = node->next;

    if (next == node)
        next = NULL;
    list_del(node);
    node->next = NULL; /* says "not linked": a lone linked node points to itself */
    return first == node ? next : first;
}

/* Links a waiter unless done. True when linked. */
static inline bool outcome_wait(struct outcome *o, struct waiter *node)
{
    uintptr_t word;

    node->link.next = NULL;
    if (outcome_is_done(o))
        return false;
    word = outcome_lock(o);
    if (word & OUTCOME_DONE) {
        outcome_unlock(o, outcome_first(word), OUTCOME_DONE);
        return false;
    }
    outcome_unlock(o, outcome_append(outcome_first(word), &node->link), 0);
    return true;
}

/* Takes a waiter back after its wait ended otherwise; afterwards nobody touches the node. */
static inline void outcome_leave(struct outcome *o, struct waiter *node)
{
    uintptr_t word = outcome_lock(o);
    struct list *first = outcome_first(word);

    if (node->link.next)
        first = outcome_unlink(first, &node->link);
    outcome_unlock(o, first, word & OUTCOME_DONE);
}

#endif /* TASK_OUTCOME_H */
