/* SPDX-License-Identifier: MIT */
/*
 * The pull form: a task of its own, the pump, runs the batch; the user's task takes outcomes from it
 * one by one, and may steer it meanwhile.
 *
 * I1  An outcome is handed over only to somebody who waits for it: jd_batch_next() says `want`, the
 *     pump takes that, fills the cell and says `have`, without a suspension in between. So an
 *     outcome is either taken or still the pump's, which abandons it when the batch is cancelled.
 * I2  A cancelled jd_batch_next() takes its `want` back. If the pump has it already, the outcome is
 *     on its way, and wins.
 * I3  At its end the pump says `have` once; whoever finds the end says it again for the next.
 * I4  The pump waits for `go` before it runs: from then on everybody may know b->task.
 * I5  A pump has a root scope of its own, as any spawned task: the batch may outlive the scope and
 *     the task in which it was opened.
 *
 * Threads: next: one task at a time. Close: a task. The others: any.
 */
#include <errno.h>

#include <jackdaw/task.h>

#include "base/alloc.h"
#include "group/batch.h"
#include "sched/spawn.h"
#include "sched/wait.h"

struct jd_batch {
    struct batch *b;
    jd_task *pump;
    jd_sem go, want, have;
    JD_ATOMIC(uint32_t) is_taken; /* somebody is in jd_batch_next() */
    jd_outcome cell;              /* guarded by want and have (I1) */
    int cell_clock;               /* of it; guarded likewise */
    bool is_full;                 /* the cell; guarded likewise. Not full: this is the end (I3) */
    int err, end_clock;           /* written before the last `have` */
};

static int wait_for_taker(void *arg)
{
    return jd_sem_acquire(&((struct jd_batch *)arg)->want);
}

static int hand_over(void *item, jd_result r, void *arg)
{
    struct jd_batch *h = arg;

    h->cell = (jd_outcome){ .item = item, .result = r };
    h->cell_clock = jd_batch_clock();
    h->is_full = true;
    (void)jd_sem_release(&h->have); /* never refused: there is one for each want */
    return 0;
}

static jd_result pump(void *arg)
{
    struct jd_batch *h = arg;
    int err = jd_sem_acquire(&h->go);

    if (!err)
        err = batch_execute(h->b);
    h->err = err;
    h->end_clock = jd_batch_clock();
    (void)jd_sem_release(&h->have); /* as above */
    return jd_ok(NULL);
}

static void handle_free(struct jd_batch *h)
{
    batch_free(h->b);
    mem_free(h, sizeof(*h));
}

static int handle_new(jd_source_fn source, jd_call_fn call, const jd_batch_options *o,
                      struct jd_batch **ret)
{
    struct jd_batch *h = mem_calloc(sizeof(*h));

    if (!h)
        return -ENOMEM;
    h->b = batch_new(source, call, o);
    if (!h->b) {
        mem_free(h, sizeof(*h));
        return -ENOMEM;
    }
    h->b->sink = hand_over;
    h->b->sink_ctx = h;
    h->b->before_sink = wait_for_taker;
    h->b->is_shared = true;
    if (batch_stats_want(h->b)) {
        handle_free(h);
        return -ENOMEM;
    }
    (void)jd_sem_init(&h->go, 0);
    (void)jd_sem_init(&h->want, 0);
    (void)jd_sem_init(&h->have, 0);
    atom_init(&h->is_taken, 0);
    *ret = h;
    return 0;
}

int jd_batch_open(jd_batch **ret, jd_source_fn source, jd_call_fn call, const jd_batch_options *o)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    struct jd_task *task = task_current();
    jd_batch_options taken;
    struct jd_batch *h;
    int err;

    if (!ret || !source || !call)
        return -EINVAL;
    err = batch_options_take(&taken, o);
    if (err)
        return err;
    if (!task)
        return -EPERM;
    err = handle_new(source, call, &taken, &h);
    if (err)
        return err;
    opt.name = "batch";
    err = sched_spawn(task_runtime(task), pump, h, &opt, /* parent_scope= */ NULL,
                      /* group= */ NULL, &h->pump);
    if (err) {
        handle_free(h);
        return err;
    }
    h->b->task = h->pump;
    (void)jd_sem_release(&h->go); /* never refused: it had none */
    *ret = h;
    return 0;
}

/* 0: `have` is ours. -ECANCELED: we want nothing any more. */
static int wait_for_outcome(struct jd_batch *h)
{
    jd_scope shield;
    int err = jd_sem_acquire(&h->have);

    if (!err)
        return 0;
    if (!jd_sem_try_acquire(&h->want))
        return err; /* I2 */
    jd_scope_open_shielded(&shield, JD_FOREVER);
    err = jd_sem_acquire(&h->have);
    return (int)jd_scope_close_with(&shield, err);
}

static int next(struct jd_batch *h, jd_outcome *ret)
{
    struct jd_task *task;
    int err = call_begin(WAIT_CANCELLABLE, &task);

    if (err)
        return err;
    (void)jd_sem_release(&h->want); /* never refused: one for each call */
    err = wait_for_outcome(h);
    if (err)
        return err;
    if (!h->is_full) {
        (void)jd_sem_release(&h->have); /* I3 */
        batch_clock_tell(task, h->end_clock);
        return h->err;
    }
    h->is_full = false; /* the pump may have ended meanwhile: its `have` is for the next call */
    *ret = h->cell;
    batch_clock_tell(task, h->cell_clock);
    return 1;
}

int jd_batch_next(jd_batch *h, jd_outcome *ret)
{
    int err;

    if (!h || !ret)
        return -EINVAL;
    /* [BATCH-4] Acquire, pairs with the release below: one caller after the other. */
    if (atom_exchange(&h->is_taken, 1, acquire))
        return -EBUSY;
    err = next(h, ret);
    atom_store(&h->is_taken, 0, release); /* [BATCH-4] */
    return err;
}

int jd_batch_close(jd_batch *h)
{
    int err;

    if (!h)
        return 0;
    if (!task_current())
        return -EPERM;
    err = jd_task_cancel(h->pump, "jd_batch_close");
    (void)jd_join(h->pump); /* its result says nothing */
    if (!err && h->err == -ECANCELED)
        h->err = 0; /* we did it */
    err = h->err;
    handle_free(h);
    return err;
}

void jd_batch_drain(jd_batch *h)
{
    if (h)
        batch_ask_drain(h->b);
}

void jd_batch_set_limit(jd_batch *h, unsigned limit)
{
    if (h && limit > 0)
        batch_ask_limit(h->b, limit);
}

int jd_batch_get_stats(const jd_batch *h, jd_batch_stats *ret)
{
    if (!h || !ret || batch_stats_check(ret))
        return -EINVAL;
    batch_stats_give(h->b, ret);
    return 0;
}
