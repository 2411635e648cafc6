/* SPDX-License-Identifier: MIT */
/*
 * Hedges: a second attempt that starts while the first one flies, when that takes long.
 *
 * I1  The first attempt's slot is the item's record; the hedge has one of its own. Each is the
 *     other's `twin` from the start of the hedge until both have come back; then the hedge's slot
 *     is freed, and the item goes on with the outcome in its own. So an item ends once, and no
 *     attempt of it runs then.
 * I2  Whichever comes back first is set aside without a place, with its result. If that is final
 *     (a success, or a failure that is not to be retried), it is the outcome, and the other attempt
 *     is cancelled. Else the other one decides. What is not the outcome is discarded.
 * I3  A hedge starts within the limit, before new items; within the retry budget; with a shared
 *     permit and a token of its own. It does not wait for the item's own permit: if there is none it
 *     does not start.
 * I4  A flying slot is in the heap, then in the list of hedges that are due, until it has a twin or
 *     comes back. The time counts from the entry of the call.
 *
 * Threads: the consumer's task.
 */
#include <jackdaw/task.h>

#include "base/clock.h"
#include "group/batch.h"
#include "task/task.h"

void batch_hedge_arm(struct batch *b, struct batch_slot *slot)
{
    if (!slot->is_hedge)
        batch_heap_add(&b->timers, &slot->timer, clock_after(clock_now(), b->o.hedge_after));
}

void batch_hedge_due(struct batch *b, struct batch_slot *slot, int64_t now)
{
    /* Relaxed: a time, and no more; 0: not entered. */
    int64_t entered = atom_load(&slot->entered_at, relaxed);
    int64_t due = clock_after(entered ? entered : now, b->o.hedge_after);

    JD_ASSERT(slot->state == BATCH_FLYING);
    JD_ASSERT(!slot->twin);
    if (due > now)
        batch_heap_add(&b->timers, &slot->timer, due);
    else
        list_add_tail(&b->hedges, &slot->link);
}

static struct batch_slot *hedge_of(struct batch *b, struct batch_slot *slot)
{
    struct batch_slot *hedge = batch_slot_take(b);

    if (!hedge)
        return NULL;
    hedge->item = slot->item;
    hedge->attempt = slot->attempt;
    hedge->slot_wait = 0;
    hedge->deadline = slot->deadline;
    hedge->own_sem = slot->own_sem;
    hedge->has_own_permit = slot->own_sem != NULL;
    hedge->verdict = JD_FAIL;
    hedge->is_hedge = true;
    hedge->twin = slot;
    slot->twin = hedge;
    return hedge;
}

static void unhedge(struct batch *b, struct batch_slot *hedge)
{
    hedge->twin->twin = NULL;
    hedge->twin = NULL;
    hedge->is_hedge = false;
    if (hedge->has_place)
        batch_place_put(b, hedge);
    batch_slot_put(b, hedge);
}

void batch_hedge_start(struct batch *b)
{
    struct batch_slot *slot = JD_CONTAINER_OF(b->hedges.next, struct batch_slot, link), *hedge;

    JD_ASSERT(!list_is_empty(&b->hedges));
    list_del(&slot->link);
    if (!batch_within_budget(b) || (slot->own_sem && !sem_try_take(slot->own_sem, 1)))
        return;
    hedge = hedge_of(b, slot);
    if (!hedge && slot->own_sem)
        (void)sem_give(slot->own_sem, 1); /* refused only if others released what was not theirs */
    if (!hedge)
        return; /* no memory for what can be done without */
    b->granted++;
    if (batch_spawn(b, hedge))
        unhedge(b, hedge); /* likewise; if it was a cancel, the consumer sees it next */
}

/* Is this result the outcome, whatever the other attempt says? */
static bool is_final(const struct batch_slot *slot)
{
    return slot->has_flown && (!slot->result.error || slot->verdict != JD_RETRY);
}

static void set_aside(struct batch *b, struct batch_slot *slot)
{
    slot->is_aside = true;
    batch_place_put(b, slot);
    if (is_final(slot) && slot->twin->task)
        (void)jd_task_cancel(slot->twin->task, "hedge"); /* -EALREADY: it is on its way back */
}

/* Both are back. The item's slot gets the outcome. */
static struct batch_slot *decide(struct batch *b, struct batch_slot *first,
                                 struct batch_slot *second)
{
    struct batch_slot *slot = first->is_hedge ? second : first;
    struct batch_slot *hedge = slot->twin;
    struct batch_slot *outcome = is_final(first) ? first : second;
    struct batch_slot *other = outcome == first ? second : first;

    if (other->has_flown)
        batch_discard(b, other);
    if (outcome == hedge) {
        slot->result = hedge->result;
        slot->verdict = hedge->verdict;
        slot->after = hedge->after;
        slot->has_flown = hedge->has_flown;
        slot->clock = hedge->clock;
    }
    first->is_aside = false;
    unhedge(b, hedge);
    return slot;
}

struct batch_slot *batch_hedge_settle(struct batch *b, struct batch_slot *slot)
{
    struct batch_slot *twin = slot->twin;

    if (slot->task)
        future_unref(&slot->task->future);
    slot->task = NULL;
    if (batch_timer_is_armed(&slot->timer))
        batch_heap_remove(&b->timers, &slot->timer);
    list_del(&slot->link);
    if (!twin)
        return slot;
    if (twin->is_aside)
        return decide(b, twin, slot);
    set_aside(b, slot);
    return NULL;
}
