/* SPDX-License-Identifier: MIT */
/*
 * The exact orders of one worker in conformance mode (JD_FIFO): groups A and B of the contract.
 * Each test records words and compares the whole line.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <unistd.h>

#include "fifo_rig.h"

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
