/* SPDX-License-Identifier: MIT */
/* Batches that deliver in input order, and races for the first success (BR4, BR7, BR13). */
#include "attempt_rig.h"
#include "flat_run.h"

#include "base/rng.h"

static void is_in_order(struct play *p, struct actor *a)
{
    if (a->abandoned)
        return;
    cr_assert_eq(a->index, p->sunk - 1, "item %d was outcome %d", a->index, p->sunk);
}

static int takes_any_time(struct play *p, struct actor *a, unsigned attempt)
{
    struct rng rng;
    int err = 0;

    (void)p;
    rng_seed(&rng, (uint64_t)a->index * 977 + attempt);
    if (rng_below(&rng, 3))
        err = jd_sleep(JD_US(rng_below(&rng, 100)));
    else if (rng_below(&rng, 2))
        err = jd_yield();
    if (err)
        return err;
    return rng_below(&rng, 4) ? 0 : -ECONNRESET;
}

ON_WORKERS(ordered_outcomes_come_in_the_order_of_the_pulls, 2, 30)
{
    for (unsigned limit = 1; limit <= 64; limit *= 4) {
        for (unsigned reorder = 0; reorder <= 2; reorder++) {
            struct play *p = play_new(500);
            jd_batch_options o = play_options(p, limit);
            jd_batch_stats s;

            p->script = takes_any_time;
            p->on_end = is_in_order;
            o.flags = JD_BATCH_ORDERED;
            o.reorder_max = reorder;
            o.attempts = 3;
            o.backoff = JD_US(50);
            o.retry_budget_percent = 1000;
            cr_assert_eq(play_run(p, &o, &s), 0);
            cr_assert_eq(p->sunk, 500);
            cr_assert_gt(s.retried, 50);
            free(p);
        }
    }
    return jd_ok(NULL);
}

static int head_is_slow(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    return a->index == 0 ? jd_sleep(JD_SEC(1)) : 0;
}

static int head_sleeps(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p;
    return a->index == 0 && attempt == 0 ? -ECONNRESET : 0;
}

/* BR4: pulling stops while reorder_max outcomes wait behind the first, whether that flies or sleeps. */
IN_SIMULATION(a_slow_head_stops_pulling, 20)
{
    for (unsigned c = 0; c < 12; c++) {
        unsigned limit = c % 2 ? 1 : 3, reorder = c / 4 * 5;
        unsigned bound = limit + (reorder ? reorder : 4 * limit);
        bool sleeps = c / 2 % 2;
        struct play *p = play_new(100);
        jd_batch_options o = play_options(p, limit);
        unsigned early = 0;

        p->script = sleeps ? head_sleeps : head_is_slow;
        p->on_end = is_in_order;
        p->classified = JD_RETRY;
        p->after = JD_SEC(1);
        o.classify = play_classify;
        o.attempts = 2;
        o.flags = JD_BATCH_ORDERED;
        o.reorder_max = reorder;
        cr_assert_eq(play_run(p, &o, NULL), 0);
        cr_assert_eq(p->ok, 100);
        for (int i = 0; i < 100; i++)
            early += p->actors[i].pulled_at < p->start + JD_MS(900);
        cr_assert_leq(early, bound, "case %u: %u", c, early);
        if (limit > 1 || sleeps) /* else there is no place for anybody else */
            cr_assert_gt(early, reorder ? reorder : 4 * limit);
        free(p);
    }
    return jd_ok(NULL);
}

/* Results that are held hold no place: the others fly on, and the limit stays exact. */
ON_WORKERS(flags_that_exclude_each_other_are_refused, 1, 10)
{
    struct play *p = play_new(1);
    jd_batch_options o = play_options(p, 1);

    o.flags = JD_BATCH_ORDERED | JD_BATCH_FIRST_OK;
    cr_assert_eq(play_run(p, &o, NULL), -EINVAL);
    free(p);
    return jd_ok(NULL);
}

ON_WORKERS(ordered_cancelled_at_any_point, 2, 60)
{
    unsigned long rounds = jd_test_rounds(300);
    struct rng rng;
    int cancelled = 0;

    rng_seed(&rng, jd_test_seed());
    for (unsigned long i = 0; i < rounds; i++) {
        struct play_apart run = { .p = play_new(200), .err = 1 };

        run.p->script = takes_any_time;
        run.p->on_end = is_in_order;
        run.o = play_options(run.p, 1 + rng_below(&rng, 20));
        run.o.flags = JD_BATCH_ORDERED;
        run.o.reorder_max = rng_below(&rng, 10);
        run.o.attempts = 1 + rng_below(&rng, 3);
        run.o.backoff = JD_US(rng_below(&rng, 100));
        run.o.retry_budget_percent = 300;
        run.o.item_timeout = rng_below(&rng, 2) ? JD_US(100) : 0;
        cancelled += play_cut_after(&run, JD_US(rng_below(&rng, 1000)));
        free(run.p);
    }
    cr_assert_gt(cancelled, 0);
    return jd_ok(NULL);
}

ON_WORKERS(ordered_out_of_memory_at_any_point, 1, 60)
{
    int failed = 0, err = 1;

    for (uint64_t visit = 0; err; visit++) {
        struct play *p = play_new(200);
        jd_batch_options o = play_options(p, 70);

        p->script = takes_any_time;
        p->on_end = is_in_order;
        o.flags = JD_BATCH_ORDERED;
        err = play_run_short(p, &o, visit);
        failed += err == -ENOMEM;
        free(p);
    }
    cr_assert_gt(failed, 0);
    return jd_ok(NULL);
}

