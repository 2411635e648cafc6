/* SPDX-License-Identifier: MIT */
/*
 * How batches end: failures, fatal errors, deadlines, cancels at any point, out of memory (BR6, BR8,
 * BR12-BR14, BR18, BR24, BR25).
 */
#include "batch_rig.h"

#include "base/fault.h"
#include "base/rng.h"

ON_WORKERS(first_failure_stops, 2, 10)
{
    struct world *w = world_new(2000);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;

    o.limit = 8;
    w->fail_from = 20;
    w->fail_every = 1;
    w->pause = -1;
    cr_assert_eq(run_batch(w, &o, &s), -EIO);
    cr_assert_eq(s.failed, 1);
    cr_assert_lt(w->next, 20 + 3 * 8);
    free(w);
    return jd_ok(NULL);
}

ON_WORKERS(failures_up_to_the_bound_are_collected, 1, 10)
{
    struct world *w = world_new(100);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;

    o.limit = 4;
    o.errors_max = 3;
    w->fail_every = 10;
    cr_assert_eq(run_batch(w, &o, &s), -EIO); /* at the fourth */
    cr_assert_eq(s.failed, 4);
    free(w);
    w = world_new(100);
    w->fail_every = 10;
    o.errors_max = 10;
    cr_assert_eq(run_batch(w, &o, &s), 0);
    cr_assert_eq(s.failed, 10);
    cr_assert_eq(s.ok, 90);
    free(w);
    w = world_new(100);
    w->fail_every = 1;
    o.errors_max = JD_ALL;
    cr_assert_eq(run_batch(w, &o, &s), 0);
    cr_assert_eq(s.failed, 100);
    free(w);
    return jd_ok(NULL);
}

ON_WORKERS(source_and_sink_errors_are_fatal, 2, 10)
{
    struct world *w = world_new(500);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;

    o.limit = 16;
    w->pause = JD_US(100);
    w->source_error_at = 100;
    cr_assert_eq(run_batch(w, &o, &s), -EBADMSG);
    cr_assert_eq(w->next, 99);
    free(w);
    w = world_new(500);
    w->pause = JD_US(100);
    w->sink_error_at = 30;
    cr_assert_eq(run_batch(w, &o, &s), -ENOSPC);
    cr_assert_eq(w->sunk, 30); /* nothing is delivered afterwards */
    free(w);
    return jd_ok(NULL);
}

static int calls_entered(struct world *w)
{
    int count = 0;

    for (int i = 0; i < w->next; i++)
        count += atomic_load(&w->called[i]);
    return count;
}

/* On a slow machine the time is up between a pull and its call: that item has no attempt. */
ON_WORKERS(total_timeout_cancels_and_joins, 1, 10)
{
    struct world *w = world_new(1000);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;

    o.limit = 10;
    o.total_timeout = JD_MS(20);
    w->pause = JD_SEC(100);
    cr_assert_eq(run_batch(w, &o, &s), -ETIMEDOUT);
    cr_assert_leq(w->next, 10);
    cr_assert_eq(s.cancelled, (uint64_t)w->next, "all that the machine could start in time");
    cr_assert_eq(s.timed_out, (uint64_t)calls_entered(w));
    cr_assert_geq(calls_entered(w), w->next - 1);
    cr_assert_geq(s.elapsed, JD_MS(20));
    cr_assert_lt(s.elapsed, JD_SEC(5));
    for (size_t i = 0; i < (size_t)w->next; i++)
        cr_assert_eq(w->abandoned_with[i].error, -ECANCELED);
    cr_assert_eq(jd_checkpoint(), 0); /* the caller itself is not cancelled */
    free(w);
    return jd_ok(NULL);
}

