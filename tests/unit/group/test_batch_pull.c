/* SPDX-License-Identifier: MIT */
/* The pull form, steering a batch from outside, and one call (BR5, BR12-BR14, BR17, BR22, BR25). */
#include <pthread.h>

#include "attempt_rig.h"

#include "base/fault.h"
#include "base/rng.h"

/* In this form the batch has a task of its own; the rig asks whether all is called in one. */
static int pull_source(void *ctx, void **ret_item)
{
    struct play *p = ctx;

    if (!p->consumer)
        p->consumer = jd_task_current();
    return play_source(ctx, ret_item);
}

static int open_play(struct play *p, const jd_batch_options *o, jd_batch **ret)
{
    p->start = jd_now();
    p->consumer = NULL;
    return jd_batch_open(ret, pull_source, play_call, o);
}

static int take_all(struct play *p, jd_batch *b)
{
    jd_outcome out;
    int got;

    while ((got = jd_batch_next(b, &out)) == 1) {
        struct actor *a = out.item;

        cr_assert_eq(a->ended++, 0);
        cr_assert_eq(atomic_load(&a->running), 0);
        a->end = out.result;
        a->ended_at = jd_now();
        p->sunk++;
        p->ok += !out.result.error;
        p->failed += out.result.error != 0;
        atomic_fetch_sub(&p->tokens, out.result.num ? 1 : 0);
    }
    return got;
}

static void pull_abandon(void *item, jd_result r, void *ctx)
{
    struct play *p = ctx;
    struct actor *a = item;

    cr_assert_eq(a->ended++, 0);
    a->end = r;
    p->abandoned++;
    atomic_fetch_sub(&p->tokens, r.num ? 1 : 0);
}

static void pull_discard(void *item, jd_result r, void *ctx)
{
    struct play *p = ctx;

    cr_assert_eq(((struct actor *)item)->ended, 0);
    atomic_fetch_sub(&p->tokens, r.num ? 1 : 0);
}

static jd_batch_options pull_options(struct play *p, unsigned limit)
{
    jd_batch_options o = play_options(p, limit);

    o.abandon = pull_abandon;
    o.discard = pull_discard;
    o.progress = NULL;
    return o;
}

/* Closes it; then the books must balance. */
static int close_play(struct play *p, jd_batch *b, const jd_batch_options *o)
{
    int err = jd_batch_close(b);

    cr_assert_eq(atomic_load(&p->running), 0);
    cr_assert_eq(atomic_load(&p->tokens), 0);
    cr_assert_leq((unsigned)atomic_load(&p->running_max), o->limit);
    for (int i = 0; i < p->next; i++)
        cr_assert_eq(p->actors[i].ended, 1, "item %d", i);
    cr_assert_eq(p->next, p->ok + p->failed + p->abandoned);
    return err;
}

static int any_time(struct play *p, struct actor *a, unsigned attempt)
{
    struct rng rng;
    int err = 0;

    (void)p;
    rng_seed(&rng, (uint64_t)a->index * 31 + attempt);
    if (rng_below(&rng, 2))
        err = jd_sleep(JD_US(rng_below(&rng, 50)));
    else if (rng_below(&rng, 2))
        err = jd_yield();
    return err ? err : rng_below(&rng, 3) ? 0 : -ECONNRESET;
}

ON_WORKERS(outcomes_are_taken_one_by_one, 2, 30)
{
    for (unsigned limit = 1; limit <= 64; limit *= 4) {
        struct play *p = play_new(300);
        jd_batch_options o = pull_options(p, limit);
        jd_batch_stats s = JD_BATCH_STATS_INIT;
        jd_outcome out;
        jd_batch *b;

        p->script = any_time;
        o.attempts = 3;
        o.retry_budget_percent = 1000;
        o.flags = limit == 4 ? JD_BATCH_ORDERED : 0;
        cr_assert_eq(open_play(p, &o, &b), 0);
        cr_assert_eq(take_all(p, b), 0);
        cr_assert_eq(p->sunk, 300);
        cr_assert_eq(jd_batch_next(b, &out), 0); /* the end stays the end */
        cr_assert_eq(jd_batch_get_stats(b, &s), 0);
        cr_assert_eq(s.pulled, 300);
        cr_assert_eq(s.ok, (uint64_t)p->ok);
        cr_assert_eq(s.failed, (uint64_t)p->failed);
        cr_assert_eq(close_play(p, b, &o), 0);
        free(p);
    }
    return jd_ok(NULL);
}