/* --- The first success ---------------------------------------------------------------------- */

/* The third is the fastest that works; the second fails before. */
static int race(struct play *p, struct actor *a, unsigned attempt)
{
    static const int ms[] = { 50, 10, 20, 30, 40 };
    int err = jd_sleep(JD_MS(ms[a->index % 5]));

    (void)p, (void)attempt;
    return err ? err : a->index % 5 == 1 ? -ECONNREFUSED : 0;
}

IN_SIMULATION(the_first_success_ends_the_race, 20)
{
    struct play *p = play_new(5);
    jd_batch_options o = play_options(p, 5);
    jd_batch_stats s;

    p->script = race;
    o.flags = JD_BATCH_FIRST_OK;
    o.errors_max = 0; /* no bound in a race */
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 1);
    cr_assert_eq(s.failed, 1);
    cr_assert_eq(s.cancelled, 3);
    cr_assert_eq(p->actors[2].end.error, 0);
    cr_assert_lt(jd_now() - p->start, JD_MS(25));
    cr_assert_eq(jd_checkpoint(), 0); /* the caller is not cancelled */
    free(p);
    return jd_ok(NULL);
}

/* More replicas than places: after the success nothing is pulled. */
IN_SIMULATION(the_first_success_stops_pulling, 20)
{
    struct play *p = play_new(1000);
    jd_batch_options o = play_options(p, 2);

    p->script = race;
    o.flags = JD_BATCH_FIRST_OK;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    cr_assert_eq(p->ok, 1);
    cr_assert_leq(p->next, 4);
    free(p);
    return jd_ok(NULL);
}

static int all_fail(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    (void)jd_sleep(JD_MS(10 - a->index));
    return -(a->index + 1);
}

IN_SIMULATION(a_race_without_success_returns_the_first_failure, 20)
{
    static const struct {
        unsigned errors_max;
        int returned, delivered;
    } cases[] = { { 0, -5, 5 }, { JD_ALL, 0, 5 }, { 1, -4, 2 } };

    for (int c = 0; c < 3; c++) {
        struct play *p = play_new(5);
        jd_batch_options o = play_options(p, 5);

        p->script = all_fail;
        o.flags = JD_BATCH_FIRST_OK;
        o.errors_max = cases[c].errors_max;
        cr_assert_eq(play_run(p, &o, NULL), cases[c].returned);
        cr_assert_eq(p->sunk, cases[c].delivered);
        free(p);
    }
    return jd_ok(NULL);
}

/* Values of the beaten ones are not lost: they are abandoned. */
static int all_good(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return 0;
}

ON_WORKERS(the_beaten_are_abandoned_with_their_values, 2, 20)
{
    for (unsigned long i = 0; i < jd_test_rounds(300); i++) {
        struct play *p = play_new(20);
        jd_batch_options o = play_options(p, 10);

        p->script = all_good;
        o.flags = JD_BATCH_FIRST_OK;
        cr_assert_eq(play_run(p, &o, NULL), 0); /* tokens are conserved */
        cr_assert_eq(p->ok, 1);
        free(p);
    }
    return jd_ok(NULL);
}

ON_WORKERS(an_empty_race_is_no_error, 1, 10)
{
    struct play *p = play_new(0);
    jd_batch_options o = play_options(p, 10);

    o.flags = JD_BATCH_FIRST_OK;
    o.errors_max = 0;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    free(p);
    return jd_ok(NULL);
}

/* --- BR1: memory ---------------------------------------------------------------------------- */

struct many {
    unsigned long next, items, out_of_order, ended;
};

static int many_source(void *ctx, void **ret_item)
{
    struct many *m = ctx;

    *ret_item = (void *)(uintptr_t)m->next;
    return m->next++ < m->items;
}

/* One attempt of twenty fails at first. */
static jd_result many_call(void *item, void *ctx)
{
    (void)ctx;
    if ((uintptr_t)item % 20 == 7 && jd_call_attempt() == 0)
        return jd_err(-ECONNRESET);
    return jd_ok(item);
}

static int many_sink(void *item, jd_result r, void *ctx)
{
    struct many *m = ctx;

    m->out_of_order += r.error || r.ptr != item || (uintptr_t)item != m->ended;
    m->ended++;
    return 0;
}

ON_WORKERS(memory_does_not_grow_with_retries_and_reorder, 1, 200)
{
    unsigned long items = jd_test_rounds(10000000);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s = JD_BATCH_STATS_INIT;
    struct many m = { .items = 100000 };
    struct flat_run run;

    o.limit = 50;
    o.flags = JD_BATCH_ORDERED;
    o.attempts = 2;
    o.backoff = JD_US(20);
    o.ctx = &m;
    cr_assert_eq(jd_batch_run(many_source, many_call, many_sink, &o, &s), 0);
    m = (struct many){ .items = items };
    run = flat_run_begin();
    cr_assert_eq(jd_batch_run(many_source, many_call, many_sink, &o, &s), 0);
    flat_run_end(&run, items);
    cr_assert_eq(s.ok, items);
    cr_assert_eq(s.retried, (items + 12) / 20);
    cr_assert_eq(m.out_of_order, 0);
    return jd_ok(NULL);
}
