/* SPDX-License-Identifier: MIT */
/*
 * Scopes and deadlines: D21-D27 and G1-G10, G19-G21 of the contract as far as they are about jd_scope.
 */
#include <errno.h>

#include "contract.h"
#include "jd_test.h"

static void in_task(jd_fn fn)
{
    cr_assert_eq(run_workers(1, fn, NULL).error, 0);
    cr_assert_eq(run_fifo(fn, NULL).error, 0);
}

static jd_result g1_main(void *arg)
{
    jd_scope s;
    int64_t start = jd_now();

    (void)arg;
    jd_scope_open(&s, JD_MS(2));
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    cr_assert_geq(jd_now() - start, JD_MS(2));
    cr_assert_eq(jd_yield(), -ECANCELED, "again and again");
    cr_assert_eq(jd_scope_close(&s), -ETIMEDOUT);
    cr_assert_eq(jd_yield(), 0, "G8: afterwards nothing is cancelled");
    cr_assert_eq(jd_task_cancelling(jd_task_current()), 0);
    return jd_ok(NULL);
}

Test(scope, g1_g8_a_deadline_ends_the_block_and_nothing_after_it)
{
    in_task(g1_main);
}

static jd_result g2_main(void *arg)
{
    jd_scope s;

    (void)arg;
    jd_scope_open(&s, JD_SEC(60));
    yields(1);
    cr_assert_eq(jd_sleep(JD_US(10)), 0);
    cr_assert_eq(jd_scope_close(&s), 0);
    jd_scope_open(&s, JD_FOREVER);
    cr_assert_eq(jd_deadline(), JD_FOREVER);
    cr_assert_eq(jd_sleep(JD_US(10)), 0);
    cr_assert_eq(jd_scope_close(&s), 0, "a closed scope may be opened again");
    return jd_ok(NULL);
}

Test(scope, g2_a_deadline_that_does_not_pass_does_nothing)
{
    in_task(g2_main);
}

static jd_result g3_main(void *arg)
{
    static const int64_t timeouts[] = { 0, -1, INT64_MIN };
    jd_scope s;

    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        jd_scope_open(&s, timeouts[i]);
        cr_assert_eq(jd_scope_close(&s), 0, "a body that never suspends succeeds");
        jd_scope_open(&s, timeouts[i]);
        cr_assert_eq(jd_sleep(0), -ECANCELED);
        cr_assert_eq(jd_scope_close(&s), -ETIMEDOUT);
        jd_scope_open(&s, timeouts[i]);
        cr_assert_eq(jd_checkpoint(), -ECANCELED);
        cr_assert_eq(jd_scope_close_with(&s, -ECANCELED), -ETIMEDOUT);
    }
    return jd_ok(NULL);
}

Test(scope, g3_zero_and_past_timeouts_fail_the_next_suspending_call)
{
    in_task(g3_main);
}

static jd_result g4_main(void *arg)
{
    jd_scope s;

    (void)arg;
    jd_scope_open(&s, 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close_with(&s, -EIO), -EIO);
    jd_scope_open(&s, 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close_with(&s, 17), 17);
    jd_scope_open(&s, JD_SEC(9));
    cr_assert_eq(jd_scope_close_with(&s, -ECANCELED), -ECANCELED, "not because of this scope");
    jd_scope_open(&s, JD_SEC(9));
    jd_scope_cancel(&s);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close_with(&s, -ECANCELED), -ECANCELED);
    return jd_ok(NULL);
}

Test(scope, g4_other_results_pass_through_close_with)
{
    in_task(g4_main);
}

static jd_result g5_body(void *arg)
{
    jd_scope s;

    jd_scope_open(&s, *(int64_t *)arg);
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    cr_assert_eq(jd_scope_close_with(&s, -ECANCELED), -ECANCELED);
    cr_assert_eq(jd_yield(), -ECANCELED, "the outer cancel holds");
    jd_scope_open(&s, 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close(&s), 0, "external cancel plus expiry stays cancelled");
    return jd_ok_num(1);
}

