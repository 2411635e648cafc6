/* SPDX-License-Identifier: MIT */
/*
 * Running a task's function from its first instruction to its end, and what its end sets off.
 *
 * I1  A fresh task runs as a function call on the stack that the loop stands on; if it suspends,
 *     the stack goes with it, loop frame and all. Nothing of the worker survives the call.
 * I2  Order of the end: the root scope leaves its tree, the word says DONE, the outcome is
 *     published, the reservation goes, the group is told, the runtime's reference goes. So a joiner
 *     that saw the outcome may free its handle at once, and what a group's members used is free
 *     when its close returns.
 * I3  A failure that nobody can look at any more is reported exactly once (FUTURE_REPORTED).
 */
#include <errno.h>

#include "sched/choice.h"
#include "sched/error.h"
#include "sched/worker.h"

/* What the body returned, as the outcome of the task. */
static uint32_t outcome_flags(struct jd_task *t, jd_result result)
{
    bool asked;

    if (JD_LIKELY(result.error != -ECANCELED))
        return 0;
    /* Relaxed: a cancel that comes too late to be seen came after the end. The other way: a cancel
     * of the scope around it, of a group or of a joiner that runs it inline. */
    asked = (atom_load(&t->future.flags, relaxed) & FUTURE_CANCEL_REQUESTED) != 0 ||
            scope_is_cancelled(&t->root);
    return asked ? FUTURE_CANCELLED : 0;
}

/* With the runtime's reference still held. */
static void report_if_unwatched(struct jd_task *t, jd_result result, uint32_t flags)
{
    if (JD_LIKELY(!result.error) || (flags & FUTURE_CANCELLED) || (t->flags & TASK_JOINED) ||
        t->group)
        return;
    /* Relaxed: a count of 1 is ours; nobody else can make it grow. */
    if ((t->flags & TASK_DETACHED) || atom_load(&t->future.refs, relaxed) == 1)
        future_report_unhandled(&t->future);
}

static void task_finish(struct jd_task *t, jd_result result)
{
    struct worker *w = worker_current();
    struct group *group = t->group;
    uint32_t flags = outcome_flags(t, result);

    choice_note(EVENT_END, t->id);
    if (JD_UNLIKELY(t->scope != &t->root))
        error_scope_outlived(t);
    scope_unlink(&t->root);
    word_finish(&t->target.word);
    w->current = NULL;
    (void)future_complete(&t->future, result, flags); /* nobody else may complete a task */
    report_if_unwatched(t, result, flags);
    if (!(t->flags & TASK_FOREIGN_STACK))
        stack_cache_unreserve(&w->stacks);
    /* While the runtime drains, a worker 0 that just missed this looks again within a millisecond
     * (park.c). */
    live_end(&w->live);
    if (JD_UNLIKELY(atom_load(&w->rt->draining, acquire))) /* [STOP-1] */
        sched_wake_worker(&w->rt->workers[0]);
    if (group)
        group_member_ended(group, t, result);
}

void sched_run_fresh(struct jd_task *t)
{
    struct worker *w = worker_current();

    t->fiber = w->fiber;
    w->current = t;
    w->fiber->user = t;
    choice_note(EVENT_STEP, t->id);
    /* Relaxed: a hint for the watchdog, that this is a step of its own. */
    atom_store(&w->epoch, atom_load(&w->epoch, relaxed) + 1, relaxed);
    jd_result result = t->fn(t->arg);

    if (JD_UNLIKELY(deque_len(&worker_current()->forks) != 0))
        error_fork_outlived(t);
    task_finish(t, result);
    future_unref(&t->future); /* the runtime's, which came with the queue entry */
}

/*
 * As a function call inside the caller, which waits for its end anyway (jd_join): the identity and
 * the scope change around the call. The root scope hangs below the caller's scope, so a cancel of
 * the caller reaches the task. The caller's reference serves as the runtime's; the queue entry keeps
 * its own until it is met, stale.
 */
void sched_run_inline(struct jd_task *t)
{
    struct worker *w = worker_current();
    struct jd_task *caller = w->current;

    t->root.parent = caller->scope;
    w->current = t;
    w->fiber->user = t;
    choice_note(EVENT_STEP, t->id);
    task_finish(t, t->fn(t->arg));
    w = worker_current();
    w->current = caller;
    w->fiber->user = caller;
}
