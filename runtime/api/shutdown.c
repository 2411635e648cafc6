/* SPDX-License-Identifier: MIT */
/*
 * The end of a runtime: refuse spawns, cancel every task, run to zero tasks and operations, let the
 * threads go. What resists past the timeout is named and leaked on purpose.
 */
#include <errno.h>

#include "api/lifecycle.h"
#include "base/clock.h"
#include "sched/error.h"
#include "sched/wait.h"

static int cancel_task(jd_task *t, void *arg)
{
    (void)arg;
    (void)jd_task_cancel(t, "the runtime ends"); /* -EALREADY: it ended meanwhile */
    return 0;
}

static int report_task(jd_task *t, void *arg)
{
    error_report_leftover(arg, t);
    return 0;
}

struct shutdown_timer {
    struct timer timer;
    struct jd_runtime *rt;
};

/* Under the wheel's lock: only a flag and a bell. */
static void *shutdown_expired(struct timer *timer)
{
    struct shutdown_timer *t = JD_CONTAINER_OF(timer, struct shutdown_timer, timer);

    runtime_stop_now(t->rt);
    return NULL;
}

int runtime_drain(struct jd_runtime *rt)
{
    struct shutdown_timer timeout = { .rt = rt };
    int err;

    if (atom_load(&rt->state, acquire) == RUNTIME_RUNNING && /* [STATE-1] */
        !(rt->started && atom_load(&rt->stop, acquire)))     /* [STOP-1] */
        return -EBUSY;
    atom_store(&rt->refuse_spawns, 1, seq_cst); /* [STOP-2] */
    (void)slab_foreach(rt->stub, cancel_task, NULL);
    timer_init(&timeout.timer, shutdown_expired);
    (void)timer_arm(&rt->workers[0].timers, &timeout.timer,
                    clock_after(clock_now(), rt->shutdown_timeout));
    atom_store(&rt->draining, 1, seq_cst); /* [STOP-1] */
    err = runtime_run(rt, NULL, NULL);
    (void)timer_disarm(&timeout.timer);
    if (err)
        return err;
    if (runtime_tasks_left(rt) != 0) {
        (void)slab_foreach(rt->stub, report_task, rt);
        return -ETIMEDOUT;
    }
    runtime_join_threads(rt);
    return 0;
}
