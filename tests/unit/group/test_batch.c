/* SPDX-License-Identifier: MIT */
/* Batches: jd_batch_run and jd_map against the rules BR1-BR28 of this version's features. */
#include "jd_test.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "base/rng.h"

#define ITEMS_MAX 4096

/* One batch's world: counts what each callback saw, and how often each item ended. */
struct world {
    int items, next;
    int fail_from, fail_every; /* items that fail with -EIO; 0: none */
    int64_t pause;             /* of a call; 0: none, < 0: yield */
    int source_error_at;       /* 0: never */
    int sink_error_at;         /* deliveries; 0: never */
    bool sink_yields, source_yields;
    jd_sem *hold; /* calls take one and keep it */
    jd_task *consumer;
    atomic_int running, running_max;
    int sunk, abandoned, in_sink;
    int progress_calls;
    jd_batch_stats last;
    atomic_uchar called[ITEMS_MAX];
    unsigned char ended[ITEMS_MAX];
    jd_result abandoned_with[ITEMS_MAX];
};

static void *item_of(int index)
{
    return (void *)(intptr_t)(index + 1);
}

static int index_of(const void *item)
{
    return (int)(intptr_t)item - 1;
}

static int source(void *ctx, void **ret_item)
{
    struct world *w = ctx;

    cr_assert_eq(jd_task_current(), w->consumer);
    cr_assert_eq(w->in_sink, 0);
    if (w->source_yields && jd_yield())
        return -ECANCELED;
    if (w->source_error_at && w->next + 1 == w->source_error_at)
        return -EBADMSG;
    if (w->next == w->items)
        return 0;
    *ret_item = item_of(w->next++);
    return 1;
}

static jd_result call(void *item, void *ctx)
{
    struct world *w = ctx;
    int index = index_of(item);
    int now = atomic_fetch_add(&w->running, 1) + 1;
    int max = atomic_load(&w->running_max);
    int err = 0;

    while (now > max && !atomic_compare_exchange_weak(&w->running_max, &max, now))
        ;
    cr_assert_eq(atomic_fetch_add(&w->called[index], 1), 0);
    cr_assert_neq(jd_task_current(), w->consumer);
    cr_assert_eq(jd_call_attempt(), 0);
    cr_assert_eq(jd_call_is_hedge(), 0);
    if (w->pause > 0)
        err = jd_sleep(w->pause);
    else if (w->pause < 0)
        err = jd_yield();
    if (w->hold && !err)
        err = jd_sem_acquire(w->hold);
    atomic_fetch_sub(&w->running, 1);
    if (err)
        return jd_err(err);
    if (w->fail_every && index >= w->fail_from && (index - w->fail_from) % w->fail_every == 0)
        return jd_err(-EIO);
    return jd_ok_num(index);
}

static int sink(void *item, jd_result r, void *ctx)
{
    struct world *w = ctx;
    int index = index_of(item);

    cr_assert_eq(jd_task_current(), w->consumer);
    cr_assert_eq(w->in_sink++, 0);
    cr_assert_eq(atomic_load(&w->called[index]), 1);
    cr_assert_eq(w->ended[index]++, 0);
    if (!r.error)
        cr_assert_eq(r.num, index);
    w->sunk++;
    if (w->sink_yields)
        (void)jd_yield();
    w->in_sink--;
    return w->sink_error_at && w->sunk == w->sink_error_at ? -ENOSPC : 0;
}

static void abandon(void *item, jd_result r, void *ctx)
{
    struct world *w = ctx;

    cr_assert_eq(jd_task_current(), w->consumer);
    cr_assert_eq(w->ended[index_of(item)]++, 0);
    w->abandoned_with[index_of(item)] = r;
    w->abandoned++;
}

static void progress(const jd_batch_stats *s, void *ctx)
{
    struct world *w = ctx;

    cr_assert_eq(jd_task_current(), w->consumer);
    w->progress_calls++;
    w->last = *s;
}

