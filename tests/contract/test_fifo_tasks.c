/* SPDX-License-Identifier: MIT */
/*
 * The exact orders of tasks on one worker in conformance mode (JD_FIFO): group C of the contract,
 * as test_fifo_order.c.
 */
#include <stdint.h>

#include "fifo_rig.h"

static jd_result c2_main(void *arg)
{
    jd_task *t = spawn(rec_coro, WORD("body"));

    (void)arg;
    rec("spawned");
    cr_assert_eq(jd_future_done(jd_task_future(t)), 0);
    cr_assert_eq(jd_join(t).error, 0);
    return jd_ok(NULL);
}

Test(fifo_c, c2_a_spawn_only_queues)
{
    in_fifo(c2_main);
    EXPECT_ORDER("spawned body");
}

static jd_result c3_main(void *arg)
{
    jd_task *t = spawn(rec_coro, WORD("task"));

    (void)arg;
    cr_assert_eq(jd_await(jd_coro_of(rec_coro, WORD("coro"))).error, 0);
    rec("after");
    cr_assert_eq(jd_join(t).error, 0);
    return jd_ok(NULL);
}

Test(fifo_c, c3_an_awaited_coroutine_runs_before_a_task_spawned_earlier)
{
    in_fifo(c3_main);
    EXPECT_ORDER("coro after task");
}

static jd_result c4_main(void *arg)
{
    jd_task *t = spawn(rec_coro, WORD("task"));

    (void)arg;
    cr_assert_eq(jd_sleep(0), 0);
    cr_assert_eq(jd_await(jd_coro_of(rec_coro, WORD("coro"))).error, 0);
    cr_assert_eq(jd_join(t).error, 0);
    return jd_ok(NULL);
}

Test(fifo_c, c4_one_suspension_lets_the_task_run_first)
{
    in_fifo(c4_main);
    EXPECT_ORDER("task coro");
}

static jd_result two_parts(void *arg)
{
    bool is_task = *(bool *)arg;

    rec(is_task ? "start-task" : "start-coro");
    yields(1);
    rec(is_task ? "end-task" : "end-coro");
    return jd_ok(NULL);
}

static jd_result c5_main(void *arg)
{
    bool yes = true, no = false;
    jd_task *t = spawn(two_parts, &yes);

    (void)arg;
    cr_assert_eq(jd_await(jd_coro_of(two_parts, &no)).error, 0);
    cr_assert_eq(jd_join(t).error, 0);
    return jd_ok(NULL);
}

Test(fifo_c, c5_a_suspending_coroutine_and_a_task_interleave_by_wake_up_order)
{
    in_fifo(c5_main);
    EXPECT_ORDER("start-coro start-task end-coro end-task");
}

static jd_result c6_main(void *arg)
{
    jd_task *t1 = spawn(rec_coro, WORD("t1")), *t2 = spawn(rec_coro, WORD("t2"));

    (void)arg;
    cr_assert_eq(jd_join(t2).error, 0);
    rec(jd_future_done(jd_task_future(t1)) ? "t1-done" : "t1-pending");
    cr_assert_eq(jd_join(t1).error, 0);
    return jd_ok(NULL);
}

Test(fifo_c, c6_joining_the_second_task_runs_the_first_one_before)
{
    in_fifo(c6_main);
    EXPECT_ORDER("t1 t2 t1-done");
}

static jd_result counting(void *word)
{
    for (long i = 0; i < 3; i++) {
        rec_num(word, i);
        yields(1);
    }
    return jd_ok(NULL);
}

static jd_result c7_main(void *arg)
{
    jd_task *a = spawn(counting, WORD("a")), *b = spawn(counting, WORD("b"));

    (void)arg;
    cr_assert_eq(jd_join(a).error, 0);
    cr_assert_eq(jd_join(b).error, 0);
    return jd_ok(NULL);
}

Test(fifo_c, c7_two_loops_of_yields_alternate)
{
    in_fifo(c7_main);
    EXPECT_ORDER("a0 b0 a1 b1 a2 b2");
}

static jd_result c8_child(void *arg)
{
    (void)arg;
    soon("cs1");
    rec("child");
    return jd_ok(NULL);
}

static void c8_child_done(jd_future *f, void *arg)
{
    (void)f;
    rec(arg);
    soon("cs2");
}

static jd_result c8_main(void *arg)
{
    jd_task *t = spawn(c8_child, NULL);

    (void)arg;
    cr_assert_eq(jd_future_add_done_callback(jd_task_future(t), c8_child_done, WORD("done-cb")), 0);
    cr_assert_eq(jd_await(t).error, 0);
    rec("parent");
    yields(1);
    jd_task_unref(t);
    return jd_ok(NULL);
}

/* The parent's wake is queued at the child's end: behind what was queued before, in the next tick,
 * never inside the child's frame. */
Test(fifo_c, c8_the_awaiter_resumes_one_tick_after_the_end_of_the_child)
{
    in_fifo(c8_main);
    EXPECT_ORDER("child cs1 done-cb parent cs2");
}

static jd_result c9_main(void *arg)
{
    jd_task *t = spawn(return_arg, (void *)9);

    (void)arg;
    yields(1);
    cr_assert_eq(jd_future_done(jd_task_future(t)), 1);
    soon("cs");
    cr_assert_eq(jd_join(t).num, 9);
    rec("joined");
    yields(1);
    return jd_ok(NULL);
}

Test(fifo_c, c9_awaiting_a_finished_task_does_not_yield)
{
    in_fifo(c9_main);
    EXPECT_ORDER("joined cs");
}

static jd_result same_task(void *arg)
{
    cr_assert_eq(jd_task_current(), arg);
    yields(1);
    cr_assert_eq(jd_task_current(), arg);
    return jd_ok(NULL);
}

static jd_result c10_main(void *arg)
{
    (void)arg;
    return jd_await(jd_coro_of(same_task, jd_task_current()));
}

Test(fifo_c, c10_an_awaited_coroutine_is_the_same_task)
{
    in_fifo(c10_main);
}

static jd_result c11_main(void *arg)
{
    static const char *const words[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    jd_task *t[10];

    (void)arg;
    for (unsigned i = 0; i < 10; i++)
        t[i] = spawn(rec_coro, (void *)(uintptr_t)words[i]);
    for (unsigned i = 10; i-- > 0;)
        cr_assert_eq(jd_join(t[i]).error, 0);
    return jd_ok(NULL);
}

Test(fifo_c, c11_tasks_start_in_creation_order_whoever_is_joined_first)
{
    in_fifo(c11_main);
    EXPECT_ORDER("0 1 2 3 4 5 6 7 8 9");
}

static jd_result c20_child(void *arg)
{
    (void)arg;
    rec("start");
    yields(1);
    rec("end");
    return jd_ok(NULL);
}

static jd_result c20_main(void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    (void)arg;
    opt.flags = JD_TASK_EAGER;
    rec("before");
    t = jd_spawn_with(c20_child, NULL, &opt);
    rec("after");
    cr_assert_eq(jd_join(t).error, 0);
    rec("done");
    return jd_ok(NULL);
}

Test(fifo_c, c20_an_eager_task_takes_its_first_step_inside_the_spawn)
{
    in_fifo(c20_main);
    EXPECT_ORDER("before start after end done");
}
