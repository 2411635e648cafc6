/* SPDX-License-Identifier: MIT */
/*
 * Groups and cancels from outside: of the opener, by a deadline, by jd_group_cancel(), nested.
 */
#include "group_rig.h"

#include <pthread.h>

static atomic_int reached;
static atomic_int seen;

static void reach(int step)
{
    atomic_store(&reached, step);
}

struct opener {
    int sleepers;
    jd_fn member;
    void *member_arg;
    int closed; /* what the close said */
    int after;  /* what the next suspending call said */
    jd_task *member_task;
};

static jd_result opener_fn(void *arg)
{
    struct opener *o = arg;
    jd_group g;

    jd_group_open(&g, 0, JD_FOREVER);
    for (int i = 0; i < o->sleepers; i++)
        cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    if (o->member)
        cr_assert_eq(jd_group_spawn_with(&g, o->member, o->member_arg, NULL, &o->member_task), 0);
    reach(1);
    o->closed = jd_group_close(&g);
    if (o->member)
        jd_task_unref(o->member_task);
    o->after = jd_yield();
    return jd_ok(NULL);
}

/* Starts an opener; returns when it sleeps in its close, and its member sleeps, too. */
static jd_task *start_opener(struct opener *o)
{
    jd_task *t;

    reach(0);
    t = jd_spawn(opener_fn, o);
    cr_assert_not_null(t);
    rig_until(&reached, 1);
    rig_until_parked(t); /* after step 1 it sleeps nowhere else */
    if (o->member)
        rig_until_parked(o->member_task);
    return t;
}

/* Cancels an opener that is inside its close, takes it. */
static void cancel_in_close(struct opener *o)
{
    jd_task *t = start_opener(o);

    cr_assert_eq(jd_task_cancel(t, "test"), 0);
    cr_assert_eq(jd_join(t).error, 0);
}

static jd_result mid_close_body(void *arg)
{
    struct opener plain = { .sleepers = 3, .closed = 1 };
    struct opener fails = { 3, rig_unwind_error, rig_num(-EDOM), 1, 1, NULL };
    struct opener stubborn = { 0, rig_stubborn, NULL, 1, 1, NULL };

    (void)arg;
    cancel_in_close(&plain);
    cr_assert_eq(plain.closed, -ECANCELED);
    cr_assert_eq(plain.after, -ECANCELED, "F7: the opener stays cancelled");
    cancel_in_close(&fails);
    cr_assert_eq(fails.closed, -EDOM, "a member's error wins");
    cr_assert_eq(fails.after, -ECANCELED);
    cancel_in_close(&stubborn);
    cr_assert_eq(stubborn.closed, -ECANCELED, "the group was not finished when the cancel came");
    return RIG_DONE;
}

/* F6, F7 */
Test(group_cancel, opener_cancelled_in_its_close)
{
    rig_run(1, mid_close_body);
}

Test(group_cancel, opener_cancelled_in_its_close_on_four_workers)
{
    rig_run(4, mid_close_body);
}

static jd_future *gate;

/* Its clean-up lasts until the gate opens. */
static jd_result slow_cleanup(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    atomic_store(&seen, 1);
    {
        JD_SHIELD(cleanup, JD_SEC(9));

        cr_assert_eq(jd_future_wait(gate, JD_FOREVER), 0);
    }
    atomic_store(&seen, 2);
    return jd_err(-ECANCELED);
}

static jd_result second_cancel_body(void *arg)
{
    struct opener o = { .sleepers = 3, .member = slow_cleanup };
    jd_task *t;

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &gate), 0);
    t = start_opener(&o);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    rig_until(&seen, 1);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_not(jd_future_done(jd_task_future(t)), "it still waits for the member");
    cr_assert_eq(jd_future_set(gate, jd_ok(NULL)), 0);
    cr_assert_eq(jd_join(t).error, 0);
    cr_assert_eq(atomic_load(&seen), 2);
    cr_assert_eq(o.closed, -ECANCELED);
    jd_future_unref(gate);
    return RIG_DONE;
}