ON_WORKERS(wrong_uses_are_refused, 1, 10)
{
    struct play *p = play_new(1);
    jd_batch_options o = pull_options(p, 1);
    jd_batch_stats s = JD_BATCH_STATS_INIT, no_size = { 0 };
    jd_outcome out;
    jd_batch *b;

    cr_assert_eq(jd_batch_open(NULL, pull_source, play_call, &o), -EINVAL);
    cr_assert_eq(jd_batch_open(&b, NULL, play_call, &o), -EINVAL);
    cr_assert_eq(jd_batch_open(&b, pull_source, NULL, &o), -EINVAL);
    cr_assert_eq(jd_batch_open(&b, pull_source, play_call, NULL), -EINVAL);
    cr_assert_eq(jd_batch_next(NULL, &out), -EINVAL);
    cr_assert_eq(jd_batch_close(NULL), 0);
    cr_assert_eq(jd_batch_get_stats(NULL, &s), -EINVAL);
    jd_batch_drain(NULL);
    jd_batch_set_limit(NULL, 1);
    cr_assert_eq(open_play(p, &o, &b), 0);
    cr_assert_eq(jd_batch_next(b, NULL), -EINVAL);
    cr_assert_eq(jd_batch_get_stats(b, &no_size), -EINVAL);
    cr_assert_eq(close_play(p, b, &o), 0);
    free(p);
    return jd_ok(NULL);
}

static int fails(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return -EIO;
}

/* The first failure is delivered, then the error is the end, again and again. */
ON_WORKERS(an_error_ends_the_outcomes, 2, 10)
{
    struct play *p = play_new(100);
    jd_batch_options o = pull_options(p, 4);
    jd_outcome out;
    jd_batch *b;

    p->script = fails;
    o.errors_max = 0;
    cr_assert_eq(open_play(p, &o, &b), 0);
    cr_assert_eq(take_all(p, b), -EIO);
    cr_assert_eq(p->failed, 1);
    cr_assert_eq(jd_batch_next(b, &out), -EIO);
    cr_assert_eq(close_play(p, b, &o), -EIO);
    free(p);
    return jd_ok(NULL);
}

static int takes_10_ms(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_MS(10));
}

/* BR5: nobody takes anything; the calls go on, and pulling stops at the limit. */
IN_SIMULATION(a_consumer_that_does_not_pull_stops_new_starts_only, 20)
{
    struct play *p = play_new(100);
    jd_batch_options o = pull_options(p, 5);
    jd_batch_stats s = JD_BATCH_STATS_INIT;
    jd_batch *b;

    p->script = takes_10_ms;
    cr_assert_eq(open_play(p, &o, &b), 0);
    cr_assert_eq(jd_sleep(JD_SEC(1)), 0);
    cr_assert_eq(atomic_load(&p->running), 0);
    cr_assert_leq(p->next, 6);
    cr_assert_geq(p->next, 5);
    cr_assert_eq(jd_batch_get_stats(b, &s), 0);
    cr_assert_eq(s.in_flight, 0);
    cr_assert_eq(take_all(p, b), 0);
    cr_assert_eq(p->ok, 100);
    cr_assert_eq(close_play(p, b, &o), 0);
    free(p);
    return jd_ok(NULL);
}

static int hangs(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_SEC(1000));
}