/* Runs and checks what must hold however it ends (BR12, BR13). */
static int run_batch(struct world *w, jd_batch_options *o, jd_batch_stats *ret)
{
    int err;

    *ret = (jd_batch_stats)JD_BATCH_STATS_INIT;
    w->consumer = jd_task_current();
    o->ctx = w;
    o->abandon = abandon;
    err = jd_batch_run(source, call, sink, o, ret);
    cr_assert_eq(ret->pulled, (uint64_t)w->next);
    cr_assert_eq(ret->pulled, ret->ok + ret->failed + ret->cancelled + ret->abandoned);
    cr_assert_eq(ret->ok + ret->failed, (uint64_t)w->sunk);
    cr_assert_eq(ret->cancelled + ret->abandoned, (uint64_t)w->abandoned);
    cr_assert_eq(ret->in_flight, 0);
    cr_assert_eq(atomic_load(&w->running), 0);
    cr_assert_leq(ret->in_flight_max, o->limit);
    cr_assert_leq((unsigned)atomic_load(&w->running_max), o->limit);
    for (int i = 0; i < w->next; i++)
        cr_assert_eq(w->ended[i], 1);
    return err;
}

static struct world *world_new(int items)
{
    struct world *w = calloc(1, sizeof(*w));

    cr_assert_not_null(w);
    w->items = items;
    return w;
}

static void run_on(unsigned workers, jd_fn fn, void *arg)
{
    jd_config cfg = JD_CONFIG_INIT;

    cfg.workers = workers;
    cr_assert_eq(jd_run(fn, arg, &cfg).error, 0);
}

