/* SPDX-License-Identifier: MIT */
/*
 * The public face of tasks: spawn, join, cancel, names, yield.
 *
 * Join of an unstarted task runs it as a function call on the caller's stack: one CAS claims it, its
 * queue entry goes stale and is dropped when met. Never under JD_FIFO (order), for pinned tasks of
 * other workers, for a task that may move when the caller is pinned (it would take the caller's
 * frames along), or when less than half of the stack is free.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "sched/choice.h"
#include "sched/error.h"
#include "sched/spawn.h"
#include "sched/wait.h"

jd_coro jd_coro_of(jd_fn fn, void *arg)
{
    return (jd_coro){ fn, arg };
}

jd_task *jd_spawn_with(jd_fn fn, void *arg, const jd_task_options *opt)
{
    struct worker *w = worker_current();
    jd_task *t = NULL;

    if (!w)
        return NULL;
    return sched_spawn(w->rt, fn, arg, opt, NULL, NULL, &t) == 0 ? t : NULL;
}

jd_task *jd_spawn(jd_fn fn, void *arg)
{
    return jd_spawn_with(fn, arg, NULL);
}

int jd_spawn_detached(jd_fn fn, void *arg)
{
    struct worker *w = worker_current();

    return w ? sched_spawn(w->rt, fn, arg, NULL, NULL, NULL, NULL) : -EPERM;
}

static bool may_inline(struct worker *w, const struct jd_task *t)
{
    return !runtime_is_fifo(w->rt) && t->future.stub == w->rt->stub &&
           !(t->flags & TASK_LINKED) && /* ready.c I4 */
           (!(t->flags & TASK_PINNED) || t->worker == w->index) &&
           (!(w->current->flags & TASK_PINNED) || (t->flags & TASK_PINNED)) &&
           t->stack_class == 0 && fiber_is_half_free(w->fiber) &&
           (!choice_simulated() || sim_may_inline());
}

/* The result of a task that has ended; the reference goes with it. */
static jd_result take_result(jd_task *t)
{
    jd_result r = t->future.result;

    if (JD_UNLIKELY(r.error))
        future_mark(&t->future, FUTURE_LOOKED_AT);
    future_unref(&t->future);
    return r;
}

/* A join always waits to the end; a cancel of the caller is passed on to the task. */
static int wait_for_end(jd_task *t)
{
    int err = outcome_await(&t->future, CLOCK_FOREVER, WAIT_CANCELLABLE);

    if (err != -ECANCELED)
        return err;
    (void)jd_task_cancel(t, "its joiner was cancelled"); /* -EALREADY: it ended meanwhile */
    return outcome_await(&t->future, CLOCK_FOREVER, 0);
}

jd_result jd_join(jd_task *t)
{
    struct worker *w = worker_current();
    int err;

    if (!t)
        return jd_err(-EINVAL);
    if (!w || !w->current)
        return jd_err(-EPERM);
    if (t == w->current)
        return jd_err(-EDEADLK);
    if (JD_UNLIKELY(sched_charge(w))) {
        sched_suspend(POST_YIELD); /* also drains stale entries: they stay bounded by the budget */
        w = worker_current();
    }
    if (!outcome_is_done(&t->future.outcome)) {
        /* Relaxed: a guess; the claim decides. */
        if (word_run(atom_load(&t->target.word.bits, relaxed)) == WORD_NEW && may_inline(w, t) &&
            word_claim(&t->target.word)) {
            t->flags |= TASK_JOINED; /* ours to write since the claim: its failure is ours */
            sched_run_inline(t);
            return take_result(t);
        }
        err = wait_for_end(t);
        if (err)
            return jd_err(err);
    }
    return take_result(t);
}

jd_future *(jd_task_future)(jd_task *t)
{
    return t ? &t->future : NULL;
}

const jd_future *jd_task_future_const(const jd_task *t)
{
    return t ? &t->future : NULL;
}

jd_task *jd_task_ref(jd_task *t)
{
    if (t)
        future_ref(&t->future);
    return t;
}

void jd_task_unref(jd_task *t)
{
    if (t)
        future_unref(&t->future);
}