IN_SIMULATION(closing_cancels_and_joins, 20)
{
    struct play *p = play_new(100);
    jd_batch_options o = pull_options(p, 5);
    jd_batch *b;
    int64_t start = jd_now();

    p->script = hangs;
    cr_assert_eq(open_play(p, &o, &b), 0);
    cr_assert_eq(jd_sleep(JD_MS(10)), 0);
    cr_assert_eq(close_play(p, b, &o), 0);
    cr_assert_eq(p->abandoned, 5);
    cr_assert_lt(jd_now() - start, JD_MS(100));
    cr_assert_eq(open_play(p, &o, &b), 0); /* at once, before it has begun */
    cr_assert_eq(jd_batch_close(b), 0);
    free(p);
    return jd_ok(NULL);
}

struct taker {
    struct play *p;
    jd_batch *b;
    int got;
};

static jd_result take_in_task(void *arg)
{
    struct taker *t = arg;

    t->got = take_all(t->p, t->b);
    return jd_ok(NULL);
}

/* A cancelled taker has taken nothing, or an outcome that counts: none is lost between the two. */
ON_WORKERS(takers_cancelled_at_any_point_lose_nothing, 2, 60)
{
    unsigned long rounds = jd_test_rounds(300);
    struct rng rng;
    int cancelled = 0;

    rng_seed(&rng, jd_test_seed());
    for (unsigned long i = 0; i < rounds; i++) {
        struct play *p = play_new(100);
        jd_batch_options o = pull_options(p, 1 + rng_below(&rng, 8));
        struct taker t = { .p = p };

        p->script = any_time;
        o.attempts = 2;
        o.retry_budget_percent = 100;
        cr_assert_eq(open_play(p, &o, &t.b), 0);
        for (int k = 0; k < 5; k++) {
            jd_task *task = jd_spawn(take_in_task, &t);

            (void)jd_sleep(JD_US(rng_below(&rng, 150)));
            (void)jd_task_cancel(task, NULL);
            (void)jd_join(task);
            cr_assert(t.got == -ECANCELED || t.got == 0, "%d", t.got);
            cancelled += t.got == -ECANCELED;
        }
        if (rng_below(&rng, 2)) {
            cr_assert_eq(take_all(p, t.b), 0);
            cr_assert_eq(p->next, 100);
        }
        cr_assert_eq(close_play(p, t.b, &o), 0);
        free(p);
    }
    cr_assert_gt(cancelled, 0);
    return jd_ok(NULL);
}

ON_WORKERS(one_taker_at_a_time, 2, 10)
{
    struct play *p = play_new(1);
    jd_batch_options o = pull_options(p, 1);
    struct taker t = { .p = p };
    jd_outcome out;
    jd_task *task;
    int got;

    p->script = hangs;
    cr_assert_eq(open_play(p, &o, &t.b), 0);
    task = jd_spawn(take_in_task, &t);
    while (atomic_load(&p->running) == 0)
        cr_assert_eq(jd_yield(), 0);
    JD_SCOPE(scope, JD_MS(1)); /* while that task is not in it yet, we are */
    do
        got = jd_batch_next(t.b, &out);
    while (got == -ECANCELED && jd_checkpoint() == 0);
    cr_assert(got == -EBUSY || got == -ECANCELED);
    (void)jd_task_cancel(task, NULL);
    (void)jd_join(task);
    cr_assert_eq(close_play(p, t.b, &o), 0);
    free(p);
    return jd_ok(NULL);
}

/* --- Steering ------------------------------------------------------------------------------- */

IN_SIMULATION(drain_ends_it_after_what_was_pulled, 20)
{
    struct play *p = play_new(1000);
    jd_batch_options o = pull_options(p, 5);
    jd_outcome out;
    jd_batch *b;

    p->script = takes_10_ms;
    cr_assert_eq(open_play(p, &o, &b), 0);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(jd_batch_next(b, &out), 1);
        pull_abandon(out.item, out.result, p); /* books only */
    }
    jd_batch_drain(b);
    cr_assert_eq(take_all(p, b), 0);
    cr_assert_lt(p->next, 20 + 2 * 6);
    cr_assert_eq(p->failed, 0); /* what was in flight came to its end */
    cr_assert_eq(close_play(p, b, &o), 0);
    free(p);
    p = play_new(1000);
    o.ctx = p;
    cr_assert_eq(open_play(p, &o, &b), 0);
    jd_batch_drain(b); /* at once */
    jd_batch_drain(b);
    cr_assert_eq(take_all(p, b), 0);
    cr_assert_eq(close_play(p, b, &o), 0);
    cr_assert_lt(p->next, 12);
    free(p);
    return jd_ok(NULL);
}

