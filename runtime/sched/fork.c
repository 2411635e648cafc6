/* SPDX-License-Identifier: MIT */
/*
 * Fork-join without allocation: the descriptor lives in the caller's frame, the deque holds its
 * address, and a child that nobody stole runs at the join as a function call.
 *
 *   task field of a descriptor
 *     FORK_QUEUED   in the deque, or just taken off it by a thief that will store a task
 *     FORK_AT_JOIN  nobody can take it: the joiner runs it
 *     a task        stolen or promoted: the joiner joins it (one reference is the joiner's)
 *
 * I1  A deque holds only forks of the stack that runs on its worker, so the newest entry is the one
 *     that is joined next.
 * I2  Who takes a descriptor off the deque owns it until it stores `task` (release); the frame stays
 *     until the joiner has read it (acquire). A thief makes its record before it steals, so it can
 *     always keep that promise.
 * I3  The child inherits the scope that was current at the fork; it is joined before that closes.
 *
 * Rejected: a waiter word in the descriptor (a second completion protocol beside the outcome).
 */
#include "sched/fork.h"

#include <errno.h>
#include <sched.h>

#include "base/mark.h"
#include "sched/choice.h"
#include "sched/spawn.h"

#define FORK_QUEUED ((struct jd_task *)NULL)
#define FORK_AT_JOIN ((struct jd_task *)1)

struct fork {
    jd_fn fn;
    void *arg;
    struct scope *scope;
    JD_ATOMIC(struct jd_task *) task;
};
_Static_assert(sizeof(struct fork) <= sizeof(jd_fork), "a jd_fork holds a fork");

static struct fork *fork_of(jd_fork *f)
{
    return (struct fork *)(void *)f; /* its first and only member */
}

/* Forks are pushed without a fence, so a sleeper may be missed; the watchdog repairs that. While
 * nobody sleeps they stay private until a thief asks (deque.h). */
static inline void look_for_sleepers(struct worker *w)
{
    struct idle *idle = &w->rt->idle;

    /* Relaxed: a heuristic. */
    if (JD_UNLIKELY(atom_load(&idle->parked, relaxed) != 0) &&
        atom_load(&idle->searching, relaxed) == 0) {
        deque_publish(&w->forks);
        sched_wake_idle(w->rt);
        choice(CHOICE_FORK);
    }
}

void jd_fork_start(jd_fork *handle, jd_fn fn, void *arg)
{
    struct worker *w = worker_current();
    struct fork *f = fork_of(handle);

    if (!handle)
        return;
    f->fn = fn;
    f->arg = arg;
    if (JD_UNLIKELY(!w || !w->current)) {
        atom_init(&f->task, FORK_AT_JOIN);
        return;
    }
    f->scope = w->current->scope;
    atom_init(&f->task, FORK_QUEUED);
    if (JD_UNLIKELY(!deque_push(&w->forks, f))) {
        atom_init(&f->task, FORK_AT_JOIN);
        return;
    }
    look_for_sleepers(w);
}

static void fork_publish(struct fork *f, struct jd_task *t)
{
    /* [FORK-1] Release, pairs with the acquire in fork_wait_task(): the record is whole (I2). */
    atom_store(&f->task, t, release);
}

/* The joiner's reference is the second one. */
static void fork_promote(struct worker *w, struct fork *f)
{
    struct jd_task *t = sched_make_queued(w, f->fn, f->arg, f->scope);

    MARK(FORK_PROMOTED);
    fork_publish(f, t ? t : FORK_AT_JOIN); /* out of memory: it waits for its join */
}

void fork_promote_all(struct worker *w)
{
    bool lost;

    deque_publish(&w->forks);
    do { /* bounded by the deque; a lost race means that a thief made it shorter */
        struct fork *f = deque_steal(&w->forks, &lost);

        if (f)
            fork_promote(w, f);
    } while (lost || deque_len(&w->forks) != 0);
}

struct jd_task *fork_steal(struct worker *w, struct worker *victim)
{
    struct jd_task *t;
    struct fork *f;
    bool lost;

    if (!deque_ask(&victim->forks))
        return NULL;
    t = sched_make_claimed(w, NULL, NULL, NULL);
    if (!t)
        return NULL;
    f = deque_steal(&victim->forks, &lost);
    if (!f) {
        sched_unmake_claimed(w, t);
        return NULL;
    }
    MARK(FORK_STOLEN);
    t->fn = f->fn;
    t->arg = f->arg;
    t->root.parent = f->scope;
    atom_store(&t->future.refs, 2, release); /* [REF-2] the run's and the joiner's */
    fork_publish(f, t);
    if (deque_len(&victim->forks) != 0)
        sched_wake_idle(w->rt);
    return t;
}

/* A thief has it in its hands and stores the task within a few instructions. */
static struct jd_task *fork_wait_task(struct fork *f)
{
    struct jd_task *t;

    while ((t = atom_load(&f->task, acquire)) == FORK_QUEUED) { /* [FORK-1] bounded, see above */
        cpu_relax();
        sched_yield();
    }
    return t;
}

/* Somebody else has it, or it was made a task: the slow end of a join. */
static JD_NOINLINE jd_result fork_join_elsewhere(struct worker *w, struct fork *f, struct fork *top)
{
    struct jd_task *t;

    if (top) { /* joined out of order: all of them become tasks, then any order will do */
        MARK(FORK_OUT_OF_ORDER);
        if (!deque_push(&w->forks, top))
            fork_promote(w, top);
        fork_promote_all(w);
    }
    t = fork_wait_task(f);
    return t == FORK_AT_JOIN ? f->fn(f->arg) : jd_join(t);
}

/* Between joins: let other tasks of this worker run when the slice is over. */
static JD_NOINLINE void fork_slice_end(struct worker *w)
{
    if (fifo_len(&w->ready) != 0 || !loop_queue_is_empty(&w->loop_queue))
        sched_suspend(POST_YIELD);
}

jd_result jd_fork_join(jd_fork *handle)
{
    struct fork *f = fork_of(handle);
    struct worker *w = worker_current();
    struct fork *top;

    if (JD_UNLIKELY(!handle))
        return jd_err(-EINVAL);
    if (JD_UNLIKELY(!w || !w->current || atom_load(&f->task, relaxed) == FORK_AT_JOIN))
        return f->fn(f->arg); /* Relaxed: FORK_AT_JOIN was stored by this very thread of control */
    if (JD_UNLIKELY(sched_charge(w))) {
        fork_slice_end(w);
        w = worker_current();
    }
    top = deque_take(&w->forks);
    if (JD_LIKELY(top == f))
        return f->fn(f->arg);
    return fork_join_elsewhere(w, f, top);
}
