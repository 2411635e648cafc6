/* SPDX-License-Identifier: MIT */
/* Batches with a shared semaphore as their second bound (BR2, BR3, BR15, BR17, BR25). */
#include <stdio.h>

#include "batch_rig.h"

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

/* BR15: whoever waits longest is next, however many calls the other batch could start. */
static int endless_source(void *ctx, void **ret_item)
{
    struct counted_source *s = ctx;

    *ret_item = s;
    return atomic_load(&s->w->done) == 0;
}

static jd_result endless_batch(void *p)
{
    struct counted_source *s = p;
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.limit = 1000;
    o.sem = &s->w->sem;
    o.ctx = s;
    cr_assert_eq(jd_batch_run(endless_source, counted_call, counted_sink, &o, NULL), 0);
    return jd_ok(NULL);
}

/* One worker: of two, the machine may take away the small batch's, and the large one goes on. */
ON_WORKERS(a_large_batch_does_not_starve_a_small_one, 1, 30)
{
    struct shared_world w = { .sem = JD_SEM_INIT(2) };
    struct counted_source large = { &w, 0, 0 }, small = { &w, 300, 0 };
    jd_task *ta = jd_spawn(endless_batch, &large);
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.limit = 1;
    o.sem = &w.sem;
    o.ctx = &small;
    cr_assert_eq(jd_batch_run(counted_next, counted_call, counted_sink, &o, NULL), 0);
    atomic_store(&w.done, 1);
    (void)jd_join(ta);
    cr_assert_eq(small.sunk, 300);
    printf("# %d calls of the small batch, %d of the large one\n", small.sunk, large.sunk);
    cr_assert_lt(large.sunk, 300 * 10);
    cr_assert_eq(jd_sem_value(&w.sem), 2);
    return jd_ok(NULL);
}