/* BR12, BR13, BR14, BR24: cancelled at a random point, the books balance, values stay visible. */
ON_WORKERS(cancelled_at_any_point, 2, 60)
{
    unsigned long rounds = jd_test_rounds(300);
    struct rng rng;
    int cancelled = 0;

    rng_seed(&rng, jd_test_seed());
    for (unsigned long i = 0; i < rounds; i++) {
        struct cancelled_run run = { world_new(300), JD_BATCH_OPTIONS_INIT, JD_BATCH_STATS_INIT,
                                     1 };
        jd_sem shared = JD_SEM_INIT(5);
        jd_task *t;

        run.o.limit = 1 + rng_below(&rng, 20);
        run.o.sem = rng_below(&rng, 2) ? &shared : NULL;
        run.w->pause = rng_below(&rng, 2) ? -1 : JD_US(20);
        run.w->sink_yields = rng_below(&rng, 2);
        t = jd_spawn(run_to_be_cancelled, &run);
        (void)jd_sleep(JD_US(rng_below(&rng, 400)));
        (void)jd_task_cancel(t, NULL); /* -EALREADY: it was faster */
        (void)jd_join(t);
        cr_assert(run.err == -ECANCELED || run.err == 0);
        cancelled += run.err == -ECANCELED;
        for (int item = 0; item < run.w->next; item++)
            if (run.w->abandoned_with[item].error == 0 && run.w->abandoned_with[item].num)
                cr_assert_eq(run.w->abandoned_with[item].num, item);
        cr_assert_eq(jd_sem_value(&shared), 5); /* BR25 */
        free(run.w);
    }
    cr_assert_gt(cancelled, 0);
    return jd_ok(NULL);
}

/* Calls block on `hold`; the values of those that got through arrive before the cancel. */
ON_WORKERS(values_before_a_cancel_are_abandoned_visibly, 1, 10)
{
    struct cancelled_run run = { world_new(10), JD_BATCH_OPTIONS_INIT, JD_BATCH_STATS_INIT, 1 };
    jd_sem hold = JD_SEM_INIT(0);
    jd_task *t;

    run.o.limit = 4;
    run.w->hold = &hold;
    t = jd_spawn(run_to_be_cancelled, &run);
    while (atomic_load(&run.w->running) < 4)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_sem_release_n(&hold, 2), 0); /* two calls are granted, and then cancelled */
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    (void)jd_join(t);
    cr_assert_eq(run.err, -ECANCELED);
    cr_assert_eq(run.s.abandoned, 2);
    cr_assert_eq(run.s.cancelled, 2);
    cr_assert_eq(run.w->abandoned_with[1].error, 0);
    cr_assert_eq(run.w->abandoned_with[1].num, 1);
    cr_assert_eq(run.w->abandoned_with[2].error, -ECANCELED);
    free(run.w);
    return jd_ok(NULL);
}

/* Every allocation fails once in turn: each pulled item still ends once, and nothing is lost. */
ON_WORKERS(out_of_memory_at_any_point, 1, 60)
{
    int failed = 0, err = 1;

    for (uint64_t visit = 0; err; visit++) {
        struct world *w = world_new(200);
        jd_sem shared = JD_SEM_INIT(100);
        jd_batch_options o = JD_BATCH_OPTIONS_INIT;
        jd_batch_stats s = JD_BATCH_STATS_INIT;

        o.limit = 150; /* more than one chunk of slots */
        o.sem = &shared;
        w->pause = -1;
        fault_arm(FAULT_ALLOC, visit, 1);
        err = run_batch(w, &o, &s);
        fault_arm(FAULT_ALLOC, 0, 0);
        cr_assert(err == 0 || err == -ENOMEM, "visit %d: %d", (int)visit, err);
        failed += err == -ENOMEM;
        cr_assert_eq(jd_sem_value(&shared), 100);
        if (err && visit > 0 && w->next > 0)
            cr_assert_gt(s.abandoned + s.ok + s.cancelled, 0);
        free(w);
    }
    cr_assert_gt(failed, 0);
    return jd_ok(NULL);
}
