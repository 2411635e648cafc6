/* SPDX-License-Identifier: MIT */
/*
 * One attempt: the task in which a slot flies. See batch.h for the invariants.
 *
 * I1  The attempt's clock starts when the call is entered: waiting is not charged to it. The item's
 *     clock ends the call, too: the scope has the earlier of the two.
 * I2  A call that returns -ECANCELED because its scope has expired has timed out; what else it
 *     returns stands, however late.
 * I3  The token comes last (place, permits, token): it is never taken for a call that cannot start.
 * I4  classify is asked here, once per failed attempt, but not about the batch's own cancel.
 *
 * Threads: any worker, one per flying slot.
 */
#include <errno.h>

#include "base/clock.h"
#include "group/batch.h"
#include "sched/scope_api.h"
#include "sched/wait.h"

static void running_enter(struct batch *b)
{
    /* Relaxed: numbers; the limit is kept by the places. */
    uint32_t now = atom_fetch_add(&b->running, 1, relaxed) + 1;
    uint32_t max = atom_load(&b->running_max, relaxed);

    while (now > max && !atom_cas_weak(&b->running_max, &max, now, relaxed, relaxed))
        ; /* bounded by the limit: the maximum only grows */
}

static JD_ALWAYS_INLINE void fly(struct batch *b, struct batch_slot *slot)
{
    slot->result = b->call(slot->item, b->o.ctx);
}

/* What is left of the time for a call that is entered now, and which clock ends it. */
struct time_left {
    int64_t ns; /* CLOCK_FOREVER: no clock */
    uint8_t clock;
};

static struct time_left time_left(const struct batch *b, const struct batch_slot *slot, int64_t now)
{
    struct time_left left = { CLOCK_FOREVER, JD_CLOCK_ITEM };

    if (slot->deadline != CLOCK_FOREVER)
        left.ns = slot->deadline - now;
    if (b->o.attempt_timeout && b->o.attempt_timeout < left.ns)
        left = (struct time_left){ b->o.attempt_timeout, JD_CLOCK_ATTEMPT };
    return left;
}

static void fly_within(struct batch *b, struct batch_slot *slot, struct jd_task *t,
                       struct time_left left)
{
    struct timed_scope scope;

    scope_open_timed(&scope, t, left.ns, 0, __builtin_return_address(0));
    fly(b, slot);
    if (scope_close_timed(&scope) == -ETIMEDOUT && slot->result.error == -ECANCELED) {
        slot->result.error = -ETIMEDOUT;
        slot->clock = left.clock;
    }
}

/* What is tried again if nobody is asked: the next attempt may well find another state of things. */
static bool is_worth_a_retry(int error)
{
    switch (error) {
    case -ETIMEDOUT:
    case -ECONNRESET:
    case -ECONNREFUSED:
    case -ECONNABORTED:
    case -EPIPE: /* a reset, seen by a sender */
        return true;
    default:
        return false;
    }
}

static void judge(struct batch *b, struct batch_slot *slot, struct jd_task *t)
{
    int verdict = JD_FAIL;

    batch_clock_tell(t, slot->clock);
    slot->after = -1;
    if (slot->result.error == -ECANCELED && scope_is_cancelled(t->scope))
        ; /* by the batch: nothing follows from it */
    else if (b->o.classify)
        verdict = b->o.classify(slot->item, slot->result, &slot->after, b->o.ctx);
    else if (is_worth_a_retry(slot->result.error))
        verdict = JD_RETRY;
    slot->verdict = verdict == JD_RETRY || verdict == JD_STOP ? (uint8_t)verdict : JD_FAIL;
}

static JD_NOINLINE void fly_with_options(struct batch *b, struct batch_slot *slot, int64_t now)
{
    struct jd_task *t = task_current();
    struct time_left left = time_left(b, slot, now);

    atom_store(&slot->entered_at, now, relaxed); /* Relaxed: a time, and no more. */
    if (left.ns == CLOCK_FOREVER)
        fly(b, slot);
    else
        fly_within(b, slot, t, left);
    if (slot->result.error)
        judge(b, slot, t);
}

/* Place and permits are held. Within the item's time, which goes on meanwhile. */
static int take_token(struct batch *b, struct batch_slot *slot)
{
    struct timed_scope scope;
    int64_t start, left;
    int err;

    slot->token_wait = 0;
    if (!jd_rate_try_acquire(b->o.rate, 1))
        return 0;
    start = clock_now();
    left = slot->deadline == CLOCK_FOREVER ? CLOCK_FOREVER : slot->deadline - start;
    atom_fetch_add(&b->without_token, 1, relaxed); /* Relaxed: a number for people. */
    scope_open_timed(&scope, task_current(), left, 0, __builtin_return_address(0));
    err = jd_rate_acquire(b->o.rate, 1);
    if (scope_close_timed(&scope) == -ETIMEDOUT && err == -ECANCELED)
        err = -ETIMEDOUT;
    atom_fetch_sub(&b->without_token, 1, relaxed); /* Relaxed: as above. */
    slot->token_wait = clock_now() - start;
    return err;
}

static void permits_put(struct batch *b, struct batch_slot *slot)
{
    if (b->sem)
        (void)sem_give(b->sem, 1); /* refused only if others released what they did not hold */
    if (slot->has_own_permit)
        batch_own_permit_put(slot);
}

/* The call is not entered. */
static jd_result end_without_token(struct batch *b, struct batch_slot *slot, int err)
{
    slot->result = jd_err(err);
    slot->verdict = JD_FAIL;
    slot->has_flown = false;
    slot->clock = err == -ETIMEDOUT ? JD_CLOCK_ITEM : JD_CLOCK_NONE;
    permits_put(b, slot);
    batch_push(b, slot);
    return jd_ok(NULL);
}

jd_result batch_attempt(void *arg)
{
    struct batch_slot *slot = arg;
    struct batch *b = slot->batch;
    int64_t start;

    if (b->o.rate) {
        int err = take_token(b, slot);

        if (err)
            return end_without_token(b, slot, err);
    }
    start = clock_now();
    running_enter(b);
    if (JD_LIKELY(b->is_plain))
        fly(b, slot);
    else
        fly_with_options(b, slot, start);
    slot->latency = clock_now() - start;
    atom_fetch_sub(&b->running, 1, relaxed); /* Relaxed: as running_enter(). */
    permits_put(b, slot);
    batch_push(b, slot);
    return jd_ok(NULL);
}

/* The slot whose attempt this task is, or NULL. */
static const struct batch_slot *slot_current(void)
{
    const struct jd_task *t = task_current();

    return t && t->fn == batch_attempt ? t->arg : NULL;
}

bool batch_would_nest(const struct jd_task *t, const struct sem *sem)
{
    if (!(task_runtime(t)->flags & JD_DEBUG))
        return false;
    while (t && t->fn == batch_attempt) { /* bounded by the nesting: the caller's own frames wait */
        const struct batch_slot *slot = t->arg;

        if (slot->batch->sem == sem || slot->own_sem == sem)
            return true;
        t = slot->batch->task;
    }
    return false;
}

unsigned jd_call_attempt(void)
{
    const struct batch_slot *slot = slot_current();

    return slot ? slot->attempt : 0;
}

int jd_call_is_hedge(void)
{
    const struct batch_slot *slot = slot_current();

    return slot && slot->is_hedge;
}

int jd_batch_clock(void)
{
    const struct jd_task *t = task_current();

    return t ? t->clock : JD_CLOCK_NONE;
}
