/* SPDX-License-Identifier: MIT */
/*
 * Gather. Numbers name the cases of the contract (E: gather and wait).
 */
#include "group_rig.h"

#include "base/fault.h"

#define MANY 40 /* more than fit into the frame */

static atomic_int runs;

static jd_result counts(void *arg)
{
    atomic_fetch_add(&runs, 1);
    return rig_yields(arg);
}

static jd_result order_body(void *arg)
{
    jd_task *tasks[MANY];
    jd_result ret[MANY];

    (void)arg;
    cr_assert_eq(jd_gather((jd_future **)NULL, 0, NULL, 0), 0, "E1");
    for (size_t n = 1; n <= MANY; n += 13) {
        for (size_t i = 0; i < n; i++)
            cr_assert_not_null(tasks[i] = jd_spawn(rig_yields, rig_num((intptr_t)(n - i))));
        cr_assert_eq(jd_gather(tasks, n, ret, 0), 0);
        for (size_t i = 0; i < n; i++)
            cr_assert(ret[i].error == 0 && ret[i].num == (intptr_t)(n - i));
        cr_assert_eq(jd_gather(tasks, n, NULL, 0), 0, "all are done: at once");
        for (size_t i = 0; i < n; i++)
            jd_task_unref(tasks[i]);
    }
    return RIG_DONE;
}

/* E1, E2: results in the order of the arguments, the last one finishes first. */
Test(gather, results_are_in_input_order)
{
    rig_run(1, order_body);
}

Test(gather, results_are_in_input_order_on_four_workers)
{
    rig_run(4, order_body);
}

static jd_result duplicates_body(void *arg)
{
    jd_task *t = jd_spawn(counts, rig_num(3));
    jd_task *twice[] = { t, t, t };
    jd_result ret[3];

    (void)arg;
    cr_assert_eq(jd_gather(twice, 3, ret, 0), 0);
    cr_assert_eq(atomic_load(&runs), 1);
    cr_assert(ret[0].num == 3 && ret[1].num == 3 && ret[2].num == 3);
    jd_task_unref(t);
    return RIG_DONE;
}

/* E3 */
Test(gather, duplicate_runs_once_and_counts_each_time)
{
    rig_run(1, duplicates_body);
}

static atomic_int reported;

static void on_error(const jd_report *report, void *arg)
{
    (void)report;
    (void)arg;
    atomic_fetch_add(&reported, 1);
}

static jd_result first_error_body(void *arg)
{
    jd_task *tasks[3];
    jd_future *slow;
    jd_result ret[4];
    jd_future *futs[4];

    (void)arg;
    jd_set_error_handler(jd_runtime_current(), on_error, NULL);
    cr_assert_eq(jd_future_new(NULL, &slow), 0);
    tasks[0] = jd_spawn(rig_yields, rig_num(1));
    tasks[1] = jd_spawn(rig_yields, rig_num(50));
    tasks[2] = jd_spawn(rig_fail, rig_num(-EDOM));
    for (int i = 0; i < 3; i++)
        futs[i] = jd_task_future(tasks[i]);
    futs[3] = slow;
    cr_assert_eq(jd_gather(futs, 4, ret, 0), -EDOM);
    cr_assert_eq(ret[2].error, -EDOM);
    cr_assert_eq(ret[1].error, -EAGAIN);
    cr_assert_eq(ret[3].error, -EAGAIN);
    cr_assert_eq(jd_await(tasks[1]).num, 50, "the rest keeps running");
    cr_assert_eq(ret[1].error, -EAGAIN, "nothing is written after the return");
    cr_assert_eq(jd_future_set(slow, jd_err(-EIO)), 0);
    for (int i = 0; i < 3; i++)
        jd_task_unref(tasks[i]);
    jd_future_unref(slow);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(atomic_load(&reported), 0, "E5: nobody read the late error, it was asked for");
    return RIG_DONE;
}

/* E4, E5 */
Test(gather, first_error_returns_and_the_rest_keeps_running)
{
    rig_run(1, first_error_body);
}

