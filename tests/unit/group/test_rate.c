/* SPDX-License-Identifier: MIT */
/* Token buckets, alone and in batches (BR10, BR11, BR17). Virtual time, but for plain threads. */
#include <math.h>
#include <pthread.h>

#include "attempt_rig.h"

#include "base/rng.h"
#include "group/rate.h"

#define NEAR JD_MS(5)

Test(batch, wrong_rates_are_refused)
{
    static const double wrong[] = { 0, -1, (double)NAN, (double)INFINITY, 1e-12, 1e13 };
    jd_rate r;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(jd_rate_init(&r, wrong[i], 1), -EINVAL, "%g", wrong[i]);
    cr_assert_eq(jd_rate_init(NULL, 1, 1), -EINVAL);
    cr_assert_eq(jd_rate_init(&r, 1e-6, 4000000), -EINVAL); /* longer to fill than time goes on */
    cr_assert_eq(jd_rate_init(&r, 1, 3), 0);
    cr_assert_eq(jd_rate_set(&r, 0, 1), -EINVAL);
    cr_assert_eq(jd_rate_acquire(NULL, 1), -EINVAL);
    cr_assert_eq(jd_rate_acquire(&r, 4), -EINVAL);
    cr_assert_eq(jd_rate_try_acquire(&r, 4), -EINVAL);
    cr_assert_eq(jd_rate_try_acquire(&r, 0), 0);
    cr_assert_eq(jd_rate_acquire(&r, 0), 0);
    cr_assert_eq(jd_rate_try_acquire(&r, 3), 0);
    cr_assert_eq(jd_rate_try_acquire(&r, 1), -EAGAIN);
    jd_rate_pause_until(NULL, 1);
}

/*
 * What is taken by time t is at most burst + t * rate; and it is taken as soon as that allows, but
 * for the part of a nanosecond that a bucket of one token loses each time.
 */
Test(batch, a_bucket_keeps_its_rate_exactly)
{
    static const double rates[] = { 3, 7.5, 1000, 333333.3, 5e8, 0.01 };

    for (size_t c = 0; c < 12; c++) {
        double step = 1e9 / rates[c % 6];
        struct rate r = { .step = step, .burst = c < 6 ? 1 : 5, .full_at = INT64_MIN };
        int64_t now = 1000;

        for (unsigned taken = 0; taken < 100000; taken++) {
            int64_t when = rate_take(&r, 1, now);
            double due = ((double)taken + 1 - (double)r.burst) * step + 1000;
            double lost = r.burst == 1 ? taken : 0;

            cr_assert_geq((double)when, due - 1e-3 * step);
            cr_assert(when == now || (double)when <= due + lost + 2, "%g/s, token %u", rates[c % 6],
                      taken);
            if (when > now)
                cr_assert_eq(rate_take(&r, 1, when), when);
            now = when;
        }
    }
}

Test(batch, a_quiet_bucket_fills_up_to_its_burst)
{
    struct rate r = { .step = 100, .burst = 4, .full_at = INT64_MIN };

    for (int64_t now = 0; now < 100000; now += 10000)
        for (int i = 0; i < 5; i++)
            cr_assert_eq(rate_take(&r, 1, now), i < 4 ? now : now + 101);
    cr_assert_eq(rate_take(&r, 4, 200000), 200000);
    cr_assert_eq(rate_take(&r, 2, 200000), 200201); /* two tokens later, never early */
}

/* --- Waiting -------------------------------------------------------------------------------- */

struct queue {
    jd_rate r;
    int64_t start, at[8];
    int err[8], order[8], next;
};

struct waiter_of {
    struct queue *q;
    int index;
};

static jd_result wait_in_queue(void *arg)
{
    struct waiter_of *w = arg;

    w->q->err[w->index] = jd_rate_acquire(&w->q->r, 1);
    w->q->at[w->index] = jd_now() - w->q->start;
    w->q->order[w->index] = w->q->next++;
    return jd_ok(NULL);
}

/* First in, first out, evenly spaced; a cancelled one has taken nothing, and delays nobody. */
IN_SIMULATION(waiting_for_tokens_is_fifo_and_a_cancel_takes_nothing, 20)
{
    for (int cancelled = -1; cancelled < 5; cancelled++) {
        struct queue q = { .start = jd_now() };
        struct waiter_of w[5];
        jd_task *t[5];
        int turn = 0;

        cr_assert_eq(jd_rate_init(&q.r, 10, 1), 0);
        cr_assert_eq(jd_rate_acquire(&q.r, 1), 0);
        for (int i = 0; i < 5; i++) {
            w[i] = (struct waiter_of){ &q, i };
            t[i] = jd_spawn(wait_in_queue, &w[i]);
            cr_assert_eq(jd_sleep(JD_MS(1)), 0); /* one after the other */
        }
        if (cancelled >= 0)
            (void)jd_task_cancel(t[cancelled], NULL);
        for (int i = 0; i < 5; i++)
            (void)jd_join(t[i]);
        for (int i = 0; i < 5; i++) {
            if (i == cancelled) {
                cr_assert_eq(q.err[i], -ECANCELED);
                continue;
            }
            turn++;
            cr_assert_eq(q.err[i], 0);
            cr_assert_geq(q.at[i], JD_MS(100) * turn - NEAR, "%d after %d", i, cancelled);
            cr_assert_leq(q.at[i], JD_MS(100) * turn + NEAR, "%d after %d", i, cancelled);
        }
    }
    return jd_ok(NULL);
}

