/* SPDX-License-Identifier: MIT */
/*
 * The public face of scopes.
 *
 * I1  `busy` counts cancels that may still touch the scope: calls of jd_scope_cancel() and expiries
 *     of its timer between claim (under the wheel's lock) and the end of their walk. close() disarms
 *     the timer, then waits for 0.
 * I2  A scope that was opened outside a task is inert: owner NULL, close returns -EPERM. A closed
 *     one has no SCOPE_OPEN.
 * I3  Its own cancel is reported by close() only if it ended something (SCOPE_CAUGHT).
 */
#include "sched/scope_api.h"

#include <errno.h>
#include <sched.h>

#include "base/clock.h"
#include "sched/callback.h"
#include "sched/error.h"
#include "sched/wait.h"

static struct timed_scope *timed(jd_scope *s)
{
    return (struct timed_scope *)(void *)s->jd_private;
}

/* Under the wheel's lock: from here on close() waits for us. */
static void *scope_timer_claim(struct timer *timer)
{
    struct timed_scope *s = JD_CONTAINER_OF(timer, struct timed_scope, timer);

    atom_fetch_add(&s->busy, 1, relaxed); /* Relaxed: published by the wheel's lock [BUSY-1] */
    return (void *)((uintptr_t)s | TOKEN_SCOPE);
}

static void scope_busy_end(struct timed_scope *s)
{
    /* [BUSY-1] Release, pairs with the acquire in scope_wait_idle(): our last access. */
    atom_fetch_sub(&s->busy, 1, release);
}

void scope_timer_fired(void *scope)
{
    struct timed_scope *s = scope;

    scope_cancel(&s->scope, SCOPE_EXPIRED);
    scope_busy_end(s);
}

void scope_cancel_timed(struct timed_scope *s, uint32_t flag)
{
    atom_fetch_add(&s->busy, 1, relaxed); /* Relaxed: the caller keeps the scope open until now */
    scope_cancel(&s->scope, flag);
    scope_busy_end(s);
}

/* A cancel walks a tree of tasks and takes microseconds: spin, then give the CPU away. */
static void scope_wait_idle(struct timed_scope *s)
{
    while (atom_load(&s->busy, acquire) != 0) /* [BUSY-1] bounded by the cancels in progress */
        sched_yield();
}

void scope_arm(struct timed_scope *s)
{
    int64_t deadline = atom_load(&s->deadline, relaxed); /* Relaxed: see scope.c */

    if (deadline != CLOCK_FOREVER)
        sched_arm(task_runtime(s->scope.owner), &s->timer, deadline);
}

void scope_open_timed(struct timed_scope *s, struct jd_task *t, int64_t timeout, uint32_t flags,
                      const void *site)
{
    scope_init(&s->scope, t ? t->scope : NULL, t, SCOPE_OPEN | flags);
    atom_init(&s->deadline, CLOCK_FOREVER);
    s->site = site;
    atom_init(&s->busy, 0);
    timer_init(&s->timer, scope_timer_claim);
    if (!t)
        return;
    if (timeout != CLOCK_FOREVER) {
        atom_store(&s->deadline, clock_after(clock_now(), timeout), relaxed); /* Relaxed: private */
        /* Relaxed: nobody else knows the scope yet. */
        atom_store(&s->scope.flags,
                   SCOPE_OPEN | SCOPE_TIMED | flags | (timeout <= 0 ? SCOPE_EXPIRED : 0u), relaxed);
    }
    t->scope = &s->scope;
}

int scope_close_timed(struct timed_scope *s)
{
    struct jd_task *t = task_current();
    uint32_t flags;

    /* Relaxed, all: written by the owner. */
    if (!(atom_load(&s->scope.flags, relaxed) & SCOPE_OPEN))
        return -EINVAL;
    if (!s->scope.owner) {
        atom_store(&s->scope.flags, 0, relaxed);
        return -EPERM;
    }
    if (t != s->scope.owner || t->scope != &s->scope) {
        if (task_runtime(s->scope.owner)->flags & JD_DEBUG)
            error_scope_order(s);
        return -EINVAL;
    }
    scope_unlink(&s->scope);
    (void)timer_disarm(&s->timer); /* claimed: counted in busy */
    scope_wait_idle(s);
    t->scope = s->scope.parent;
    flags = atom_load(&s->scope.flags, relaxed); /* Relaxed: nobody else writes any more */
    s->scope.owner = NULL;
    atom_store(&s->scope.flags, 0, relaxed); /* Relaxed: as above */
    if (!(flags & SCOPE_CAUGHT))
        return 0;
    return flags & SCOPE_EXPIRED ? -ETIMEDOUT : -ECANCELED;
}

void jd_scope_open(jd_scope *s, int64_t timeout)
{
    if (s)
        scope_open_timed(timed(s), task_current(), timeout, 0, __builtin_return_address(0));
}

void jd_scope_open_shielded(jd_scope *s, int64_t timeout)
{
    if (s)
        scope_open_timed(timed(s), task_current(), timeout, SCOPE_SHIELD,
                         __builtin_return_address(0));
}

int jd_scope_close(jd_scope *s)
{
    return s ? scope_close_timed(timed(s)) : -EINVAL;
}

ssize_t jd_scope_close_with(jd_scope *s, ssize_t body)
{
    int ended = jd_scope_close(s);

    if (ended == -EPERM || ended == -EINVAL)
        return body < 0 ? body : ended;
    return body == -ECANCELED && ended < 0 ? ended : body;
}

void jd_scope_cancel(jd_scope *s)
{
    if (s && timed(s)->scope.owner)
        scope_cancel_timed(timed(s), SCOPE_CANCELLED);
}

int jd_scope_set_deadline(jd_scope *s, int64_t when)
{
    struct timed_scope *ts = s ? timed(s) : NULL;
    struct jd_task *t = task_current();
    uint32_t flags;

    /* Relaxed: written by the owner. */
    if (!s || !(atom_load(&ts->scope.flags, relaxed) & SCOPE_OPEN))
        return -EINVAL;
    if (!t || ts->scope.owner != t)
        return -EPERM;
    (void)timer_disarm(&ts->timer); /* claimed: it has expired, seen below */
    scope_wait_idle(ts);
    flags = atom_load(&ts->scope.flags, acquire); /* [SCOPE-1] */
    if (flags & SCOPE_DEAD)
        return flags & SCOPE_EXPIRED ? -ETIMEDOUT : -ECANCELED;
    atom_store(&ts->deadline, when < 0 ? 0 : when, relaxed); /* Relaxed: see scope.c */
    /* Relaxed: read by this task, and by members behind the scope's links. */
    atom_fetch_or(&ts->scope.flags, SCOPE_TIMED, relaxed);
    if (flags & SCOPE_LINKED)
        scope_arm(ts);
    return 0;
}

int64_t jd_deadline(void)
{
    struct jd_task *t = task_current();

    return t ? scope_deadline(t->scope) : CLOCK_FOREVER;
}
