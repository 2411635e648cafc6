/* SPDX-License-Identifier: MIT */
/*
 * Making tasks ready, from wherever the wake comes.
 *
 *   waker                       where the task goes
 *   a task on a worker          the worker's LIFO slot; what was there goes to its ready queue
 *   the loop (port, timers)     the ready queue
 *   another thread              the injector
 *   pinned, or JD_FIFO          the loop queue of its worker, by the inbox from elsewhere
 *
 * I1  A push that may matter to a sleeping worker is published seq_cst, then looks for sleepers
 *     (idle.h). A task that yields, and one that its maker queues, lie before a worker that is awake
 *     and comes back to them: those pushes are released only (5 ns less), and a sleeper that their
 *     look missed is rung up by the watchdog when that worker burns. The LIFO slot is not announced
 *     at all: its owner runs it within a slice, or the watchdog lets others take it.
 * I3  An entry of a ready queue says whether it starts a task or resumes one (ENTRY_FRESH in the
 *     low bit): a join may have claimed the task meanwhile, and then the fresh entry is stale even
 *     if the task is READY again, with an entry of its own.
 * I4  A task whose fresh entry hangs in an intrusive queue is never joined inline (TASK_LINKED):
 *     its link is in use until the entry is met.
 * I2  A thread from outside counts itself in rt->foreign from before the task becomes visible until
 *     its last access; jd_runtime_free() waits for 0 (task/stub.h).
 */
#include "base/mark.h"
#include "sched/choice.h"
#include "sched/worker.h"

static void wake_one(struct jd_runtime *rt)
{
    int index = idle_claim(&rt->idle);

    if (index >= 0)
        reactor_wake(rt->reactor, (unsigned)index);
}

static void push_linked(struct worker *w, struct jd_task *t)
{
    t->link.kind = ITEM_TASK;
    loop_queue_push(&w->loop_queue, &t->link);
}

static inline bool is_loop_task(const struct worker *w, const struct jd_task *t)
{
    return (t->flags & TASK_PINNED) || runtime_is_fifo(w->rt);
}

void sched_push_yielded(struct worker *w, struct jd_task *t)
{
    if (JD_UNLIKELY(is_loop_task(w, t)))
        push_linked(w, t);
    else if (JD_UNLIKELY(!fifo_push_quiet(&w->ready, t)))
        injector_push(&w->rt->injector, w->index, &t->link.node); /* needs no memory */
    if (JD_UNLIKELY(idle_wants_wake(&w->rt->idle)))
        wake_one(w->rt);
}

void sched_push_fresh(struct worker *w, struct jd_task *t)
{
    if (JD_UNLIKELY(is_loop_task(w, t))) {
        t->flags |= TASK_LINKED;
        push_linked(w, t);
    } else if (JD_UNLIKELY(!fifo_push_quiet(&w->ready, entry_fresh(t)))) {
        MARK(QUEUE_OVERFLOW);
        t->flags |= TASK_LINKED;
        injector_push(&w->rt->injector, w->index, &t->link.node);
    }
    if (JD_UNLIKELY(idle_wants_wake(&w->rt->idle)))
        wake_one(w->rt);
}

/* One is enough for any number of items: each woken worker wakes one more while there is work. */
void sched_wake_idle(struct jd_runtime *rt)
{
    if (JD_UNLIKELY(idle_wants_wake(&rt->idle)))
        wake_one(rt);
}

void sched_push(struct worker *w, struct jd_task *t)
{
    if (JD_UNLIKELY(is_loop_task(w, t)))
        push_linked(w, t);
    else if (JD_UNLIKELY(!fifo_push(&w->ready, t)))
        injector_push(&w->rt->injector, w->index, &t->link.node);
    if (JD_UNLIKELY(idle_wants_wake(&w->rt->idle)))
        wake_one(w->rt);
}

/* Rings for this very worker, if it sleeps. */
void sched_wake_worker(struct worker *w)
{
    struct idle *idle = &w->rt->idle;

    if (idle_claim_worker(idle, w->index))
        reactor_wake(w->rt->reactor, w->index);
}

void sched_post(struct worker *w, struct loop_item *item)
{
    if (worker_current() == w) {
        sched_inbox_drain(w); /* what came from others before keeps its place */
        loop_queue_push(&w->loop_queue, item);
        return;
    }
    if (inbox_put(&w->inbox, &item->node))
        sched_wake_worker(w);
}

static void ready_from_outside(struct jd_runtime *rt, struct jd_task *t)
{
    if ((t->flags & TASK_PINNED) || runtime_is_fifo(rt)) {
        t->link.kind = ITEM_TASK;
        sched_post(&rt->workers[t->worker], &t->link);
        return;
    }
    injector_push(&rt->injector, t->worker, &t->link.node);
    sched_wake_idle(rt);
}

static void ready_on_worker(struct worker *w, struct jd_task *t)
{
    struct jd_task *displaced;

    if ((t->flags & TASK_PINNED) && t->worker != w->index) {
        t->link.kind = ITEM_TASK;
        sched_post(&w->rt->workers[t->worker], &t->link);
        return;
    }
    if (!w->current || (t->flags & TASK_PINNED) || runtime_is_fifo(w->rt)) {
        sched_push(w, t);
        return;
    }
    displaced = lifo_put(&w->lifo, t);
    if (displaced)
        sched_push(w, displaced);
}

void task_ready(struct jd_task *t)
{
    struct worker *w = worker_current();
    struct jd_runtime *rt = task_runtime(t); /* the task has not ended: the runtime lives */

    choice_note(EVENT_WAKE, t->id);
    if (JD_LIKELY(w && w->rt == rt)) {
        ready_on_worker(w, t);
        return;
    }
    /* [FOREIGN-1] Seq_cst, pairs with the look in runtime_wait_for_strangers(). */
    atom_fetch_add(&rt->foreign, 1, seq_cst);
    ready_from_outside(rt, t);
    atom_fetch_sub(&rt->foreign, 1, seq_cst); /* [FOREIGN-1] the last access */
}
