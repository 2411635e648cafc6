/* SPDX-License-Identifier: MIT */
/*
 * Running a batch: the consumer's loop, what it starts, and its end. See batch.h for the invariants.
 *
 * The end, whatever its cause: no pull any more, calls in flight are cancelled (not after a drained
 * source), all are awaited, what did not reach the sink is abandoned, the group is closed.
 *
 * Threads: the consumer's task.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "group/batch.h"
#include "sched/wait.h"

struct batch *batch_new(jd_source_fn source, jd_call_fn call, const jd_batch_options *o)
{
    struct batch *b = mem_aligned(JD_CACHE_LINE, sizeof(*b));

    if (!b)
        return NULL;
    memset(b, 0, sizeof(*b)); /* the atomics, too: nobody else knows it yet */
    b->source = source;
    b->call = call;
    b->o = *o;
    b->source_ctx = b->sink_ctx = b->abandon_ctx = o->ctx;
    b->limit_max = o->limit;
    batch_limit_set(b, o->limit);
    if (o->flags & JD_BATCH_ADAPTIVE)
        batch_limit_begin(b);
    b->is_plain = batch_options_are_plain(o);
    b->start = clock_now();
    b->sem = o->sem ? sem_of(o->sem) : NULL;
    batch_list_init(&b->ready);
    list_init(&b->startable);
    list_init(&b->waiting);
    list_init(&b->hedges);
    b->order_end = &b->order;
    b->progress_at = clock_after(b->start, o->progress_every);
    spin_init(&b->histograms_lock);
    b->poke.batch = b;
    b->poke.state = BATCH_POKE;
    return b;
}

void batch_free(struct batch *b)
{
    batch_slots_free(b);
    if (b->waits)
        mem_free(b->waits, sizeof(*b->waits));
    mem_free_aligned(b, JD_CACHE_LINE, sizeof(*b));
}

/* Others may want it: it is kept for a pull that comes next, not for one that never comes. */
static void permit_drop(struct batch *b)
{
    if (b->has_permit)
        (void)sem_give(b->sem, 1); /* refused only if others released what they did not hold */
    b->has_permit = false;
    b->permit_since = 0;
}

static int spawn(struct batch *b, struct batch_slot *slot)
{
    if (JD_LIKELY(!b->o.hedge_after))
        return jd_group_spawn(b->group, batch_attempt, slot);
    atom_store(&slot->entered_at, 0, relaxed); /* Relaxed: its task does not run yet. */
    return jd_group_spawn_with(b->group, batch_attempt, slot, NULL, &slot->task);
}

static void wait_is_over(struct batch *b, struct batch_slot *slot)
{
    slot->slot_wait += clock_now() - slot->ready_at;
    slot->ready_at = 0;
    b->permit_since = 0; /* it is part of that */
}

int batch_spawn(struct batch *b, struct batch_slot *slot)
{
    int err;

    slot->has_flown = true;
    slot->clock = JD_CLOCK_NONE;
    slot->state = BATCH_FLYING;
    if (JD_UNLIKELY(slot->ready_at))
        wait_is_over(b, slot);
    batch_place_take(b, slot);
    err = spawn(b, slot);
    if (JD_UNLIKELY(err)) {
        batch_place_put(b, slot);
        if (slot->has_own_permit)
            batch_own_permit_put(slot);
        slot->has_flown = false;
        return err;
    }
    b->has_permit = false; /* it went with the call */
    if (b->o.hedge_after)
        batch_hedge_arm(b, slot);
    return 0;
}

/* Place and permit are there. < 0: fatal. */
static int fly(struct batch *b, struct batch_slot *slot)
{
    int err = batch_spawn(b, slot);

    if (JD_UNLIKELY(err)) {
        slot->result = jd_err(err);
        batch_abandon(b, slot);
    }
    return err;
}

/* The shared permit for a new item is there. */
static int64_t permit_waited(struct batch *b)
{
    int64_t since = b->permit_since;

    if (JD_LIKELY(!since))
        return 0;
    b->permit_since = 0;
    return clock_now() - since;
}

static int start_new(struct batch *b)
{
    struct batch_slot *slot = batch_slot_take(b);
    int err;

    if (!slot)
        return -ENOMEM;
    slot->item = NULL;
    slot->slot_wait = permit_waited(b);
    err = b->source(b->source_ctx, &slot->item);
    if (err <= 0) {
        batch_slot_put(b, slot);
        b->drained = true;
        return err;
    }
    batch_count(&b->counts.pulled);
    if (b->o.flags & JD_BATCH_ORDERED)
        batch_order_add(b, slot);
    slot->attempt = 0;
    slot->verdict = JD_FAIL;
    slot->deadline =
        b->o.item_timeout ? clock_after(clock_now(), b->o.item_timeout) : CLOCK_FOREVER;
    if (JD_LIKELY(!b->o.item_sem))
        return fly(b, slot);
    err = batch_own_sem_ask(b, slot);
    if (err) {
        slot->result = jd_err(err);
        batch_abandon(b, slot);
        return err;
    }
    return batch_own_permit_take(b, slot) ? fly(b, slot)
                                          : 0; /* place and shared permit go to others */
}

/* Place and permit are there, and something to start. */
static int start_one(struct batch *b)
{
    struct batch_slot *slot;

    if (JD_UNLIKELY(list_is_empty(&b->startable) && !list_is_empty(&b->hedges))) {
        batch_hedge_start(b);
        return 0;
    }
    if (JD_LIKELY(list_is_empty(&b->startable)))
        return start_new(b);
    slot = batch_startable_pop(b);
    if (slot->attempt > 0)
        batch_count(&b->counts.retried);
    return fly(b, slot);
}