static jd_result g5_main(void *arg)
{
    int64_t timeout = JD_SEC(60);
    jd_task *t = jd_spawn(g5_body, &timeout);

    (void)arg;
    yields(2);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).num, 1);
    return jd_ok(NULL);
}

Test(scope, g5_an_external_cancel_stays_a_cancel)
{
    in_task(g5_main);
}

static jd_result g7_main(void *arg)
{
    jd_scope outer, inner;

    (void)arg;
    jd_scope_open(&outer, JD_SEC(60));
    jd_scope_open(&inner, 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close(&inner), -ETIMEDOUT);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_scope_close(&outer), 0);

    jd_scope_open(&outer, JD_MS(1));
    jd_scope_open(&inner, JD_SEC(60));
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    cr_assert_eq(jd_scope_close(&inner), 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close(&outer), -ETIMEDOUT);

    jd_scope_open(&outer, 0);
    jd_scope_open(&inner, 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close(&inner), 0, "both expired: the outermost reports");
    cr_assert_eq(jd_scope_close(&outer), -ETIMEDOUT);
    return jd_ok(NULL);
}

Test(scope, g7_d24_nested_deadlines_report_at_the_scope_that_ended_the_call)
{
    in_task(g7_main);
}

static jd_result g9_main(void *arg)
{
    jd_scope s;
    int64_t start = jd_now();

    (void)arg;
    jd_scope_open(&s, JD_SEC(60));
    yields(1);
    cr_assert_eq(jd_scope_set_deadline(&s, start + JD_MS(2)), 0);
    cr_assert_eq(jd_deadline(), start + JD_MS(2));
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    cr_assert_geq(jd_now(), start + JD_MS(2));
    cr_assert_eq(jd_scope_set_deadline(&s, JD_FOREVER), -ETIMEDOUT, "its effect stays");
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close(&s), -ETIMEDOUT);

    jd_scope_open(&s, JD_MS(1));
    cr_assert_eq(jd_sleep(JD_US(1)), 0);
    cr_assert_eq(jd_scope_set_deadline(&s, JD_FOREVER), 0);
    cr_assert_eq(jd_sleep(JD_MS(3)), 0, "moved to never");
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(jd_scope_set_deadline(&s, jd_now() + JD_SEC(1 + i % 7)), 0);
    yields(1);
    cr_assert_eq(jd_scope_set_deadline(&s, 1), 0);
    cr_assert_eq(jd_yield(), -ECANCELED, "past: the next suspending call fails");
    cr_assert_eq(jd_scope_close(&s), -ETIMEDOUT);
    cr_assert_eq(jd_scope_set_deadline(&s, JD_FOREVER), -EINVAL, "not open");
    return jd_ok(NULL);
}

Test(scope, g9_a_deadline_can_be_moved_while_the_scope_is_open)
{
    in_task(g9_main);
}

static jd_result g20_main(void *arg)
{
    jd_scope outer, inner, shield;
    int64_t now = jd_now();

    (void)arg;
    cr_assert_eq(jd_deadline(), JD_FOREVER);
    jd_scope_open(&outer, JD_SEC(5));
    cr_assert_geq(jd_deadline(), now + JD_SEC(5));
    cr_assert_lt(jd_deadline(), now + JD_SEC(6));
    jd_scope_open(&inner, JD_SEC(60));
    cr_assert_lt(jd_deadline(), now + JD_SEC(6), "the earliest holds");
    jd_scope_open_shielded(&shield, JD_SEC(30));
    cr_assert_geq(jd_deadline(), now + JD_SEC(30), "what can reach here");
    cr_assert_eq(jd_scope_close(&shield), 0);
    cr_assert_eq(jd_scope_close(&inner), 0);
    cr_assert_eq(jd_scope_close(&outer), 0);
    return jd_ok(NULL);
}

