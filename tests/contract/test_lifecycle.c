/* SPDX-License-Identifier: MIT */
/*
 * Runtimes: group L of the contract, without signals and forks (test_process_life.c).
 */
#include <errno.h>
#include <pthread.h>

#include "contract.h"
#include "jd_test.h"

static jd_task *spawn_in(jd_runtime *rt, jd_fn fn, void *arg)
{
    jd_task *t = jd_runtime_spawn(rt, fn, arg, NULL);

    cr_assert_not_null(t);
    return t;
}

Test(lifecycle, l1_l12_a_run_returns_what_main_returned)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_task *t = spawn_in(rt, return_arg, (void *)7);

    cr_assert_eq(run_workers(2, return_arg, (void *)5).num, 5);
    cr_assert_eq(run_workers(1, fail_with, (void *)(intptr_t)-EIO).error, -EIO);
    cr_assert_eq(jd_run(return_arg, (void *)6, NULL).num, 6);
    cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).num, 7);
    cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).num, 7, "done already");
    jd_task_unref(t);
    t = spawn_in(rt, sleep_forever, NULL);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).error, -ECANCELED);
    jd_task_unref(t);
    runtime_end(rt);
}

static void stop_it(void *arg)
{
    jd_stop(arg);
}

Test(lifecycle, l2_l5_stopped_before_the_future_is_done_and_usable_again)
{
    jd_runtime *rt = runtime_of(2, 0);
    jd_future *f = NULL;

    cr_assert_eq(jd_future_new(rt, &f), 0);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(jd_call_later(jd_runtime_loop(rt, 0), JD_US(200), stop_it, rt, NULL), 0);
        cr_assert_eq(jd_run_until_complete(rt, f).error, -EAGAIN);
        cr_assert_eq(jd_runtime_is_running(rt), 0);
        cr_assert_eq(jd_future_done(f), 0);
    }
    cr_assert_eq(jd_future_set(f, jd_ok_num(3)), 0);
    cr_assert_eq(jd_run_until_complete(rt, f).num, 3);
    jd_future_unref(f);
    runtime_end(rt);
}

static void set_and_stop(void *arg)
{
    jd_stop(jd_runtime_current());
    cr_assert_eq(jd_future_set(arg, jd_ok_num(9)), 0);
}

Test(lifecycle, l9_a_run_that_was_stopped_leaves_nothing_behind_that_stops_the_next)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *first = NULL;
    jd_task *t;

    cr_assert_eq(jd_future_new(rt, &first), 0);
    cr_assert_eq(jd_call_soon(jd_runtime_loop(rt, 0), set_and_stop, first, NULL), 0);
    cr_assert_eq(jd_run_until_complete(rt, first).num, 9);
    for (unsigned i = 0; i < 5; i++) {
        int64_t start = jd_now(); /* the delay counts from the call */

        t = spawn_in(rt, sleep_forever, NULL);
        cr_assert_eq(jd_call_later(jd_runtime_loop(rt, 0), JD_MS(1), stop_it, rt, NULL), 0);
        cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).error, -EAGAIN);
        cr_assert_geq(jd_now() - start, JD_MS(1), "stopped by the former run's callback");
        jd_task_unref(t);
    }
    jd_future_unref(first);
    runtime_end(rt);
}

static void rec_and_stop(void *arg)
{
    rec(arg);
    jd_stop(jd_runtime_current());
    cr_assert_eq(jd_call_soon(jd_loop_current(), rec_callback, WORD("next"), NULL), 0);
}

Test(lifecycle, l3_l5_stop_lets_the_tick_finish_and_the_rest_waits_for_the_next_run)
{
    jd_runtime *rt = runtime_of(1, JD_FIFO);
    jd_loop *loop = jd_runtime_loop(rt, 0);

    cr_assert_eq(jd_call_soon(loop, rec_and_stop, WORD("1"), NULL), 0);
    cr_assert_eq(jd_call_soon(loop, rec_callback, WORD("2"), NULL), 0);
    cr_assert_eq(jd_run_forever(rt), 0);
    cr_assert_str_eq(rec_text(), "1 2");
    jd_stop(rt);
    cr_assert_eq(jd_run_forever(rt), 0);
    cr_assert_str_eq(rec_text(), "1 2 next");
    runtime_end(rt);
}

