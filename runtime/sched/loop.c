/* SPDX-License-Identifier: MIT */
/*
 * The worker loop: base frame of every fiber stack.
 *
 * I1  No worker pointer in a local variable lives over a call that runs user code: each turn asks
 *     again (loop_turn is noinline).
 * I2  Fairness: at least every POLL_STEPS tasks or SLICE_NS the port, the timers, the inbox and the
 *     loop queue are served; callbacks of one tick are those that were there when it began.
 * I3  JD_FIFO: tasks and callbacks share the loop queue; a turn polls, then runs one tick of it,
 *     exactly asyncio's _run_once.
 */
#include "base/clock.h"
#include "sched/callback.h"
#include "sched/choice.h"
#include "sched/worker.h"

/* The searcher has found something: idle.h I3. */
static JD_NOINLINE void stop_searching(struct worker *w)
{
    w->searching = false;
    if (idle_search_found(&w->rt->idle) &&
        (fifo_len(&w->ready) != 0 || !injector_is_empty(&w->rt->injector)))
        sched_wake_idle(w->rt);
}

static void run_task(struct worker *w, struct jd_task *t)
{
    if (JD_UNLIKELY(w->searching))
        stop_searching(w);
    if (t->fiber)
        sched_switch_to_task(w, t);
    if (JD_UNLIKELY(t->stack_class) && w->fiber->pool != w->rt->stack_classes[t->stack_class])
        sched_switch_to_class(w, t);
    sched_run_fresh(t);
}

/* Runs one item of the loop queue. */
static void run_item(struct worker *w, struct loop_item *item)
{
    struct jd_task *t;

    if (JD_UNLIKELY(w->searching))
        stop_searching(w);
    if (item->kind != ITEM_TASK) {
        callback_run(w, item);
        return;
    }
    t = JD_CONTAINER_OF(item, struct jd_task, link);
    if (word_claim(&t->target.word))
        t->fiber = NULL; /* fresh; else READY: never stale (ready.c I4) */
    run_task(w, t);
}

/* The next task or callback of the loop's own order. False: nothing here. */
static bool run_local(struct worker *w)
{
    struct loop_item *item = loop_queue_next(&w->loop_queue);
    struct jd_task *t;

    if (item) {
        run_item(w, item);
        return true;
    }
    t = sched_next_local(w);
    if (!t)
        return false;
    run_task(w, t);
    return true;
}

static bool poll_is_due(struct worker *w)
{
    if (w->steps >= POLL_STEPS)
        return true;
    /* The clock costs 20 ns: look at it every fourth step. */
    return (w->steps & 3) == 3 && clock_now() - w->last_poll > SLICE_NS;
}

/* Nothing local: poll, then other workers' work, then sleep. */
static void find_elsewhere(struct worker *w)
{
    struct jd_task *t;

    sched_poll(w);
    if (loop_queue_begin_tick(&w->loop_queue) || fifo_len(&w->ready) ||
        !lifo_is_empty(&w->lifo)) /* own slot, or a thief has it */
        return;
    t = sched_steal(w);
    if (t)
        run_task(w, t);
    else
        sched_idle(w);
}

static void stop_if_asked(struct worker *w)
{
    /* Relaxed: a guess; runtime_may_stop() decides. */
    if (JD_LIKELY(!atom_load(&w->rt->stop, relaxed) && !atom_load(&w->rt->draining, relaxed)))
        return;
    if (!w->ticked || !loop_queue_tick_is_over(&w->loop_queue) || !runtime_may_stop(w))
        return;
    if (w->searching) {
        w->searching = false;
        (void)idle_search_found(&w->rt->idle); /* leaving: nobody to wake */
    }
    sched_leave_loop(w);
}

/* One tick of asyncio's loop: poll, then everything that is ready now. */
static void fifo_turn(struct worker *w)
{
    struct loop_item *item = loop_queue_next(&w->loop_queue);

    if (item) {
        run_item(w, item);
        return;
    }
    stop_if_asked(w);
    sched_poll(w);
    if (!loop_queue_begin_tick(&w->loop_queue))
        sched_idle(w);
}

static JD_NOINLINE void loop_turn(void)
{
    struct worker *w;
    struct jd_task *t;

    choice(CHOICE_TURN);
    w = worker_current();
    t = w->handoff;
    if (t) {
        w->handoff = NULL;
        run_task(w, t);
        return;
    }
    if (JD_UNLIKELY(w->fiber->pool != &w->rt->stacks))
        sched_leave_class(w);
    if (w->resume_first) {
        run_task(w, sched_next_local(w));
        return;
    }
    if (runtime_is_fifo(w->rt)) {
        fifo_turn(w);
        return;
    }
    stop_if_asked(w);
    if (poll_is_due(w)) {
        sched_poll(w);
        (void)loop_queue_begin_tick(&w->loop_queue);
    }
    if (!run_local(w))
        find_elsewhere(w);
}

void sched_loop_entry(struct fiber *prev)
{
    sched_after_switch(prev);
    for (;;) /* unbounded: event loop; left by sched_leave_loop() or with a task that suspends */
        loop_turn();
}