IN_SIMULATION(a_pause_holds_back_all_and_the_longest_counts, 20)
{
    struct queue q = { .start = jd_now() };
    struct waiter_of w = { &q, 0 };
    jd_task *t;

    cr_assert_eq(jd_rate_init(&q.r, 10, 1), 0);
    jd_rate_pause_until(&q.r, q.start + JD_SEC(2));
    jd_rate_pause_until(&q.r, q.start + JD_SEC(1));
    cr_assert_eq(jd_rate_try_acquire(&q.r, 1), -EAGAIN);
    t = jd_spawn(wait_in_queue, &w);
    cr_assert_eq(jd_sleep(JD_MS(1500)), 0);
    jd_rate_pause_until(&q.r, q.start + JD_SEC(3)); /* while somebody sleeps */
    (void)jd_join(t);
    cr_assert_geq(q.at[0], JD_SEC(3));
    cr_assert_lt(q.at[0], JD_SEC(3) + NEAR);
    return jd_ok(NULL);
}

IN_SIMULATION(a_new_rate_reaches_those_who_wait, 20)
{
    struct queue q = { .start = jd_now() };
    struct waiter_of w[2] = { { &q, 0 }, { &q, 1 } };
    jd_task *t[2];

    cr_assert_eq(jd_rate_init(&q.r, 0.001, 1), 0);
    cr_assert_eq(jd_rate_acquire(&q.r, 1), 0);
    t[0] = jd_spawn(wait_in_queue, &w[0]);
    cr_assert_eq(jd_sleep(JD_MS(10)), 0);
    t[1] = jd_spawn(wait_in_queue, &w[1]);
    cr_assert_eq(jd_sleep(JD_SEC(1)), 0);
    cr_assert_eq(jd_rate_try_acquire(&q.r, 1), -EAGAIN);
    cr_assert_eq(jd_rate_set(&q.r, 0.5, 3000), 0); /* what was taken now is two seconds of debt */
    (void)jd_join(t[0]);
    (void)jd_join(t[1]);
    cr_assert_lt(q.at[1], JD_SEC(2));
    cr_assert_eq(q.order[0], 0);
    return jd_ok(NULL);
}

/* A cancel, a new rate and the token itself meet. */
static jd_result change_rates(void *arg)
{
    struct queue *q = arg;

    for (int i = 0; i < 20; i++) {
        cr_assert_eq(jd_rate_set(&q->r, i % 2 ? 10000 : 1000, 1), 0);
        cr_assert_eq(jd_sleep(JD_US(200)), 0);
    }
    return jd_ok(NULL);
}

static jd_result meet(void *arg)
{
    struct queue q = { .start = jd_now() };
    struct waiter_of w[6];
    jd_task *t[6], *changer;
    struct rate inside;
    struct rng rng;
    int taken = 0;

    rng_seed(&rng, *(uint64_t *)arg);
    cr_assert_eq(jd_rate_init(&q.r, 1000, 1), 0);
    changer = jd_spawn(change_rates, &q);
    for (int i = 0; i < 6; i++) {
        w[i] = (struct waiter_of){ &q, i };
        t[i] = jd_spawn(wait_in_queue, &w[i]);
    }
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(jd_sleep(JD_US(rng_below(&rng, 400))), 0);
        if (rng_below(&rng, 2))
            (void)jd_task_cancel(t[i], NULL);
    }
    for (int i = 0; i < 6; i++) {
        (void)jd_join(t[i]);
        taken += q.err[i] == 0;
    }
    (void)jd_join(changer);
    cr_assert_leq((double)taken, 1.5 + (double)(jd_now() - q.start) / 1e5);
    memcpy(&inside, &q.r, sizeof(inside));
    cr_assert_eq(jd_sem_value(&inside.bell), 0);
    cr_assert_eq(jd_sem_value(&inside.turn), 1);
    return jd_ok(NULL);
}

Test(batch, changes_and_cancels_of_waiters_meet, .timeout = 30)
{
    for (uint64_t seed = 1; seed <= jd_test_rounds(300); seed++)
        cr_assert_eq(jd_sim_run(seed, meet, &seed, NULL).error, 0);
}