int jd_task_cancel(jd_task *t, const char *reason)
{
    const char *none = NULL;

    if (!t)
        return -EINVAL;
    if (outcome_is_done(&t->future.outcome))
        return -EALREADY;
    if (reason) /* [REASON-1] Release, pairs with the acquire of readers. The first one stays. */
        (void)atom_cas(&t->future.reason, &none, reason, release, relaxed);
    /* Relaxed, both: the cancel flag set below carries them (seq_cst). */
    atom_fetch_or(&t->future.flags, FUTURE_CANCEL_REQUESTED, relaxed);
    atom_fetch_add(&t->root.flags, SCOPE_REQUEST, relaxed);
    scope_cancel(&t->root, SCOPE_CANCELLED);
    return 0;
}

int jd_task_cancel_wait(jd_task *t, const char *reason)
{
    jd_task *caller;
    int err;

    if (!t)
        return -EINVAL;
    if (t == task_current())
        return -EDEADLK;
    err = call_begin(WAIT_CANCELLABLE | WAIT_THREADS, &caller);
    if (!err)
        err = jd_task_cancel(t, reason);
    if (err)
        return err;
    return outcome_await(&t->future, CLOCK_FOREVER, WAIT_CANCELLABLE | WAIT_THREADS);
}

int jd_task_cancelling(const jd_task *t)
{
    /* Relaxed: a snapshot. */
    return t ? (int)(atom_load(&t->root.flags, relaxed) / SCOPE_REQUEST) : 0;
}

int jd_task_uncancel(jd_task *t)
{
    uint32_t flags, next;

    if (!t)
        return -EINVAL;
    flags = atom_load(&t->root.flags, relaxed); /* Relaxed: the CAS decides. */
    do {                                        /* bounded by other cancels */
        if (flags < SCOPE_REQUEST)
            return 0;
        next = flags - SCOPE_REQUEST;
        if (next < SCOPE_REQUEST)
            next &= ~(uint32_t)(SCOPE_CANCELLED | SCOPE_CAUGHT);
    } while (!atom_cas(&t->root.flags, &flags, next, acq_rel, relaxed)); /* [CANCEL-2] */
    if (next < SCOPE_REQUEST)
        atom_fetch_and(&t->future.flags, ~(uint32_t)FUTURE_CANCEL_REQUESTED, relaxed);
    return (int)(next / SCOPE_REQUEST);
}

jd_task *jd_task_current(void)
{
    return task_current();
}

uint64_t jd_task_id(const jd_task *t)
{
    return t ? t->id : 0;
}

/* Made up on first use; racing makers: one string wins. */
static const char *name_make(jd_task *t)
{
    char *name = mem_calloc(TASK_NAME_BYTES), *none = NULL;

    if (!name)
        return "";
    task_display_name(t, name, TASK_NAME_BYTES);
    /* [NAME-1] Release, pairs with the acquire of readers. */
    if (atom_cas(&t->name, &none, name, acq_rel, acquire))
        return name;
    mem_free(name, TASK_NAME_BYTES);
    return none;
}

const char *jd_task_name(const jd_task *t)
{
    const char *name;

    if (!t)
        return "";
    name = atom_load(&t->name, acquire); /* [NAME-1] */
    return name ? name : name_make((jd_task *)(uintptr_t)t);
}

void jd_task_set_name(jd_task *t, const char *name)
{
    char *to;

    if (!t || !jd_task_name(t)[0])
        return;
    to = atom_load(&t->name, acquire); /* [NAME-1] */
    if (name)
        strncpy(to, name, TASK_NAME_BYTES - 1);
    else
        task_made_up_name(t, to, TASK_NAME_BYTES);
}

jd_coro jd_task_coro(const jd_task *t)
{
    return t ? (jd_coro){ t->fn, t->arg } : (jd_coro){ NULL, NULL };
}

int jd_task_foreach(jd_runtime *rt, int (*fn)(jd_task *t, void *arg), void *arg)
{
    if (!fn)
        return -EINVAL;
    if (!rt)
        rt = jd_runtime_current();
    return rt ? slab_foreach(rt->stub, fn, arg) : -EPERM;
}

int jd_yield(void)
{
    struct worker *w = worker_current();

    if (!w || !w->current)
        return -EPERM;
    if (scope_check(w->current->scope))
        return -ECANCELED;
    sched_give_way(w);
    return 0;
}

int jd_checkpoint(void)
{
    struct jd_task *t;
    int err = call_begin(WAIT_CANCELLABLE, &t);

    if (!err && jd_should_yield())
        sched_suspend(POST_YIELD);
    return err;
}

int jd_should_yield(void)
{
    struct worker *w = worker_current();

    /* Relaxed: a hint, set by the watchdog or by the budget, cleared by the next poll. */
    return w && w->current && atom_load(&w->preempt, relaxed) != 0;
}
