/* SPDX-License-Identifier: MIT */
/* Batches that start a second attempt when the first takes long (BR13, BR14, BR21, BR25). */
#include "attempt_rig.h"

#include "base/rng.h"

#define NEAR JD_MS(10)

/* First attempts of every third item hang; hedges take 10 ms. */
static int third_hangs(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    if (jd_call_is_hedge())
        return jd_sleep(JD_MS(10));
    return jd_sleep(a->index % 3 ? JD_MS(5) : JD_SEC(1000));
}

IN_SIMULATION(a_hedge_overtakes_a_call_that_hangs, 20)
{
    struct play *p = play_new(30);
    jd_batch_options o =
        play_options(p, 30); /* each call that hangs leaves a place for its hedge */
    jd_batch_stats s;

    p->script = third_hangs;
    o.hedge_after = JD_MS(100);
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 30);
    cr_assert_eq(s.retried, 0); /* hedges are not counted */
    for (int i = 0; i < 30; i++) {
        struct actor *a = &p->actors[i];

        cr_assert_eq(atomic_load(&a->hedges), i % 3 == 0);
        cr_assert_eq(atomic_load(&a->attempts), 1);
        cr_assert_eq(a->discarded, i % 3 == 0); /* the loser */
        if (i % 3 == 0) {
            cr_assert_geq(a->ended_at - a->pulled_at, JD_MS(110) - NEAR);
            cr_assert_leq(a->ended_at - a->pulled_at, JD_MS(110) + NEAR);
        }
    }
    free(p);
    return jd_ok(NULL);
}

/* The loser is cancelled and joined before the item ends, however long its clean-up takes. */
static int cleans_up(struct play *p, struct actor *a, unsigned attempt)
{
    int err;

    (void)p, (void)a, (void)attempt;
    if (jd_call_is_hedge())
        return 0;
    err = jd_sleep(JD_SEC(1000));
    JD_SHIELD(shield, JD_SEC(10));
    (void)jd_sleep(JD_SEC(1));
    return err;
}

IN_SIMULATION(the_loser_is_joined_before_the_outcome, 20)
{
    struct play *p = play_new(3);
    jd_batch_options o = play_options(p, 6);

    p->script = cleans_up;
    o.hedge_after = JD_MS(100);
    cr_assert_eq(play_run(p, &o, NULL), 0); /* the rig looks whether any attempt runs at the end */
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(p->actors[i].end.error, 0);
        cr_assert_geq(p->actors[i].ended_at - p->actors[i].pulled_at, JD_MS(1100));
    }
    free(p);
    return jd_ok(NULL);
}

/* What the two attempts do, and what must become of it. */
struct duel {
    int64_t takes[2]; /* the first attempt, the hedge */
    int error[2];
    int64_t ends;
    int outcome;
};

static const struct duel duels[] = {
    /* the hedge is faster, and good */
    { { JD_MS(300), JD_MS(50) }, { 0, 0 }, JD_MS(150), 0 },
    /* the first is faster, after all */
    { { JD_MS(120), JD_MS(500) }, { 0, 0 }, JD_MS(120), 0 },
    /* the hedge fails in a way that is to be retried: the first decides */
    { { JD_MS(300), JD_MS(50) }, { 0, -ECONNRESET }, JD_MS(300), 0 },
    { { JD_MS(300), JD_MS(50) }, { -EIO, -ECONNRESET }, JD_MS(300), -EIO },
    /* the first fails so: the hedge decides */
    { { JD_MS(120), JD_MS(500) }, { -ECONNRESET, 0 }, JD_MS(600), 0 },
    { { JD_MS(120), JD_MS(500) }, { -ECONNRESET, -EIO }, JD_MS(600), -EIO },
    /* a failure for good ends both */
    { { JD_MS(300), JD_MS(50) }, { 0, -EIO }, JD_MS(150), -EIO },
    { { JD_MS(120), JD_MS(500) }, { -EIO, 0 }, JD_MS(120), -EIO },
    /* both fail so: the second failure is the outcome, when there are no attempts left */
    { { JD_MS(120), JD_MS(500) }, { -ECONNRESET, -EPIPE }, JD_MS(600), -EPIPE },
    { { JD_MS(300), JD_MS(50) }, { -EPIPE, -ECONNRESET }, JD_MS(300), -EPIPE },
};
#define DUELS ((int)(sizeof(duels) / sizeof(duels[0])))