static void again(void *arg)
{
    rec(arg);
    cr_assert_eq(jd_call_soon(jd_loop_current(), rec_callback, WORD("b"), NULL), 0);
}

Test(lifecycle, l4_stop_before_a_run_is_exactly_one_tick)
{
    jd_runtime *rt = runtime_of(1, JD_FIFO);

    cr_assert_eq(jd_call_soon(jd_runtime_loop(rt, 0), again, WORD("a"), NULL), 0);
    jd_stop(rt);
    cr_assert_eq(jd_run_forever(rt), 0);
    cr_assert_str_eq(rec_text(), "a");
    jd_stop(rt);
    cr_assert_eq(jd_run_forever(rt), 0);
    cr_assert_str_eq(rec_text(), "a b");
    runtime_end(rt);
}

static jd_result nested(void *arg)
{
    jd_runtime *rt = jd_runtime_current();
    jd_future *f = arg;

    cr_assert_eq(jd_run(return_arg, NULL, NULL).error, -EBUSY);
    cr_assert_eq(jd_run_forever(rt), -EBUSY);
    cr_assert_eq(jd_runtime_start(rt), -EBUSY);
    cr_assert_eq(jd_run_until_complete(rt, f).error, -EBUSY);
    cr_assert_eq(jd_runtime_call(rt, return_arg, NULL).error, -EDEADLK);
    cr_assert_eq(jd_runtime_free(rt), -EBUSY);
    cr_assert_eq(jd_runtime_is_running(rt), 1);
    return jd_ok(NULL);
}

Test(lifecycle, l6_l7_nested_runs_and_a_free_on_a_worker_are_refused)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = NULL;
    jd_task *t;

    cr_assert_eq(jd_future_new(rt, &f), 0);
    t = spawn_in(rt, nested, f);
    cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).error, 0);
    jd_task_unref(t);
    jd_future_unref(f);
    runtime_end(rt);
}

Test(lifecycle, l6_running_and_freeing_a_running_runtime_are_refused)
{
    jd_runtime *rt = runtime_of(2, 0);
    jd_future *f = NULL;

    cr_assert_eq(jd_runtime_is_running(rt), 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    cr_assert_eq(jd_runtime_is_running(rt), 1);
    cr_assert_eq(jd_runtime_start(rt), -EBUSY);
    cr_assert_eq(jd_run_forever(rt), -EBUSY);
    cr_assert_eq(jd_runtime_free(rt), -EBUSY);
    cr_assert_eq(jd_future_new(rt, &f), 0);
    cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
    cr_assert_eq(jd_run_until_complete(rt, f).error, -EBUSY);
    cr_assert_eq(jd_runtime_call(rt, return_arg, (void *)4).num, 4, "it still runs");
    jd_future_unref(f);
    runtime_end(rt);
}

Test(lifecycle, l8_a_future_of_another_runtime_cannot_end_a_run)
{
    jd_runtime *a = runtime_of(1, 0), *b = runtime_of(1, 0);
    jd_future *f = NULL;

    cr_assert_eq(jd_future_new(b, &f), 0);
    cr_assert_eq(jd_run_until_complete(a, f).error, -EINVAL);
    jd_future_unref(f);
    runtime_end(a);
    runtime_end(b);
}

static atomic_int cleaned;

static jd_result cleans_up(void *arg)
{
    jd_scope shield;

    (void)arg;
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    jd_scope_open_shielded(&shield, JD_SEC(5));
    cr_assert_eq(jd_sleep(JD_MS(1)), 0);
    cr_assert_eq(jd_scope_close(&shield), 0);
    cr_assert_null(jd_spawn(return_arg, NULL), "the runtime takes no more tasks");
    cr_assert_eq(jd_spawn_detached(return_arg, NULL), -ESHUTDOWN);
    cr_assert_eq(jd_call_soon(jd_loop_current(), rec_callback, WORD("x"), NULL), -ESHUTDOWN);
    atomic_fetch_add(&cleaned, 1);
    return jd_err(-ECANCELED);
}

static jd_result fails_at_the_end(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    return jd_err(-EIO);
}

static jd_result leave_some(void *arg)
{
    sink_install(NULL);
    for (unsigned i = 0; i < 10; i++)
        jd_task_unref(jd_spawn(cleans_up, NULL));
    jd_task_unref(jd_spawn(fails_at_the_end, NULL));
    yields((unsigned)(uintptr_t)arg);
    return jd_ok_num(1);
}

Test(lifecycle, l10_leftovers_are_cancelled_and_awaited_and_their_errors_are_reported)
{
    cr_assert_eq(run_workers(2, leave_some, (void *)2).num, 1);
    cr_assert_eq(atomic_load(&cleaned), 10);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1);
    cr_assert_eq(sink_last().error, -EIO);
    cr_assert_eq(run_workers(2, leave_some, (void *)0).num, 1, "also unstarted ones");
    cr_assert_eq(atomic_load(&cleaned), 20);
    cr_assert_eq(run_fifo(leave_some, (void *)1).num, 1);
    cr_assert_eq(atomic_load(&cleaned), 30);
}