static jd_result collect_body(void *arg)
{
    jd_task *tasks[4];
    jd_result ret[4];

    (void)arg;
    tasks[0] = jd_spawn(rig_fail, rig_num(-EDOM));
    tasks[1] = jd_spawn(rig_sleep_for_ever, NULL);
    tasks[2] = jd_spawn(rig_yields, rig_num(5));
    tasks[3] = jd_spawn(rig_fail, rig_num(-EIO));
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(tasks[1], NULL), 0);
    cr_assert_eq(jd_gather(tasks, 4, ret, JD_GATHER_COLLECT), 0);
    cr_assert(ret[0].error == -EDOM && ret[1].error == -ECANCELED);
    cr_assert(ret[2].num == 5 && ret[3].error == -EIO);
    for (int i = 0; i < 4; i++)
        jd_task_unref(tasks[i]);
    return RIG_DONE;
}

/* E6, E7 */
Test(gather, collect_makes_errors_and_cancels_results)
{
    rig_run(1, collect_body);
}

static jd_result cancel_rest_body(void *arg)
{
    jd_result ret[4];
    jd_future *futs[4];
    jd_task *tasks[3];

    (void)arg;
    tasks[0] = jd_spawn(rig_sleep_for_ever, NULL);
    tasks[1] = jd_spawn(rig_unwind_error, rig_num(-EIO));
    tasks[2] = jd_spawn(rig_fail, rig_num(-EDOM));
    for (int i = 0; i < 3; i++)
        futs[i] = jd_task_future(tasks[i]);
    cr_assert_eq(jd_future_new(NULL, &futs[3]), 0);
    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_gather(futs, 4, ret, JD_GATHER_CANCEL), -EDOM);
    cr_assert(ret[0].error == -ECANCELED && ret[1].error == -EIO && ret[2].error == -EDOM);
    cr_assert_eq(ret[3].error, -ECANCELED, "a plain future is cancelled, too");
    for (int i = 0; i < 3; i++)
        jd_task_unref(tasks[i]);
    jd_future_unref(futs[3]);
    return RIG_DONE;
}

Test(gather, cancel_joins_the_rest)
{
    rig_run(1, cancel_rest_body);
}

struct gatherer {
    jd_task *tasks[3];
    jd_result ret[3];
    unsigned flags;
    atomic_int started;
};

static jd_result gatherer_fn(void *arg)
{
    struct gatherer *g = arg;

    atomic_store(&g->started, 1);
    return jd_ok_num(jd_gather(g->tasks, 3, g->ret, g->flags));
}

static int cancelled_gather(struct gatherer *g, jd_fn fn, unsigned flags)
{
    jd_task *t;

    for (intptr_t i = 0; i < 3; i++)
        cr_assert_not_null(g->tasks[i] = jd_spawn(fn, rig_num(i)));
    g->flags = flags;
    atomic_store(&g->started, 0);
    t = jd_spawn(gatherer_fn, g);
    rig_until(&g->started, 1);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    return (int)jd_join(t).num;
}

static jd_result cancelled_body(void *arg)
{
    struct gatherer g;

    (void)arg;
    cr_assert_eq(cancelled_gather(&g, rig_sleep_for_ever, 0), -ECANCELED);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(g.ret[i].error, -EAGAIN);
        cr_assert_not(jd_future_done(jd_task_future(g.tasks[i])), "only the wait ended");
        cr_assert_eq(jd_task_cancel(g.tasks[i], NULL), 0);
        cr_assert_eq(jd_join(g.tasks[i]).error, -ECANCELED);
    }
    for (unsigned collect = 0; collect <= JD_GATHER_COLLECT; collect++) {
        cr_assert_eq(cancelled_gather(&g, rig_sleep_for_ever, JD_GATHER_CANCEL | collect),
                     -ECANCELED);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(g.ret[i].error, -ECANCELED, "E8, E9: joined");
            jd_task_unref(g.tasks[i]);
        }
    }
    cr_assert_eq(cancelled_gather(&g, rig_stubborn, JD_GATHER_CANCEL), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(g.ret[i].num, i, "E10: values that came all the same are kept");
        jd_task_unref(g.tasks[i]);
    }
    return RIG_DONE;
}