/* F10 */
Test(group_cancel, second_cancel_does_not_end_the_join)
{
    rig_run(1, second_cancel_body);
}

static jd_result completed_opener(void *arg)
{
    jd_group g;

    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_yields, rig_num(1)), 0);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(jd_task_current(), NULL), 0);
    *(int *)arg = jd_group_close(&g);
    return jd_err(jd_yield());
}

static jd_result completed_body(void *arg)
{
    int closed = 1;

    (void)arg;
    cr_assert_eq(jd_join(jd_spawn(completed_opener, &closed)).error, -ECANCELED);
    cr_assert_eq(closed, 0, "nothing was left to cancel: the group's success stands");
    return RIG_DONE;
}

/* M12, F16: the close is no cancellation point. */
Test(group_cancel, finished_group_in_a_cancelled_task_closes_well)
{
    rig_run(1, completed_body);
}

static jd_result refused_opener(void *arg)
{
    jd_group g;

    cr_assert_eq(jd_task_cancel(jd_task_current(), NULL), 0);
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-EDOM)), -ECANCELED);
    *(int *)arg = jd_group_close(&g);
    return jd_ok(NULL);
}

static jd_result refused_body(void *arg)
{
    int closed = 1;

    (void)arg;
    cr_assert_eq(jd_join(jd_spawn(refused_opener, &closed)).error, 0);
    cr_assert_eq(closed, -ECANCELED);
    return RIG_DONE;
}

Test(group_cancel, spawn_in_a_cancelled_task_is_refused_and_the_close_says_so)
{
    rig_run(1, refused_body);
}

static jd_result deadline_body(void *arg)
{
    jd_result error = { 0 };
    int64_t start = jd_now();
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_MS(100));
    cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_group_close(&g), -ETIMEDOUT);
    cr_assert_geq(jd_now() - start, JD_MS(100));
    cr_assert_eq(jd_group_errors(&g, NULL, 0), 0);

    jd_group_open(&g, 0, JD_MS(100)); /* G11: an error of the unwinding wins */
    cr_assert_eq(jd_group_spawn(&g, rig_unwind_error, rig_num(-EIO)), 0);
    cr_assert_eq(jd_group_close(&g), -EIO);
    cr_assert_eq(jd_group_errors(&g, &error, 1), 1);

    jd_group_open(&g, 0, JD_SEC(100)); /* not reached: nothing happens, its timer goes */
    cr_assert_eq(jd_group_spawn(&g, rig_yields, rig_num(2)), 0);
    cr_assert_eq(jd_group_close(&g), 0);

    jd_group_open(&g, 0, 0); /* passed on entry: spawns are refused, the body's calls fail */
    cr_assert_eq(jd_group_spawn(&g, rig_yields, rig_num(2)), -ECANCELED);
    cr_assert_eq(jd_yield(), -ECANCELED);
    cr_assert_eq(jd_group_close_with(&g, -ECANCELED), -ETIMEDOUT);
    cr_assert_eq(jd_yield(), 0);
    return RIG_DONE;
}

Test(group_cancel, deadline_of_the_group)
{
    rig_run(1, deadline_body);
}

static jd_result outer_deadline_body(void *arg)
{
    jd_scope limit;
    jd_group g;

    (void)arg;
    jd_scope_open(&limit, JD_MS(100));
    jd_group_open(&g, 0, JD_SEC(100));
    cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_group_close(&g), -ECANCELED, "not its own deadline");
    cr_assert_eq(jd_scope_close(&limit), -ETIMEDOUT);
    cr_assert_eq(jd_yield(), 0);
    return RIG_DONE;
}

Test(group_cancel, deadline_of_a_scope_around_the_group)
{
    rig_run(1, outer_deadline_body);
}

static jd_result shielded_opener(void *arg)
{
    jd_scope shield;
    jd_group g;

    (void)arg;
    jd_scope_open_shielded(&shield, JD_SEC(9));
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_yields, rig_num(20)), 0);
    cr_assert_eq(jd_task_cancel(jd_task_current(), NULL), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_yields, rig_num(20)), 0);
    cr_assert_eq(jd_group_close(&g), 0);
    cr_assert_eq(jd_scope_close(&shield), 0);
    return jd_err(jd_yield());
}