#define ON_WORKERS(name, count, seconds) \
    static jd_result name##_main(void *unused); \
    Test(batch, name, .timeout = seconds) \
    { \
        run_on(count, name##_main, NULL); \
    } \
    static jd_result name##_main(void *unused JD_TEST_UNUSED)

#define JD_TEST_UNUSED __attribute__((unused))

ON_WORKERS(wrong_options_are_refused, 1, 10)
{
    struct world *w = world_new(1);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats no_size = { 0 };
    struct {
        jd_batch_options o;
        uint64_t later;
    } longer = { JD_BATCH_OPTIONS_INIT, 0 };

    w->consumer = jd_task_current();
    cr_assert_eq(jd_batch_run(source, call, sink, &o, NULL), -EINVAL); /* limit 0 */
    o.limit = 1;
    o.ctx = w;
    cr_assert_eq(jd_batch_run(NULL, call, sink, &o, NULL), -EINVAL);
    cr_assert_eq(jd_batch_run(source, NULL, sink, &o, NULL), -EINVAL);
    cr_assert_eq(jd_batch_run(source, call, sink, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_batch_run(source, call, sink, &o, &no_size), -EINVAL);
    o.flags = 1u << 31;
    cr_assert_eq(jd_batch_run(source, call, sink, &o, NULL), -EINVAL);
    o.flags = JD_BATCH_ORDERED;
    cr_assert_eq(jd_batch_run(source, call, sink, &o, NULL), -ENOSYS);
    o.flags = 0;
    o.attempts = 2;
    cr_assert_eq(jd_batch_run(source, call, sink, &o, NULL), -ENOSYS);
    o.attempts = 1;
    o.hedge_after = 1;
    cr_assert_eq(jd_batch_run(source, call, sink, &o, NULL), -ENOSYS);
    o.hedge_after = 0;
    o.size = 0;
    cr_assert_eq(jd_batch_run(source, call, sink, &o, NULL), -EINVAL);
    o.size = sizeof(o);
    longer.o = o;
    longer.o.size = sizeof(longer);
    longer.later = 1;
    cr_assert_eq(jd_batch_run(source, call, sink, &longer.o, NULL), -E2BIG);
    cr_assert_eq(w->next, 0);
    longer.later = 0;
    cr_assert_eq(jd_batch_run(source, call, sink, &longer.o, NULL), 0);
    cr_assert_eq(w->sunk, 1);
    free(w);
    return jd_ok(NULL);
}

Test(batch, outside_a_task_nothing_happens)
{
    struct world *w = world_new(1);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.limit = 1;
    o.ctx = w;
    cr_assert_eq(jd_batch_run(source, call, sink, &o, NULL), -EPERM);
    cr_assert_eq(w->next, 0);
    free(w);
}

ON_WORKERS(every_item_is_delivered_once_within_the_limit, 2, 20)
{
    static const unsigned limits[] = { 1, 2, 7, 64, 65, 200, UINT_MAX };
    static const int64_t pauses[] = { 0, -1, JD_US(50) };

    for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
        for (size_t p = 0; p < sizeof(pauses) / sizeof(pauses[0]); p++) {
            struct world *w = world_new(limits[l] < 4 ? 60 : 500);
            jd_batch_options o = JD_BATCH_OPTIONS_INIT;
            jd_batch_stats s;

            o.limit = limits[l];
            w->pause = pauses[p];
            w->sink_yields = p == 1;
            w->source_yields = l % 2;
            cr_assert_eq(run_batch(w, &o, &s), 0);
            cr_assert_eq(s.ok, (uint64_t)w->items);
            free(w);
        }
    }
    return jd_ok(NULL);
}

ON_WORKERS(no_items_and_fewer_than_the_limit, 1, 10)
{
    struct world *none = world_new(0), *few = world_new(3);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;

    o.limit = 1000;
    cr_assert_eq(run_batch(none, &o, &s), 0);
    cr_assert_eq(s.pulled, 0);
    cr_assert_eq(s.p50, 0);
    few->pause = JD_MS(1);
    cr_assert_eq(run_batch(few, &o, &s), 0);
    cr_assert_eq(s.in_flight_max, 3);
    cr_assert_geq(s.p50, JD_MS(1));
    cr_assert_geq(s.max, s.p99);
    cr_assert_geq(s.elapsed, s.max);
    free(none);
    free(few);
    return jd_ok(NULL);
}

/* BR3: never fewer than the limit while there are items: all calls wait for the last one to come. */
ON_WORKERS(the_limit_is_reached, 1, 10)
{
    struct world *w = world_new(100);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;

    o.limit = 50;
    w->pause = JD_MS(2);
    cr_assert_eq(run_batch(w, &o, &s), 0);
    cr_assert_eq(s.in_flight_max, 50);
    cr_assert_eq(atomic_load(&w->running_max), 50);
    free(w);
    return jd_ok(NULL);
}

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

ON_WORKERS(total_timeout_cancels_and_joins, 1, 10)
{
    struct world *w = world_new(1000);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;

    o.limit = 10;
    o.total_timeout = JD_MS(20);
    w->pause = JD_SEC(100);
    cr_assert_eq(run_batch(w, &o, &s), -ETIMEDOUT);
    cr_assert_eq(s.cancelled, 10);
    cr_assert_eq(s.timed_out, 10);
    cr_assert_geq(s.elapsed, JD_MS(20));
    cr_assert_lt(s.elapsed, JD_SEC(5));
    cr_assert_eq(w->abandoned_with[3].error, -ECANCELED);
    cr_assert_eq(jd_checkpoint(), 0); /* the caller itself is not cancelled */
    free(w);
    return jd_ok(NULL);
}

struct cancelled_run {
    struct world *w;
    jd_batch_options o;
    jd_batch_stats s;
    int err;
};

static jd_result run_to_be_cancelled(void *p)
{
    struct cancelled_run *run = p;

    run->err = run_batch(run->w, &run->o, &run->s);
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

/* Two batches on one semaphore, and a plain user of it: never more than its permits in all. */
struct shared_world {
    jd_sem sem;
    atomic_int inside, inside_max;
    atomic_int done;
};

static jd_result shared_call(void *item, void *ctx)
{
    struct shared_world *w = ctx;
    int now = atomic_fetch_add(&w->inside, 1) + 1;
    int max = atomic_load(&w->inside_max);

    while (now > max && !atomic_compare_exchange_weak(&w->inside_max, &max, now))
        ;
    (void)jd_yield();
    atomic_fetch_sub(&w->inside, 1);
    return jd_ok(item);
}

struct counted_source {
    struct shared_world *w;
    int left, sunk;
};

static int counted_next(void *ctx, void **ret_item)
{
    struct counted_source *s = ctx;

    if (s->left == 0)
        return 0;
    s->left--;
    *ret_item = s;
    return 1;
}

static jd_result counted_call(void *item, void *ctx)
{
    (void)item;
    return shared_call(item, ((struct counted_source *)ctx)->w);
}

static int counted_sink(void *item, jd_result r, void *ctx)
{
    struct counted_source *s = ctx;

    (void)item;
    s->sunk += !r.error;
    if (s->sunk % 3 == 0)
        (void)jd_yield();
    return 0;
}

static jd_result shared_batch(void *p)
{
    struct counted_source *s = p;
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.limit = 20;
    o.sem = &s->w->sem;
    o.ctx = s;
    cr_assert_eq(jd_batch_run(counted_next, counted_call, counted_sink, &o, NULL), 0);
    atomic_fetch_add(&s->w->done, 1);
    return jd_ok(NULL);
}

ON_WORKERS(a_shared_semaphore_bounds_batches_together, 2, 30)
{
    struct shared_world w = { .sem = JD_SEM_INIT(3) };
    int items = (int)jd_test_rounds(20000);
    struct counted_source a = { &w, items, 0 }, b = { &w, items, 0 };
    jd_task *ta = jd_spawn(shared_batch, &a), *tb = jd_spawn(shared_batch, &b);

    while (atomic_load(&w.done) < 2) {
        cr_assert_eq(jd_sem_acquire(&w.sem), 0);
        (void)shared_call(NULL, &w);
        cr_assert_eq(jd_sem_release(&w.sem), 0);
    }
    (void)jd_join(ta);
    (void)jd_join(tb);
    cr_assert_eq(a.sunk, items);
    cr_assert_eq(b.sunk, items);
    cr_assert_leq(atomic_load(&w.inside_max), 3);
    cr_assert_eq(jd_sem_value(&w.sem), 3);
    return jd_ok(NULL);
}

/* While it waits for a permit that others hold, the batch delivers what is done. */
ON_WORKERS(delivers_while_it_waits_for_a_permit, 1, 10)
{
    struct cancelled_run run = { world_new(5), JD_BATCH_OPTIONS_INIT, JD_BATCH_STATS_INIT, 1 };
    jd_sem sem = JD_SEM_INIT(3), hold = JD_SEM_INIT(0);
    jd_task *t;

    run.o.limit = 5;
    run.o.sem = &sem;
    run.w->hold = &hold;
    t = jd_spawn(run_to_be_cancelled, &run);
    while (atomic_load(&run.w->running) < 3)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_sem_resize(&sem, 1), 0); /* what comes back pays the debt */
    cr_assert_eq(jd_sem_release_n(&hold, 2), 0);
    while (run.w->sunk < 2)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(run.w->next, 3); /* no permit: nothing was pulled */
    cr_assert_eq(jd_sem_release_n(&hold, 3), 0);
    (void)jd_join(t);
    cr_assert_eq(run.err, 0);
    cr_assert_eq(run.s.ok, 5);
    cr_assert_eq(jd_sem_value(&sem), 1);
    free(run.w);
    return jd_ok(NULL);
}

/* BR17: the capacity of the shared bound changes while the batch runs. */
ON_WORKERS(raising_the_shared_bound_starts_calls_at_once, 1, 10)
{
    struct cancelled_run run = { world_new(8), JD_BATCH_OPTIONS_INIT, JD_BATCH_STATS_INIT, 1 };
    jd_sem sem = JD_SEM_INIT(1), hold = JD_SEM_INIT(0);
    jd_task *t;

    run.o.limit = 8;
    run.o.sem = &sem;
    run.w->hold = &hold;
    t = jd_spawn(run_to_be_cancelled, &run);
    while (atomic_load(&run.w->running) < 1)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_sem_resize(&sem, 6), 0);
    while (atomic_load(&run.w->running) < 6)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_sem_release_n(&hold, 8), 0);
    (void)jd_join(t);
    cr_assert_eq(run.err, 0);
    cr_assert_eq(atomic_load(&run.w->running_max), 6);
    free(run.w);
    return jd_ok(NULL);
}

