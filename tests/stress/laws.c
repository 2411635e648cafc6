/* SPDX-License-Identifier: MIT */
/*
 * Laws of conservation, one test each, on two workers and on three, with cancels at random:
 *
 *   tasks      each task that plain threads, calls and groups start is entered once and ends once
 *   permits    what is granted comes back, never more is out than there is, while the number changes
 *   items      each item of batches that share a bound ends once: delivered or abandoned
 *
 * laws_callbacks.c has those of callbacks, laws_io.c those of bytes and connections, mix.c those of
 * futures, forks and waits. Bounded by operations; repeat a run with JD_TEST_SEED.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <jackdaw/jackdaw.h>

#include "contract.h"
#include "jd_test.h"
#include "laws.h"

#define THREADS 3

static void raise_to(atomic_long *max, long now)
{
    long seen = atomic_load(max);

    while (now > seen && !atomic_compare_exchange_weak(max, &seen, now)) { /* retry */
    }
}

static void check_cancelled(int err)
{
    cr_assert(err == 0 || err == -ECANCELED, "%d", err);
}

static void linger(struct rng *rng)
{
    switch (rng_below(rng, 3)) {
    case 0:
        break;
    case 1:
        check_cancelled(jd_yield());
        break;
    default:
        check_cancelled(jd_sleep(JD_US(rng_below(rng, 100))));
    }
}

/* --- Tasks -------------------------------------------------------------------------------------- */

static struct {
    jd_runtime *rt;
    unsigned long rounds;
    atomic_long started, entered, ended, cancels, calls;
    atomic_uint next_user;
} tasks;

static jd_result counted_task(void *arg)
{
    struct rng rng = rng_of(100 + atomic_fetch_add(&tasks.next_user, 1));

    more(&tasks.entered, 1);
    linger(&rng);
    linger(&rng);
    more(&tasks.ended, 1);
    return jd_ok(arg);
}

static jd_result counted_member(void *arg)
{
    jd_result r = counted_task(arg);
    struct rng rng = rng_of(100 + atomic_fetch_add(&tasks.next_user, 1));

    return one_in(&rng, 16) ? jd_err(-EIO) : r;
}

/* A group of up to eight, perhaps cancelled in between, by its deadline, or by a failing member. */
static jd_result counted_group(void *arg)
{
    struct rng rng = rng_of(100 + atomic_fetch_add(&tasks.next_user, 1));
    unsigned members = rng_below(&rng, 8);
    jd_group g;
    int err = 0;

    more(&tasks.entered, 1);
    jd_group_open(&g, 0, one_in(&rng, 3) ? JD_US(rng_below(&rng, 100)) : JD_FOREVER);
    for (unsigned i = 0; i < members && !err; i++) {
        more(&tasks.started, 1); /* first: it may end before the spawn returns */
        err = jd_group_spawn(&g, counted_member, NULL);
        if (err)
            more(&tasks.started, -1);
        cr_assert(err == 0 || err == -ECANCELED || err == -ESHUTDOWN, "%d", err);
    }
    if (one_in(&rng, 3))
        jd_group_cancel(&g);
    err = jd_group_close(&g);
    cr_assert(err == 0 || err == -ECANCELED || err == -ETIMEDOUT || err == -EIO, "%d", err);
    more(&tasks.ended, 1);
    return jd_ok(arg);
}

/* A task from a plain thread: called, awaited, cancelled at some point, or left to itself. */
static void start_one(struct rng *rng)
{
    jd_fn fn = one_in(rng, 2) ? counted_task : counted_group;
    jd_task *t;

    more(&tasks.started, 1);
    if (one_in(rng, 4)) {
        jd_result r = jd_runtime_call(tasks.rt, fn, &tasks);

        cr_assert_eq(r.error, 0);
        cr_assert_eq(r.ptr, &tasks, "the result of another call");
        more(&tasks.calls, 1);
        return;
    }
    cr_assert_eq(jd_runtime_spawn_task(tasks.rt, fn, NULL, NULL, &t), 0);
    if (one_in(rng, 3)) {
        int err = jd_future_wait(jd_task_future(t), one_in(rng, 2) ? JD_FOREVER : JD_US(20));

        cr_assert(err == 0 || err == -ETIMEDOUT, "%d", err);
    }
    if (one_in(rng, 2) && jd_task_cancel(t, "law") == 0)
        more(&tasks.cancels, 1);
    jd_task_unref(t);
}

