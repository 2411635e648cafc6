/* SPDX-License-Identifier: MIT */
/* What attempts of a batch wait for, in its statistics (BR22). Virtual time. */
#include "attempt_rig.h"

#define NEAR JD_MS(20)
#define BUCKET 16 /* a percentile is within 1/16 of what it stands for */

static void check_near(int64_t is, int64_t should_be)
{
    cr_assert_geq(is, should_be - should_be / BUCKET, "%lld", (long long)is);
    cr_assert_leq(is, should_be + should_be / BUCKET + NEAR, "%lld", (long long)is);
}

static int takes_a_second(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_SEC(1));
}

/* Nobody waits where places are all that counts: no item is pulled without one. */
IN_SIMULATION(places_cost_no_wait, 20)
{
    struct play *p = play_new(10);
    jd_batch_options o = play_options(p, 2);
    jd_batch_stats s;

    p->script = takes_a_second;
    o.attempt_timeout = JD_SEC(5);
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.slot_wait.max, 0);
    cr_assert_eq(s.token_wait.max, 0);
    check_near(s.p50, JD_SEC(1));
    free(p);
    return jd_ok(NULL);
}

static jd_result holds_it(void *arg)
{
    cr_assert_eq(jd_sem_acquire(arg), 0);
    (void)jd_sleep(JD_SEC(8));
    cr_assert_eq(jd_sem_release(arg), 0);
    return jd_ok(NULL);
}

/* Also a batch that is nothing but a limit and a semaphore. */
IN_SIMULATION(the_shared_permit, 20)
{
    jd_sem sem = JD_SEM_INIT(1);
    struct play *p = play_new(4);
    jd_batch_options o = play_options(p, 4);
    jd_batch_stats s;
    jd_task *other;

    other = jd_spawn(holds_it, &sem);
    while (jd_sem_value(&sem) > 0)
        cr_assert_eq(jd_yield(), 0);
    p->script = takes_a_second;
    o.sem = &sem;
    cr_assert_eq(play_run(p, &o, &s), 0);
    check_near(s.slot_wait.max, JD_SEC(8));
    check_near(s.slot_wait.p50, JD_SEC(1)); /* each has the permit of the one before */
    cr_assert_eq(jd_join(other).error, 0);
    free(p);
    return jd_ok(NULL);
}

static int slow_source(struct play *p)
{
    (void)p;
    return jd_sleep(JD_SEC(3));
}

/* The source's own time is nobody's wait. */
IN_SIMULATION(a_slow_source, 20)
{
    jd_sem sem = JD_SEM_INIT(1);
    struct play *p = play_new(4);
    jd_batch_options o = play_options(p, 4);
    jd_batch_stats s;

    p->on_pull = slow_source;
    o.sem = &sem;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_lt(s.slot_wait.max, NEAR);
    free(p);
    return jd_ok(NULL);
}

static jd_sem *sem_of_all(void *item, void *ctx)
{
    struct play *p = ctx;

    (void)item;
    return p->more;
}

IN_SIMULATION(the_permit_of_the_item, 20)
{
    jd_sem sem = JD_SEM_INIT(1);
    struct play *p = play_new(5);
    jd_batch_options o = play_options(p, 5);
    jd_batch_stats s;

    p->script = takes_a_second;
    p->more = &sem;
    o.item_sem = sem_of_all;
    cr_assert_eq(play_run(p, &o, &s), 0);
    check_near(s.slot_wait.p50, JD_SEC(2)); /* 0, 1, 2, 3, 4 */
    check_near(s.slot_wait.max, JD_SEC(4));
    free(p);
    return jd_ok(NULL);
}

static int first_attempt_of_the_first_fails(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p;
    if (a->index == 0 && attempt == 0)
        return -ECONNRESET;
    return jd_sleep(JD_SEC(10));
}

/* The back-off is no wait; from its end on the retry waits for the place that another item has. */
IN_SIMULATION(the_place_of_a_retry, 20)
{
    struct play *p = play_new(2);
    jd_batch_options o = play_options(p, 1);
    jd_batch_stats s;

    p->script = first_attempt_of_the_first_fails;
    p->classified = JD_RETRY;
    p->after = JD_SEC(4);
    o.classify = play_classify;
    o.attempts = 2;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.retried, 1);
    check_near(s.slot_wait.max, JD_SEC(6));
    cr_assert_lt(s.slot_wait.p50, NEAR);
    free(p);
    return jd_ok(NULL);
}

IN_SIMULATION(the_token, 20)
{
    jd_rate rate;
    struct play *p = play_new(5);
    jd_batch_options o = play_options(p, 5);
    jd_batch_stats s;

    cr_assert_eq(jd_rate_init(&rate, 1, 1), 0);
    o.rate = &rate;
    cr_assert_eq(play_run(p, &o, &s), 0);
    check_near(s.token_wait.p50, JD_SEC(2)); /* 0, 1, 2, 3, 4 */
    check_near(s.token_wait.max, JD_SEC(4));
    cr_assert_lt(s.slot_wait.max, NEAR);
    cr_assert_eq(s.waiting_for_token, 0);
    free(p);
    return jd_ok(NULL);
}

static int five(void *ctx, void **ret_item)
{
    int *left = ctx;

    *ret_item = left;
    return (*left)-- > 0;
}

static jd_result answer(void *item, void *ctx)
{
    (void)ctx;
    return jd_ok(item);
}

/* Of those that wait, how many for a token: seen while they do. */
IN_SIMULATION(how_many_wait_for_a_token_now, 20)
{
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s = JD_BATCH_STATS_INIT;
    jd_outcome out;
    jd_batch *b;
    jd_rate rate;
    int left = 5;

    cr_assert_eq(jd_rate_init(&rate, 1, 1), 0);
    cr_assert_eq(jd_rate_try_acquire(&rate, 1), 0);
    o.limit = 5;
    o.rate = &rate;
    o.ctx = &left;
    cr_assert_eq(jd_batch_open(&b, five, answer, &o), 0);
    cr_assert_eq(jd_sleep(JD_MS(500)), 0);
    cr_assert_eq(jd_batch_get_stats(b, &s), 0);
    cr_assert_eq(s.waiting_for_token, 5);
    cr_assert_eq(s.waiting, 5);
    while (jd_batch_next(b, &out) == 1)
        cr_assert_eq(out.result.error, 0);
    cr_assert_eq(jd_batch_close(b), 0);
    return jd_ok(NULL);
}
