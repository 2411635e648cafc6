/* SPDX-License-Identifier: MIT */
/*
 * jd_call: a batch of one item. Whatever ends that item, its result is the call's.
 *
 * Threads: the caller's task; the attempts on any worker.
 */
#include <errno.h>

#include "group/batch.h"
#include "sched/worker.h"

struct one {
    void *item;
    bool is_pulled;
    bool has_ended;
    int clock;
    jd_result result;
};

static int one_source(void *arg, void **ret_item)
{
    struct one *one = arg;

    if (one->is_pulled)
        return 0;
    one->is_pulled = true;
    *ret_item = one->item;
    return 1;
}

static void one_abandon(void *item, jd_result r, void *arg)
{
    struct one *one = arg;

    (void)item;
    JD_ASSERT(!one->has_ended);
    one->has_ended = true;
    one->clock = jd_batch_clock();
    one->result = r;
}

static int one_sink(void *item, jd_result r, void *arg)
{
    one_abandon(item, r, arg);
    return 0;
}

/* What is about many items does not count. */
static int options_of_one(jd_batch_options *ret, const jd_batch_options *o)
{
    jd_batch_options none = JD_BATCH_OPTIONS_INIT;
    int err = batch_options_read(ret, o ? o : &none);

    if (err)
        return err;
    ret->limit = ret->hedge_after ? 2 : 1;
    ret->flags = 0;
    ret->errors_max = JD_ALL;
    ret->progress = NULL;
    ret->reorder_max = ret->sleeping_max = ret->waiting_max = 0;
    return batch_options_check(ret);
}

jd_result jd_call(jd_call_fn call, void *item, const jd_batch_options *o)
{
    struct one one = { .item = item };
    struct jd_task *task = task_current();
    jd_batch_options taken;
    struct batch *b;
    int err;

    if (!call)
        return jd_err(-EINVAL);
    err = options_of_one(&taken, o);
    if (err)
        return jd_err(err);
    if (!task)
        return jd_err(-EPERM);
    if (batch_is_nested(task, &taken))
        return jd_err(-EDEADLK);
    b = batch_new(one_source, call, &taken);
    if (!b)
        return jd_err(-ENOMEM);
    b->task = task;
    b->source_ctx = b->sink_ctx = b->abandon_ctx = &one;
    b->sink = one_sink;
    b->o.abandon = one_abandon;
    err = batch_execute(b);
    batch_free(b);
    if (!one.has_ended)
        return jd_err(err);
    batch_clock_tell(task, one.clock);
    if (err == -ETIMEDOUT && one.result.error == -ECANCELED)
        one.result.error = -ETIMEDOUT; /* the total time is this call's */
    return one.result;
}
