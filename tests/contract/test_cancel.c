/* SPDX-License-Identifier: MIT */
/*
 * Cancellation of tasks: group D of the contract. Scopes and deadlines are in test_scope.c.
 */
#include <errno.h>

#include "contract.h"
#include "jd_test.h"

static jd_task *spawn(jd_fn fn, void *arg)
{
    jd_task *t = jd_spawn(fn, arg);

    cr_assert_not_null(t);
    return t;
}

static jd_future *new_future(void)
{
    jd_future *f = NULL;

    cr_assert_eq(jd_future_new(NULL, &f), 0);
    return f;
}

static jd_result d1_main(void *arg)
{
    jd_task *t = spawn(sleep_forever, NULL);

    (void)arg;
    yields(1);
    cr_assert_eq(jd_task_cancelling(t), 0);
    cr_assert_eq(jd_task_cancel(t, "first"), 0);
    cr_assert_eq(jd_task_cancel(t, "second"), 0);
    cr_assert_eq(jd_task_cancelling(t), 2);
    cr_assert_eq(jd_future_done(jd_task_future(t)), 0);
    cr_assert_eq(jd_future_cancelled(jd_task_future(t)), 0, "a request");
    cr_assert_eq(jd_await(t).error, -ECANCELED);
    cr_assert_eq(jd_future_cancelled(jd_task_future(t)), 1);
    cr_assert_str_eq(jd_future_cancel_reason(jd_task_future(t)), "first");
    cr_assert_eq(jd_task_cancel(t, "third"), -EALREADY);
    cr_assert_eq(jd_future_cancel(jd_task_future(t), NULL), -EALREADY);
    jd_task_unref(t);
    return jd_ok(NULL);
}

Test(cancel, d1_d2_d15_d17_a_cancel_is_a_request_and_the_first_reason_stays)
{
    cr_assert_eq(run_fifo(d1_main, NULL).error, 0);
    cr_assert_eq(run_workers(1, d1_main, NULL).error, 0);
}

static jd_result enter_and_look(void *arg)
{
    (void)arg;
    rec("entered");
    rec(jd_checkpoint() == -ECANCELED ? "cancelled" : "not");
    return jd_ok_num(1);
}

static jd_result d3_main(void *arg)
{
    jd_task *t = spawn(enter_and_look, NULL);

    (void)arg;
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_await(t).num, 1);
    cr_assert_eq(jd_future_cancelled(jd_task_future(t)), 0, "it ended with a value");
    jd_task_unref(t);
    return jd_ok(NULL);
}

Test(cancel, d3_a_task_cancelled_before_its_first_step_is_entered_all_the_same)
{
    cr_assert_eq(run_workers(1, d3_main, NULL).error, 0);
    cr_assert_str_eq(rec_text(), "entered cancelled");
}

static jd_result join_arg(void *arg)
{
    return jd_join(arg);
}

static jd_result await_arg(void *arg)
{
    return jd_await((jd_future *)arg);
}

static jd_result d4_main(void *arg)
{
    jd_future *f = new_future();
    jd_task *waiter = spawn(await_arg, f), *inner, *outer;

    (void)arg;
    yields(2);
    cr_assert_eq(jd_task_cancel(waiter, NULL), 0);
    cr_assert_eq(jd_join(waiter).error, -ECANCELED);
    cr_assert_eq(jd_future_done(f), 0, "an await leaves the awaited alone");
    jd_future_unref(f);

    inner = spawn(sleep_forever, NULL);
    yields(1);
    outer = spawn(join_arg, jd_task_ref(inner));
    yields(2);
    cr_assert_eq(jd_task_cancel(outer, NULL), 0);
    cr_assert_eq(jd_join(outer).error, -ECANCELED);
    cr_assert_eq(jd_future_cancelled(jd_task_future(inner)), 1, "a join passes the cancel on");
    jd_task_unref(inner);
    return jd_ok(NULL);
}

Test(cancel, d4_d5_m14_an_await_ends_the_wait_a_join_passes_the_cancel_on)
{
    cr_assert_eq(run_fifo(d4_main, NULL).error, 0);
    cr_assert_eq(run_workers(1, d4_main, NULL).error, 0);
}

static jd_result slow_cleanup(void *arg)
{
    jd_scope shield;
    int err = jd_sleep(JD_FOREVER);

    jd_scope_open_shielded(&shield, JD_SEC(5));
    yields(3);
    cr_assert_eq(jd_sleep(JD_MS(1)), 0);
    cr_assert_eq(jd_scope_close(&shield), 0);
    *(int *)arg = 1;
    return jd_err(err);
}

static jd_result join_waits(void *arg)
{
    int cleaned = 0;
    jd_task *t = spawn(slow_cleanup, &cleaned);
    jd_result r = jd_join(t);

    (void)arg;
    cr_assert_eq(cleaned, 1, "a join always waits to the end");
    cr_assert_eq(jd_checkpoint(), -ECANCELED);
    return r;
}

static jd_result join_waits_main(void *arg)
{
    jd_task *t = spawn(join_waits, arg);

    yields(3);
    cr_assert_eq(jd_task_cancel_wait(t, NULL), 0);
    cr_assert_eq(jd_future_cancelled(jd_task_future(t)), 1);
    jd_task_unref(t);
    return jd_ok(NULL);
}

