/* SPDX-License-Identifier: MIT */
#ifndef TASK_SCOPE_H
#define TASK_SCOPE_H

/*
 * Cancel scopes: a tree that is walked upwards by those who ask "am I cancelled?" and downwards by
 * those who cancel.
 *
 * I1  Upwards: a task's scope chain is constant while it runs inside it; parents outlive children
 *     (a group joins its members, a frame closes its scopes). So the walk needs no lock.
 * I2  Downwards: a scope is in its parent's child list only from its first suspension on
 *     (scope_link), ancestors first; child lists are guarded by the parent's lock. What never
 *     suspends never links.
 * I3  A linked scope leaves the list under the parent's lock before its memory goes. A cancel
 *     holds the locks of its path, so what it visits stays.
 * I4  Locks are taken from parent to child. Wheel locks and outcome locks are leaves below them.
 * I5  Dekker: a waiter links its scopes, opens its wait (seq_cst), then reads the flags of its
 *     chain; a cancel sets its flag (seq_cst), then looks for open waits. One of the two acts
 *     [CANCEL-1] [CANCEL-2]. Linking first keeps a shielded wait from being taken for an outer one.
 * I6  A task is aborted through its innermost linked scope only, so a shielded inner scope is
 *     respected: the walk does not enter shielded scopes.
 *
 * Cost: open and close without suspension 2 stores; first suspension one lock per level.
 * Rejected: a flag per task (a cancel must know all tasks); a lock per runtime (128 workers);
 * lists per wait (12 ns on each suspension).
 */
#include "atomic/spin.h"
#include "base/list.h"
#include <jackdaw/scope.h>

#include "reactor/timer.h"

struct jd_task;

enum scope_flag {
    SCOPE_CANCELLED = 1u << 0, /* by a call */
    SCOPE_EXPIRED = 1u << 1,   /* by its deadline */
    SCOPE_SHIELD = 1u << 2,    /* cancels of outer scopes stop here */
    SCOPE_LINKED = 1u << 3,
    SCOPE_TIMED = 1u << 4,  /* a struct timed_scope with a deadline */
    SCOPE_CAUGHT = 1u << 5, /* it ended something: an S call failed because of it */
    SCOPE_OPEN = 1u << 6,
};
#define SCOPE_DEAD (SCOPE_CANCELLED | SCOPE_EXPIRED)

/* Cancel requests are counted in the upper half (jd_task_cancelling). */
#define SCOPE_REQUEST (UINT32_C(1) << 16)

struct scope {
    struct scope *parent;      /* constant while open; NULL: the root of a spawned task */
    struct jd_task *owner;     /* constant */
    struct scope *first_child; /* guarded by lock */
    struct scope *next, *prev; /* siblings, guarded by parent->lock */
    struct spin lock;
    JD_ATOMIC(uint32_t) flags;
};

/* What a jd_scope holds. */
struct timed_scope {
    struct scope scope;
    JD_ATOMIC(int64_t) deadline; /* written by the owner, read by members */
    struct timer timer;          /* armed when linked */
    JD_ATOMIC(uint32_t) busy;    /* cancels in progress: close waits for 0 */
    const void *site;            /* who opened it */
};
_Static_assert(sizeof(struct timed_scope) <= sizeof(jd_scope), "a jd_scope holds a timed_scope");

/* Tasks whose wait was ended by a cancel and which must be queued, linked through task.link. */
struct task_chain {
    struct jd_task *first;
};

void scope_init(struct scope *s, struct scope *parent, struct jd_task *owner, uint32_t flags);
/* Before a suspension: make the chain visible to cancels. */
void scope_link(struct scope *s);
/* Before the memory goes. */
void scope_unlink(struct scope *s);
/* Cancels: flag is SCOPE_CANCELLED or SCOPE_EXPIRED. The caller keeps the scope alive. */
void scope_cancel(struct scope *s, uint32_t flag);
/* The slow ends of the two below: some scope has a deadline or is cancelled. */
bool scope_is_cancelled_slow(struct scope *s);
bool scope_check_slow(struct scope *s);

/* Does a cancel of an outer scope find it? A root has none. */
static inline bool scope_is_linked(const struct scope *s)
{
    /* [SCOPE-1] Acquire, pairs with the release in scope_link(): linked means that all ancestors
     * are, too (they were linked first, maybe by another child's task). */
    return !s->parent || (atom_load(&s->flags, acquire) & SCOPE_LINKED) != 0;
}

/* True when no scope up to the first shield is cancelled or has a deadline: the usual case. */
static inline bool scope_is_plain(const struct scope *s)
{
    for (; s; s = s->parent) {
        /* [CANCEL-1] Seq_cst, after the wait was opened (I5). */
        uint32_t flags = atom_load(&s->flags, seq_cst);

        if (flags & (SCOPE_TIMED | SCOPE_DEAD))
            return false;
        if (flags & SCOPE_SHIELD)
            return true;
    }
    return true;
}

/* Is some scope up to the first shield cancelled? Expires deadlines that have passed. */
static inline bool scope_is_cancelled(struct scope *s)
{
    return !scope_is_plain(s) && scope_is_cancelled_slow(s);
}

/* The same, and notes on the outermost such scope that it ended something. */
static inline bool scope_check(struct scope *s)
{
    return !scope_is_plain(s) && scope_check_slow(s);
}
int64_t scope_deadline(struct scope *s);

/* The wheel of the calling worker, or of worker 0 of the task's runtime: implemented by sched. */
void scope_arm(struct timed_scope *s);

#endif /* TASK_SCOPE_H */
