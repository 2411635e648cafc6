/* SPDX-License-Identifier: MIT */
/* The three clocks of a batch: attempt, item, all of it (BR8, BR14). Virtual time. */
#include "attempt_rig.h"

#define NEAR JD_MS(20)

static int hangs(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_SEC(1000));
}

IN_SIMULATION(an_attempt_has_its_own_time, 20)
{
    struct play *p = play_new(6);
    jd_batch_options o = play_options(p, 3);
    jd_batch_stats s;

    p->script = hangs;
    o.attempts = 3;
    o.retry_budget_percent = 1000;
    o.attempt_timeout = JD_SEC(1);
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.failed, 6);
    cr_assert_eq(s.timed_out, 18);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(p->actors[i].end.error, -ETIMEDOUT);
        cr_assert_geq(p->actors[i].ended_at - p->actors[i].called_at[2], JD_SEC(1) - JD_MS(1));
        cr_assert_lt(p->actors[i].ended_at - p->actors[i].called_at[2], JD_SEC(1) + NEAR);
    }
    free(p);
    return jd_ok(NULL);
}

static int takes_a_second(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    cr_assert_leq(jd_deadline(), jd_now() + JD_MS(1500)); /* what is left for a remote call */
    cr_assert_gt(jd_deadline(), jd_now() + JD_MS(1400));
    return jd_sleep(JD_SEC(1));
}

/* The place, the permit: an attempt's clock starts when the call is entered. */
IN_SIMULATION(waiting_is_not_charged_to_the_attempt, 20)
{
    jd_sem sem = JD_SEM_INIT(1);
    struct play *p = play_new(10);
    jd_batch_options o = play_options(p, 5);
    jd_batch_stats s;

    p->script = takes_a_second;
    o.attempt_timeout = JD_MS(1500);
    o.sem = &sem;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 10);
    cr_assert_eq(s.timed_out, 0);
    free(p);
    return jd_ok(NULL);
}

static int ignores_the_end(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    (void)jd_sleep(JD_SEC(5));
    return a->index % 2 ? -EIO : 0;
}

/* BR14: what a call returns after its time is its outcome: nothing is thrown away. */
IN_SIMULATION(a_late_value_stands, 20)
{
    struct play *p = play_new(4);
    jd_batch_options o = play_options(p, 2);
    jd_batch_stats s;

    p->script = ignores_the_end;
    o.attempt_timeout = JD_SEC(1);
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 2);
    cr_assert_eq(p->actors[1].end.error, -EIO);
    cr_assert_eq(s.timed_out, 0);
    free(p);
    return jd_ok(NULL);
}

static int resets_slowly(struct play *p, struct actor *a, unsigned attempt)
{
    int err = jd_sleep(JD_MS(30));

    (void)p, (void)a, (void)attempt;
    return err ? err : -ECONNRESET;
}

/* The item's clock goes on over attempts and the waits between them. */
IN_SIMULATION(an_item_has_its_own_time_over_all_attempts, 20)
{
    for (int sleeps_long = 0; sleeps_long < 2; sleeps_long++) {
        struct play *p = play_new(12);
        jd_batch_options o = play_options(p, 4);
        jd_batch_stats s;

        p->script = resets_slowly;
        p->classified = JD_RETRY;
        p->after = sleeps_long ? JD_SEC(100) : JD_MS(7);
        o.classify = play_classify;
        o.attempts = 1000;
        o.retry_budget_percent = 100000;
        o.item_timeout = JD_SEC(1);
        cr_assert_eq(play_run(p, &o, &s), 0);
        cr_assert_eq(s.failed, 12);
        cr_assert_eq(s.timed_out, 12);
        for (int i = 0; i < 12; i++) {
            struct actor *a = &p->actors[i];

            cr_assert_eq(a->end.error, -ETIMEDOUT);
            cr_assert_geq(a->ended_at - a->pulled_at, JD_SEC(1));
            cr_assert_lt(a->ended_at - a->pulled_at, JD_SEC(1) + NEAR);
            cr_assert_eq(atomic_load(&a->attempts) > 10, !sleeps_long);
        }
        free(p);
    }
    return jd_ok(NULL);
}

