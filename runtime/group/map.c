/* SPDX-License-Identifier: MIT */
/*
 * jd_map: a batch over an array. The batch's items are cells of the result array, so that a call
 * can put its result where it belongs without a sink: no two calls share a cell, and the batch has
 * joined all of them when it returns.
 *
 * Threads: the caller's task; calls on any worker.
 */
#include <errno.h>

#include <jackdaw/batch.h>

struct map {
    void *const *items;
    jd_result *ret;
    size_t n;
    size_t next; /* the consumer's */
    jd_call_fn call;
    void *ctx;
};

static int map_source(void *ctx, void **ret_item)
{
    struct map *m = ctx;

    if (m->next == m->n)
        return 0;
    *ret_item = &m->ret[m->next++];
    return 1;
}

static jd_result map_call(void *item, void *ctx)
{
    struct map *m = ctx;
    jd_result *cell = item;

    *cell = m->call(m->items[cell - m->ret], m->ctx);
    return jd_ok(NULL); /* failures are the caller's to look at */
}

int jd_map(void *const *items, size_t n, unsigned limit, jd_call_fn call, void *ctx, jd_result *ret)
{
    struct map m = { .items = items, .ret = ret, .n = n, .call = call, .ctx = ctx };
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    if (!call || limit == 0 || (n > 0 && (!items || !ret)))
        return -EINVAL;
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        ret[i] = jd_err(-ECANCELED);
    o.limit = limit;
    o.errors_max = JD_ALL;
    o.ctx = &m;
    return jd_batch_run(map_source, map_call, /* sink= */ NULL, &o, /* ret_stats= */ NULL);
}