ON_WORKERS(progress_is_called_at_most_once_per_interval_and_at_the_end, 1, 10)
{
    struct world *w = world_new(40);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s;
    int64_t start = jd_now(), spent;

    o.limit = 2;
    o.progress = progress;
    o.progress_every = JD_MS(5);
    w->pause = JD_MS(1);
    cr_assert_eq(run_batch(w, &o, &s), 0);
    spent = jd_now() - start;
    cr_assert_geq(w->progress_calls, 2);
    cr_assert_leq(w->progress_calls, spent / JD_MS(5) + 1);
    cr_assert_eq(w->last.ok, 40); /* the final one sees all */
    free(w);
    w = world_new(1);
    w->pause = JD_MS(20);
    o.progress_every = JD_MS(2);
    cr_assert_eq(run_batch(w, &o, &s), 0);
    cr_assert_gt(w->progress_calls, 2); /* also while nothing happens */
    free(w);
    w = world_new(7);
    w->pause = 0;
    o.progress_every = 0;
    cr_assert_eq(run_batch(w, &o, &s), 0);
    cr_assert_eq(w->progress_calls, 8);
    free(w);
    return jd_ok(NULL);
}

/* A batch inside a call of a batch, and a user's scope inside a call. */
static jd_result nested_call(void *item, void *ctx)
{
    struct counted_source inner = { ctx, 10, 0 };
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    JD_SCOPE(scope, JD_SEC(5));

    (void)item;
    o.limit = 3;
    o.ctx = &inner;
    cr_assert_eq(jd_batch_run(counted_next, counted_call, counted_sink, &o, NULL), 0);
    return jd_ok_num(inner.sunk);
}