static void start_many(unsigned index, void *arg)
{
    struct rng rng = rng_of(index);

    (void)arg;
    for (unsigned long i = 0; i < tasks.rounds; i++)
        start_one(&rng);
}

static void law_of_tasks(jd_runtime *rt)
{
    static struct crew crew;

    tasks.rt = rt;
    tasks.rounds = jd_test_rounds(400);
    crew_start(&crew, THREADS, start_many, NULL);
    crew_join(&crew);
    runtime_end(rt); /* cancels and joins those that were left to themselves */
    fprintf(stderr, "# %ld tasks, %ld calls, %ld cancels\n", tasks.started, tasks.calls,
            tasks.cancels);
    cr_assert_eq(tasks.entered, tasks.started);
    cr_assert_eq(tasks.ended, tasks.started);
    cr_assert_gt(tasks.cancels, 0);
}

/* --- Permits ------------------------------------------------------------------------------------ */

#define PERMITS_MAX 8
#define WAITERS 10

static struct {
    jd_sem sem;
    unsigned long rounds;
    atomic_long out, out_max; /* permits that somebody holds */
    atomic_long granted, returned, cancelled, timed_out;
    atomic_bool over;
} permits;

/* In a task, or on a plain thread: that one is not cancelled and holds without a pause. */
static void take_some(struct rng *rng, bool in_task)
{
    unsigned k = 1 + rng_below(rng, PERMITS_MAX / 2);
    int64_t timeout = one_in(rng, 3) ? JD_US(rng_below(rng, 60)) : JD_FOREVER;
    int err = jd_sem_acquire_n_for(&permits.sem, k, timeout);

    more(&permits.timed_out, err == -ETIMEDOUT);
    more(&permits.cancelled, err == -ECANCELED);
    cr_assert(err == 0 || err == -ETIMEDOUT || (in_task && err == -ECANCELED), "%d", err);
    if (err)
        return;
    more(&permits.granted, k);
    raise_to(&permits.out_max, atomic_fetch_add(&permits.out, k) + k);
    if (in_task)
        linger(rng);
    more(&permits.out, -(long)k);
    more(&permits.returned, k);
    cr_assert_eq(jd_sem_release_n(&permits.sem, k), 0);
}

static jd_result taker(void *arg)
{
    struct rng rng = rng_of((unsigned)(uintptr_t)arg);

    for (int i = 0; i < 12; i++)
        take_some(&rng, true);
    return jd_ok(NULL);
}

static void take_on_thread(unsigned index, void *arg)
{
    struct rng rng = rng_of(index);

    (void)arg;
    for (unsigned long i = 0; i < 200 * permits.rounds && !atomic_load(&permits.over); i++)
        take_some(&rng, false);
}

/* While the others take and give back, the number goes up and down; then it is the greatest one. */
static jd_result permit_rounds(void *arg)
{
    struct rng rng = rng_of(50);

    (void)arg;
    for (unsigned long round = 0; round < permits.rounds; round++) {
        jd_task *t[WAITERS];

        for (unsigned i = 0; i < WAITERS; i++)
            cr_assert_not_null(
                t[i] = jd_spawn(taker, (void *)(uintptr_t)(1000 + round * WAITERS + i)));
        for (unsigned i = 0; i < 2 * WAITERS; i++) {
            cr_assert_eq(jd_sem_resize(&permits.sem, rng_below(&rng, PERMITS_MAX + 1)), 0);
            if (one_in(&rng, 4))
                (void)jd_task_cancel(t[i / 2], "law"); /* -EALREADY: it was faster */
            cr_assert_eq(one_in(&rng, 2) ? jd_yield() : jd_sleep(JD_US(rng_below(&rng, 50))), 0);
        }
        cr_assert_eq(jd_sem_resize(&permits.sem, PERMITS_MAX), 0);
        for (unsigned i = 0; i < WAITERS; i++)
            cr_assert_eq(jd_join(t[i]).error, 0);
    }
    return jd_ok(NULL);
}

