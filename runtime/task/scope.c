/* SPDX-License-Identifier: MIT */
/*
 * The tree operations of scopes: see scope.h for the invariants.
 *
 * A cancel collects the tasks it woke in a chain through their own queue links: a task whose wait
 * we ended by WAKE_QUEUE is READY and in no queue, so its link is ours. This needs no batch and no
 * second walk; the tasks are queued after all locks were left.
 */
#include "task/scope.h"

#include "base/clock.h"
#include "task/task.h"

void scope_init(struct scope *s, struct scope *parent, struct jd_task *owner, uint32_t flags)
{
    s->parent = parent;
    s->owner = owner;
    s->first_child = NULL;
    s->next = NULL;
    s->prev = NULL;
    spin_init(&s->lock);
    atom_init(&s->flags, flags);
}

static struct timed_scope *scope_timed(struct scope *s)
{
    return JD_CONTAINER_OF(s, struct timed_scope, scope);
}

void scope_link(struct scope *s)
{
    struct scope *parent = s->parent;

    if (scope_is_linked(s))
        return;
    scope_link(parent);
    spin_lock(&parent->lock);
    /* Relaxed: guarded by the parent's lock. */
    if (!(atom_load(&s->flags, relaxed) & SCOPE_LINKED)) {
        s->prev = NULL;
        s->next = parent->first_child;
        if (s->next)
            s->next->prev = s;
        parent->first_child = s;
        if (atom_load(&s->flags, relaxed) & SCOPE_TIMED)
            scope_arm(scope_timed(s));
        /* [SCOPE-1] Release. */
        atom_fetch_or(&s->flags, SCOPE_LINKED, release);
    }
    spin_unlock(&parent->lock);
}

void scope_unlink(struct scope *s)
{
    struct scope *parent = s->parent;

    /* Relaxed: our own link, or made by a member that has ended before (joined). */
    if (!parent || !(atom_load(&s->flags, relaxed) & SCOPE_LINKED))
        return;
    spin_lock(&parent->lock);
    if (s->prev)
        s->prev->next = s->next;
    else
        parent->first_child = s->next;
    if (s->next)
        s->next->prev = s->prev;
    atom_fetch_and(&s->flags, ~(uint32_t)SCOPE_LINKED, relaxed);
    spin_unlock(&parent->lock);
}

/* Ends the owner's wait if this is its innermost linked scope. Lock of s held. */
static void scope_abort_owner(struct scope *s, struct task_chain *chain)
{
    for (struct scope *child = s->first_child; child; child = child->next)
        if (child->owner == s->owner)
            return; /* it waits further in, behind that child (I6) */
    if (word_abort(&s->owner->target.word) == WAKE_QUEUE) {
        atom_store(&s->owner->link.node.next, chain->first ? &chain->first->link.node : NULL,
                   relaxed); /* Relaxed: ours until it is queued. */
        chain->first = s->owner;
    }
}

/* Recursion depth: the nesting of scopes, as deep as the tasks' own frames. */
static void scope_abort(struct scope *s, struct task_chain *chain)
{
    spin_lock(&s->lock);
    scope_abort_owner(s, chain);
    for (struct scope *child = s->first_child; child; child = child->next)
        /* Relaxed: the shield bit is constant while open. */
        if (!(atom_load(&child->flags, relaxed) & SCOPE_SHIELD))
            scope_abort(child, chain);
    spin_unlock(&s->lock);
}

static void task_chain_ready(struct task_chain *chain)
{
    while (chain->first) {
        struct jd_task *t = chain->first;
        /* Relaxed: ours until it is queued. */
        struct qnode *next = atom_load(&t->link.node.next, relaxed);

        chain->first = next ? JD_CONTAINER_OF(next, struct jd_task, link.node) : NULL;
        task_ready(t);
    }
}

void scope_cancel(struct scope *s, uint32_t flag)
{
    struct task_chain chain = { NULL };
    uint32_t flags = atom_load(&s->flags, relaxed); /* Relaxed: the CAS decides. */

    do { /* the first cause stays: one flag of the two, bounded by the other setters */
        if (flags & SCOPE_DEAD)
            return;
        /* [CANCEL-2] Seq_cst, Dekker with word_wait_begin() (I5). */
    } while (!atom_cas(&s->flags, &flags, flags | flag, seq_cst, relaxed));
    scope_abort(s, &chain);
    task_chain_ready(&chain);
}

static void scope_expire_if_due(struct scope *s)
{
    struct timed_scope *timed = scope_timed(s);

    /* Relaxed: a value of its own; members see it late at worst by a poll. */
    if (clock_now() >= atom_load(&timed->deadline, relaxed))
        scope_cancel(s, SCOPE_EXPIRED);
}

/* The outermost cancelled scope up to the first shield, or NULL. */
static struct scope *scope_find_cancelled(struct scope *s)
{
    struct scope *found = NULL;

    for (; s; s = s->parent) {
        /* [CANCEL-1] Seq_cst, after the wait was opened (I5). */
        uint32_t flags = atom_load(&s->flags, seq_cst);

        if (JD_UNLIKELY((flags & (SCOPE_TIMED | SCOPE_DEAD)) == SCOPE_TIMED)) {
            scope_expire_if_due(s);
            flags = atom_load(&s->flags, seq_cst);
        }
        if (flags & SCOPE_DEAD)
            found = s;
        if (flags & SCOPE_SHIELD)
            break;
    }
    return found;
}

bool scope_is_cancelled_slow(struct scope *s)
{
    return scope_find_cancelled(s) != NULL;
}

bool scope_check_slow(struct scope *s)
{
    struct scope *cause = scope_find_cancelled(s);

    if (JD_LIKELY(!cause))
        return false;
    /* Relaxed: read by the closer, which runs after this in its own task or joined us. */
    atom_fetch_or(&cause->flags, SCOPE_CAUGHT, relaxed);
    return true;
}

int64_t scope_deadline(struct scope *s)
{
    int64_t earliest = CLOCK_FOREVER;

    for (; s; s = s->parent) {
        uint32_t flags = atom_load(&s->flags, relaxed); /* Relaxed: constant bits. */

        if (flags & SCOPE_TIMED) {
            int64_t deadline = /* Relaxed: as above */
                atom_load(&JD_CONTAINER_OF(s, struct timed_scope, scope)->deadline, relaxed);

            if (deadline < earliest)
                earliest = deadline;
        }
        if (flags & SCOPE_SHIELD)
            break;
    }
    return earliest;
}