IN_SIMULATION(the_items_time_ends_its_call, 20)
{
    struct play *p = play_new(3);
    jd_batch_options o = play_options(p, 3);
    jd_batch_stats s;

    p->script = hangs;
    o.attempts = 5;
    o.attempt_timeout = JD_SEC(10);
    o.item_timeout = JD_SEC(1);
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.failed, 3);
    cr_assert_eq(s.retried, 0);
    cr_assert_eq(s.timed_out, 3);
    free(p);
    return jd_ok(NULL);
}

static int first_fails_others_hang(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    return a->index == 0 ? -ECONNRESET : jd_sleep(JD_SEC(5));
}

/* A retry that is due and gets no place: its item's time passes all the same. */
IN_SIMULATION(an_items_time_passes_while_it_waits_for_a_place, 20)
{
    struct play *p = play_new(2);
    jd_batch_options o = play_options(p, 1);
    jd_batch_stats s;

    p->script = first_fails_others_hang;
    p->classified = JD_RETRY;
    p->after = JD_MS(100);
    o.classify = play_classify;
    o.attempts = 3;
    o.item_timeout = JD_SEC(10);
    cr_assert_eq(play_run(p, &o, &s), 0); /* so far: the place comes in time, twice */
    cr_assert_eq(s.retried, 2);
    free(p);
    p = play_new(2);
    o.ctx = p;
    p->script = first_fails_others_hang;
    p->classified = JD_RETRY;
    p->after = JD_MS(100);
    o.item_timeout = JD_SEC(1);
    o.classify = play_classify;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.retried, 0);
    cr_assert_eq(p->actors[0].end.error, -ETIMEDOUT);
    cr_assert_lt(p->actors[0].ended_at - p->actors[0].pulled_at, JD_SEC(1) + NEAR);
    free(p);
    return jd_ok(NULL);
}

static int half_hang(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    return a->index % 2 ? -ECONNRESET : jd_sleep(JD_SEC(1000));
}

/* Those that fly and those that sleep end with the batch, and nothing is delivered any more. */
IN_SIMULATION(the_batch_has_its_own_time, 20)
{
    struct play *p = play_new(100);
    jd_batch_options o = play_options(p, 4);
    jd_batch_stats s;
    int64_t start = jd_now();

    p->script = half_hang;
    p->classified = JD_RETRY;
    p->after = JD_SEC(50);
    o.classify = play_classify;
    o.attempts = 5;
    o.retry_budget_percent = 1000;
    o.total_timeout = JD_SEC(2);
    cr_assert_eq(play_run(p, &o, &s), -ETIMEDOUT);
    cr_assert_lt(jd_now() - start, JD_SEC(2) + NEAR);
    cr_assert_eq(p->sunk, 0);
    cr_assert_eq(s.cancelled, s.pulled);
    cr_assert_eq(s.timed_out, 4); /* the attempts that flew */
    free(p);
    return jd_ok(NULL);
}

/* A time that is for ever, or over at once. */
IN_SIMULATION(extreme_times, 20)
{
    struct play *p = play_new(10);
    jd_batch_options o = play_options(p, 4);
    jd_batch_stats s;

    o.attempt_timeout = JD_FOREVER;
    o.item_timeout = JD_FOREVER;
    o.total_timeout = JD_FOREVER;
    o.attempts = 2;
    o.backoff = JD_FOREVER;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 10);
    free(p);
    p = play_new(10);
    o = play_options(p, 4);
    p->script = hangs;
    o.item_timeout = 1;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.timed_out, 10);
    free(p);
    return jd_ok(NULL);
}
