/* SPDX-License-Identifier: MIT */
/*
 * Groups, without cancels from outside: joining, errors, policies, misuse. Numbers name the cases
 * of the contract (F: groups).
 */
#include "group_rig.h"

#include "base/fault.h"

static atomic_int ended;

static jd_result counted(void *arg)
{
    jd_result r = rig_yields(arg);

    atomic_fetch_add(&ended, 1);
    return r;
}

static jd_result join_body(void *arg)
{
    jd_task *members[3];
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    for (intptr_t i = 0; i < 3; i++)
        cr_assert_eq(jd_group_spawn_with(&g, counted, rig_num(7 - i), NULL, &members[i]), 0);
    cr_assert_eq(jd_group_close(&g), 0);
    cr_assert_eq(atomic_load(&ended), 3);
    for (intptr_t i = 0; i < 3; i++) {
        jd_result r = jd_err(-EAGAIN);

        cr_assert_eq(jd_future_result(jd_task_future(members[i]), &r), 0);
        cr_assert_eq(r.num, 7 - i);
        jd_task_unref(members[i]);
    }
    return RIG_DONE;
}

/* F1: a close that does not wait, or results that are gone. */
Test(group, close_waits_for_members_and_their_results_stay)
{
    rig_run(1, join_body);
}

static jd_group *tree;

static jd_result tree_node(void *arg)
{
    intptr_t depth = (intptr_t)arg;

    cr_assert_eq(jd_yield(), 0);
    for (int i = 0; depth && i < 2; i++)
        cr_assert_eq(jd_group_spawn(tree, tree_node, rig_num(depth - 1)), 0);
    atomic_fetch_add(&ended, 1);
    return jd_ok(NULL);
}

static jd_result tree_body(void *arg)
{
    jd_group g;

    (void)arg;
    tree = &g;
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, tree_node, rig_num(5)), 0);
    cr_assert_eq(jd_group_close(&g), 0);
    cr_assert_eq(atomic_load(&ended), 63);
    return RIG_DONE;
}

/* F2: members spawn members at any depth while the opener is in its close. */
Test(group, members_may_spawn_members_during_the_close)
{
    rig_run(1, tree_body);
}

Test(group, members_may_spawn_members_on_four_workers)
{
    rig_run(4, tree_body);
}

static jd_result error_body(void *arg)
{
    jd_result errors[4] = { { 0 } };
    jd_task *sleeper;
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn_with(&g, rig_sleep_for_ever, NULL, NULL, &sleeper), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_unwind_error, rig_num(-EIO)), 0);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-EDOM)), 0);
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED, "the body is cancelled, too");
    cr_assert_eq(jd_group_spawn(&g, rig_fail, NULL), -ECANCELED);
    cr_assert_eq(jd_group_close(&g), -EDOM);
    cr_assert_eq(jd_group_errors(&g, errors, 4), 2, "the sleeper is no error");
    cr_assert_eq(errors[0].error, -EDOM);
    cr_assert_eq(errors[1].error, -EIO);
    cr_assert_eq(jd_await(sleeper).error, -ECANCELED);
    jd_task_unref(sleeper);
    cr_assert_eq(jd_yield(), 0, "F8: the opener is not cancelled after the group");
    cr_assert_eq(jd_task_cancelling(jd_task_current()), 0);
    return RIG_DONE;
}

/* F3, F8: the first error cancels members and body; errors come in the order they happened. */
Test(group, first_error_cancels_members_and_body)
{
    rig_run(1, error_body);
}

static jd_result single_cancel_body(void *arg)
{
    jd_task *one, *other;
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn_with(&g, rig_sleep_for_ever, NULL, NULL, &one), 0);
    cr_assert_eq(jd_group_spawn_with(&g, rig_yields, rig_num(10), NULL, &other), 0);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(one, NULL), 0);
    cr_assert_eq(jd_group_close(&g), 0);
    cr_assert_eq(jd_group_errors(&g, NULL, 0), 0);
    cr_assert(jd_future_cancelled(jd_task_future(one)));
    cr_assert_eq(jd_await(other).num, 10, "its siblings went on");
    jd_task_unref(one);
    jd_task_unref(other);
    return RIG_DONE;
}

/* F4 */
Test(group, member_cancelled_alone_is_no_error)
{
    rig_run(1, single_cancel_body);
}