/* A drain also reaches a batch that sleeps: nothing is done, and all that flies hangs on. */
IN_SIMULATION(drain_reaches_a_sleeping_batch, 20)
{
    struct play *p = play_new(3);
    jd_sem none = JD_SEM_INIT(0);
    jd_batch_options o = pull_options(p, 5);
    jd_batch *b;

    o.sem = &none;
    cr_assert_eq(open_play(p, &o, &b), 0);
    cr_assert_eq(jd_sleep(JD_SEC(1)), 0);
    jd_batch_drain(b);
    cr_assert_eq(take_all(p, b), 0);
    cr_assert_eq(p->next, 0);
    cr_assert_eq(close_play(p, b, &o), 0);
    free(p);
    return jd_ok(NULL);
}

static int takes_a_second(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_SEC(1));
}

/* BR17: raising starts calls at once, lowering evicts nobody, and lower-then-raise grants no more. */
IN_SIMULATION(the_limit_changes_while_it_runs, 20)
{
    struct play *p = play_new(60);
    jd_batch_options o = pull_options(p, 4);
    struct taker t = { .p = p };
    jd_task *task;

    p->script = takes_a_second;
    cr_assert_eq(open_play(p, &o, &t.b), 0);
    task = jd_spawn(take_in_task, &t);
    cr_assert_eq(jd_sleep(JD_MS(500)), 0);
    cr_assert_eq(atomic_load(&p->running), 4);
    jd_batch_set_limit(t.b, 0); /* ignored */
    jd_batch_set_limit(t.b, 10);
    cr_assert_eq(jd_sleep(JD_MS(100)), 0);
    cr_assert_eq(atomic_load(&p->running), 10);
    jd_batch_set_limit(t.b, 3);
    cr_assert_eq(jd_sleep(JD_MS(100)), 0);
    cr_assert_eq(atomic_load(&p->running), 10);
    cr_assert_eq(jd_sleep(JD_MS(1000)), 0);
    cr_assert_eq(atomic_load(&p->running), 3);
    jd_batch_set_limit(t.b, 1);
    jd_batch_set_limit(t.b, 8);
    cr_assert_eq(jd_sleep(JD_MS(100)), 0);
    cr_assert_eq(atomic_load(&p->running), 8);
    (void)jd_join(task);
    cr_assert_eq(t.got, 0);
    cr_assert_eq(p->ok, 60);
    o.limit = 10;
    cr_assert_eq(close_play(p, t.b, &o), 0);
    free(p);
    return jd_ok(NULL);
}

/* From plain threads, as fast as they can, for so many times. */
struct steering {
    jd_batch *b;
    atomic_int stop;
};

static void *steer(void *arg)
{
    struct steering *s = arg;
    jd_batch_stats stats = JD_BATCH_STATS_INIT;
    uint64_t seen = 0;

    for (unsigned long i = jd_test_rounds(50000); i > 0 && !atomic_load(&s->stop); i--) {
        jd_batch_set_limit(s->b, 1 + (unsigned)(i % 16));
        cr_assert_eq(jd_batch_get_stats(s->b, &stats), 0);
        cr_assert_geq(stats.pulled, seen);
        cr_assert_leq(stats.in_flight, 16);
        seen = stats.pulled;
    }
    jd_batch_set_limit(s->b, 16);
    if (atomic_load(&s->stop))
        jd_batch_drain(s->b); /* all is pulled */
    return NULL;
}

