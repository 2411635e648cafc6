/* SPDX-License-Identifier: MIT */
/*
 * Running a batch: the consumer's loop, and its end. See batch.h for the invariants.
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

static struct batch *batch_new(struct jd_task *task, const jd_batch_options *o)
{
    struct batch *b = mem_aligned(JD_CACHE_LINE, sizeof(*b));

    if (!b)
        return NULL;
    memset(b, 0, sizeof(*b));
    b->o = *o;
    b->task = task;
    b->start = clock_now();
    b->sem = o->sem ? sem_of(o->sem) : NULL;
    b->ready_end = &b->ready;
    b->progress_at = clock_after(b->start, o->progress_every);
    waiter_init(&b->permit, &task->target, 0);
    b->permit.want = 1;
    atom_init(&b->done, 0);
    atom_init(&b->running, 0);
    atom_init(&b->running_max, 0);
    return b;
}

/* An item that does not reach the sink. */
static void abandon(struct batch *b, void *item, jd_result r)
{
    if (r.error == -ECANCELED)
        b->cancelled++;
    else
        b->abandoned++;
    if (b->o.abandon)
        b->o.abandon(item, r, b->o.ctx);
}

static struct batch_slot *ready_pop(struct batch *b)
{
    struct batch_slot *slot = b->ready;

    if (!slot)
        return NULL;
    b->ready = slot->next;
    if (!b->ready)
        b->ready_end = &b->ready;
    return slot;
}

static int count_and_sink(struct batch *b, void *item, jd_result r)
{
    int err;

    if (r.error)
        b->failed++;
    else
        b->ok++;
    err = b->sink ? b->sink(item, r, b->o.ctx) : 0;
    batch_progress(b, /* is_final= */ false);
    if (err < 0)
        return err;
    if (r.error && b->o.errors_max != JD_ALL && b->failed > b->o.errors_max)
        return r.error;
    return 0;
}

/* Hands the oldest outcome to the sink. < 0: fatal. */
static int deliver_one(struct batch *b)
{
    struct batch_slot *slot = ready_pop(b);
    jd_result r;
    void *item;

    if (!slot)
        return 0;
    r = slot->result;
    item = slot->item;
    histogram_add(&b->latencies, slot->latency);
    batch_slot_put(b, slot);
    if (r.error == -ECANCELED && scope_check(b->task->scope)) {
        abandon(b, item, r); /* our own cancel ended it: that is no failure of the item */
        return -ECANCELED;
    }
    return count_and_sink(b, item, r);
}

/* Others may want it: it is kept for a pull that comes next, not for one that never comes. */
static void permit_drop(struct batch *b)
{
    if (b->has_permit)
        (void)sem_give(b->sem, 1); /* refused only if others released what they did not hold */
    b->has_permit = false;
}

/* Slot and permit are there. < 0: fatal. */
static int start_one(struct batch *b)
{
    struct batch_slot *slot = batch_slot_take(b);
    void *item = NULL;
    int err;

    if (!slot)
        return -ENOMEM;
    err = b->source(b->o.ctx, &item);
    if (err <= 0) {
        batch_slot_put(b, slot);
        b->drained = true;
        permit_drop(b);
        return err;
    }
    b->pulled++;
    slot->item = item;
    err = jd_group_spawn(b->group, batch_call, slot);
    if (JD_UNLIKELY(err)) {
        batch_slot_put(b, slot);
        abandon(b, item, jd_err(err));
        return err;
    }
    b->has_permit = false; /* it went with the call */
    return 0;
}

static bool has_permit(struct batch *b)
{
    if (b->sem && !b->has_permit && !b->permit_queued)
        b->has_permit = sem_try_take(b->sem, 1);
    return !b->sem || b->has_permit;
}

/* A progress report is due even when nothing happens. */
static int64_t next_report(const struct batch *b)
{
    return b->o.progress && b->o.progress_every > 0 ? b->progress_at : CLOCK_FOREVER;
}

/* 0: the source is drained and all outcomes are delivered. < 0: fatal. */
static int consume(struct batch *b)
{
    struct jd_task *task;
    int err;

    for (;;) { /* unbounded: as many items as the source has */
        bool may_start = !b->drained && b->taken < b->o.limit;

        err = call_begin(WAIT_CANCELLABLE, &task);
        if (err)
            return err;
        batch_collect(b);
        if (may_start && has_permit(b))
            err = start_one(b);
        else if (b->drained && b->taken == 0)
            return 0;
        else if (!b->ready)
            err = batch_sleep(b, may_start && b->sem, /* cancellable= */ true, next_report(b));
        if (!err)
            err = deliver_one(b);
        if (err)
            return err;
        if (!b->ready && next_report(b) != CLOCK_FOREVER)
            batch_progress(b, /* is_final= */ false);
    }
}

/* After a fatal end: what is in flight is cancelled, awaited and abandoned with its value. */
static void abandon_all(struct batch *b)
{
    struct batch_slot *slot;

    jd_group_cancel(b->group);
    while (b->taken > 0) { /* bounded by the calls in flight */
        batch_collect(b);
        if (!b->ready)
            (void)batch_sleep(b, /* wants_permit= */ false, /* cancellable= */ false,
                              CLOCK_FOREVER);
        while ((slot = ready_pop(b))) {
            void *item = slot->item;
            jd_result r = slot->result;

            histogram_add(&b->latencies, slot->latency);
            batch_slot_put(b, slot);
            abandon(b, item, r);
        }
    }
}

static int finish(struct batch *b, int err)
{
    int ended;

    if (b->sem) {
        sem_quit(b->sem, &b->permit);
        permit_drop(b);
    }
    if (err)
        abandon_all(b);
    ended = jd_group_close(b->group);
    if (err == -ECANCELED && ended == -ETIMEDOUT) {
        b->timed_out = b->cancelled;
        err = -ETIMEDOUT;
    }
    batch_progress(b, /* is_final= */ true);
    return err;
}

int jd_batch_run(jd_source_fn source, jd_call_fn call, jd_sink_fn sink, const jd_batch_options *o,
                 jd_batch_stats *ret_stats)
{
    struct jd_task *task = task_current();
    jd_batch_options taken;
    struct batch *b;
    jd_group group;
    int err;

    if (!source || !call || batch_stats_check(ret_stats))
        return -EINVAL;
    err = batch_options_take(&taken, o);
    if (err)
        return err;
    if (!task)
        return -EPERM;
    b = batch_new(task, &taken);
    if (!b)
        return -ENOMEM;
    b->source = source;
    b->call = call;
    b->sink = sink;
    b->group = &group;
    jd_group_open(&group, JD_GROUP_KEEP_GOING,
                  taken.total_timeout ? taken.total_timeout : JD_FOREVER);
    err = finish(b, consume(b));
    batch_stats_give(b, ret_stats);
    batch_slots_free(b);
    mem_free_aligned(b, JD_CACHE_LINE, sizeof(*b));
    return err;
}

unsigned jd_call_attempt(void)
{
    return 0; /* options with attempts > 1 are refused: there are no retries */
}

int jd_call_is_hedge(void)
{
    return 0; /* options with hedge_after are refused */
}
