/* SPDX-License-Identifier: MIT */
/*
 * The exact orders of one worker in conformance mode (JD_FIFO): groups A, B and C of the contract.
 * Each test records words and compares the whole line.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <unistd.h>

#include "contract.h"
#include "jd_test.h"

#define EXPECT_ORDER(words) cr_assert_str_eq(rec_text(), words, "got: %s", rec_text())

static jd_loop *here(void)
{
    return jd_loop_current();
}

static void soon(const char *word)
{
    cr_assert_eq(jd_call_soon(here(), rec_callback, WORD(word), NULL), 0);
}

static void later(int64_t delay, const char *word)
{
    cr_assert_eq(jd_call_later(here(), delay, rec_callback, WORD(word), NULL), 0);
}

static void on_done(jd_future *f, const char *word)
{
    cr_assert_eq(jd_future_add_done_callback(f, rec_done, WORD(word)), 0);
}

static jd_future *new_future(void)
{
    jd_future *f = NULL;

    cr_assert_eq(jd_future_new(NULL, &f), 0);
    return f;
}

static jd_task *spawn(jd_fn fn, void *arg)
{
    jd_task *t = jd_spawn(fn, arg);

    cr_assert_not_null(t);
    return t;
}

static void in_fifo(jd_fn fn)
{
    cr_assert_eq(run_fifo(fn, NULL).error, 0);
}

static jd_result a1_main(void *arg)
{
    (void)arg;
    soon("a");
    soon("b");
    soon("c");
    rec("main");
    yields(1);
    rec("end");
    return jd_ok(NULL);
}

Test(fifo_a, a1_callbacks_run_in_registration_order_each_once)
{
    in_fifo(a1_main);
    EXPECT_ORDER("main a b c end");
}

static void a2_inner(void *arg)
{
    rec(arg);
    soon("e");
}

static void a2_outer(void *arg)
{
    rec(arg);
    later(-1, "timer");
    cr_assert_eq(jd_call_soon(here(), a2_inner, WORD("d"), NULL), 0);
}

static jd_result a2_main(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_call_soon(here(), a2_outer, WORD("a"), NULL), 0);
    soon("b");
    yields(3);
    return jd_ok(NULL);
}

/* The timer is found by the poll between the ticks: behind d, before what d schedules. */
Test(fifo_a, a2_callbacks_scheduled_by_callbacks_run_in_the_next_tick_after_a_poll)
{
    in_fifo(a2_main);
    EXPECT_ORDER("a b d timer e");
}

static jd_result a4_main(void *arg)
{
    jd_handle *b, *late;

    (void)arg;
    soon("a");
    cr_assert_eq(jd_call_soon(here(), rec_callback, WORD("b"), &b), 0);
    soon("c");
    cr_assert_eq(jd_call_soon(here(), rec_callback, WORD("d"), &late), 0);
    cr_assert_eq(jd_handle_cancel(b), 1);
    cr_assert_eq(jd_handle_cancel(b), 0);
    cr_assert_eq(jd_handle_cancelled(b), 1);
    yields(1);
    cr_assert_eq(jd_handle_cancel(late), 0);
    cr_assert_eq(jd_handle_cancelled(late), 0);
    jd_handle_unref(b);
    jd_handle_unref(late);
    return jd_ok(NULL);
}

Test(fifo_a, a4_to_a6_a_cancelled_handle_is_skipped_and_the_others_keep_their_order)
{
    in_fifo(a4_main);
    EXPECT_ORDER("a c d");
}

static jd_result a8_main(void *arg)
{
    (void)arg;
    later(JD_SEC(-1), "-1");
    later(JD_SEC(-2), "-2");
    later(JD_SEC(-3), "-3");
    yields(2);
    return jd_ok(NULL);
}

Test(fifo_a, a8_negative_delays_fire_in_the_next_tick_by_deadline)
{
    in_fifo(a8_main);
    EXPECT_ORDER("-3 -2 -1");
}

