/* SPDX-License-Identifier: MIT */
/*
 * jd_run(): a runtime, a main task, and nothing left afterwards.
 */
#include <errno.h>

#include "api/lifecycle.h"
#include "sched/callback.h"
#include "sched/spawn.h"
#include "sched/wait.h"

/* By worker 0, in its loop. */
void runtime_cancel_main(struct jd_runtime *rt)
{
    if (atom_exchange(&rt->signalled, 0, acq_rel) && rt->main_task) /* [SIGNAL-1] */
        (void)jd_task_cancel(rt->main_task, "signal"); /* -EALREADY: it ended meanwhile */
}

static jd_result run_main(struct jd_runtime *rt, jd_fn fn, void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_result result;
    jd_task *main_task;
    bool interrupted;
    int err;

    struct done_callback *stopper = done_callback_new();

    opt.name = "main";
    err = stopper ? signals_take(rt) : -ENOMEM; /* first: once spawned, main would be entered */
    if (!err)
        err = sched_spawn(rt, fn, arg, &opt, NULL, NULL, &main_task);
    if (err) {
        done_callback_unused(stopper);
        return jd_err(err);
    }
    rt->main_task = main_task;
    result = runtime_run_for(rt, &main_task->future, stopper);
    interrupted = signals_seen(rt) && jd_future_cancelled(&main_task->future);
    return interrupted ? jd_err(-EINTR) : result;
}

jd_result jd_run(jd_fn fn, void *arg, const jd_config *cfg)
{
    jd_runtime *rt;
    jd_task *main_task;
    jd_result result;
    int err;

    if (!fn)
        return jd_err(-EINVAL);
    if (worker_current())
        return jd_err(-EBUSY);
    err = jd_runtime_new(cfg, &rt);
    if (err)
        return jd_err(err);
    result = run_main(rt, fn, arg);
    signals_restore(rt);
    main_task = rt->main_task;
    rt->main_task = NULL;
    err = jd_runtime_free(rt);
    jd_task_unref(main_task);
    return err && !result.error ? jd_err(err) : result;
}