/* E8, E9, E10 */
Test(gather, cancelled_caller)
{
    rig_run(1, cancelled_body);
}

static jd_result in_cancelled_scope(void *arg)
{
    struct gatherer *g = arg;

    cr_assert_eq(jd_task_cancel(jd_task_current(), NULL), 0);
    cr_assert_eq(jd_gather(g->tasks, 3, g->ret, 0), -ECANCELED);
    cr_assert_eq(g->ret[0].error, -EAGAIN);
    cr_assert_eq(jd_gather(g->tasks, 3, g->ret, JD_GATHER_CANCEL), -ECANCELED);
    cr_assert_eq(g->ret[0].error, -ECANCELED, "cancelled before the call: joined all the same");
    return jd_ok(NULL);
}

static jd_result in_cancelled_scope_body(void *arg)
{
    struct gatherer g;

    (void)arg;
    for (int i = 0; i < 3; i++)
        g.tasks[i] = jd_spawn(rig_sleep_for_ever, NULL);
    cr_assert_eq(jd_join(jd_spawn(in_cancelled_scope, &g)).error, 0);
    for (int i = 0; i < 3; i++)
        jd_task_unref(g.tasks[i]);
    return RIG_DONE;
}

Test(gather, inside_a_cancelled_scope)
{
    rig_run(1, in_cancelled_scope_body);
}

static jd_result misuse_body(void *arg)
{
    jd_task *tasks[3] = { NULL };
    jd_future *futs[MANY];

    (void)arg;
    tasks[0] = jd_spawn(rig_yields, rig_num(2));
    tasks[2] = tasks[0];
    cr_assert_eq(jd_gather(tasks, 3, NULL, 0), -EINVAL, "E14: a NULL in the middle");
    cr_assert_eq(jd_gather((jd_task **)NULL, 1, NULL, 0), -EINVAL);
    cr_assert_eq(jd_gather(tasks, 1, NULL, 1u << 7), -EINVAL);
    tasks[1] = jd_task_current();
    cr_assert_eq(jd_gather(tasks, 3, NULL, 0), -EDEADLK);
    cr_assert_eq(jd_join(tasks[0]).num, 2);
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(jd_future_new(NULL, &futs[i]), 0);
    fault_arm(FAULT_ALLOC, 0, 1000);
    cr_assert_eq(jd_gather(futs, MANY, NULL, 0), -ENOMEM);
    fault_arm(FAULT_ALLOC, 0, 0);
    for (int i = 0; i < MANY; i++)
        jd_future_unref(futs[i]);
    return RIG_DONE;
}

Test(gather, misuse_is_refused)
{
    jd_future *none = NULL;

    cr_assert_eq(jd_gather(&none, 1, NULL, 0), -EINVAL);
    rig_run(1, misuse_body);
}

static jd_result race_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(300);

    (void)arg;
    for (unsigned long round = 0; round < rounds; round++) {
        size_t n = 1 + round % MANY;
        jd_task *tasks[MANY];
        jd_result ret[MANY];
        bool fails = round % 3 == 0;
        int err;

        for (size_t i = 0; i < n; i++)
            tasks[i] = fails && i == n / 2 ? jd_spawn(rig_fail, rig_num(-EDOM))
                                           : jd_spawn(rig_yields, rig_num((intptr_t)(i % 4)));
        err = jd_gather(tasks, n, ret, round % 2 ? JD_GATHER_CANCEL : 0);
        cr_assert_eq(err, fails ? -EDOM : 0);
        for (size_t i = 0; i < n; i++) {
            if (round % 2)
                cr_assert(jd_future_done(jd_task_future(tasks[i])));
            (void)jd_join(tasks[i]);
        }
    }
    return RIG_DONE;
}

/* The frame of the nodes is used again at once: a late completer would be seen by sanitizers. */
Test(gather, completions_race_with_the_return, .timeout = 60)
{
    rig_run(4, race_body);
}