static void forever_again(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    (void)jd_call_soon(jd_loop_current(), forever_again, arg, NULL); /* refused at the end */
}

static jd_result leave_callbacks(void *arg)
{
    cr_assert_eq(jd_call_soon(jd_loop_current(), forever_again, arg, NULL), 0);
    cr_assert_eq(jd_call_later(jd_loop_current(), JD_SEC(3600), forever_again, arg, NULL), 0);
    yields(2);
    return jd_ok(NULL);
}

Test(lifecycle, callbacks_that_go_on_and_on_do_not_keep_a_run_from_its_end)
{
    atomic_int ran = 0;

    cr_assert_eq(run_workers(1, leave_callbacks, &ran).error, 0);
    cr_assert_eq(run_fifo(leave_callbacks, &ran).error, 0);
    cr_assert_gt(atomic_load(&ran), 0);
}

static void rec_result(jd_future *f, void *arg)
{
    jd_result r;

    cr_assert_eq(jd_future_result(f, &r), 0);
    rec(r.error == -ECANCELED ? arg : "other");
}

static jd_result leave_watched(void *arg)
{
    jd_task *t = jd_spawn(sleep_forever, NULL);

    cr_assert_eq(jd_future_add_done_callback(jd_task_future(t), rec_result, arg), 0);
    jd_task_unref(t);
    yields(1);
    return jd_ok(NULL);
}

Test(lifecycle, l10_done_callbacks_of_leftovers_run)
{
    cr_assert_eq(run_workers(1, leave_watched, WORD("cancelled")).error, 0);
    cr_assert_eq(run_workers(3, leave_watched, WORD("cancelled")).error, 0);
    cr_assert_str_eq(rec_text(), "cancelled cancelled");
}

static jd_task *kept;

static void run_kept(unsigned index, void *arg)
{
    (void)index;
    cr_assert_eq(jd_run_until_complete(arg, jd_task_future(kept)).num, 2);
}

static jd_future *second_run;

static jd_result two_runs(void *arg)
{
    yields(1);
    jd_stop(arg);
    cr_assert_eq(jd_await(second_run).error, 0);
    cr_assert_eq(jd_runtime_current(), arg);
    return jd_ok_num(2);
}

Test(lifecycle, a_run_on_one_thread_and_the_next_one_on_another)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;

    kept = spawn_in(rt, two_runs, rt);
    cr_assert_eq(jd_future_new(rt, &second_run), 0);
    cr_assert_eq(jd_run_until_complete(rt, jd_task_future(kept)).error, -EAGAIN);
    cr_assert_eq(jd_future_set(second_run, jd_ok(NULL)), 0);
    crew_start(&crew, 1, run_kept, rt);
    crew_join(&crew);
    jd_future_unref(second_run);
    jd_task_unref(kept);
    runtime_end(rt);
}

