/* SPDX-License-Identifier: MIT */
/*
 * Time slices, the budget of operations that complete at once (M8, M9), slow steps (O5), and the
 * environment that overrides a configuration.
 */
#include <errno.h>
#include <stdlib.h>

#include "contract.h"
#include "jd_test.h"

#define SHORT 150000 /* ns, less than a slice */

static void store_one(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
}

static jd_result greedy_awaiter(void *arg)
{
    atomic_int ran = 0;
    unsigned long awaits = 0;
    jd_future *f = NULL;

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &f), 0);
    cr_assert_eq(jd_future_set(f, jd_ok_num(1)), 0);
    cr_assert_eq(jd_call_soon(jd_loop_current(), store_one, &ran, NULL), 0);
    while (!atomic_load(&ran) && awaits < 1000000) {
        cr_assert_eq(jd_await(f).num, 1);
        awaits++;
    }
    cr_assert_eq(atomic_load(&ran), 1, "starved");
    cr_assert_gt(awaits, 10, "B15: not at the first one");
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(slice, m9_a_loop_of_waits_that_never_suspend_starves_nobody)
{
    cr_assert_eq(run_workers(1, greedy_awaiter, NULL).error, 0);
    cr_assert_eq(run_fifo(greedy_awaiter, NULL).error, 0);
}

static jd_result spin_until_slice_ends(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_yield(), 0);
    for (unsigned fresh = 0; fresh < 3;) { /* bounded by the test's time limit */
        int64_t before;
        int ends;

        while (!jd_should_yield()) /* bounded by the test's time limit */
            ;
        before = jd_now();
        cr_assert_eq(jd_yield(), 0);
        ends = jd_should_yield();
        if (jd_now() - before > SHORT)
            continue; /* the machine took the CPU away for as long as a slice */
        cr_assert_eq(ends, 0, "a new slice");
        fresh++;
    }
    return jd_ok(NULL);
}

Test(slice, should_yield_tells_the_end_of_the_slice_and_a_yield_begins_the_next)
{
    cr_assert_eq(run_workers(1, spin_until_slice_ends, NULL).error, 0);
    cr_assert_eq(run_workers(2, spin_until_slice_ends, NULL).error, 0);
    cr_assert_eq(run_fifo(spin_until_slice_ends, NULL).error, 0);
}

static jd_result spin_until_reported(void *arg)
{
    (void)arg;
    sink_install(NULL);
    jd_set_slow_step(NULL, JD_MS(5));
    while (sink_count(JD_REPORT_SLOW_STEP) == 0) /* bounded by the test's time limit */
        ;
    cr_assert_geq(sink_last().kind, JD_REPORT_SLOW_STEP);
    cr_assert_gt(strlen(sink_last().message), 0);
    cr_assert_eq(jd_yield(), 0);
    return jd_ok(NULL);
}

Test(slice, o5_a_slow_step_is_reported_while_it_runs)
{
    jd_config cfg = config_of(1, JD_DEBUG);

    cr_assert_eq(jd_run(spin_until_reported, NULL, &cfg).error, 0);
    cr_assert_eq(sink_count(JD_REPORT_SLOW_STEP), 1, "once");
}

static int new_with_env(const char *name, const char *value, unsigned flags, unsigned *ret_workers,
                        const char **ret_reactor)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_info info = JD_INFO_INIT;
    jd_runtime *rt = NULL;
    int err;

    unsetenv("JACKDAW_REACTOR");
    unsetenv("JACKDAW_WORKERS");
    cr_assert_eq(setenv(name, value, 1), 0);
    cfg.workers = 2;
    cfg.flags = flags;
    err = jd_runtime_new(&cfg, &rt);
    if (err)
        return err;
    cr_assert_eq(jd_runtime_info(rt, &info), 0);
    *ret_workers = info.workers;
    *ret_reactor = strcmp(info.reactor, "epoll") ? "io_uring" : "epoll";
    runtime_end(rt);
    return 0;
}

Test(environment, overrides_the_configuration_and_nonsense_is_an_error)
{
    const char *reactor = NULL;
    unsigned workers = 0;

    cr_assert_eq(new_with_env("JACKDAW_WORKERS", "3", 0, &workers, &reactor), 0);
    cr_assert_eq(workers, 3);
    cr_assert_eq(new_with_env("JACKDAW_WORKERS", "3", JD_NO_ENV, &workers, &reactor), 0);
    cr_assert_eq(workers, 2);
    cr_assert_eq(new_with_env("JACKDAW_REACTOR", "epoll", 0, &workers, &reactor), 0);
    cr_assert_str_eq(reactor, "epoll");
    cr_assert_eq(new_with_env("JACKDAW_WORKERS", "four", 0, &workers, &reactor), -EINVAL);
    cr_assert_eq(new_with_env("JACKDAW_WORKERS", "-1", 0, &workers, &reactor), -EINVAL);
    cr_assert_eq(new_with_env("JACKDAW_WORKERS", "99999999", 0, &workers, &reactor), -EINVAL);
    cr_assert_eq(new_with_env("JACKDAW_WORKERS", "", 0, &workers, &reactor), 0);
    cr_assert_eq(workers, 2, "empty is not set");
    cr_assert_eq(new_with_env("JACKDAW_REACTOR", "kqueue", 0, &workers, &reactor), -EINVAL);
}

static atomic_int cycle_ended;

static jd_result join_each_other(void *arg)
{
    jd_result r = jd_await(*(jd_task **)arg);

    atomic_fetch_add(&cycle_ended, 1);
    return r;
}

static jd_result cycle_main(void *arg)
{
    jd_task *a = NULL, *b = NULL;

    (void)arg;
    a = jd_spawn(join_each_other, &b);
    b = jd_spawn(join_each_other, &a);
    yields(3);
    cr_assert_eq(jd_task_cancel(a, NULL), 0);
    cr_assert_eq(jd_await(a).error, -ECANCELED);
    cr_assert_eq(jd_await(b).error, -ECANCELED);
    jd_task_unref(a);
    jd_task_unref(b);
    return jd_ok(NULL);
}

Test(slice, two_tasks_that_await_each_other_can_be_cancelled)
{
    cr_assert_eq(run_workers(1, cycle_main, NULL).error, 0);
    cr_assert_eq(atomic_load(&cycle_ended), 2);
}
