/* SPDX-License-Identifier: MIT */
/*
 * Futures: group B of the contract, on one thread. The races are in test_future_race.c.
 */
#include <errno.h>

#include "contract.h"
#include "jd_test.h"

static jd_future *new_future(jd_runtime *rt)
{
    jd_future *f = NULL;

    cr_assert_eq(jd_future_new(rt, &f), 0);
    cr_assert_not_null(f);
    return f;
}

Test(future, b1_b5_a_new_one_is_pending_and_has_no_result)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = new_future(rt);
    jd_result r = jd_ok_num(77);

    cr_assert_eq(jd_future_done(f), 0);
    cr_assert_eq(jd_future_cancelled(f), 0);
    cr_assert_eq(jd_future_result(f, &r), -EAGAIN);
    cr_assert_eq(r.num, 77, "untouched while pending");
    cr_assert_null(jd_future_cancel_reason(f));
    cr_assert_eq(jd_future_runtime(f), rt);
    jd_future_unref(f);
    runtime_end(rt);
}

Test(future, b2_a_value_makes_it_done)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = new_future(rt);
    jd_result r;
    int value;

    cr_assert_eq(jd_future_set(f, jd_ok(&value)), 0);
    cr_assert_eq(jd_future_done(f), 1);
    cr_assert_eq(jd_future_cancelled(f), 0);
    cr_assert_eq(jd_future_result(f, &r), 0);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.ptr, &value);
    jd_future_unref(f);
    runtime_end(rt);
}

Test(future, b3_an_error_is_given_back_as_it_was)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = new_future(rt);
    jd_result r;

    cr_assert_eq(jd_future_set(f, jd_err(-EIO)), 0);
    cr_assert_eq(jd_future_result(f, &r), 0);
    cr_assert_eq(r.error, -EIO);
    cr_assert_eq(jd_await(f).error, -EIO);
    jd_future_unref(f);
    runtime_end(rt);
}

Test(future, b4_a_second_completion_loses_and_the_first_outcome_stands)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = new_future(rt);
    jd_result r;

    cr_assert_eq(jd_future_set(f, jd_ok_num(1)), 0);
    cr_assert_eq(jd_future_set(f, jd_ok_num(2)), -EALREADY);
    cr_assert_eq(jd_future_set(f, jd_err(-EIO)), -EALREADY);
    cr_assert_eq(jd_future_cancel(f, "late"), -EALREADY);
    cr_assert_eq(jd_future_result(f, &r), 0);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.num, 1);
    cr_assert_eq(jd_future_cancelled(f), 0);
    cr_assert_null(jd_future_cancel_reason(f), "nothing was cancelled");
    jd_future_unref(f);
    runtime_end(rt);
}

Test(future, b6_b7_a_cancelled_one_gives_its_reason_and_stays_cancelled)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = new_future(rt);
    jd_result r;

    cr_assert_eq(jd_future_cancel(f, "first"), 0);
    cr_assert_eq(jd_future_cancel(f, "second"), -EALREADY);
    cr_assert_eq(jd_future_set(f, jd_ok_num(1)), -EALREADY);
    cr_assert_eq(jd_future_done(f), 1);
    cr_assert_eq(jd_future_cancelled(f), 1);
    cr_assert_eq(jd_future_result(f, &r), 0);
    cr_assert_eq(r.error, -ECANCELED);
    cr_assert_eq(jd_await(f).error, -ECANCELED);
    cr_assert_str_eq(jd_future_cancel_reason(f), "first");
    jd_future_unref(f);
    runtime_end(rt);
}

Test(future, an_outcome_of_ecanceled_without_a_cancel_is_a_failure)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = new_future(rt);
    jd_result r;

    cr_assert_eq(jd_future_set(f, jd_err(-ECANCELED)), 0);
    cr_assert_eq(jd_future_cancelled(f), 0);
    cr_assert_eq(jd_future_result(f, &r), 0);
    jd_future_unref(f);
    runtime_end(rt);
}

static void drop(jd_runtime *rt, int error, bool look)
{
    jd_future *f = new_future(rt);
    jd_result r;

    cr_assert_eq(jd_future_set(f, error ? jd_err(error) : jd_ok_num(1)), 0);
    if (look)
        cr_assert_eq(jd_future_result(f, &r), 0);
    jd_future_unref(f);
}

Test(future, b14_only_an_error_that_nobody_read_is_reported)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f;

    sink_install(rt);
    drop(rt, 0, false);
    drop(rt, -EIO, true);
    f = new_future(rt);
    jd_future_unref(f);
    f = new_future(rt);
    cr_assert_eq(jd_future_cancel(f, NULL), 0);
    jd_future_unref(f);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 0);
    drop(rt, -EIO, false);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1);
    cr_assert_eq(sink_last().error, -EIO);
    cr_assert_gt(strlen(sink_last().message), 0);
    runtime_end(rt);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1);
}

