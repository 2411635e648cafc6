/* SPDX-License-Identifier: MIT */
/*
 * jd_yield() between tasks of one worker, through the shared library: one trip through the ready
 * queue and one switch. Goal: at most 25 ns. Nanoseconds per yield of either task.
 */
#include "measure.h"

struct share {
    long yields;
};

static jd_result yielder(void *arg)
{
    struct share *s = arg;

    for (long i = 0; i < s->yields; i++)
        (void)jd_yield();
    return jd_ok(NULL);
}

static void run_between(long n, long tasks)
{
    struct share share = { n / tasks };
    jd_task *spawned[64];

    for (long i = 0; i < tasks; i++)
        spawned[i] = jd_spawn(yielder, &share);
    for (long i = tasks; i-- > 0;) {
        (void)jd_await(spawned[i]); /* never inline: each has a stack of its own */
        jd_task_unref(spawned[i]);
    }
}

static void run_two(long n)
{
    run_between(n, 2);
}

static void run_many(long n)
{
    run_between(n, 64);
}

static void run_alone(long n)
{
    for (long i = 0; i < n; i++)
        (void)jd_yield();
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "yield between 2 tasks", run_two, 19200, NULL },
        { "yield between 64 tasks", run_many, 19200, NULL },
        { "yield alone", run_alone, 20000, NULL },
    };

    measure_rows(ROWS(rows));
    return jd_ok(arg);
}

int main(void)
{
    return run_main(main_task, 1);
}
