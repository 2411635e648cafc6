/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a slot that is done: a retry, an outcome for the sink, or an item that is abandoned.
 * See batch.h for the invariants.
 *
 * Threads: the consumer's task.
 */
#include <errno.h>

#include "group/batch.h"
#include "group/group.h"
#include "task/scope.h"

void batch_discard(const struct batch *b, const struct batch_slot *slot)
{
    if (!b->o.discard)
        return;
    batch_clock_tell(b->task, slot->clock);
    b->o.discard(slot->item, slot->result, b->o.ctx);
}

/* The attempt's end, in the statistics. */
static void count_attempt(struct batch *b, const struct batch_slot *slot)
{
    if (slot->has_flown)
        batch_stats_attempt(b, slot);
    if (JD_UNLIKELY(slot->clock))
        batch_count(&b->counts.timed_out);
    if (b->o.flags & JD_BATCH_ADAPTIVE)
        batch_limit_learn(b, slot);
}

/* Of an item that is abandoned. What another end has cut short is not the clock's, however late. */
static int clock_of(const struct batch *b, const struct batch_slot *slot)
{
    if (slot->result.error != -ECANCELED || (b->ended_by && b->ended_by != -ECANCELED))
        return slot->clock;
    return group_is_expired(b->group) ? JD_CLOCK_TOTAL : slot->clock;
}

void batch_abandon(struct batch *b, struct batch_slot *slot)
{
    void *item = slot->item;
    jd_result r = slot->result;

    batch_clock_tell(b->task, clock_of(b, slot));
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

/* What becomes of a slot that is free again. */
struct ending {
    void *item;
    jd_result result;
    uint8_t verdict, clock;
};

/* < 0: fatal. */
static int failed(struct batch *b, const struct ending *e)
{
    if (!b->first_error) {
        b->first_error = e->result.error;
        b->first_clock = e->clock;
    }
    if (!is_fatal(b, e->verdict))
        return 0;
    b->fatal_clock = e->clock;
    return e->result.error;
}

/* < 0: fatal. */
static int count_and_sink(struct batch *b, const struct ending *e)
{
    int err;

    if (e->result.error)
        batch_count(&b->counts.failed);
    else
        batch_count(&b->counts.ok);
    batch_clock_tell(b->task, e->clock);
    err = b->sink ? b->sink(e->item, e->result, b->sink_ctx) : 0;
    batch_progress(b, /* is_final= */ false);
    if (err < 0)
        return err;
    if (JD_UNLIKELY(e->result.error))
        return failed(b, e);
    b->has_won = (b->o.flags & JD_BATCH_FIRST_OK) != 0;
    return 0;
}

/* The outcome of an item; frees its slot. < 0: fatal. */
static int end_item(struct batch *b, struct batch_slot *slot)
{
    struct ending e = { slot->item, slot->result, slot->verdict, slot->clock };
    int err = 0;

    if (e.result.error == -ECANCELED && scope_check(b->task->scope))
        err = -ECANCELED; /* our own cancel ended it: that is no failure of the item */
    else if (b->before_sink)
        err = b->before_sink(b->sink_ctx);
    if (err) {
        batch_abandon(b, slot);
        return err;
    }
    batch_slot_put(b, slot);
    return count_and_sink(b, &e);
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

int batch_settle_one(struct batch *b)
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

/* Whatever an attempt before has come to, it is not what ends the item. */
void batch_abandon_unflown(struct batch *b, struct batch_slot *slot)
{
    if (slot->has_own_permit)
        batch_own_permit_put(slot);
    slot->result = jd_err(-ECANCELED);
    slot->clock = JD_CLOCK_NONE;
    slot->has_flown = false;
    batch_abandon(b, slot);
}

void batch_abandon_ready(struct batch *b, struct batch_slot *slot)
{
    if (slot->state == BATCH_POKE)
        return;
    if (slot->state == BATCH_WAITING) {
        batch_own_permit_granted(b, slot);
        batch_abandon_unflown(b, slot);
        return;
    }
    count_attempt(b, slot);
    slot = come_back(b, slot);
    if (!slot)
        return;
    if (slot->has_place)
        batch_place_put(b, slot);
    batch_abandon(b, slot);
}