static void law_of_permits(jd_runtime *rt)
{
    static struct crew crew;

    permits.rounds = jd_test_rounds(60);
    cr_assert_eq(jd_sem_init(&permits.sem, PERMITS_MAX), 0);
    crew_start(&crew, 1, take_on_thread, NULL);
    cr_assert_eq(jd_runtime_call(rt, permit_rounds, NULL).error, 0);
    atomic_store(&permits.over, true);
    crew_join(&crew);
    runtime_end(rt);
    fprintf(stderr, "# %ld permits, %ld waits cancelled, %ld timed out, at most %ld out\n",
            permits.granted, permits.cancelled, permits.timed_out, permits.out_max);
    cr_assert_eq(permits.returned, permits.granted);
    cr_assert_eq(permits.out, 0);
    cr_assert_leq(permits.out_max, PERMITS_MAX);
    cr_assert_eq(jd_sem_value(&permits.sem), PERMITS_MAX);
    cr_assert_gt(permits.cancelled, 0);
}

/* --- Items -------------------------------------------------------------------------------------- */

#define BATCHES 6
#define ITEMS_MAX 120
#define SHARED 5

static struct {
    jd_sem sem; /* of all batches */
    unsigned long rounds;
    atomic_long running, running_max;
    atomic_long pulled, delivered, abandoned, cancelled_batches;
} items;

struct one_batch {
    struct rng rng;
    int count, next;
    int sink_error_at; /* deliveries; 0: never */
    int sunk, abandoned;
    atomic_int called, returned;
    atomic_int inside; /* calls now */
    unsigned limit;
    unsigned char ended[ITEMS_MAX];
};

static int give_item(void *ctx, void **ret_item)
{
    struct one_batch *b = ctx;

    if (b->next == b->count)
        return 0;
    *ret_item = &b->ended[b->next++];
    return 1;
}

static jd_result call_item(void *item, void *ctx)
{
    struct one_batch *b = ctx;
    uintptr_t dice = (uintptr_t)item * UINT64_C(0x9e3779b97f4a7c15) >> 40;
    int err = 0;

    atomic_fetch_add(&b->called, 1);
    cr_assert_leq((unsigned)atomic_fetch_add(&b->inside, 1) + 1, b->limit);
    raise_to(&items.running_max, atomic_fetch_add(&items.running, 1) + 1);
    if (dice % 3)
        err = dice % 3 == 1 ? jd_yield() : jd_sleep(JD_US(dice % 80));
    check_cancelled(err);
    more(&items.running, -1);
    atomic_fetch_sub(&b->inside, 1);
    atomic_fetch_add(&b->returned, 1);
    return err ? jd_err(err) : dice % 16 == 0 ? jd_err(-EIO) : jd_ok(item);
}

static int sink_item(void *item, jd_result r, void *ctx)
{
    struct one_batch *b = ctx;

    cr_assert(r.error == -EIO || (r.error == 0 && r.ptr == item), "%d", r.error);
    (*(unsigned char *)item)++;
    b->sunk++;
    if (one_in(&b->rng, 4))
        check_cancelled(jd_yield());
    return b->sunk == b->sink_error_at ? -ENOSPC : 0;
}

static void abandon_item(void *item, jd_result r, void *ctx)
{
    struct one_batch *b = ctx;

    (void)r;
    (*(unsigned char *)item)++;
    b->abandoned++;
}