static int nested_sink(void *item, jd_result r, void *ctx)
{
    (void)item;
    atomic_fetch_add(&((struct shared_world *)ctx)->done, (int)r.num);
    return 0;
}

static int nested_left;

static int nested_source(void *ctx, void **ret_item)
{
    (void)ctx;
    *ret_item = NULL;
    return nested_left-- > 0;
}

ON_WORKERS(batches_nest, 2, 10)
{
    struct shared_world w = { .sem = JD_SEM_INIT(0) };
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    nested_left = 50;
    o.limit = 5;
    o.ctx = &w;
    cr_assert_eq(jd_batch_run(nested_source, nested_call, nested_sink, &o, NULL), 0);
    cr_assert_eq(atomic_load(&w.done), 500);
    return jd_ok(NULL);
}

/*
 * BR1, BR28: flat memory over many items.
 */

static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long pages = 0;

    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%*d %ld", &pages), 1);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int many_source(void *ctx, void **ret_item)
{
    unsigned long *left = ctx;

    *ret_item = ctx;
    return (*left)-- > 0;
}

static jd_result no_op(void *item, void *ctx)
{
    (void)ctx;
    return jd_ok(item);
}

ON_WORKERS(memory_does_not_grow_with_the_items, 1, 100)
{
    unsigned long warm_up = 100000, left = warm_up, items = jd_test_rounds(10000000);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s = JD_BATCH_STATS_INIT;
    long before;
    int64_t start;

    o.limit = 50;
    o.ctx = &left;
    cr_assert_eq(jd_batch_run(many_source, no_op, NULL, &o, &s), 0);
    left = items;
    before = resident_kib();
    start = jd_now();
    cr_assert_eq(jd_batch_run(many_source, no_op, NULL, &o, &s), 0);
    start = jd_now() - start;
    cr_assert_eq(s.ok, items);
    printf("# %lu items, %.0f ns each, resident memory %+ld KiB\n", items,
           (double)start / (double)items, resident_kib() - before);
#ifndef JD_TEST_RUNNER /* a sanitizer keeps freed memory */
    cr_assert_lt(resident_kib() - before, 4096);
#endif
    return jd_ok(NULL);
}