Test(scope, g20_the_effective_deadline_can_be_read)
{
    in_task(g20_main);
    cr_assert_eq(jd_deadline(), JD_FOREVER);
}

static jd_result g19_main(void *arg)
{
    jd_scope s;
    jd_future *f;

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &f), 0);
    cr_assert_eq(jd_call_later(jd_loop_current(), JD_MS(1), rec_callback, WORD("x"), NULL), 0);
    jd_scope_open(&s, JD_FOREVER);
    cr_assert_eq(jd_future_set(f, jd_ok_num(1)), 0);
    cr_assert_eq(jd_await(f).num, 1);
    cr_assert_eq(jd_scope_set_deadline(&s, 1), 0);
    cr_assert_eq(jd_scope_close(&s), 0, "passed after the last suspending call");
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(scope, g19_d24_a_scope_that_ended_nothing_reports_nothing)
{
    in_task(g19_main);
}

static jd_result shield_body(void *arg)
{
    jd_scope shield;

    (void)arg;
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    jd_scope_open_shielded(&shield, JD_SEC(60));
    cr_assert_eq(jd_sleep(JD_MS(1)), 0);
    yields(2);
    cr_assert_eq(jd_scope_close(&shield), 0);
    cr_assert_eq(jd_yield(), -ECANCELED, "the cancel waited");
    jd_scope_open_shielded(&shield, JD_MS(1));
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    cr_assert_eq(jd_scope_close(&shield), -ETIMEDOUT, "its own deadline holds");
    jd_scope_open_shielded(&shield, JD_SEC(60));
    jd_scope_cancel(&shield);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close(&shield), -ECANCELED, "its own cancel, too");
    return jd_ok_num(2);
}

static jd_result d14_main(void *arg)
{
    jd_task *t = jd_spawn(shield_body, arg);

    yields(2);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).num, 2);
    return jd_ok(NULL);
}

Test(scope, d14_d23_a_shield_holds_off_outer_cancels_only)
{
    in_task(d14_main);
}

static jd_result parked_shield(void *arg)
{
    jd_scope outer, shield;
    jd_result r;

    jd_scope_open(&outer, JD_MS(1));
    jd_scope_open_shielded(&shield, JD_SEC(60));
    r = jd_await((jd_future *)arg);
    cr_assert_eq(jd_scope_close(&shield), 0);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_scope_close(&outer), -ETIMEDOUT);
    return r;
}

static jd_result d23_deadline_main(void *arg)
{
    jd_future *f;
    jd_task *t;

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &f), 0);
    t = jd_spawn(parked_shield, f);
    yields(2);
    cr_assert_eq(jd_sleep(JD_MS(3)), 0);
    cr_assert_eq(jd_future_done(jd_task_future(t)), 0);
    cr_assert_eq(jd_future_set(f, jd_ok_num(4)), 0);
    cr_assert_eq(jd_join(t).num, 4);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(scope, d23_what_is_parked_under_a_shield_stays_parked)
{
    in_task(d23_deadline_main);
}

static jd_result cancel_scope_body(void *arg)
{
    jd_scope *s = arg;

    jd_scope_open(s, JD_FOREVER);
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    cr_assert_eq(jd_scope_close(s), -ECANCELED);
    cr_assert_eq(jd_yield(), 0);
    return jd_ok_num(3);
}

static jd_result d25_main(void *arg)
{
    jd_scope s;
    jd_task *t = jd_spawn(cancel_scope_body, &s);

    (void)arg;
    yields(2);
    jd_scope_cancel(&s);
    jd_scope_cancel(&s);
    cr_assert_eq(jd_join(t).num, 3);
    jd_scope_open(&s, JD_FOREVER);
    jd_scope_cancel(&s);
    cr_assert_eq(jd_scope_close(&s), 0, "cancelled after its last suspending call");
    return jd_ok(NULL);
}