static jd_result run_one_batch(void *arg)
{
    struct one_batch *b = arg;
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats s = JD_BATCH_STATS_INIT;
    int err;

    b->count = (int)rng_below(&b->rng, ITEMS_MAX);
    b->sink_error_at = one_in(&b->rng, 6) ? 1 + (int)rng_below(&b->rng, 40) : 0;
    b->limit = 1 + rng_below(&b->rng, 12);
    o.limit = b->limit;
    o.sem = one_in(&b->rng, 3) ? NULL : &items.sem;
    o.errors_max = one_in(&b->rng, 3) ? rng_below(&b->rng, 4) : JD_ALL;
    o.total_timeout = one_in(&b->rng, 4) ? JD_US(50 + rng_below(&b->rng, 1000)) : 0;
    o.abandon = abandon_item;
    o.ctx = b;
    err = jd_batch_run(give_item, call_item, sink_item, &o, &s);
    cr_assert(err == 0 || err == -ECANCELED || err == -ENOSPC || err == -EIO || err == -ETIMEDOUT,
              "%d", err);
    for (int i = 0; i < ITEMS_MAX; i++)
        cr_assert_eq(b->ended[i], i < b->next, "item %d", i);
    cr_assert_eq(b->sunk + b->abandoned, b->next);
    cr_assert_eq(b->inside, 0);
    cr_assert_eq(b->called, b->returned);
    cr_assert_eq(s.pulled, (uint64_t)b->next);
    cr_assert_eq(s.ok + s.failed, (uint64_t)b->sunk);
    cr_assert_eq(s.cancelled + s.abandoned, (uint64_t)b->abandoned);
    more(&items.pulled, b->next);
    more(&items.delivered, b->sunk);
    more(&items.abandoned, b->abandoned);
    more(&items.cancelled_batches, err == -ECANCELED);
    return jd_ok(NULL);
}

static jd_result batch_rounds(void *arg)
{
    static struct one_batch batches[BATCHES];
    struct rng rng = rng_of(60);

    (void)arg;
    for (unsigned long round = 0; round < items.rounds; round++) {
        jd_task *t[BATCHES];

        for (unsigned i = 0; i < BATCHES; i++) {
            batches[i] = (struct one_batch){ .rng = rng_of(2000 + (unsigned)round * BATCHES + i) };
            cr_assert_not_null(t[i] = jd_spawn(run_one_batch, &batches[i]));
        }
        cr_assert_eq(jd_sleep(JD_US(rng_below(&rng, 800))), 0);
        for (unsigned i = 0; i < BATCHES; i++)
            if (one_in(&rng, 2))
                (void)jd_task_cancel(t[i], "law"); /* -EALREADY: it was faster */
        for (unsigned i = 0; i < BATCHES; i++)
            cr_assert_eq(jd_join(t[i]).error, 0);
    }
    return jd_ok(NULL);
}

static void law_of_items(jd_runtime *rt)
{
    items.rounds = 8 + jd_test_rounds(60); /* enough to meet a cancel */
    cr_assert_eq(jd_sem_init(&items.sem, SHARED), 0);
    cr_assert_eq(jd_runtime_call(rt, batch_rounds, NULL).error, 0);
    runtime_end(rt);
    fprintf(stderr, "# %ld items: %ld delivered, %ld abandoned; %ld batches cancelled\n",
            items.pulled, items.delivered, items.abandoned, items.cancelled_batches);
    cr_assert_eq(items.delivered + items.abandoned, items.pulled);
    cr_assert_eq(items.running, 0);
    cr_assert_eq(jd_sem_value(&items.sem), SHARED);
    cr_assert_gt(items.cancelled_batches, 0);
}

/* --- The tests ---------------------------------------------------------------------------------- */

LAW_OF_A_RUNTIME(laws, tasks)
LAW_OF_A_RUNTIME(laws, permits)
LAW_OF_A_RUNTIME(laws, items)
