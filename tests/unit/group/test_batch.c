/* SPDX-License-Identifier: MIT */
/* Batches: options, delivery within the limit, progress, nesting, memory (BR1-BR5, BR19, BR22, BR23). */
#include <limits.h>

#include "batch_rig.h"
#include "flat_run.h"

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
    o.flags = 0;
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
    few->pause = JD_MS(10);
    cr_assert_eq(run_batch(few, &o, &s), 0);
    cr_assert_eq(s.in_flight_max, 3);
    cr_assert_geq(s.p50, JD_MS(9)); /* a sixteenth below 10 */
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
    w->pause = JD_MS(20);
    cr_assert_eq(run_batch(w, &o, &s), 0);
    cr_assert_eq(s.in_flight_max, 50);
    cr_assert_eq(atomic_load(&w->running_max), 50);
    free(w);
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
struct counted {
    int left, sunk;
};

static int counted_source(void *ctx, void **ret_item)
{
    struct counted *c = ctx;

    *ret_item = c;
    return c->left-- > 0;
}

static jd_result counted_call(void *item, void *ctx)
{
    (void)ctx;
    (void)jd_yield();
    return jd_ok(item);
}

static int counted_sink(void *item, jd_result r, void *ctx)
{
    (void)item;
    ((struct counted *)ctx)->sunk += r.error ? 0 : 1;
    return 0;
}

static jd_result nested_call(void *item, void *ctx)
{
    struct counted inner = { 10, 0 };
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    JD_SCOPE(scope, JD_SEC(5));

    (void)item;
    (void)ctx;
    o.limit = 3;
    o.ctx = &inner;
    cr_assert_eq(jd_batch_run(counted_source, counted_call, counted_sink, &o, NULL), 0);
    return jd_ok_num(inner.sunk);
}

static int nested_sink(void *item, jd_result r, void *ctx)
{
    (void)item;
    ((struct counted *)ctx)->sunk += (int)r.num;
    return 0;
}

ON_WORKERS(batches_nest, 2, 10)
{
    struct counted outer = { 50, 0 };
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.limit = 5;
    o.ctx = &outer;
    cr_assert_eq(jd_batch_run(counted_source, nested_call, nested_sink, &o, NULL), 0);
    cr_assert_eq(outer.sunk, 500);
    return jd_ok(NULL);
}

/*
 * BR1, BR28: flat memory over many items.
 */

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
    struct flat_run run;

    o.limit = 50;
    o.ctx = &left;
    cr_assert_eq(jd_batch_run(many_source, no_op, NULL, &o, &s), 0);
    left = items;
    run = flat_run_begin();
    cr_assert_eq(jd_batch_run(many_source, no_op, NULL, &o, &s), 0);
    flat_run_end(&run, items);
    cr_assert_eq(s.ok, items);
    return jd_ok(NULL);
}