static bool may_pull(const struct batch *b)
{
    if (b->drained || b->held >= b->o.reorder_max)
        return false;
    return batch_counted(&b->counts.sleeping) < b->o.sleeping_max &&
           batch_counted(&b->counts.parked) < b->o.waiting_max;
}

static bool wants_start(const struct batch *b)
{
    return b->places < b->limit &&
           (may_pull(b) || !list_is_empty(&b->startable) || !list_is_empty(&b->hedges));
}

/* Nothing is done that could be delivered. */
static bool is_idle(const struct batch *b)
{
    return !b->ready.first && !batch_order_is_ready(b);
}

static bool has_permit(struct batch *b)
{
    if (!b->sem)
        return true;
    if (!b->has_permit && !b->permit_queued)
        b->has_permit = sem_try_take(b->sem, 1);
    if (!b->has_permit && !b->permit_since)
        b->permit_since = clock_now();
    return b->has_permit;
}

/* A progress report is due even when nothing happens. */
static int64_t next_report(const struct batch *b)
{
    return b->o.progress && b->o.progress_every > 0 ? b->progress_at : CLOCK_FOREVER;
}

/* Nothing can be done now. */
static int rest(struct batch *b, bool wants_permit)
{
    int64_t report = next_report(b), timer = batch_heap_next(&b->timers);

    if (!wants_permit)
        permit_drop(b); /* what is to start comes later */
    return batch_sleep(b, wants_permit, /* cancellable= */ true, timer < report ? timer : report);
}

/* 0: the source is drained and all outcomes are delivered. < 0: fatal. */
static int consume(struct batch *b)
{
    struct jd_task *task;
    int err;

    for (;;) { /* unbounded: as many items as the source has */
        bool wants;

        err = call_begin(WAIT_CANCELLABLE, &task);
        if (err)
            return err;
        batch_collect(b);
        if (JD_UNLIKELY(b->timers.count > 0))
            batch_timers_run(b);
        wants = wants_start(b);
        if (wants && has_permit(b))
            err = start_one(b);
        else if (b->drained && b->live == 0)
            return 0;
        else if (is_idle(b))
            err = rest(b, wants && b->sem);
        if (!err)
            err = batch_settle_one(b);
        if (err || b->has_won)
            return err;
        if (!b->ready.first && next_report(b) != CLOCK_FOREVER)
            batch_progress(b, /* is_final= */ false);
    }
}

/* After a fatal end: what is in flight is cancelled, awaited and abandoned with its value. */
static void abandon_all(struct batch *b)
{
    struct batch_slot *slot;

    jd_group_cancel(b->group);
    batch_abandon_held(b);
    batch_abandon_parked(b);
    while (b->live > 0) { /* bounded by the calls in flight */
        batch_collect(b);
        if (!b->ready.first)
            (void)batch_sleep(b, /* wants_permit= */ false, /* cancellable= */ false,
                              CLOCK_FOREVER);
        while ((slot = batch_list_pop(&b->ready)))
            batch_abandon_ready(b, slot);
    }
}

/* The batch's own clock has ended them. */
static void count_cut(struct batch *b)
{
    uint64_t timed_out = batch_counted(&b->counts.timed_out) + b->cut;

    atom_store(&b->counts.timed_out, timed_out, relaxed); /* Relaxed: our own count. */
}

/* Nobody has won, and somebody should have. */
static int race_error(const struct batch *b)
{
    bool is_race = (b->o.flags & JD_BATCH_FIRST_OK) && b->o.errors_max != JD_ALL;

    return is_race && !b->has_won ? b->first_error : 0;
}

static int finish(struct batch *b, int err)
{
    int ended, clock = b->fatal_clock;

    b->ended_by = err;
    if (b->sem) {
        sem_quit(b->sem, &b->permit);
        permit_drop(b);
    }
    if (err || b->has_won)
        abandon_all(b);
    ended = jd_group_close(b->group);
    if (err == -ECANCELED && ended == -ETIMEDOUT) {
        count_cut(b);
        err = -ETIMEDOUT;
        clock = JD_CLOCK_TOTAL;
    }
    batch_progress(b, /* is_final= */ true);
    if (!err) {
        err = race_error(b);
        clock = err ? b->first_clock : JD_CLOCK_NONE;
    }
    batch_clock_tell(b->task, clock);
    return err;
}

int batch_execute(struct batch *b)
{
    jd_group group;

    b->group = &group;
    waiter_init(&b->permit, &b->task->target, 0);
    b->permit.want = 1;
    jd_group_open(&group, JD_GROUP_KEEP_GOING,
                  b->o.total_timeout ? b->o.total_timeout : JD_FOREVER);
    return finish(b, consume(b));
}

bool batch_is_nested(const struct jd_task *t, const jd_batch_options *o)
{
    return o->sem && batch_would_nest(t, sem_of(o->sem));
}

int jd_batch_run(jd_source_fn source, jd_call_fn call, jd_sink_fn sink, const jd_batch_options *o,
                 jd_batch_stats *ret_stats)
{
    struct jd_task *task = task_current();
    jd_batch_options taken;
    struct batch *b;
    int err;

    if (!source || !call || batch_stats_check(ret_stats))
        return -EINVAL;
    err = batch_options_take(&taken, o);
    if (err)
        return err;
    if (!task)
        return -EPERM;
    if (batch_is_nested(task, &taken))
        return -EDEADLK;
    b = batch_new(source, call, &taken);
    if (!b)
        return -ENOMEM;
    b->task = task;
    b->sink = sink;
    err = batch_stats_want(b);
    if (!err) {
        err = batch_execute(b);
        batch_stats_give(b, ret_stats);
    }
    batch_free(b);
    return err;
}