static int fight(struct play *p, struct actor *a, unsigned attempt)
{
    const struct duel *d = &duels[a->index];
    int self = jd_call_is_hedge() ? 1 : 0;
    int err = jd_sleep(d->takes[self]);

    (void)p, (void)attempt;
    return err ? err : d->error[self];
}

IN_SIMULATION(the_first_final_result_is_the_outcome, 20)
{
    struct play *p = play_new(DUELS);
    jd_batch_options o = play_options(p, 2 * DUELS);

    p->script = fight;
    o.hedge_after = JD_MS(100);
    o.retry_budget_percent = 1000;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    for (int i = 0; i < DUELS; i++) {
        struct actor *a = &p->actors[i];

        cr_assert_eq(a->end.error, duels[i].outcome, "duel %d: %d", i, a->end.error);
        cr_assert_eq(a->discarded, 1, "duel %d", i);
        cr_assert_geq(a->ended_at - a->pulled_at, duels[i].ends - NEAR, "duel %d", i);
        cr_assert_leq(a->ended_at - a->pulled_at, duels[i].ends + NEAR, "duel %d", i);
    }
    free(p);
    return jd_ok(NULL);
}

/* Both attempts of a pair fail: the retry is one, and may have a hedge of its own. */
static int pairs_fail(struct play *p, struct actor *a, unsigned attempt)
{
    int err = jd_sleep(jd_call_is_hedge() ? JD_MS(10) : JD_MS(150));

    (void)p, (void)a;
    return err ? err : attempt < 2 ? -ECONNRESET : 0;
}

IN_SIMULATION(a_retry_has_a_hedge_of_its_own, 20)
{
    struct play *p = play_new(5);
    jd_batch_options o = play_options(p, 10);
    jd_batch_stats s;

    p->script = pairs_fail;
    o.attempts = 3;
    o.hedge_after = JD_MS(100);
    o.retry_budget_percent = 1000;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 5);
    cr_assert_eq(s.retried, 10);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(atomic_load(&p->actors[i].attempts), 3);
        cr_assert_eq(atomic_load(&p->actors[i].hedges), 3);
        cr_assert_eq(p->actors[i].discarded, 5);
    }
    free(p);
    return jd_ok(NULL);
}

static int takes_a_second(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_SEC(1));
}

/* BR21: within limit, permits, budget and rate. */
IN_SIMULATION(hedges_keep_the_bounds, 20)
{
    jd_sem sem = JD_SEM_INIT(3);
    jd_rate rate;

    for (int bound = 0; bound < 4; bound++) {
        struct play *p = play_new(40);
        jd_batch_options o = play_options(p, bound == 0 ? 1 : 8);
        int hedges = 0;

        cr_assert_eq(jd_rate_init(&rate, 5, 1), 0);
        p->script = takes_a_second;
        o.hedge_after = JD_MS(100);
        o.sem = bound == 1 ? &sem : NULL;
        o.rate = bound == 2 ? &rate : NULL;
        o.retry_budget_percent = bound == 3 ? 25 : 1000;
        cr_assert_eq(play_run(p, &o, NULL), 0);
        cr_assert_eq(p->ok, 40);
        if (bound == 1)
            cr_assert_leq(atomic_load(&p->running_max), 3);
        for (int i = 0; i < 40; i++)
            hedges += atomic_load(&p->actors[i].hedges);
        if (bound == 0)
            cr_assert_eq(hedges, 0); /* one place: there is never a second attempt */
        if (bound == 2)
            cr_assert_geq(jd_now() - p->start, JD_MS(200) * (40 + hedges - 1) - NEAR);
        if (bound == 3) {
            cr_assert_leq(hedges, 20);
            cr_assert_gt(hedges, 10);
        }
        free(p);
    }
    cr_assert_eq(jd_sem_value(&sem), 3);
    return jd_ok(NULL);
}

static jd_sem *own_bound(void *item, void *ctx)
{
    (void)item;
    return ((struct play *)ctx)->more;
}

/* A hedge does not wait for the item's own permit. */
IN_SIMULATION(hedges_need_a_permit_of_the_item, 20)
{
    for (unsigned permits = 1; permits <= 2; permits++) {
        jd_sem sem = JD_SEM_INIT(permits);
        struct play *p = play_new(1);
        jd_batch_options o = play_options(p, 4);

        p->more = &sem;
        p->script = takes_a_second;
        o.item_sem = own_bound;
        o.hedge_after = JD_MS(100);
        cr_assert_eq(play_run(p, &o, NULL), 0);
        cr_assert_eq(atomic_load(&p->actors[0].hedges), (int)permits - 1);
        cr_assert_eq(jd_sem_value(&sem), (int)permits);
        free(p);
    }
    return jd_ok(NULL);
}