static void spawn_and_call(unsigned index, void *arg)
{
    for (unsigned long i = jd_test_rounds(100); i > 0; i--) {
        jd_task *t = spawn_in(arg, return_arg, (void *)(uintptr_t)index);

        cr_assert_eq(jd_await(t).num, (intptr_t)index);
        jd_task_unref(t);
        cr_assert_eq(jd_runtime_call(arg, return_arg, (void *)i).num, (intptr_t)i);
    }
}

Test(lifecycle, m19_plain_threads_spawn_call_and_await)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;

    cr_assert_eq(jd_runtime_start(rt), 0);
    crew_start(&crew, 4, spawn_and_call, rt);
    crew_join(&crew);
    runtime_end(rt);
}

Test(lifecycle, a_started_runtime_is_stopped_started_run_and_started_again)
{
    jd_runtime *rt = runtime_of(2, 0);
    jd_task *t;

    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(jd_runtime_start(rt), 0);
        cr_assert_eq(jd_runtime_call(rt, return_arg, (void *)8).num, 8);
        jd_stop(rt);
        t = spawn_in(rt, return_arg, (void *)9);
        cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).num, 9);
        jd_task_unref(t);
    }
    runtime_end(rt);
    rt = runtime_of(3, 0);
    t = spawn_in(rt, return_arg, (void *)9);
    cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).num, 9);
    jd_task_unref(t);
    cr_assert_eq(jd_runtime_start(rt), 0, "the threads of the first run serve again");
    cr_assert_eq(jd_runtime_call(rt, return_arg, (void *)8).num, 8);
    runtime_end(rt);
}

Test(lifecycle, a_runtime_that_never_ran_enters_its_tasks_when_it_is_freed)
{
    jd_runtime *rt = runtime_of(2, 0);
    jd_task *t = spawn_in(rt, cleans_up, NULL);

    cr_assert_eq(jd_runtime_spawn_task(rt, cleans_up, NULL, NULL, NULL), 0, "no reference wanted");
    sink_install(rt);
    runtime_end(rt);
    cr_assert_eq(atomic_load(&cleaned), 2);
    cr_assert_eq(jd_await(t).error, -ECANCELED);
    jd_task_unref(t);
    cr_assert_eq(jd_runtime_free(NULL), 0);
}

static jd_result inner_call(void *arg)
{
    return jd_runtime_call(arg, return_arg, arg);
}

Test(lifecycle, several_runtimes_live_side_by_side)
{
    jd_runtime *a = runtime_of(2, 0), *b = runtime_of(1, 0);

    cr_assert_eq(jd_runtime_start(a), 0);
    cr_assert_eq(jd_runtime_start(b), 0);
    cr_assert_eq(jd_runtime_call(a, return_arg, (void *)1).num, 1);
    cr_assert_eq(jd_runtime_call(b, return_arg, (void *)2).num, 2);
    cr_assert_eq(jd_runtime_call(a, inner_call, b).error, -EDEADLK, "it would block a worker");
    runtime_end(a);
    runtime_end(b);
}

Test(lifecycle, info_names_the_reactor_and_why)
{
    jd_runtime *rt = runtime_of(3, 0);
    jd_info info = JD_INFO_INIT;

    cr_assert_eq(jd_runtime_info(rt, &info), 0);
    cr_assert_eq(info.workers, 3);
    cr_assert_eq(jd_worker_count(rt), 3);
    cr_assert(strcmp(info.reactor, "io_uring") == 0 || strcmp(info.reactor, "epoll") == 0);
    cr_assert_gt(strlen(info.why), 0);
    cr_assert_str_eq(info.version, jd_version());
    info = (jd_info)JD_INFO_INIT;
    info.size = offsetof(jd_info, reactor);
    info.reactor = "mine";
    cr_assert_eq(jd_runtime_info(rt, &info), 0);
    cr_assert_str_eq(info.reactor, "mine", "filled up to its size only");
    runtime_end(rt);
}