static jd_result self_await(void *arg)
{
    jd_task *self = jd_task_current();

    (void)arg;
    cr_assert_eq(jd_await(self).error, -EDEADLK);
    cr_assert_eq(jd_future_wait(jd_task_future(self), 0), -EDEADLK);
    cr_assert_eq(jd_join(self).error, -EDEADLK);
    cr_assert_eq(jd_task_cancel_wait(self, NULL), -EDEADLK);
    cr_assert_eq(jd_checkpoint(), 0, "a refused cancel_wait has cancelled nothing");
    return jd_ok(NULL);
}

Test(future, c13_waiting_for_oneself_is_a_deadlock_error)
{
    cr_assert_eq(run_workers(1, self_await, NULL).error, 0);
}

static jd_result b22_main(void *arg)
{
    jd_task *t = jd_spawn(return_arg, arg);

    cr_assert_eq(jd_future_set(jd_task_future(t), jd_ok(NULL)), -EPERM);
    return jd_join(t);
}

Test(future, b22_the_outcome_of_a_task_cannot_be_set)
{
    cr_assert_eq(run_workers(1, b22_main, WORD("x")).error, 0);
}

static jd_result wait_timeouts(void *arg)
{
    jd_future *f = new_future(NULL);
    int64_t start = jd_now();

    (void)arg;
    cr_assert_eq(jd_future_wait(f, 0), -ETIMEDOUT);
    cr_assert_eq(jd_future_wait(f, -5), -ETIMEDOUT);
    cr_assert_eq(jd_future_wait(f, JD_MS(2)), -ETIMEDOUT);
    cr_assert_geq(jd_now() - start, JD_MS(2));
    cr_assert_eq(jd_future_set(f, jd_err(-EIO)), 0);
    cr_assert_eq(jd_future_wait(f, 0), 0);
    cr_assert_eq(jd_future_wait(f, JD_FOREVER), 0);
    jd_future_unref(f);
    return jd_ok(NULL);
}

static void unhandled_is_quiet(jd_runtime *rt)
{
    sink_install(rt);
}

static jd_result wait_timeouts_in_task(void *arg)
{
    unhandled_is_quiet(NULL);
    cr_assert_eq(wait_timeouts(arg).error, 0);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1, "a wait does not look at the outcome");
    return jd_ok(NULL);
}

Test(future, a_wait_in_a_task_ends_by_its_timeout)
{
    cr_assert_eq(run_workers(1, wait_timeouts_in_task, NULL).error, 0);
}

Test(future, a_wait_on_a_plain_thread_ends_by_its_timeout)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = new_future(rt);
    int64_t start = jd_now();

    cr_assert_eq(jd_future_wait(f, 0), -ETIMEDOUT);
    cr_assert_eq(jd_future_wait(f, JD_MS(2)), -ETIMEDOUT);
    cr_assert_geq(jd_now() - start, JD_MS(2));
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    cr_assert_eq(jd_future_wait(f, JD_FOREVER), 0);
    jd_future_unref(f);
    runtime_end(rt);
}

struct cancel_wait {
    jd_future *f;
    int wait_result;
    jd_result outcome;
};

static jd_result await_outcome(void *arg)
{
    struct cancel_wait *c = arg;

    c->wait_result = jd_await_outcome(c->f, &c->outcome);
    return jd_ok(NULL);
}

static jd_result cancel_awaiter(void *arg)
{
    struct cancel_wait c = { new_future(NULL), 1, jd_ok_num(5) };
    jd_task *t = jd_spawn(await_outcome, &c);

    (void)arg;
    yields(2);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_await(t).error, 0);
    cr_assert_eq(c.wait_result, -ECANCELED);
    cr_assert_eq(c.outcome.num, 5, "untouched");
    cr_assert_eq(jd_future_done(c.f), 0, "the awaited one goes on");
    jd_task_unref(t);

    t = jd_spawn(await_outcome, &c);
    yields(2);
    cr_assert_eq(jd_future_cancel(c.f, "mine"), 0);
    cr_assert_eq(jd_join(t).error, 0);
    cr_assert_eq(c.wait_result, 0, "the wait came to its end");
    cr_assert_eq(c.outcome.error, -ECANCELED);
    jd_future_unref(c.f);
    return jd_ok(NULL);
}

Test(future, d4_d7_the_awaiters_cancel_and_the_futures_cancel_are_told_apart)
{
    cr_assert_eq(run_workers(1, cancel_awaiter, NULL).error, 0);
}

static void done_inside(jd_future *f, void *arg)
{
    int *results = arg;

    results[0] = jd_future_remove_done_callback_wait(f, done_inside, arg);
    results[1] = jd_future_remove_done_callback_wait(f, rec_done, arg);
    results[2] = jd_future_wait(f, 0);
}

