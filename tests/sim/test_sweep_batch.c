/* SPDX-License-Identifier: MIT */
/*
 * The cancel sweep over batches: a cancel at every checkpoint of the consumer, before and during
 * the wait there, for each option that makes an item wait, try again, or end another way. Each item
 * ends once, each result of an attempt is handed out once, and no permit is lost.
 */
#include <errno.h>

#include "jd_test.h"
#include "sweep.h"

#include <jackdaw/jackdaw.h>

#define ITEMS 8

struct run {
    jd_batch_options o;
    jd_sem sem;
    jd_rate rate;
    int pulled, running, results;
    int ended[ITEMS];
    void (*make)(struct run *run); /* sets the options */
};

static int pull(void *ctx, void **ret_item)
{
    struct run *run = ctx;

    if (run->pulled == ITEMS || jd_checkpoint())
        return 0;
    *ret_item = &run->ended[run->pulled++];
    return 1;
}

/* Of three attempts of an item one is reset, one is slow, and one is good. */
static jd_result call(void *item, void *ctx)
{
    struct run *run = ctx;
    unsigned kind = (unsigned)((int *)item - run->ended) + jd_call_attempt();
    int error;

    cr_assert_eq(*(int *)item, 0);
    run->running++;
    error = jd_sleep(kind % 3 == 1 ? JD_MS(5) : JD_US(30));
    if (!error && kind % 3 == 0)
        error = -ECONNRESET;
    run->running--;
    run->results++;
    return (jd_result){ .error = error, .num = 1 };
}

static void take(struct run *run, jd_result r)
{
    run->results -= (int)r.num; /* 0: no attempt's */
}

static int sink(void *item, jd_result r, void *ctx)
{
    (*(int *)item)++;
    take(ctx, r);
    (void)jd_checkpoint();
    return 0;
}

static void abandon(void *item, jd_result r, void *ctx)
{
    (*(int *)item)++;
    take(ctx, r);
}

static void discard(void *item, jd_result r, void *ctx)
{
    cr_assert_eq(*(int *)item, 0);
    take(ctx, r);
}

static void before(void *arg)
{
    struct run *run = arg;

    *run = (struct run){ .o = JD_BATCH_OPTIONS_INIT, .make = run->make };
    cr_assert_eq(jd_sem_init(&run->sem, 2), 0);
    run->o.limit = 3;
    run->o.errors_max = JD_ALL;
    run->o.abandon = abandon;
    run->o.discard = discard;
    run->o.ctx = run;
    run->make(run);
}

static void after(void *arg, jd_result r, unsigned where)
{
    struct run *run = arg;

    (void)r;
    for (int i = 0; i < ITEMS; i++)
        cr_assert_eq(run->ended[i], i < run->pulled, "checkpoint %u: item %d", where, i);
    cr_assert_eq(run->running, 0);
    cr_assert_eq(run->results, 0, "checkpoint %u: %d results", where, run->results);
    cr_assert_eq(jd_sem_value(&run->sem), 2, "checkpoint %u", where);
}

static jd_result batched(void *arg)
{
    struct run *run = arg;

    return jd_err(jd_batch_run(pull, call, sink, &run->o, NULL));
}

static void sweep(void (*make)(struct run *run), unsigned at_least)
{
    struct run run = { .make = make };
    struct sweep s = { .fn = batched, .arg = &run, .before = before, .after = after, .seeds = 6 };

    sweep_or_sample(s, at_least);
}

static void retries(struct run *run)
{
    run->o.attempts = 3;
    run->o.backoff = JD_MS(1);
    run->o.retry_budget_percent = 1000;
}

Test(sim_sweep_batch, retries, .timeout = 60)
{
    sweep(retries, 100);
}

static void few_sleepers(struct run *run)
{
    retries(run);
    run->o.sleeping_max = 1;
    run->o.sem = &run->sem;
}

Test(sim_sweep_batch, retries_that_keep_their_place, .timeout = 60)
{
    sweep(few_sleepers, 100);
}

static void clocks(struct run *run)
{
    retries(run);
    run->o.sem = &run->sem;
    run->o.attempt_timeout = JD_MS(2);
    run->o.item_timeout = JD_MS(3);
    run->o.total_timeout = JD_MS(20);
}

Test(sim_sweep_batch, three_clocks, .timeout = 60)
{
    sweep(clocks, 100);
}

static jd_sem *own_sem(void *item, void *ctx)
{
    struct run *run = ctx;

    return ((int *)item - run->ended) % 3 ? &run->sem : NULL;
}

static void own_permits(struct run *run)
{
    retries(run);
    run->o.limit = 4;
    run->o.waiting_max = 2;
    run->o.item_sem = own_sem;
}

Test(sim_sweep_batch, items_with_permits_of_their_own, .timeout = 60)
{
    sweep(own_permits, 100);
}

static void own_permits_in_time(struct run *run)
{
    own_permits(run);
    run->o.item_timeout = JD_MS(3);
}

Test(sim_sweep_batch, items_with_permits_and_a_clock_of_their_own, .timeout = 60)
{
    sweep(own_permits_in_time, 100);
}

static void rated(struct run *run)
{
    retries(run);
    cr_assert_eq(jd_rate_init(&run->rate, 500, 1), 0);
    run->o.rate = &run->rate;
    run->o.sem = &run->sem;
    run->o.item_timeout = JD_MS(10);
}

Test(sim_sweep_batch, tokens, .timeout = 60)
{
    sweep(rated, 100);
}

static void ordered(struct run *run)
{
    retries(run);
    run->o.flags = JD_BATCH_ORDERED;
    run->o.reorder_max = 2;
}

Test(sim_sweep_batch, ordered, .timeout = 60)
{
    sweep(ordered, 100);
}

static void race(struct run *run)
{
    run->o.flags = JD_BATCH_FIRST_OK;
    run->o.sem = &run->sem;
}

Test(sim_sweep_batch, race, .timeout = 60)
{
    sweep(race, 15);
}

static void hedged(struct run *run)
{
    retries(run);
    run->o.hedge_after = JD_MS(1);
    run->o.sem = &run->sem;
}

Test(sim_sweep_batch, hedged, .timeout = 60)
{
    sweep(hedged, 100);
}

static void hedged_with_all_else(struct run *run)
{
    hedged(run);
    run->o.sem = NULL;
    run->o.item_sem = own_sem;
    run->o.flags = JD_BATCH_ORDERED;
    run->o.item_timeout = JD_MS(12);
    run->o.attempt_timeout = JD_MS(4);
}

Test(sim_sweep_batch, hedged_with_all_else, .timeout = 60)
{
    sweep(hedged_with_all_else, 100);
}

static void adaptive(struct run *run)
{
    retries(run);
    run->o.flags = JD_BATCH_ADAPTIVE;
    run->o.attempt_timeout = JD_MS(2);
}

Test(sim_sweep_batch, adaptive, .timeout = 60)
{
    sweep(adaptive, 100);
}