/* In FIFO order the child runs on its own stack, else inside the join: both must obey. */
Test(cancel, d14_d28_a_cancelled_joiner_waits_for_the_shielded_cleanup_of_its_child)
{
    cr_assert_eq(run_fifo(join_waits_main, NULL).error, 0);
    cr_assert_eq(run_workers(1, join_waits_main, NULL).error, 0);
    cr_assert_eq(run_workers(3, join_waits_main, NULL).error, 0);
}

static jd_result join_a_sleeper(void *arg)
{
    jd_task **inner = arg;

    *inner = spawn(sleep_forever, NULL);
    return jd_join(jd_task_ref(*inner));
}

static jd_result inlined_main(void *arg)
{
    jd_task *inner = NULL, *t = spawn(join_a_sleeper, &inner);

    (void)arg;
    yields(3);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    cr_assert_eq(jd_await(inner).error, -ECANCELED);
    cr_assert_eq(jd_future_cancelled(jd_task_future(inner)), 1);
    jd_task_unref(inner);
    return jd_ok(NULL);
}

Test(cancel, a_cancel_reaches_a_child_that_runs_inside_the_join)
{
    cr_assert_eq(run_workers(1, inlined_main, NULL).error, 0);
    cr_assert_eq(run_fifo(inlined_main, NULL).error, 0);
}

static jd_result d6_main(void *arg)
{
    jd_future *f = new_future();
    jd_task *shared = spawn(await_arg, f), *a, *b;

    (void)arg;
    a = spawn(await_arg, jd_task_future(shared));
    b = spawn(await_arg, jd_task_future(shared));
    yields(2);
    cr_assert_eq(jd_task_cancel(a, NULL), 0);
    cr_assert_eq(jd_join(a).error, -ECANCELED);
    yields(2);
    cr_assert_eq(jd_future_done(jd_task_future(b)), 0);
    cr_assert_eq(jd_future_set(f, jd_ok_num(6)), 0);
    cr_assert_eq(jd_join(b).num, 6);
    cr_assert_eq(jd_join(shared).num, 6);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(cancel, d6_cancelling_one_awaiter_of_a_shared_task_touches_nobody_else)
{
    cr_assert_eq(run_workers(1, d6_main, NULL).error, 0);
}

static jd_result yield_twice(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_yield(), 0);
    return jd_err(jd_yield());
}

static jd_result d8_main(void *arg)
{
    jd_task *t = spawn(yield_twice, NULL);

    (void)arg;
    yields(1);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    return jd_ok(NULL);
}

Test(cancel, d8_a_task_that_yielded_sees_the_cancel_at_its_next_suspension)
{
    cr_assert_eq(run_fifo(d8_main, NULL).error, 0);
}

static jd_result value_then_cancel(void *arg)
{
    jd_result r = jd_await((jd_future *)arg);

    cr_assert_eq(r.error, 0);
    cr_assert_eq(jd_yield(), -ECANCELED, "seen at the next suspending call");
    return r;
}

static jd_result d9_main(void *arg)
{
    jd_future *f = new_future();
    jd_task *t = spawn(value_then_cancel, f);

    (void)arg;
    yields(1);
    cr_assert_eq(jd_future_set(f, jd_ok_num(9)), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).num, 9);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(cancel, d9_m12_a_completed_wait_wins_over_a_cancel)
{
    cr_assert_eq(run_fifo(d9_main, NULL).error, 0);
    cr_assert_eq(run_workers(1, d9_main, NULL).error, 0);
}

static jd_result cancel_first_main(void *arg)
{
    jd_future *f = new_future();
    jd_task *t = spawn(value_then_cancel, f);

    (void)arg;
    yields(1);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_future_set(f, jd_ok_num(9)), 0);
    cr_assert_eq(jd_join(t).num, 9);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(cancel, m12_a_completion_that_is_there_when_the_waiter_resumes_wins_over_the_earlier_cancel)
{
    cr_assert_eq(run_fifo(cancel_first_main, NULL).error, 0);
    cr_assert_eq(run_workers(1, cancel_first_main, NULL).error, 0);
}

static jd_result cancel_self(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_task_cancel(jd_task_current(), "me"), 0);
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_checkpoint(), -ECANCELED);
    cr_assert_eq(jd_sleep(0), -ECANCELED);
    cr_assert_eq(jd_sleep_until(0), -ECANCELED);
    cr_assert_eq(jd_await(jd_coro_of(return_arg, NULL)).error, -ECANCELED, "not entered");
    return jd_ok_num(11);
}

static jd_result d10_main(void *arg)
{
    jd_task *t = spawn(cancel_self, arg);

    cr_assert_eq(jd_await(t).num, 11);
    cr_assert_eq(jd_future_cancelled(jd_task_future(t)), 0);
    jd_task_unref(t);
    return jd_ok(NULL);
}

Test(cancel, d10_d11_d13_level_triggered_and_a_value_stays_a_value)
{
    cr_assert_eq(run_workers(1, d10_main, NULL).error, 0);
}