Test(scope, d25_a_scope_is_cancelled_from_another_task)
{
    in_task(d25_main);
}

struct thread_cancel {
    jd_scope scope;
    sem_t open;
};

static jd_result scope_for_thread(void *arg)
{
    struct thread_cancel *c = arg;

    jd_scope_open(&c->scope, JD_FOREVER);
    gate_open(&c->open);
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    return jd_err(jd_scope_close(&c->scope));
}

static void cancel_on_thread(unsigned index, void *arg)
{
    struct thread_cancel *c = arg;

    (void)index;
    gate_pass(&c->open);
    jd_scope_cancel(&c->scope);
}

Test(scope, d25_a_scope_is_cancelled_from_a_plain_thread_and_close_waits_for_it)
{
    static struct crew crew;
    static struct thread_cancel c;

    for (unsigned long i = jd_test_rounds(50); i > 0; i--) {
        cr_assert_eq(sem_init(&c.open, 0, 0), 0);
        crew_start(&crew, 1, cancel_on_thread, &c);
        cr_assert_eq(run_workers(2, scope_for_thread, &c).error, -ECANCELED);
        crew_join(&crew);
    }
}

static jd_result d25_order_main(void *arg)
{
    jd_scope a, b;

    (void)arg;
    jd_scope_open(&a, JD_FOREVER);
    jd_scope_open(&b, JD_FOREVER);
    cr_assert_eq(jd_scope_close(&a), -EINVAL, "not the innermost one");
    cr_assert_eq(jd_scope_close(&b), 0);
    cr_assert_eq(jd_scope_close(&b), -EINVAL, "not open");
    cr_assert_eq(jd_scope_close(&a), 0);
    return jd_ok(NULL);
}

Test(scope, d25_closes_must_nest)
{
    in_task(d25_order_main);
}

Test(scope, g10_outside_a_task_a_scope_is_inert)
{
    jd_scope s;

    jd_scope_open(&s, 0);
    jd_scope_cancel(&s);
    cr_assert_eq(jd_scope_set_deadline(&s, 1), -EPERM);
    cr_assert_eq(jd_scope_close_with(&s, 5), -EPERM);
    jd_scope_open_shielded(&s, 0);
    cr_assert_eq(jd_scope_close_with(&s, -EIO), -EIO);
    jd_scope_open(&s, 0);
    cr_assert_eq(jd_scope_close(&s), -EPERM);
}

static jd_result macro_main(void *arg)
{
    (void)arg;
    {
        JD_SCOPE(limit, 0);
        cr_assert_eq(jd_yield(), -ECANCELED);
        {
            JD_SHIELD(clean, JD_SEC(9));
            cr_assert_eq(jd_yield(), 0);
        }
        cr_assert_eq(jd_yield(), -ECANCELED);
    }
    cr_assert_eq(jd_yield(), 0);
    return jd_ok(NULL);
}

Test(scope, the_block_macros_close_at_the_end_of_the_block)
{
    in_task(macro_main);
}

static jd_result timed_waiter(void *arg)
{
    for (unsigned i = 0; i < 20; i++) {
        jd_scope s;
        int ended;

        jd_scope_open(&s, JD_US(50) * (int64_t)(1 + i % 3));
        (void)jd_future_wait(arg, JD_US(60) * (int64_t)(1 + i % 4)); /* any end is right */
        ended = jd_scope_close(&s);
        cr_assert(ended == 0 || ended == -ETIMEDOUT);
    }
    return jd_ok(NULL);
}

static jd_result storm_main(void *arg)
{
    jd_future *f;
    jd_task *t[20];

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &f), 0);
    for (unsigned i = 0; i < 20; i++)
        t[i] = jd_spawn(timed_waiter, f);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(jd_join(t[i]).error, 0);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(scope, d27_deadlines_and_timeouts_race_on_several_workers)
{
    cr_assert_eq(run_workers(3, storm_main, NULL).error, 0);
}
