/* SPDX-License-Identifier: MIT */
/*
 * jd_wait_for(). Numbers name the cases of the contract (G).
 */
#include "group_rig.h"

static jd_result values_body(void *arg)
{
    jd_task *t = jd_spawn(rig_yields, rig_num(3));
    jd_future *f;

    (void)arg;
    cr_assert_eq(jd_wait_for(t, JD_SEC(100)).num, 3, "G12");
    cr_assert_eq(jd_wait_for(t, 0).num, 3, "G14: a done one gives its value");
    cr_assert_eq(jd_wait_for(t, -5).num, 3);
    jd_task_unref(t);
    t = jd_spawn(rig_yields, rig_num(4));
    cr_assert_eq(jd_wait_for(t, JD_FOREVER).num, 4);
    jd_task_unref(t);
    t = jd_spawn(rig_fail, rig_num(-EDOM));
    cr_assert_eq(jd_wait_for(t, JD_SEC(100)).error, -EDOM);
    jd_task_unref(t);
    cr_assert_eq(jd_future_new(NULL, &f), 0);
    cr_assert_eq(jd_wait_for(f, JD_MS(2)).error, -ETIMEDOUT);
    cr_assert(jd_future_cancelled(f), "a plain future is cancelled, too");
    cr_assert_eq(jd_wait_for(f, JD_MS(2)).error, -ECANCELED, "its outcome, by itself");
    jd_future_unref(f);
    return RIG_DONE;
}

/* G12, G14 */
Test(wait_for, outcome_that_comes_in_time_is_returned)
{
    rig_run(1, values_body);
}

static atomic_int cleaned;

static jd_result slow_cleanup(void *arg)
{
    (void)arg;
    if (jd_sleep(JD_FOREVER)) {
        JD_SHIELD(cleanup, JD_SEC(9));

        for (int i = 0; i < 20; i++)
            cr_assert_eq(jd_yield(), 0);
    }
    atomic_fetch_add(&cleaned, 1);
    return jd_err(-ECANCELED);
}

static jd_result timeout_body(void *arg)
{
    static const int64_t timeouts[] = { JD_MS(3), 0, -1 };

    (void)arg;
    for (int i = 0; i < 3; i++) {
        jd_task *t = jd_spawn(slow_cleanup, NULL);

        cr_assert_eq(jd_yield(), 0);
        cr_assert_eq(jd_wait_for(t, timeouts[i]).error, -ETIMEDOUT);
        cr_assert_eq(atomic_load(&cleaned), i + 1, "its clean-up was waited for");
        jd_task_unref(t);
        t = jd_spawn(rig_stubborn, rig_num(8));
        cr_assert_eq(jd_wait_for(t, timeouts[i]).num, 8, "G15: a value all the same");
        jd_task_unref(t);
        t = jd_spawn(rig_unwind_error, rig_num(-EIO));
        cr_assert_eq(jd_wait_for(t, timeouts[i]).error, -EIO, "G16");
        jd_task_unref(t);
    }
    cr_assert_eq(jd_yield(), 0);
    return RIG_DONE;
}

/* G13 to G16 */
Test(wait_for, timeout_cancels_and_joins)
{
    rig_run(1, timeout_body);
}

static jd_task *inner;
static atomic_int started;

static jd_result waits_for_inner(void *arg)
{
    jd_result r;

    (void)arg;
    atomic_store(&started, 1);
    r = jd_wait_for(inner, JD_SEC(100));
    cr_assert_eq(jd_yield(), -ECANCELED, "G17: the cancel is not lost");
    return r;
}

