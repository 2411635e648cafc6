/* SPDX-License-Identifier: MIT */
/*
 * jd_sim_run(): jd_run() over a simulation in place of threads.
 */
#include <errno.h>
#include <string.h>

#include <jackdaw/sim.h>

#include "api/config.h"
#include "api/lifecycle.h"
#include "executor/pool.h"
#include "sched/spawn.h"
#include "sim/sim.h"
#include "task/stub.h"

#define SIM_WORKERS_DEFAULT 3u
#define SIM_WORKERS_MAX 64u
#define SIM_FLAGS (JD_SIM_NO_ERRORS | JD_SIM_NO_ENOMEM | JD_SIM_TRACE | JD_SIM_CATCH_ESCAPES)

static int options_read(const jd_sim_options *from, jd_sim_options *o)
{
    const unsigned char *bytes = (const unsigned char *)from;

    if (from) {
        if (from->size < offsetof(jd_sim_options, workers))
            return -EINVAL;
        for (size_t i = sizeof(*o); i < from->size; i++)
            if (bytes[i])
                return -E2BIG;
        memcpy(o, from, from->size < sizeof(*o) ? from->size : sizeof(*o));
    }
    if (o->workers > SIM_WORKERS_MAX || o->fault_percent > 100 || (o->flags & ~SIM_FLAGS))
        return -EINVAL;
    if (o->workers == 0)
        o->workers = SIM_WORKERS_DEFAULT;
    return 0;
}

static jd_result run_main(struct sim *sim, struct jd_runtime *rt, jd_fn fn, void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_result result;
    jd_task *main_task;
    int err;

    opt.name = "main";
    err = sched_spawn(rt, fn, arg, &opt, NULL, NULL, &main_task);
    if (err)
        return jd_err(err);
    rt->main_task = main_task;
    result = jd_run_until_complete(rt, &main_task->future);
    return sim->error ? jd_err(sim->error) : result;
}

static jd_result simulate(struct sim *sim, const struct config *c, jd_fn fn, void *arg)
{
    struct jd_runtime *rt;
    struct runtime_stub *stub;
    jd_result result;
    jd_task *main_task;
    int err = runtime_new(c, &rt);

    if (err)
        return jd_err(err);
    stub = rt->stub;
    runtime_stub_ref(stub);
    result = run_main(sim, rt, fn, arg);
    main_task = rt->main_task;
    rt->main_task = NULL;
    err = jd_runtime_free(rt);
    jd_task_unref(main_task);
    sim_jobs_end(sim);
    sim->stuck = err != 0;
    if (!err) /* Relaxed: one thread. */
        sim->handles = atom_load(&stub->refs, relaxed) - 1;
    runtime_stub_unref(stub);
    return err && !result.error ? jd_err(err) : result;
}

jd_result jd_sim_run(uint64_t seed, jd_fn fn, void *arg, const jd_sim_options *from)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    struct sim *sim;
    jd_result result;
    int err = fn ? options_read(from, &o) : -EINVAL;

    if (err)
        return jd_err(err);
    if (worker_current() || sim_current())
        return jd_err(-EBUSY);
    err = o.flags & JD_SIM_CATCH_ESCAPES ? sim_watch_check() : 0;
    if (err)
        return jd_err(err);
    err = sim_begin(&(struct sim_config){ .seed = seed,
                                          .workers = o.workers,
                                          .fault_percent = o.fault_percent,
                                          .flags = o.flags,
                                          .time_limit = o.time_limit },
                    &sim);
    if (err)
        return jd_err(err);
    /* Nobody spins for work that only the controller can bring (has_quota). Guards would be half of
     * the cost of a run; a canary finds an overflow at the end of the task. */
    result = simulate(sim,
                      &(struct config){ .workers = o.workers,
                                        .stack_bytes = STACK_BYTES_DEFAULT,
                                        .blocking_threads = POOL_THREADS_DEFAULT,
                                        .shutdown_timeout = JD_SEC(10),
                                        .seed = rng_next(&sim->rng),
                                        .flags = JD_NO_SIGNALS,
                                        .has_quota = true,
                                        .guard = STACK_GUARD_CANARY,
                                        .name = "simulation",
                                        .sim = sim },
                      fn, arg);
    sim_end(sim);
    return result;
}

uint64_t jd_sim_trace_hash(void)
{
    return sim_last().hash;
}
