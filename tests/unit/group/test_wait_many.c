/* SPDX-License-Identifier: MIT */
/*
 * jd_wait(). Numbers name the cases of the contract (E).
 */
#include "group_rig.h"

#define MANY 40

static jd_result modes_body(void *arg)
{
    unsigned char done[4] = { 9, 9, 9, 9 };
    jd_future *f[4];

    (void)arg;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(jd_future_new(NULL, &f[i]), 0);
    cr_assert_eq(jd_wait(f, 4, JD_FIRST_COMPLETED, 0, done), 0, "a poll");
    cr_assert(!done[0] && !done[1] && !done[2] && !done[3]);
    cr_assert_eq(jd_wait(f, 4, JD_FIRST_COMPLETED, JD_MS(2), NULL), 0, "E17: no error on timeout");
    cr_assert_eq(jd_future_set(f[2], jd_ok(NULL)), 0);
    cr_assert_eq(jd_wait(f, 4, JD_FIRST_COMPLETED, JD_FOREVER, done), 1);
    cr_assert(done[2] && !done[0]);
    cr_assert_eq(jd_future_cancel(f[1], NULL), 0);
    cr_assert_eq(jd_wait(f, 4, JD_FIRST_ERROR, JD_MS(2), done), 0, "E20: cancelled is not failed");
    cr_assert(done[1] && done[2] && !done[0] && !done[3]);
    cr_assert_eq(jd_wait(f, 4, JD_ALL_COMPLETED, JD_MS(2), NULL), 0);
    cr_assert_eq(jd_future_set(f[0], jd_err(-EDOM)), 0);
    cr_assert_eq(jd_wait(f, 4, JD_FIRST_ERROR, JD_FOREVER, NULL), 3, "E19: all that are done");
    cr_assert_eq(jd_future_set(f[3], jd_ok(NULL)), 0);
    cr_assert_eq(jd_wait(f, 4, JD_ALL_COMPLETED, 0, done), 4);
    cr_assert(done[0] && done[1] && done[2] && done[3]);
    for (int i = 0; i < 4; i++) {
        jd_result r;

        (void)jd_future_result(f[i], &r);
        jd_future_unref(f[i]);
    }
    return RIG_DONE;
}

/* E17, E19, E20 */
Test(wait_many, modes_and_timeouts)
{
    rig_run(1, modes_body);
}

static jd_result setter(void *arg)
{
    jd_future **f = arg;

    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_future_cancel(f[0], NULL), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_future_cancel(f[1], NULL), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_future_set(f[2], jd_err(-EDOM)), 0);
    return jd_ok(NULL);
}

static jd_result first_error_body(void *arg)
{
    unsigned char done[4];
    jd_future *f[4];
    jd_result r;
    jd_task *t;

    (void)arg;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(jd_future_new(NULL, &f[i]), 0);
    t = jd_spawn(setter, f);
    cr_assert_eq(jd_wait(f, 4, JD_FIRST_ERROR, JD_SEC(9), done), 3);
    cr_assert(done[0] && done[1] && done[2] && !done[3]);
    cr_assert_eq(jd_join(t).error, 0);
    cr_assert_eq(jd_future_result(f[2], &r), 0);
    for (int i = 0; i < 4; i++)
        jd_future_unref(f[i]);
    return RIG_DONE;
}

/* E20: cancelled ones arrive while it sleeps and must not end the wait. */
Test(wait_many, first_error_sleeps_over_cancelled_ones)
{
    rig_run(1, first_error_body);
}

static jd_result duplicates_body(void *arg)
{
    unsigned char done[MANY];
    jd_task *tasks[MANY];

    (void)arg;
    for (int n = 3; n <= MANY; n += 37) {
        jd_task *a = jd_spawn(rig_yields, rig_num(3)), *b = jd_spawn(rig_yields, rig_num(5));

        for (int i = 0; i < n; i++)
            tasks[i] = i % 3 ? a : b;
        cr_assert_eq(jd_wait(tasks, (size_t)n, JD_FIRST_COMPLETED, JD_FOREVER, done), 1);
        cr_assert(!done[0] && done[1] && done[2]);
        cr_assert_eq(jd_wait(tasks, (size_t)n, JD_ALL_COMPLETED, JD_FOREVER, done), 2);
        jd_task_unref(a);
        jd_task_unref(b);
    }
    return RIG_DONE;
}

