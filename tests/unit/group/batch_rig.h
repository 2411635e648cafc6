/* SPDX-License-Identifier: MIT */
#ifndef BATCH_RIG_H
#define BATCH_RIG_H

/*
 * A world around one batch: its callbacks count what they see and check what must hold always.
 *
 * I1  Source, sink and abandon run in the consumer, one at a time; a call runs in another task.
 * I2  Each item is called at most once and ends exactly once.
 */
#include "jd_test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <jackdaw/jackdaw.h>

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

__attribute__((unused)) static int source(void *ctx, void **ret_item)
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

__attribute__((unused)) static jd_result call(void *item, void *ctx)
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

__attribute__((unused)) static int sink(void *item, jd_result r, void *ctx)
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

__attribute__((unused)) static void abandon(void *item, jd_result r, void *ctx)
{
    struct world *w = ctx;

    cr_assert_eq(jd_task_current(), w->consumer);
    cr_assert_eq(w->ended[index_of(item)]++, 0);
    w->abandoned_with[index_of(item)] = r;
    w->abandoned++;
}

__attribute__((unused)) static void progress(const jd_batch_stats *s, void *ctx)
{
    struct world *w = ctx;

    cr_assert_eq(jd_task_current(), w->consumer);
    w->progress_calls++;
    w->last = *s;
}

/* Runs and checks what must hold however it ends (BR12, BR13). */
__attribute__((unused)) static int run_batch(struct world *w, jd_batch_options *o,
                                             jd_batch_stats *ret)
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

__attribute__((unused)) static struct world *world_new(int items)
{
    struct world *w = calloc(1, sizeof(*w));

    cr_assert_not_null(w);
    w->items = items;
    return w;
}

__attribute__((unused)) static void run_on(unsigned workers, jd_fn fn, void *arg)
{
    jd_config cfg = JD_CONFIG_INIT;

    cfg.workers = workers;
    cr_assert_eq(jd_run(fn, arg, &cfg).error, 0);
}

/* A batch in a task of its own, which the test may cancel. */
struct cancelled_run {
    struct world *w;
    jd_batch_options o;
    jd_batch_stats s;
    int err;
};

__attribute__((unused)) static jd_result run_to_be_cancelled(void *p)
{
    struct cancelled_run *run = p;

    run->err = run_batch(run->w, &run->o, &run->s);
    return jd_ok(NULL);
}

/* A test whose body is the main task on so many workers. */
#define ON_WORKERS(name, count, seconds) \
    static jd_result name##_main(void *unused); \
    Test(batch, name, .timeout = seconds) \
    { \
        run_on(count, name##_main, NULL); \
    } \
    static jd_result name##_main(void *unused JD_TEST_UNUSED)

#define JD_TEST_UNUSED __attribute__((unused))

#endif /* BATCH_RIG_H */