/* An -ECANCELED that nobody asked for is a result like any other error. */
static jd_result stray_body(void *arg)
{
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-ECANCELED)), 0);
    cr_assert_eq(jd_group_close(&g), -ECANCELED);
    cr_assert_eq(jd_group_errors(&g, NULL, 0), 1);
    cr_assert_eq(jd_yield(), 0);
    return RIG_DONE;
}

Test(group, stray_ecanceled_of_a_member_is_an_error)
{
    rig_run(1, stray_body);
}

static jd_result body_error_body(void *arg)
{
    jd_result error = { 0 };
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_group_close_with(&g, -ERANGE), -ERANGE);
    cr_assert_eq(jd_group_errors(&g, &error, 1), 1);
    cr_assert_eq(error.error, -ERANGE);

    jd_group_open(&g, 0, JD_FOREVER); /* a count is no error, and a group may be opened again */
    cr_assert_eq(jd_group_spawn(&g, rig_yields, rig_num(2)), 0);
    cr_assert_eq(jd_group_close_with(&g, 17), 0);
    cr_assert_eq(jd_group_errors(&g, NULL, 0), 0);

    jd_group_open(&g, 0, JD_FOREVER); /* the group's own cancel is no error of the body */
    cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-EDOM)), 0);
    cr_assert_eq(jd_group_close_with(&g, jd_sleep(JD_FOREVER)), -EDOM);
    cr_assert_eq(jd_group_errors(&g, NULL, 0), 1);
    return RIG_DONE;
}

/* F5 */
Test(group, error_of_the_body_cancels_members)
{
    rig_run(1, body_error_body);
}

static jd_result keep_going_body(void *arg)
{
    jd_result errors[4] = { { 0 } };
    jd_group g;

    (void)arg;
    jd_group_open(&g, JD_GROUP_KEEP_GOING, JD_FOREVER);
    for (intptr_t i = 1; i <= 6; i++)
        cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-i)), 0);
    cr_assert_eq(jd_group_spawn(&g, counted, rig_num(20)), 0);
    cr_assert_eq(jd_group_close_with(&g, -ERANGE), -ERANGE, "the body's came first");
    cr_assert_eq(atomic_load(&ended), 1, "nobody was cancelled");
    cr_assert_eq(jd_group_errors(&g, errors, 2), 7);
    cr_assert_eq(errors[1].error, -1);
    cr_assert_eq(errors[2].error, 0, "no more than asked for");
    cr_assert_eq(jd_group_errors(&g, errors, 4), 7);
    cr_assert_eq(errors[3].error, -3);
    return RIG_DONE;
}

Test(group, keep_going_cancels_nobody_and_keeps_four_errors)
{
    rig_run(1, keep_going_body);
}

static jd_result first_ok_body(void *arg)
{
    jd_result winner = { 0 };
    jd_group g;

    (void)arg;
    jd_group_open(&g, JD_GROUP_FIRST_OK, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-EDOM)), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_sleep_for_ever, NULL), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_stubborn, rig_num(9)), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_yields, rig_num(3)), 0);
    cr_assert_eq(jd_group_winner(&g, &winner), -EAGAIN);
    cr_assert_eq(jd_group_close(&g), 0);
    cr_assert_eq(jd_group_winner(&g, &winner), 0);
    cr_assert_eq(winner.num, 3, "a later success does not replace the first");
    cr_assert_eq(jd_group_errors(&g, NULL, 0), 1);

    jd_group_open(&g, JD_GROUP_FIRST_OK, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-EDOM)), 0);
    cr_assert_eq(jd_group_spawn(&g, rig_fail, rig_num(-ERANGE)), 0);
    cr_assert_eq(jd_group_close(&g), -EDOM);
    cr_assert_eq(jd_group_winner(&g, &winner), -EAGAIN);

    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_close(&g), 0, "F16: an empty group");
    cr_assert_eq(jd_group_winner(&g, &winner), -EINVAL);
    cr_assert_eq(jd_group_winner(NULL, &winner), -EINVAL);
    return RIG_DONE;
}

Test(group, first_ok_has_one_winner)
{
    rig_run(1, first_ok_body);
}

static int see_task(jd_task *t, void *arg)
{
    (void)t;
    ++*(int *)arg;
    return 0;
}