/* A call that waits long for its token is not slow. */
IN_SIMULATION(the_time_to_hedge_counts_from_the_call, 20)
{
    jd_rate rate;
    struct play *p = play_new(8);
    jd_batch_options o = play_options(p, 8);

    cr_assert_eq(jd_rate_init(&rate, 2, 1), 0);
    p->script = NULL;
    o.rate = &rate;
    o.hedge_after = JD_MS(100);
    cr_assert_eq(play_run(p, &o, NULL), 0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(atomic_load(&p->actors[i].hedges), 0);
    free(p);
    return jd_ok(NULL);
}

IN_SIMULATION(one_call_is_hedged, 20)
{
    struct play *p = play_new(1);
    jd_batch_options o = play_options(p, 0);
    int64_t start = jd_now();

    p->script = third_hangs;
    p->consumer = jd_task_current();
    o.hedge_after = JD_MS(100);
    cr_assert_eq(jd_call(play_call, p->actors, &o).error, 0);
    cr_assert_lt(jd_now() - start, JD_MS(200));
    cr_assert_eq(atomic_load(&p->running), 0);
    free(p);
    return jd_ok(NULL);
}

/* --- At any point --------------------------------------------------------------------------- */

static int any_time(struct play *p, struct actor *a, unsigned attempt)
{
    struct rng rng;
    int err;

    (void)p;
    rng_seed(&rng, (uint64_t)a->index * 31 + attempt * 7 + (unsigned)jd_call_is_hedge());
    err = jd_sleep(JD_US(rng_below(&rng, 100)));
    return err ? err : rng_below(&rng, 3) ? 0 : -ECONNRESET;
}

ON_WORKERS(hedges_cancelled_at_any_point, 2, 60)
{
    unsigned long rounds = jd_test_rounds(300);
    struct rng rng;
    int cancelled = 0, hedges = 0;

    rng_seed(&rng, jd_test_seed());
    for (unsigned long i = 0; i < rounds; i++) {
        struct play_apart run = { .p = play_new(150), .err = 1 };
        jd_sem shared = JD_SEM_INIT(4), own = JD_SEM_INIT(4);

        run.p->script = any_time;
        run.p->more = &own;
        run.o = play_options(run.p, 2 + rng_below(&rng, 20));
        run.o.hedge_after = 1 + JD_US(rng_below(&rng, 60));
        run.o.flags = rng_below(&rng, 3) ? 0 : JD_BATCH_ORDERED;
        run.o.attempts = 1 + rng_below(&rng, 3);
        run.o.backoff = JD_US(rng_below(&rng, 50));
        run.o.sleeping_max = rng_below(&rng, 4);
        run.o.retry_budget_percent = 300;
        run.o.attempt_timeout = rng_below(&rng, 2) ? JD_US(80) : 0;
        run.o.item_timeout = rng_below(&rng, 2) ? JD_US(200) : 0;
        run.o.sem = rng_below(&rng, 2) ? &shared : NULL;
        run.o.item_sem = rng_below(&rng, 2) ? own_bound : NULL;
        cancelled += play_cut_after(&run, JD_US(rng_below(&rng, 1500)));
        for (int k = 0; k < run.p->next; k++)
            hedges += atomic_load(&run.p->actors[k].hedges);
        cr_assert_eq(jd_sem_value(&shared), 4); /* BR25 */
        cr_assert_eq(jd_sem_value(&own), 4);
        free(run.p);
    }
    cr_assert_gt(cancelled, 0);
    cr_assert_gt(hedges, 0);
    return jd_ok(NULL);
}

ON_WORKERS(hedges_out_of_memory_at_any_point, 1, 60)
{
    int err = 1;

    for (uint64_t visit = 0; visit < 60 || err; visit++) {
        struct play *p = play_new(150);
        jd_batch_options o = play_options(p, 70);

        p->script = any_time;
        o.hedge_after = JD_US(20);
        o.retry_budget_percent = 1000;
        err = play_run_short(p, &o, visit);
        free(p);
    }
    return jd_ok(NULL);
}
