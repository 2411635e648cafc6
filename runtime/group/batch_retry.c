/* SPDX-License-Identifier: MIT */
/*
 * Retries: whether, when, and where a slot is meanwhile. See batch.h for the invariants.
 *
 * I1  A retry is granted while retries stay within the budget: retry_budget_percent of the items
 *     pulled so far, and BUDGET_RESERVE, so that a small batch may retry at all.
 * I2  The wait is what classify asked for, or else uniform in 0 .. min(backoff_max, backoff * 2^k)
 *     before retry k + 1 (full jitter).
 * I3  At most sleeping_max slots sleep without a place; one more sleeps and keeps its place.
 * I4  A slot that does not fly is in the heap if it sleeps, or has a deadline. One whose item's
 *     time is up is done with -ETIMEDOUT, without another attempt.
 *
 * Threads: the consumer's task.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/rng.h"
#include "group/batch.h"
#include "sched/worker.h"

/* Arbitrary: some, so that the budget is about storms and not about the first items. */
#define BUDGET_RESERVE 10

bool batch_within_budget(const struct batch *b)
{
    uint64_t pulled = batch_counted(&b->counts.pulled);

    return b->granted < BUDGET_RESERVE + pulled * b->o.retry_budget_percent / 100;
}

static int64_t backoff_bound(const struct batch *b, unsigned attempt)
{
    int64_t most = b->o.backoff_max > 0 ? b->o.backoff_max : CLOCK_FOREVER;

    if (b->o.backoff <= 0)
        return 0;
    if (attempt > 62 || b->o.backoff > most >> attempt)
        return most;
    return b->o.backoff << attempt;
}

static int64_t backoff(const struct batch *b, const struct batch_slot *slot)
{
    int64_t bound = backoff_bound(b, slot->attempt);

    if (slot->after >= 0)
        return slot->after;
    if (bound == 0)
        return 0;
    return (int64_t)(rng_next(&worker_current()->rng) % ((uint64_t)bound + 1));
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool batch_retry(struct batch *b, struct batch_slot *slot)
{
    int64_t now, due;

    if (slot->verdict != JD_RETRY || slot->attempt + 1 >= b->o.attempts || !batch_within_budget(b))
        return false;
    now = clock_now();
    if (now >= slot->deadline)
        return false;
    due = clock_after(now, backoff(b, slot));
    batch_discard(b, slot); /* may suspend: the slot is in no list */
    batch_slot_move(slot, BATCH_DONE, BATCH_SLEEPING);
    slot->attempt++;
    slot->slot_wait = 0;
    b->granted++;
    if (!slot->has_place) {
        batch_count(&b->counts.sleeping);
    } else if (batch_counted(&b->counts.sleeping) < b->o.sleeping_max) {
        batch_count(&b->counts.sleeping);
        batch_place_put(b, slot);
    }
    batch_heap_add(&b->timers, &slot->timer, earlier(due, slot->deadline));
    return true;
}

static struct batch_slot *slot_of_timer(struct batch_timer *t)
{
    return JD_CONTAINER_OF(t, struct batch_slot, timer);
}

/* The item's time is up, and no attempt flies. */
static void expire(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(!slot->has_place);
    slot->state = BATCH_DONE;
    slot->result = jd_err(-ETIMEDOUT);
    slot->verdict = JD_FAIL;
    slot->has_flown = false;
    slot->clock = JD_CLOCK_ITEM;
    batch_list_add(&b->ready, slot);
}

static void timer_stop(struct batch *b, struct batch_slot *slot)
{
    if (batch_timer_is_armed(&slot->timer))
        batch_heap_remove(&b->timers, &slot->timer);
}

void batch_park(struct batch *b, struct batch_slot *slot, enum batch_state state)
{
    slot->state = (uint8_t)state;
    if (!slot->ready_at)
        slot->ready_at = clock_now();
    list_add_tail(state == BATCH_WAITING ? &b->waiting : &b->startable, &slot->link);
    batch_count(&b->counts.parked);
    if (slot->deadline != CLOCK_FOREVER)
        batch_heap_add(&b->timers, &slot->timer, slot->deadline);
}

void batch_unpark(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(batch_counted(&b->counts.parked) > 0);
    list_del(&slot->link);
    batch_uncount(&b->counts.parked);
    timer_stop(b, slot);
}

/* Its place goes to the first that can start, which may be another one. */
static void wake(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(slot->state == BATCH_SLEEPING);
    if (slot->has_place)
        batch_place_put(b, slot);
    else
        batch_uncount(&b->counts.sleeping);
}

/* A slot that does not sleep has a timer for its item's deadline only. */
static void time_is_up(struct batch *b, struct batch_slot *slot)
{
    if (slot->state == BATCH_WAITING && !batch_own_permit_give_up(b, slot))
        return; /* it comes with the permit, and goes on from there */
    if (slot->state == BATCH_STARTABLE)
        batch_unpark(b, slot);
    if (slot->has_own_permit)
        batch_own_permit_put(slot);
    expire(b, slot);
}

static void timer_fired(struct batch *b, struct batch_slot *slot, int64_t now)
{
    if (slot->state == BATCH_FLYING) {
        batch_hedge_due(b, slot, now);
        return;
    }
    if (slot->state == BATCH_SLEEPING)
        wake(b, slot);
    if (now >= slot->deadline)
        time_is_up(b, slot);
    else if (batch_own_permit_take(b, slot))
        batch_park(b, slot, BATCH_STARTABLE);
}

void batch_timers_run(struct batch *b)
{
    int64_t now = clock_now();

    while (batch_heap_next(&b->timers) <= now) { /* bounded by the slots */
        struct batch_timer *timer = b->timers.nodes[0];

        batch_heap_remove(&b->timers, timer);
        timer_fired(b, slot_of_timer(timer), now);
    }
}

void batch_come_back(struct batch *b, struct batch_slot *slot)
{
    batch_own_permit_granted(b, slot);
    if (clock_now() < slot->deadline) {
        batch_park(b, slot, BATCH_STARTABLE);
    } else {
        batch_own_permit_put(slot);
        expire(b, slot);
    }
}

struct batch_slot *batch_startable_pop(struct batch *b)
{
    struct batch_slot *slot = JD_CONTAINER_OF(b->startable.next, struct batch_slot, link);

    JD_ASSERT(!list_is_empty(&b->startable));
    batch_unpark(b, slot);
    return slot;
}

/* Granted ones come with the done slots. */
static void abandon_waiting(struct batch *b)
{
    struct list *link;

    while ((link = list_pop_head(&b->waiting))) { /* bounded by the slots */
        struct batch_slot *slot = JD_CONTAINER_OF(link, struct batch_slot, link);

        timer_stop(b, slot);
        if (batch_own_permit_give_up(b, slot))
            batch_abandon_unflown(b, slot);
    }
}

void batch_abandon_parked(struct batch *b)
{
    while (!list_is_empty(&b->startable)) /* bounded by the slots, as below */
        batch_abandon_unflown(b, batch_startable_pop(b));
    abandon_waiting(b);
    while (b->timers.count > 0) {
        struct batch_slot *slot = slot_of_timer(b->timers.nodes[0]);

        batch_heap_remove(&b->timers, &slot->timer);
        if (slot->state == BATCH_FLYING)
            continue; /* it comes back */
        wake(b, slot);
        batch_abandon_unflown(b, slot);
    }
}