static jd_result cancelled_wait(jd_fn fn, void *arg)
{
    jd_result r;
    jd_task *t;

    atomic_store(&started, 0);
    inner = jd_spawn(fn, arg);
    t = jd_spawn(waits_for_inner, NULL);
    rig_until(&started, 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    r = jd_join(t);
    cr_assert(jd_future_done(jd_task_future(inner)));
    jd_task_unref(inner);
    return r;
}

static jd_result cancel_body(void *arg)
{
    (void)arg;
    cr_assert_eq(cancelled_wait(slow_cleanup, NULL).error, -ECANCELED);
    cr_assert_eq(atomic_load(&cleaned), 1);
    cr_assert_eq(cancelled_wait(rig_stubborn, rig_num(6)).num, 6);
    cr_assert_eq(cancelled_wait(rig_unwind_error, rig_num(-EIO)).error, -EIO);
    return RIG_DONE;
}

/* G17: a value and a cancel that come together are both kept. */
Test(wait_for, cancel_of_the_caller_cancels_and_joins)
{
    rig_run(1, cancel_body);
}

static atomic_int entered;

static jd_result enters(void *arg)
{
    atomic_fetch_add(&entered, 1);
    return jd_ok(arg);
}

static jd_result coro_body(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_wait_for(jd_coro_of(enters, rig_num(5)), JD_SEC(100)).num, 5);
    cr_assert_eq(jd_wait_for(jd_coro_of(enters, NULL), 0).error, -ETIMEDOUT);
    cr_assert_eq(jd_wait_for(jd_coro_of(enters, NULL), -1).error, -ETIMEDOUT);
    cr_assert_eq(atomic_load(&entered), 1, "G14: never started");
    cr_assert_eq(jd_wait_for(jd_coro_of(slow_cleanup, NULL), JD_MS(2)).error, -ETIMEDOUT);
    cr_assert_eq(atomic_load(&cleaned), 1);
    cr_assert_eq(jd_wait_for(jd_coro_of(rig_stubborn, rig_num(3)), JD_MS(2)).num, 3);
    cr_assert_eq(jd_wait_for(jd_coro_of(rig_unwind_error, rig_num(-EIO)), JD_MS(2)).error, -EIO);
    cr_assert_eq(jd_wait_for(jd_coro_of(rig_fail, rig_num(-ECANCELED)), JD_SEC(9)).error,
                 -ECANCELED);
    cr_assert_eq(jd_yield(), 0);
    return RIG_DONE;
}

Test(wait_for, coroutine_runs_with_a_deadline)
{
    rig_run(1, coro_body);
}

static jd_result coro_cancelled(void *arg)
{
    jd_result r;

    (void)arg;
    atomic_store(&started, 1);
    r = jd_wait_for(jd_coro_of(slow_cleanup, NULL), JD_SEC(100));
    return r;
}

static jd_result coro_cancel_body(void *arg)
{
    jd_task *t = jd_spawn(coro_cancelled, NULL);

    (void)arg;
    rig_until(&started, 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    cr_assert_eq(atomic_load(&cleaned), 1);
    return RIG_DONE;
}

Test(wait_for, coroutine_under_an_outer_cancel)
{
    rig_run(1, coro_cancel_body);
}

static jd_result misuse_body(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_wait_for((jd_task *)NULL, 0).error, -EINVAL);
    cr_assert_eq(jd_wait_for((jd_future *)NULL, 0).error, -EINVAL);
    cr_assert_eq(jd_wait_for(jd_coro_of(NULL, NULL), 1).error, -EINVAL);
    cr_assert_eq(jd_wait_for(jd_task_current(), 1).error, -EDEADLK);
    return RIG_DONE;
}

Test(wait_for, misuse_is_refused)
{
    cr_assert_eq(jd_wait_for(jd_coro_of(enters, NULL), 1).error, -EPERM);
    rig_run(1, misuse_body);
}

static jd_result race_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(500);

    (void)arg;
    for (unsigned long i = 0; i < rounds; i++) {
        jd_task *t = jd_spawn(rig_yields, rig_num((intptr_t)(i % 20)));
        jd_result r = jd_wait_for(t, JD_US(i % 30));

        cr_assert(jd_future_done(jd_task_future(t)));
        if (r.error)
            cr_assert_eq(r.error, -ETIMEDOUT);
        else
            cr_assert_eq(r.num, (intptr_t)(i % 20), "G19: the value wins");
        jd_task_unref(t);
        cr_assert_eq(jd_yield(), 0);
    }
    return RIG_DONE;
}

/* G19 */
Test(wait_for, completion_races_with_the_timeout, .timeout = 60)
{
    rig_run(4, race_body);
}