static jd_result remove_wait_inside(void *arg)
{
    jd_future *f = new_future(NULL);
    int results[3] = { 1, 1, 1 };

    (void)arg;
    cr_assert_eq(jd_future_add_done_callback(f, done_inside, results), 0);
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    yields(1);
    cr_assert_eq(results[0], -EDEADLK);
    cr_assert_eq(results[1], 0, "nothing to wait for");
    cr_assert_eq(results[2], -EPERM);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(future, m5_a_waiting_remove_inside_that_callback_is_a_deadlock_error)
{
    cr_assert_eq(run_workers(1, remove_wait_inside, NULL).error, 0);
}

static void no_op_done(jd_future *f, void *arg)
{
    (void)f;
    (void)arg;
}

static void remove_other(jd_future *f, void *arg)
{
    *(int *)arg = jd_future_remove_done_callback_wait(f, no_op_done, arg);
}

static jd_result remove_wait_other(void *arg)
{
    jd_future *f = new_future(NULL);
    int result = 1;

    (void)arg;
    cr_assert_eq(jd_future_add_done_callback(f, remove_other, &result), 0);
    cr_assert_eq(jd_future_add_done_callback(f, no_op_done, &result), 0);
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    jd_future_unref(f);
    yields(1);
    cr_assert_eq(result, -EPERM);
    return jd_ok(NULL);
}

Test(future, a_waiting_remove_of_another_callback_inside_one_is_refused)
{
    cr_assert_eq(run_workers(1, remove_wait_other, NULL).error, 0);
}

static void set_flag(jd_future *f, void *arg)
{
    (void)f;
    *(int *)arg = 1;
}

static jd_result remove_wait_in_task(void *arg)
{
    jd_future *f = new_future(NULL);
    int ran = 0;

    (void)arg;
    cr_assert_eq(jd_future_remove_done_callback_wait(f, set_flag, &ran), 0);
    cr_assert_eq(jd_future_add_done_callback(f, set_flag, &ran), 0);
    cr_assert_eq(jd_future_add_done_callback(f, set_flag, &ran), 0);
    cr_assert_eq(jd_future_remove_done_callback_wait(f, set_flag, &ran), 2);
    cr_assert_eq(jd_future_add_done_callback(f, set_flag, &ran), 0);
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    cr_assert_eq(ran, 0);
    cr_assert_eq(jd_future_remove_done_callback_wait(f, set_flag, &ran), 0);
    cr_assert_eq(ran, 1, "it was scheduled and had to run first");
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(future, b11_a_waiting_remove_returns_when_the_callback_has_run)
{
    cr_assert_eq(run_workers(1, remove_wait_in_task, NULL).error, 0);
}

static void no_task_here(jd_future *f, void *arg)
{
    (void)f;
    (void)arg;
    cr_assert_null(jd_task_current());
    cr_assert_not_null(jd_loop_current());
    cr_assert_not_null(jd_runtime_current());
    rec("ran");
}

static jd_result c14_main(void *arg)
{
    jd_future *f = new_future(NULL);

    (void)arg;
    cr_assert_eq(jd_future_add_done_callback(f, no_task_here, NULL), 0);
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    jd_future_unref(f);
    yields(2);
    return jd_ok(NULL);
}

Test(future, c14_there_is_no_current_task_in_a_done_callback)
{
    cr_assert_eq(run_workers(1, c14_main, NULL).error, 0);
    cr_assert_str_eq(rec_text(), "ran");
}

Test(future, outlives_its_runtime)
{
    jd_runtime *rt = runtime_of(2, 0);
    jd_future *pending = new_future(rt), *failed = new_future(rt);
    jd_result r;

    sink_install(rt);
    cr_assert_eq(jd_future_add_done_callback(pending, rec_done, WORD("never")), 0);
    cr_assert_eq(jd_future_set(failed, jd_err(-EIO)), 0);
    runtime_end(rt);
    cr_assert_null(jd_future_runtime(pending));
    cr_assert_eq(jd_future_wait(pending, 0), -ETIMEDOUT);
    cr_assert_eq(jd_future_set(pending, jd_ok_num(3)), 0);
    cr_assert_eq(jd_future_result(pending, &r), 0);
    cr_assert_eq(r.num, 3);
    cr_assert_eq(jd_await(pending).num, 3);
    jd_future_unref(pending);
    jd_future_unref(failed);
    cr_assert_str_eq(rec_text(), "");
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 0, "there is no handler any more");
}

static jd_task *left_over;

static jd_result leave_task(void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;

    (void)arg;
    opt.name = "left";
    left_over = jd_spawn_with(sleep_forever, NULL, &opt);
    cr_assert_not_null(left_over);
    yields(2);
    return jd_ok(NULL);
}

Test(future, a_task_handle_outlives_its_runtime)
{
    jd_result r;

    cr_assert_eq(run_workers(2, leave_task, NULL).error, 0);
    cr_assert_eq(jd_future_done(jd_task_future(left_over)), 1);
    cr_assert_eq(jd_future_cancelled(jd_task_future(left_over)), 1);
    cr_assert_eq(jd_future_result(jd_task_future(left_over), &r), 0);
    cr_assert_eq(r.error, -ECANCELED);
    cr_assert_str_eq(jd_task_name(left_over), "left");
    cr_assert_eq(jd_task_cancel(left_over, NULL), -EALREADY);
    cr_assert_eq(jd_await(left_over).error, -ECANCELED);
    jd_task_unref(left_over);
}
