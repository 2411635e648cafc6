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
    spin_init(&b->latencies_lock);
    b->poke.batch = b;
    b->poke.state = BATCH_POKE;
    return b;
}

void batch_free(struct batch *b)
{
    batch_slots_free(b);
    mem_free_aligned(b, JD_CACHE_LINE, sizeof(*b));
}

/* The attempt's end, in the statistics. */
static void count_attempt(struct batch *b, const struct batch_slot *slot)
{
    if (slot->has_flown)
        batch_stats_latency(b, slot->latency);
    if (JD_UNLIKELY(slot->is_timed_out))
        batch_count(&b->counts.timed_out);
    if (b->o.flags & JD_BATCH_ADAPTIVE)
        batch_limit_learn(b, slot);
}

void batch_abandon(struct batch *b, struct batch_slot *slot)
{
    void *item = slot->item;
    jd_result r = slot->result;

    if (r.error == -ECANCELED) {
        batch_count(&b->counts.cancelled);
        b->cut += slot->has_flown;
    } else {
        batch_count(&b->counts.abandoned);
    }
    batch_slot_put(b, slot);
    if (b->o.abandon)
        b->o.abandon(item, r, b->abandon_ctx);
}

/* Is this failure one too many? The race of FIRST_OK goes on, unless it was given a bound. */
static bool is_fatal(const struct batch *b, unsigned verdict)
{
    if (verdict == JD_STOP)
        return true;
    if (b->o.errors_max == JD_ALL || ((b->o.flags & JD_BATCH_FIRST_OK) && !b->o.errors_max))
        return false;
    return batch_counted(&b->counts.failed) > b->o.errors_max;
}

/* < 0: fatal. */
static int count_and_sink(struct batch *b, void *item, jd_result r, unsigned verdict)
{
    int err;

    if (r.error)
        batch_count(&b->counts.failed);
    else
        batch_count(&b->counts.ok);
    err = b->sink ? b->sink(item, r, b->sink_ctx) : 0;
    batch_progress(b, /* is_final= */ false);
    if (err < 0)
        return err;
    if (JD_LIKELY(!r.error)) {
        b->has_won = (b->o.flags & JD_BATCH_FIRST_OK) != 0;
        return 0;
    }
    if (!b->first_error)
        b->first_error = r.error;
    return is_fatal(b, verdict) ? r.error : 0;
}

/* The outcome of an item; frees its slot. < 0: fatal. */
static int end_item(struct batch *b, struct batch_slot *slot)
{
    void *item = slot->item;
    jd_result r = slot->result;
    unsigned verdict = slot->verdict;
    int err = 0;

    if (r.error == -ECANCELED && scope_check(b->task->scope))
        err = -ECANCELED; /* our own cancel ended it: that is no failure of the item */
    else if (b->before_sink)
        err = b->before_sink(b->sink_ctx);
    if (err) {
        batch_abandon(b, slot);
        return err;
    }
    batch_slot_put(b, slot);
    return count_and_sink(b, item, r, verdict);
}

/* In the order of the ends, or of the pulls: NULL if the latter cannot go on now. */
static struct batch_slot *next_outcome(struct batch *b, struct batch_slot *slot)
{
    if (JD_LIKELY(!(b->o.flags & JD_BATCH_ORDERED)))
        return slot;
    if (slot)
        batch_order_hold(b, slot);
    return batch_order_pop(b);
}

/* What came with the done slots, but is none. */
static void go_on(struct batch *b, struct batch_slot *slot)
{
    if (slot->state == BATCH_POKE)
        batch_obey(b);
    else
        batch_come_back(b, slot);
}

/* From FLYING, or from where its time was up. NULL: it is one of two attempts, and waits. */
static struct batch_slot *come_back(struct batch *b, struct batch_slot *slot)
{
    bool was_flying = slot->state == BATCH_FLYING;

    slot->state = BATCH_DONE;
    return b->o.hedge_after && was_flying ? batch_hedge_settle(b, slot) : slot;
}

/* Goes on with the oldest done slot. < 0: fatal. */
static int settle_one(struct batch *b)
{
    struct batch_slot *slot = batch_list_pop(&b->ready);

    if (JD_LIKELY(slot)) {
        if (JD_UNLIKELY(slot->state == BATCH_WAITING || slot->state == BATCH_POKE)) {
            go_on(b, slot);
            return 0;
        }
        count_attempt(b, slot);
        slot = come_back(b, slot);
        if (!slot || (slot->result.error && !b->is_plain && batch_retry(b, slot)))
            return 0;
        if (slot->has_place)
            batch_place_put(b, slot);
    }
    slot = next_outcome(b, slot);
    return slot ? end_item(b, slot) : 0;
}

/* Others may want it: it is kept for a pull that comes next, not for one that never comes. */
static void permit_drop(struct batch *b)
{
    if (b->has_permit)
        (void)sem_give(b->sem, 1); /* refused only if others released what they did not hold */
    b->has_permit = false;
}

void batch_discard(const struct batch *b, const struct batch_slot *slot)
{
    if (b->o.discard)
        b->o.discard(slot->item, slot->result, b->o.ctx);
}

static int spawn(struct batch *b, struct batch_slot *slot)
{
    if (JD_LIKELY(!b->o.hedge_after))
        return jd_group_spawn(b->group, batch_attempt, slot);
    atom_store(&slot->entered_at, 0, relaxed); /* Relaxed: its task does not run yet. */
    return jd_group_spawn_with(b->group, batch_attempt, slot, NULL, &slot->task);
}

int batch_spawn(struct batch *b, struct batch_slot *slot)
{
    int err;

    slot->has_flown = true;
    slot->is_timed_out = false;
    slot->state = BATCH_FLYING;
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

static int start_new(struct batch *b)
{
    struct batch_slot *slot = batch_slot_take(b);
    int err;

    if (!slot)
        return -ENOMEM;
    slot->item = NULL;
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
    if (b->o.item_sem) {
        jd_sem *own = b->o.item_sem(slot->item, b->o.ctx);

        slot->own_sem = own ? sem_of(own) : NULL;
        if (!batch_own_permit_take(b, slot))
            return 0; /* place and shared permit go to others */
    }
    return fly(b, slot);
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
    if (b->sem && !b->has_permit && !b->permit_queued)
        b->has_permit = sem_try_take(b->sem, 1);
    return !b->sem || b->has_permit;
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
            err = settle_one(b);
        if (err || b->has_won)
            return err;
        if (!b->ready.first && next_report(b) != CLOCK_FOREVER)
            batch_progress(b, /* is_final= */ false);
    }
}

static void abandon_ready(struct batch *b, struct batch_slot *slot)
{
    if (slot->state == BATCH_POKE)
        return;
    if (slot->state == BATCH_WAITING) {
        batch_own_permit_granted(b, slot);
        batch_own_permit_put(slot);
        slot->result = jd_err(-ECANCELED);
        slot->has_flown = false;
    } else {
        count_attempt(b, slot);
        slot = come_back(b, slot);
    }
    if (!slot)
        return;
    if (slot->has_place)
        batch_place_put(b, slot);
    batch_abandon(b, slot);
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
            abandon_ready(b, slot);
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
    int ended;

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
    }
    batch_progress(b, /* is_final= */ true);
    return err ? err : race_error(b);
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
    return o->sem && (task_runtime(t)->flags & JD_DEBUG) && batch_would_nest(t, sem_of(o->sem));
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
    err = batch_execute(b);
    batch_stats_give(b, ret_stats);
    batch_free(b);
    return err;
}