static jd_result done_future_in_cancelled(void *arg)
{
    cr_assert_eq(jd_task_cancel(jd_task_current(), NULL), 0);
    return jd_ok_num(jd_future_wait(arg, 0));
}

static jd_result s_rule_main(void *arg)
{
    jd_future *f = new_future();

    (void)arg;
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    cr_assert_eq(jd_join(spawn(done_future_in_cancelled, f)).num, -ECANCELED);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(cancel, d21_a_suspending_call_in_a_cancelled_scope_does_nothing)
{
    cr_assert_eq(run_fifo(s_rule_main, NULL).error, 0);
}

static jd_result other_error(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    return jd_err(-EIO);
}

static jd_result d19_main(void *arg)
{
    jd_task *t = spawn(other_error, arg);

    yields(1);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_await(t).error, -EIO);
    cr_assert_eq(jd_future_cancelled(jd_task_future(t)), 0);
    jd_task_unref(t);
    return jd_ok(NULL);
}

Test(cancel, d19_an_error_while_unwinding_replaces_the_cancel)
{
    cr_assert_eq(run_workers(1, d19_main, NULL).error, 0);
}

static jd_result uncancels(void *arg)
{
    jd_task *self = jd_task_current();

    (void)arg;
    cr_assert_eq(jd_task_uncancel(self), 0, "never below 0");
    cr_assert_eq(jd_task_cancel(self, NULL), 0);
    cr_assert_eq(jd_task_cancel(self, NULL), 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_task_uncancel(self), 1);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_task_uncancel(self), 0);
    cr_assert_eq(jd_task_cancelling(self), 0);
    cr_assert_eq(jd_yield(), 0, "withdrawn");
    cr_assert_eq(jd_sleep(JD_US(100)), 0);
    return jd_err(-ECANCELED);
}

static jd_result d16_main(void *arg)
{
    jd_task *t = spawn(uncancels, arg);

    cr_assert_eq(jd_await(t).error, -ECANCELED);
    cr_assert_eq(jd_future_cancelled(jd_task_future(t)), 0, "no request was left");
    jd_task_unref(t);
    return jd_ok(NULL);
}

Test(cancel, d16_uncancel_withdraws_requests)
{
    cr_assert_eq(run_workers(1, d16_main, NULL).error, 0);
}

static jd_result wait_for_end_of(void *arg)
{
    int err = jd_task_cancel_wait(arg, "waiter");

    return err ? jd_err(err) : jd_ok(NULL);
}

static jd_result stubborn(void *arg)
{
    jd_scope shield;

    jd_scope_open_shielded(&shield, JD_SEC(5));
    cr_assert_eq(jd_await((jd_future *)arg).error, 0);
    cr_assert_eq(jd_scope_close(&shield), 0);
    return jd_err(jd_checkpoint());
}

static jd_result d28_main(void *arg)
{
    jd_future *f = new_future();
    jd_task *target = spawn(stubborn, f), *waiter = spawn(wait_for_end_of, target);

    (void)arg;
    yields(2);
    cr_assert_eq(jd_task_cancelling(target), 1);
    cr_assert_eq(jd_task_cancel(waiter, NULL), 0);
    cr_assert_eq(jd_join(waiter).error, -ECANCELED);
    cr_assert_eq(jd_task_cancelling(target), 1, "the request stands");
    waiter = spawn(wait_for_end_of, target);
    yields(2);
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    cr_assert_eq(jd_join(waiter).error, 0);
    cr_assert_eq(jd_task_cancel_wait(target, NULL), -EALREADY);
    cr_assert_eq(jd_join(target).error, -ECANCELED);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(cancel, d28_cancel_wait_returns_when_the_target_has_ended)
{
    cr_assert_eq(run_workers(1, d28_main, NULL).error, 0);
}

struct cancel_storm {
    jd_task *t;
    jd_future *f;
};

static void cancel_or_complete(unsigned index, void *arg)
{
    struct cancel_storm *s = arg;

    if (index == 0)
        (void)jd_future_set(s->f, jd_ok_num(1));
    else
        (void)jd_task_cancel(s->t, "raced");
}

static jd_result await_then_yield(void *arg)
{
    jd_result r = jd_await((jd_future *)arg);
    int err = jd_yield();

    cr_assert(err == 0 || err == -ECANCELED);
    return r;
}

Test(cancel, m12_m15_a_cancel_from_a_thread_races_with_the_completion)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;

    cr_assert_eq(jd_runtime_start(rt), 0);
    for (unsigned long i = jd_test_rounds(100); i > 0; i--) {
        struct cancel_storm s = { 0 };
        jd_result r;

        cr_assert_eq(jd_future_new(rt, &s.f), 0);
        s.t = jd_runtime_spawn(rt, await_then_yield, s.f, NULL);
        crew_start(&crew, 3, cancel_or_complete, &s);
        crew_join(&crew);
        r = jd_await(s.t);
        cr_assert(r.error == 0 ? r.num == 1 : r.error == -ECANCELED);
        jd_task_unref(s.t);
        jd_future_unref(s.f);
    }
    runtime_end(rt);
}