static void *take_many(void *arg)
{
    for (int i = 0; i < 20; i++)
        cr_assert_eq(jd_rate_acquire(arg, 1), 0);
    return NULL;
}

Test(batch, plain_threads_share_a_rate)
{
    jd_rate r;
    pthread_t threads[4];
    int64_t start = jd_now();

    cr_assert_eq(jd_rate_init(&r, 1000, 1), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_many, &r), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_geq(jd_now() - start, JD_MS(79));
}

/* --- In a batch ----------------------------------------------------------------------------- */

static int fails_at_first(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a;
    return attempt == 0 ? -ECONNRESET : 0;
}

/* A token for each attempt, also for retries; two batches keep one rate. */
struct sharing {
    jd_rate *rate;
    int64_t called[100];
    int calls;
};

static int notes_time(struct play *p, struct actor *a, unsigned attempt)
{
    struct sharing *s = p->more;

    s->called[s->calls++] = jd_now();
    return fails_at_first(p, a, attempt);
}

static jd_result rated_batch(void *arg)
{
    struct sharing *s = arg;
    struct play *p = play_new(20);
    jd_batch_options o = play_options(p, 4);

    p->more = s;
    p->script = notes_time;
    o.rate = s->rate;
    o.attempts = 2;
    o.retry_budget_percent = 100;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    cr_assert_eq(p->ok, 20);
    free(p);
    return jd_ok(NULL);
}

IN_SIMULATION(batches_share_a_rate_and_each_attempt_takes_a_token, 30)
{
    jd_rate r;
    struct sharing s = { .rate = &r };
    jd_task *other;

    cr_assert_eq(jd_rate_init(&r, 100, 1), 0);
    other = jd_spawn(rated_batch, &s);
    (void)rated_batch(&s);
    (void)jd_join(other);
    cr_assert_eq(s.calls, 80);
    for (int i = 1; i < 80; i++) {
        cr_assert_geq(s.called[i] - s.called[i - 1], JD_MS(10) - NEAR);
        cr_assert_leq(s.called[i] - s.called[i - 1], JD_MS(10) + NEAR);
    }
    return jd_ok(NULL);
}

static int sleeps_30_ms(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_MS(30));
}

/* BR8: waiting for a token is charged to the item, not to the attempt. */
IN_SIMULATION(waiting_for_a_token_is_the_items_time_only, 20)
{
    jd_rate r;
    struct play *p = play_new(10);
    jd_batch_options o = play_options(p, 10);
    jd_batch_stats s;

    cr_assert_eq(jd_rate_init(&r, 10, 1), 0);
    p->script = sleeps_30_ms;
    o.rate = &r;
    o.attempt_timeout = JD_MS(60);
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 10);
    free(p);
    p = play_new(10);
    o = play_options(p, 10);
    p->script = sleeps_30_ms;
    o.rate = &r;
    o.item_timeout = JD_MS(350);
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_geq(s.ok, 3);
    cr_assert_leq(s.ok, 4);
    cr_assert_eq(s.failed, 10 - s.ok);
    cr_assert_eq(s.timed_out, s.failed);
    for (int i = 0; i < 10; i++) /* who got no token was not called */
        cr_assert_eq(atomic_load(&p->actors[i].attempts), p->actors[i].end.error ? 0 : 1);
    free(p);
    return jd_ok(NULL);
}

/* BR11: no token is taken before the permit is held; a cancel while waiting for one takes none. */
IN_SIMULATION(a_token_is_taken_last, 20)
{
    jd_rate r;
    jd_sem sem = JD_SEM_INIT(0);
    struct play_apart b = { .p = play_new(5), .err = 1 };
    jd_task *t;

    cr_assert_eq(jd_rate_init(&r, 0.001, 1), 0);
    b.o = play_options(b.p, 3);
    b.o.sem = &sem;
    b.o.rate = &r;
    t = jd_spawn(play_run_apart, &b);
    cr_assert_eq(jd_sleep(JD_MS(100)), 0);
    cr_assert_eq(jd_rate_try_acquire(&r, 1), 0); /* it was left in the bucket */
    cr_assert_eq(jd_sem_release_n(&sem, 2), 0);
    cr_assert_eq(jd_sleep(JD_MS(100)), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    (void)jd_join(t);
    cr_assert_eq(b.err, -ECANCELED);
    cr_assert_eq(b.p->next, 2);
    cr_assert_eq(atomic_load(&b.p->actors[0].attempts), 0);
    cr_assert_eq(jd_sem_value(&sem), 2);
    cr_assert_eq(jd_sleep(JD_SEC(1000)), 0);
    cr_assert_eq(jd_rate_try_acquire(&r, 1), 0); /* nobody has taken the next one */
    free(b.p);
    return jd_ok(NULL);
}