static jd_result shield_body(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_join(jd_spawn(shielded_opener, NULL)).error, -ECANCELED);
    return RIG_DONE;
}

Test(group_cancel, shield_keeps_cancels_from_a_group)
{
    rig_run(1, shield_body);
}

static jd_group *shared;

static jd_result cancels_group(void *arg)
{
    (void)arg;
    jd_group_cancel(shared);
    jd_group_cancel(shared);
    return jd_ok(NULL);
}

static void *thread_cancels_group(void *arg)
{
    (void)arg;
    jd_group_cancel(shared);
    return NULL;
}

static jd_result early_end_body(void *arg)
{
    jd_task_options eager = JD_TASK_OPTIONS_INIT;
    pthread_t thread;
    jd_group g;

    (void)arg;
    shared = &g;
    eager.flags = JD_TASK_EAGER;
    for (int who = 0; who < 4; who++) {
        jd_group_open(&g, 0, JD_FOREVER);
        cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
        if (who == 0)
            (void)cancels_group(NULL);
        else if (who == 1)
            cr_assert_eq(jd_group_spawn(&g, cancels_group, NULL), 0);
        else if (who == 2)
            cr_assert_eq(jd_group_spawn_with(&g, cancels_group, NULL, &eager, NULL), 0);
        else
            cr_assert_eq(pthread_create(&thread, NULL, thread_cancels_group, NULL), 0);
        cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
        cr_assert_eq(jd_group_spawn(&g, rig_fail, NULL), -ECANCELED);
        cr_assert_eq(jd_group_close_with(&g, -ECANCELED), 0, "an early end is no error: %d", who);
        cr_assert_eq(jd_group_errors(&g, NULL, 0), 0);
        cr_assert_eq(jd_yield(), 0);
    }
    pthread_join(thread, NULL);
    return RIG_DONE;
}

/* F15: by the body, a member, an eager member (gh-155418), another thread. */
Test(group_cancel, early_end_is_no_error)
{
    rig_run(1, early_end_body);
}

Test(group_cancel, early_end_is_no_error_on_four_workers)
{
    rig_run(4, early_end_body);
}

static jd_result inner_fails(void *arg)
{
    jd_group g;

    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_fail, arg), 0);
    return jd_err(jd_group_close(&g));
}

static jd_result inner_cancelled(void *arg)
{
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    atomic_store(&seen, jd_group_close(&g));
    return jd_err(atomic_load(&seen));
}

static jd_result nested_body(void *arg)
{
    jd_result errors[2] = { { 0 } };
    jd_group outer, inner;

    (void)arg;
    jd_group_open(&outer, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&outer, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_group_spawn(&outer, inner_fails, rig_num(-EDOM)), 0);
    cr_assert_eq(jd_group_close(&outer), -EDOM, "the inner group's error is the member's");
    cr_assert_eq(jd_group_errors(&outer, errors, 2), 1);

    jd_group_open(&outer, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&outer, inner_cancelled, NULL), 0);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_group_spawn(&outer, rig_fail, rig_num(-EIO)), 0);
    cr_assert_eq(jd_group_close(&outer), -EIO);
    cr_assert_eq(atomic_load(&seen), -ECANCELED);
    cr_assert_eq(jd_group_errors(&outer, errors, 2), 1, "the cancelled inner group is no error");

    jd_group_open(&outer, 0, JD_FOREVER); /* both in one task; the outer fails */
    jd_group_open(&inner, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&inner, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_group_spawn(&outer, rig_fail, rig_num(-EXDEV)), 0);
    cr_assert_eq(jd_group_close(&inner), -ECANCELED);
    cr_assert_eq(jd_group_close(&outer), -EXDEV);
    cr_assert_eq(jd_yield(), 0);
    return RIG_DONE;
}

/* F9 */
Test(group_cancel, nested_groups)
{
    rig_run(1, nested_body);
}
