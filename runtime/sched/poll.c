/* SPDX-License-Identifier: MIT */
/*
 * What a worker does between tasks: its inbox, its port, its timers.
 *
 * Order within one poll (contract A10): completions first, then due timers; callbacks that were
 * ready before keep their place in front of both, since all three append to the same queue.
 * The clock is read once per poll.
 */
#include "base/clock.h"
#include "sched/callback.h"
#include "sched/worker.h"

/* Timers hand over what is to be done outside the wheel's lock. */
void sched_deliver(void *token, void *ctx)
{
    uintptr_t bits = (uintptr_t)token;
    void *ptr = (void *)(bits & ~(uintptr_t)3);

    (void)ctx;
    switch ((enum timer_token)(bits & 3)) {
    case TOKEN_TARGET:
        wait_target_ready(ptr);
        break;
    case TOKEN_SCOPE:
        scope_timer_fired(ptr);
        break;
    case TOKEN_HANDLE:
        handle_timer_fired(ptr);
        break;
    }
}

unsigned sched_expire(struct worker *w, struct worker *of, int64_t now)
{
    return timer_wheel_expire(&of->timers, now, sched_deliver, w);
}

void sched_inbox_drain(struct worker *w)
{
    struct qlist list;
    struct qnode *node;

    qlist_init(&list);
    if (!inbox_take_all(&w->inbox, &list))
        return;
    while ((node = qlist_pop(&list)))
        loop_queue_push(&w->loop_queue, JD_CONTAINER_OF(node, struct loop_item, node));
}

void sched_poll(struct worker *w)
{
    w->steps = 0;
    w->ticked = true;
    if (JD_UNLIKELY(w->index == 0 && atom_load(&w->rt->signalled, relaxed)))
        runtime_cancel_main(w->rt); /* Relaxed: a flag of its own */
    sched_inbox_drain(w);
    (void)reactor_poll(w->rt->reactor, w->index); /* a count; work shows in the queues */
    w->now = clock_now();
    w->last_poll = w->now;
    (void)sched_expire(w, w, w->now);
    w->budget = BUDGET_OPS;
    w->slice_end = w->now + SLICE_NS;
    /* Relaxed, both: hints for others. */
    atom_store(&w->epoch, atom_load(&w->epoch, relaxed) + 1, relaxed);
    if (JD_UNLIKELY(atom_load(&w->stale, relaxed)))
        atom_store(&w->stale, 0, relaxed);
    if (JD_UNLIKELY(atom_load(&w->preempt, relaxed)))
        atom_store(&w->preempt, 0, relaxed);
}

/* Every BUDGET_CLOCK_OPS operations: is the slice over? */
bool sched_charge_slow(struct worker *w)
{
    /* The conformance order must not depend on the clock. */
    if (w->budget != 0 && (runtime_is_fifo(w->rt) || clock_now() < w->slice_end))
        return false;
    w->budget = BUDGET_OPS;
    atom_store(&w->preempt, 1, relaxed); /* Relaxed: read by this worker's tasks */
    return true;
}