/* E18 */
Test(wait_many, duplicate_counts_once)
{
    rig_run(1, duplicates_body);
}

static jd_result distinct_body(void *arg)
{
    enum { N = 1000 };
    static jd_future *f[N];
    static unsigned char done[N];

    (void)arg;
    for (int i = 0; i < N; i++) {
        cr_assert_eq(jd_future_new(NULL, &f[i]), 0);
        if (i % 2)
            cr_assert_eq(jd_future_set(f[i], jd_ok(NULL)), 0);
    }
    cr_assert_eq(jd_wait(f, N, JD_FIRST_COMPLETED, JD_FOREVER, done), N / 2);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(done[i], i % 2);
        jd_future_unref(f[i]);
    }
    return RIG_DONE;
}

Test(wait_many, many_distinct_ones_are_all_counted)
{
    rig_run(1, distinct_body);
}

struct waiting {
    jd_task *tasks[2];
    atomic_int started;
};

static jd_result waiter_fn(void *arg)
{
    struct waiting *w = arg;

    atomic_store(&w->started, 1);
    return jd_err(jd_wait(w->tasks, 2, JD_ALL_COMPLETED, JD_SEC(100), NULL));
}

static jd_result cancel_body(void *arg)
{
    struct waiting w = { .started = 0 };
    jd_task *t;

    (void)arg;
    for (int i = 0; i < 2; i++)
        w.tasks[i] = jd_spawn(rig_sleep_for_ever, NULL);
    t = jd_spawn(waiter_fn, &w);
    rig_until(&w.started, 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    for (int i = 0; i < 2; i++) {
        cr_assert_not(jd_future_done(jd_task_future(w.tasks[i])));
        cr_assert_eq(jd_task_cancel(w.tasks[i], NULL), 0);
        (void)jd_join(w.tasks[i]);
    }
    return RIG_DONE;
}

/* E22 */
Test(wait_many, cancelled_waiter_leaves_the_tasks_running)
{
    rig_run(1, cancel_body);
}

static jd_result misuse_body(void *arg)
{
    jd_task *tasks[2] = { jd_task_current(), NULL };

    (void)arg;
    cr_assert_eq(jd_wait(tasks, 0, JD_ALL_COMPLETED, 0, NULL), -EINVAL);
    cr_assert_eq(jd_wait(tasks, 2, JD_ALL_COMPLETED, 0, NULL), -EINVAL);
    cr_assert_eq(jd_wait(tasks, 1, 3, 0, NULL), -EINVAL);
    cr_assert_eq(jd_wait((jd_task **)NULL, 1, JD_ALL_COMPLETED, 0, NULL), -EINVAL);
    cr_assert_eq(jd_wait(tasks, 1, JD_ALL_COMPLETED, 0, NULL), -EDEADLK);
    return RIG_DONE;
}

/* E16 */
Test(wait_many, misuse_is_refused)
{
    rig_run(1, misuse_body);
}

static jd_result race_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(300);

    (void)arg;
    for (unsigned long round = 0; round < rounds; round++) {
        size_t n = 2 + round % (MANY - 2);
        jd_task *tasks[MANY];
        unsigned char done[MANY];
        int count, seen = 0;

        for (size_t i = 0; i < n; i++)
            tasks[i] = jd_spawn(rig_yields, rig_num((intptr_t)((i + round) % 5)));
        count = jd_wait(tasks, n, (unsigned)(round % 3), round % 2 ? JD_FOREVER : JD_US(20), done);
        cr_assert_geq(count, round % 2 ? 1 : 0);
        for (size_t i = 0; i < n; i++)
            seen += done[i];
        cr_assert(count == seen || (count == 0 && round % 2 == 0), "%d %d", count, seen);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(jd_join(tasks[i]).error, 0);
    }
    return RIG_DONE;
}

Test(wait_many, completions_race_with_timeouts, .timeout = 60)
{
    rig_run(4, race_body);
}
