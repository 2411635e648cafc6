/* SPDX-License-Identifier: MIT */
/*
 * A no-op on a thread of the runtime's pool, through the shared library. Goal: at most 600 ns each
 * for 100,000 at once.
 *
 *   at once       all are submitted, then all are awaited
 *   one by one    jd_to_thread(): there and back, two wake-ups of threads
 *   four at once  the same by four tasks beside each other
 */
#include "measure.h"

#define MOST 100000
#define CALLERS 4

static jd_future *futures[MOST];

static void submit_all(long n)
{
    for (long i = 0; i < n; i++) {
        futures[i] = jd_run_in_executor(NULL, plain_call, NULL);
        if (!futures[i])
            abort();
    }
}

static void await_all(long n)
{
    for (long i = 0; i < n; i++) {
        if (jd_await(futures[i]).error)
            abort();
        jd_future_unref(futures[i]);
    }
}

static void run_at_once(long n)
{
    n = n < MOST ? n : MOST;
    submit_all(n);
    await_all(n);
}

static void run_one_by_one(long n)
{
    for (long i = 0; i < n; i++)
        if (jd_to_thread(plain_call, NULL).error)
            abort();
}

static jd_result caller(void *arg)
{
    run_one_by_one((long)(intptr_t)arg);
    return jd_ok(NULL);
}

static void run_four(long n)
{
    jd_group g;

    jd_group_open(&g, 0, JD_FOREVER);
    for (int i = 0; i < CALLERS; i++)
        if (jd_group_spawn(&g, caller, (void *)(intptr_t)(n / CALLERS)))
            abort();
    if (jd_group_close(&g))
        abort();
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "100k no-ops at once", run_at_once, MOST, NULL },
        { "no-op, one by one", run_one_by_one, 10000, NULL },
        { "no-op, four at once", run_four, 20000, NULL },
    };
    jd_executor_stats s = JD_EXECUTOR_STATS_INIT;

    measure_rows(ROWS(rows));
    if (jd_executor_get_stats(NULL, &s))
        abort();
    printf("%-34s %u threads, %lu started, waits p50 %.1f p99 %.1f max %.1f us\n", "", s.threads,
           (unsigned long)s.started, (double)s.wait_p50 / 1e3, (double)s.wait_p99 / 1e3,
           (double)s.wait_max / 1e3);
    return jd_ok(arg);
}

int main(void)
{
    return run_main(main_task, 1);
}
