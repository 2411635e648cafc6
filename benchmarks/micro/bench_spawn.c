/* SPDX-License-Identifier: MIT */
/*
 * A task from its spawn to its join, through the shared library. Goal: at most 60 ns.
 *
 *   inline    joined before anybody started it: it runs as a function call of the joiner
 *   queued    a batch is spawned, runs from the ready queue, and is joined when it has ended
 *   awaited   jd_await() never runs a task inline: suspend, run, wake
 *   eager     its first step, here all of it, runs inside the spawn
 *   detached  no handle
 */
#include "measure.h"

#define BATCH 64

static void run_inline(long n)
{
    for (long i = 0; i < n; i++)
        (void)jd_join(jd_spawn(plain_call, NULL));
}

static void run_queued(long n)
{
    for (long i = 0; i < n; i += BATCH) {
        jd_task *tasks[BATCH];

        for (int k = 0; k < BATCH; k++)
            tasks[k] = jd_spawn(plain_call, NULL);
        while (!jd_future_done(jd_task_future(tasks[BATCH - 1])))
            (void)jd_yield();
        for (int k = 0; k < BATCH; k++)
            (void)jd_join(tasks[k]);
    }
}

static void run_awaited(long n)
{
    for (long i = 0; i < n; i++) {
        jd_task *t = jd_spawn(plain_call, NULL);

        (void)jd_await(t);
        jd_task_unref(t);
    }
}

static void run_eager(long n)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;

    opt.flags = JD_TASK_EAGER;
    for (long i = 0; i < n; i++)
        (void)jd_join(jd_spawn_with(plain_call, NULL, &opt));
}

static void run_detached(long n)
{
    for (long i = 0; i < n; i += BATCH) {
        int failed = 0;

        for (int k = 0; k < BATCH; k++)
            failed |= jd_spawn_detached(plain_call, NULL);
        if (failed)
            abort();
        (void)jd_yield();
    }
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "spawn+join inline", run_inline, 6400, NULL },
        { "spawn+join queued", run_queued, 6400, NULL },
        { "spawn+await", run_awaited, 6400, NULL },
        { "spawn+join eager", run_eager, 6400, NULL },
        { "spawn detached", run_detached, 6400, NULL },
    };

    measure_rows(ROWS(rows));
    return jd_ok(arg);
}

int main(void)
{
    return run_main(main_task, 1);
}