static jd_result long_lived_body(void *arg)
{
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    for (int round = 0; round < 50; round++) {
        int alive = 0;

        for (int i = 0; i < 20; i++)
            cr_assert_eq(jd_group_spawn(&g, counted, rig_num(1)), 0);
        rig_until(&ended, 20 * (round + 1));
        cr_assert_eq(jd_yield(), 0);
        cr_assert_eq(jd_task_foreach(jd_runtime_current(), see_task, &alive), 0);
        cr_assert_eq(alive, 1, "only main is left: %d", alive);
    }
    cr_assert_eq(jd_group_close(&g), 0);
    return RIG_DONE;
}

/* F13 */
Test(group, finished_members_are_dropped_at_once)
{
    rig_run(1, long_lived_body);
}

static jd_result macro_body(void *arg)
{
    (void)arg;
    {
        JD_GROUP(members, 0, JD_FOREVER);

        for (int i = 0; i < 5; i++)
            cr_assert_eq(jd_group_spawn(&members, counted, rig_num(i)), 0);
    }
    cr_assert_eq(atomic_load(&ended), 5);
    return RIG_DONE;
}

Test(group, block_macro_joins_at_the_end_of_the_block)
{
    rig_run(1, macro_body);
}

static jd_result eager_fails(void *arg)
{
    (void)arg;
    return jd_err(-EXDEV);
}

static jd_result eager_body(void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_group g;

    (void)arg;
    opt.flags = JD_TASK_EAGER;
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn_with(&g, counted, rig_num(1), &opt, NULL), 0);
    cr_assert_eq(atomic_load(&ended), 0, "its first step ran: it is in its yield");
    cr_assert_eq(jd_group_spawn_with(&g, eager_fails, NULL, &opt, NULL), 0);
    cr_assert_eq(jd_group_errors(&g, NULL, 0), 1, "it has ended inside the spawn");
    cr_assert_eq(jd_group_close(&g), -EXDEV);
    return RIG_DONE;
}

/* A member that ends inside its own spawn must have been counted before (gh-128550). */
Test(group, eager_member_may_end_inside_the_spawn)
{
    rig_run(1, eager_body);
}

static jd_result misuse_body(void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_group outer, inner;

    (void)arg;
    jd_group_open(&outer, 0, JD_FOREVER);
    jd_group_open(&inner, 0, JD_FOREVER);
    cr_assert_eq(jd_group_close(&outer), -EINVAL, "not the innermost");
    cr_assert_eq(jd_group_spawn(&inner, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_group_spawn(NULL, rig_fail, NULL), -EINVAL);
    opt.flags = 1u << 30;
    cr_assert_eq(jd_group_spawn_with(&inner, rig_fail, NULL, &opt, NULL), -EINVAL);
    cr_assert_eq(jd_group_close(&inner), 0, "the failed spawn is not counted");
    cr_assert_eq(jd_group_close(&inner), -EINVAL, "not open");
    cr_assert_eq(jd_group_spawn(&inner, rig_fail, NULL), -EPIPE);
    cr_assert_eq(jd_group_close(&outer), 0);
    cr_assert_eq(jd_group_close(NULL), -EINVAL);
    cr_assert_eq(jd_group_errors(NULL, NULL, 0), 0);
    jd_group_cancel(NULL);
    return RIG_DONE;
}

/* F12, F18 */
Test(group, misuse_is_refused)
{
    rig_run(1, misuse_body);
}

Test(group, outside_a_task_it_is_inert)
{
    jd_group g;

    jd_group_open(&g, 0, JD_MS(1));
    cr_assert_eq(jd_group_spawn(&g, rig_fail, NULL), -EPERM);
    jd_group_cancel(&g);
    cr_assert_eq(jd_group_close(&g), -EPERM);
}

static jd_result no_memory_body(void *arg)
{
    jd_group g;
    int spawned = 0, err = 0;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    fault_arm(FAULT_ALLOC, 0, UINT64_MAX / 2);
    fault_arm(FAULT_STACK, 0, UINT64_MAX / 2);
    while (spawned < 1000000 && (err = jd_group_spawn(&g, counted, NULL)) == 0)
        spawned++;
    fault_arm(FAULT_ALLOC, 0, 0);
    fault_arm(FAULT_STACK, 0, 0);
    cr_assert_eq(err, -ENOMEM);
    cr_assert_eq(jd_group_close(&g), 0, "and the group is as before");
    cr_assert_eq(atomic_load(&ended), spawned);
    return RIG_DONE;
}

Test(group, spawn_without_memory_leaves_nothing)
{
    rig_run(1, no_memory_body);
}