ON_WORKERS(plain_threads_steer_and_watch, 2, 30)
{
    struct play *p = play_new((int)jd_test_rounds(4000));
    jd_batch_options o = pull_options(p, 16);
    struct steering s = { 0 };
    pthread_t threads[2];

    p->script = any_time;
    cr_assert_eq(open_play(p, &o, &s.b), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, steer, &s), 0);
    cr_assert_eq(take_all(p, s.b), 0);
    atomic_store(&s.stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(p->next, p->items);
    cr_assert_eq(close_play(p, s.b, &o), 0);
    free(p);
    return jd_ok(NULL);
}

ON_WORKERS(opening_out_of_memory, 1, 20)
{
    int failed = 0, err = 1;

    for (uint64_t visit = 0; err; visit++) {
        struct play *p = play_new(100);
        jd_batch_options o = pull_options(p, 70);
        jd_batch *b = NULL;

        fault_arm(FAULT_ALLOC, visit, 1);
        err = open_play(p, &o, &b);
        if (!err) {
            err = take_all(p, b);
            cr_assert_eq(close_play(p, b, &o), err);
        }
        fault_arm(FAULT_ALLOC, 0, 0);
        cr_assert(err == 0 || err == -ENOMEM, "visit %d: %d", (int)visit, err);
        failed += err == -ENOMEM;
        free(p);
    }
    cr_assert_gt(failed, 1);
    return jd_ok(NULL);
}

/* --- One call ------------------------------------------------------------------------------- */

static int twice_reset(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a;
    return attempt < 2 ? -ECONNRESET : 0;
}

IN_SIMULATION(one_call_has_attempts_clocks_and_permits, 20)
{
    struct play *p = play_new(1);
    jd_sem sem = JD_SEM_INIT(1);
    jd_batch_options o = pull_options(p, 1);
    int64_t start;
    jd_result r;

    o.limit = 0; /* does not count */
    o.sem = &sem;
    cr_assert_eq(jd_call(NULL, p->actors, &o).error, -EINVAL);
    r = jd_call(play_call, p->actors, &o);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.num, 1);
    atomic_store(&p->actors[0].attempts, 0);
    p->script = twice_reset;
    o.attempts = 3;
    o.backoff = JD_MS(5);
    r = jd_call(play_call, p->actors, &o);
    cr_assert_eq(r.num, 1);
    cr_assert_eq(r.error, 0);
    atomic_store(&p->actors[0].attempts, 0);
    o.attempts = 2;
    cr_assert_eq(jd_call(play_call, p->actors, &o).error, -ECONNRESET);
    p->script = hangs;
    for (int clock = 0; clock < 3; clock++) {
        atomic_store(&p->actors[0].attempts, 0);
        o.attempts = 1;
        o.attempt_timeout = clock == 0 ? JD_SEC(1) : 0;
        o.item_timeout = clock == 1 ? JD_SEC(1) : 0;
        o.total_timeout = clock == 2 ? JD_SEC(1) : 0;
        start = jd_now();
        cr_assert_eq(jd_call(play_call, p->actors, &o).error, -ETIMEDOUT);
        cr_assert_lt(jd_now() - start, JD_SEC(1) + JD_MS(20));
        cr_assert_eq(jd_checkpoint(), 0);
    }
    cr_assert_eq(jd_sem_value(&sem), 1);
    free(p);
    return jd_ok(NULL);
}

static jd_result plain_call(void *item, void *ctx)
{
    cr_assert_null(ctx);
    return jd_ok(item);
}

static jd_result cancelled_call(void *arg)
{
    struct play *p = arg;
    jd_batch_options o = pull_options(p, 1);

    return jd_call(play_call, p->actors, &o);
}

IN_SIMULATION(one_call_without_options_and_a_cancelled_one, 20)
{
    struct play *p = play_new(1);
    jd_task *t;

    cr_assert_eq(jd_call(plain_call, p, NULL).ptr, p);
    p->script = hangs;
    t = jd_spawn(cancelled_call, p);
    cr_assert_eq(jd_sleep(JD_SEC(1)), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    cr_assert_eq(atomic_load(&p->running), 0);
    free(p);
    return jd_ok(NULL);
}

Test(batch, one_call_outside_a_task_is_refused)
{
    cr_assert_eq(jd_call(plain_call, NULL, NULL).error, -EPERM);
}