static jd_result a9_main(void *arg)
{
    static const char *const words[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    int64_t when = jd_now() + JD_MS(1);

    (void)arg;
    for (unsigned i = 0; i < 10; i++)
        cr_assert_eq(jd_call_at(here(), when, rec_callback, (void *)(uintptr_t)words[i], NULL), 0);
    cr_assert_eq(jd_sleep_until(when + JD_MS(1)), 0);
    return jd_ok(NULL);
}

Test(fifo_a, a9_equal_deadlines_fire_in_the_order_given)
{
    in_fifo(a9_main);
    EXPECT_ORDER("0 1 2 3 4 5 6 7 8 9");
}

static jd_result a10_main(void *arg)
{
    (void)arg;
    later(0, "later0");
    cr_assert_eq(jd_call_at(here(), 1, rec_callback, WORD("past"), NULL), 0);
    soon("soon");
    yields(2);
    return jd_ok(NULL);
}

Test(fifo_a, a10_call_soon_beats_a_due_timer_made_earlier)
{
    in_fifo(a10_main);
    EXPECT_ORDER("soon past later0");
}

static jd_result wait_readable(void *arg)
{
    int fd = *(int *)arg;

    cr_assert_eq(jd_poll(fd, POLLIN, JD_FOREVER), POLLIN);
    rec("io");
    return jd_ok(NULL);
}

static jd_result a10_io_main(void *arg)
{
    int fds[2];
    jd_task *t;

    (void)arg;
    cr_assert_eq(pipe(fds), 0);
    t = spawn(wait_readable, &fds[0]);
    yields(2);
    later(0, "timer");
    cr_assert_eq(write(fds[1], "x", 1), 1);
    soon("soon");
    cr_assert_eq(jd_join(t).error, 0);
    yields(1);
    close(fds[0]);
    close(fds[1]);
    return jd_ok(NULL);
}

Test(fifo_a, a10_ready_callbacks_come_before_completions_before_due_timers)
{
    in_fifo(a10_io_main);
    EXPECT_ORDER("soon io timer");
}

static jd_result b8_main(void *arg)
{
    jd_future *f = new_future();

    (void)arg;
    on_done(f, "a");
    on_done(f, "b");
    cr_assert_eq(jd_future_set(f, jd_ok_num(1)), 0);
    on_done(f, "c");
    rec("sync");
    yields(1);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(fifo_b, b8_b9_completion_schedules_callbacks_in_order_and_later_ones_behind)
{
    in_fifo(b8_main);
    EXPECT_ORDER("sync a b c");
}

static jd_result b10_main(void *arg)
{
    jd_future *f = new_future();

    (void)arg;
    on_done(f, "x");
    on_done(f, "y");
    on_done(f, "x");
    on_done(f, "z");
    on_done(f, "z");
    cr_assert_eq(jd_future_remove_done_callback(f, rec_done, WORD("nobody")), 0);
    cr_assert_eq(jd_future_remove_done_callback(f, rec_done, WORD("z")), 2);
    cr_assert_eq(jd_future_cancel(f, NULL), 0);
    cr_assert_eq(jd_future_remove_done_callback(f, rec_done, WORD("y")), 0);
    yields(1);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(fifo_b, b10_b11_added_twice_runs_twice_and_removal_after_completion_is_too_late)
{
    in_fifo(b10_main);
    EXPECT_ORDER("x y x");
}

static void b13_first(jd_future *f, void *arg)
{
    rec(arg);
    on_done(f, "added");
    cr_assert_eq(jd_future_remove_done_callback(f, rec_done, WORD("second")), 0);
    cr_assert_eq(jd_future_remove_done_callback(f, b13_first, arg), 0);
}

static jd_result b13_main(void *arg)
{
    jd_future *f = new_future();

    (void)arg;
    cr_assert_eq(jd_future_add_done_callback(f, b13_first, WORD("first")), 0);
    on_done(f, "second");
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    jd_future_unref(f); /* the callbacks hold it */
    yields(2);
    return jd_ok(NULL);
}

Test(fifo_b, b13_callbacks_may_add_and_remove_callbacks_of_their_future)
{
    in_fifo(b13_main);
    EXPECT_ORDER("first second added");
}

static jd_result b15_main(void *arg)
{
    jd_future *f = new_future();

    (void)arg;
    cr_assert_eq(jd_future_set(f, jd_ok_num(7)), 0);
    soon("cs");
    cr_assert_eq(jd_await(f).num, 7);
    rec("main");
    yields(1);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(fifo_b, b15_awaiting_a_done_future_does_not_yield)
{
    in_fifo(b15_main);
    EXPECT_ORDER("main cs");
}

struct awaiter {
    jd_future *f;
    const char *word;
};

static jd_result await_and_rec(void *arg)
{
    struct awaiter *a = arg;

    cr_assert_eq(jd_await(a->f).error, 0);
    rec(a->word);
    return jd_ok(NULL);
}

static jd_result b16_main(void *arg)
{
    struct awaiter a = { new_future(), "w" };
    jd_task *t = spawn(await_and_rec, &a);

    (void)arg;
    yields(1);
    cr_assert_eq(jd_future_set(a.f, jd_ok(NULL)), 0);
    soon("cs");
    rec("set");
    yields(1);
    rec("main");
    cr_assert_eq(jd_join(t).error, 0);
    jd_future_unref(a.f);
    return jd_ok(NULL);
}

Test(fifo_b, b16_the_awaiter_resumes_in_the_next_tick_in_line_with_everything_else)
{
    in_fifo(b16_main);
    EXPECT_ORDER("set w cs main");
}

static jd_result b17_main(void *arg)
{
    jd_future *f = new_future();
    struct awaiter a[4] = { { f, "w0" }, { f, "w1" }, { f, "w2" }, { f, "w3" } };
    jd_task *t[4];

    (void)arg;
    for (unsigned i = 0; i < 4; i++)
        t[i] = spawn(await_and_rec, &a[i]);
    yields(1);
    on_done(f, "cb");
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(jd_join(t[i]).error, 0);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(fifo_b, b17_all_awaiters_resume_in_the_order_they_started_waiting)
{
    in_fifo(b17_main);
    cr_assert_not_null(strstr(rec_text(), "w0 w1 w2 w3"), "got: %s", rec_text());
}

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
