/* SPDX-License-Identifier: MIT */
#ifndef TASK_WAIT_LIST_H
#define TASK_WAIT_LIST_H

/*
 * The waiter node and the FIFO list of them under every primitive (semaphore, close of a
 * descriptor, ...). A future keeps the same nodes under its own lock bit (outcome.h).
 *
 * I1  A node lives in the waiting function's frame. It is touched by others only while it is
 *     linked, under the list's lock; the waiter unlinks it (or finds it unlinked) under the same
 *     lock before its frame ends. So nobody touches a dead frame.
 * I2  A granter takes the first node off the list and ends its wait by word_wake() under the lock;
 *     the word is type-stable, so the wake itself (queueing, futex) happens after the unlock and
 *     touches neither the list's owner nor the node.
 * I3  The resource moves inside that CAS. A grant that loses its CAS (cancel or timeout was first)
 *     goes to the next node: nothing is lost, nothing is granted twice.
 *
 * Threads: any. Rejected: CAS after the unlock (the node could be gone by then).
 */
#include <stddef.h>

#include "atomic/spin.h"
#include "base/list.h"
#include "base/mark.h"
#include "task/word.h"

enum target_kind { TARGET_TASK, TARGET_THREAD, TARGET_PROXY };

/* What a waker ends: embedded in a task record, in a plain thread's parker or in a proxy. */
struct wait_target {
    struct task_word word;
    uint32_t kind; /* enum target_kind; written once, before the record is shared */
};

/* A wait without a task or thread in it: its owner opens it and parks the word at once; whoever
 * ends the wait calls `ready` then, outside all locks, once. */
struct wait_proxy {
    struct wait_target target;
    void (*ready)(struct wait_proxy *proxy); /* may free the proxy; must not suspend */
};

struct waiter {
    struct list link;
    struct wait_target *target;
    uint32_t seq;   /* of the target's wait */
    uint32_t want;  /* units asked for (semaphore); kind of node (future) */
    uint16_t cause; /* what a grant reports: CAUSE_GRANTED + case number */
};

/* At most this many targets are collected under one hold of a lock. */
#define WAKE_BATCH 32

struct wake_batch {
    unsigned count;
    struct wait_target *targets[WAKE_BATCH];
};

/* Not by an initialiser: clearing the targets costs more than the wake. */
static inline void wake_batch_init(struct wake_batch *batch)
{
    batch->count = 0;
}

struct wait_list {
    struct spin lock;
    struct list waiters; /* guarded by lock */
};

static inline void wait_list_init(struct wait_list *l)
{
    spin_init(&l->lock);
    list_init(&l->waiters);
}

static inline void waiter_init(struct waiter *node, struct wait_target *target, uint32_t seq)
{
    list_init(&node->link);
    node->target = target;
    node->seq = seq;
    node->want = 0;
    node->cause = CAUSE_GRANTED;
}

/*
 * Lock held, node unlinked by the caller. True when the wait was ended by this grant; the target
 * is added to the batch if it must be queued. The batch has room (the caller checks).
 */
static inline bool waiter_grant(struct waiter *node, struct wake_batch *batch)
{
    struct wait_target *target = node->target;
    enum word_wake_result won = word_wake(&target->word, node->seq, node->cause);

    if (won == WAKE_QUEUE)
        batch->targets[batch->count++] = target;
    if (won == WAKE_LOST)
        MARK(GRANT_LOST);
    return won != WAKE_LOST;
}

/* Leaves the list if still in it; afterwards nobody touches the node (I1). */
static inline void wait_list_leave(struct wait_list *l, struct waiter *node)
{
    spin_lock(&l->lock);
    if (list_is_linked(&node->link))
        list_del(&node->link);
    spin_unlock(&l->lock);
}

#endif /* TASK_WAIT_LIST_H */
