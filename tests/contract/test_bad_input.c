/* SPDX-License-Identifier: MIT */
/*
 * Every function of runtime.h, loop.h, future.h, task.h, scope.h, time.h and inspect.h refuses NULL,
 * the wrong place and values out of range with the error its header names, and does nothing else.
 */
#include <errno.h>
#include <stdint.h>

#include "contract.h"
#include "jd_test.h"

static void no_callback(void *arg)
{
    (void)arg;
}

static void no_done(jd_future *f, void *arg)
{
    (void)f;
    (void)arg;
}

static int no_walk(jd_task *t, void *arg)
{
    (void)t;
    (void)arg;
    return 1;
}

Test(bad_input, runtime_new_checks_its_configuration)
{
    jd_config cfg = config_of(1, 0);
    jd_runtime *rt = NULL;

    cr_assert_eq(jd_runtime_new(&cfg, NULL), -EINVAL);
    cfg.size = 0;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), -EINVAL);
    cfg = config_of(1, 1u << 30);
    cr_assert_eq(jd_runtime_new(&cfg, &rt), -EINVAL);
    cfg = config_of(1, 0);
    cfg.reactor = 99;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), -EINVAL);
    cfg = config_of(1000000, 0);
    cr_assert_eq(jd_runtime_new(&cfg, &rt), -EINVAL);
    cfg = config_of(1, 0);
    cfg.stack_bytes = SIZE_MAX;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), -EINVAL);
    cr_assert_null(rt);
    cfg.stack_bytes = 0;
    cfg.size = 0;
    cr_assert_eq(jd_run(return_arg, NULL, &cfg).error, -EINVAL);
}

Test(bad_input, a_newer_configuration_may_be_longer_when_its_tail_is_zero)
{
    struct {
        jd_config cfg;
        uint64_t tail;
    } newer = { config_of(1, 0), 0 };
    jd_runtime *rt = NULL;

    newer.cfg.size = sizeof(newer);
    cr_assert_eq(jd_runtime_new(&newer.cfg, &rt), 0);
    runtime_end(rt);
    newer.tail = 1;
    cr_assert_eq(jd_runtime_new(&newer.cfg, &rt), -E2BIG);
}

Test(bad_input, null_runtimes)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = NULL;
    jd_info info = JD_INFO_INIT;
    jd_task *t = NULL;

    cr_assert_eq(jd_run(NULL, NULL, NULL).error, -EINVAL);
    cr_assert_eq(jd_runtime_start(NULL), -EINVAL);
    cr_assert_eq(jd_run_until_complete(NULL, NULL).error, -EINVAL);
    cr_assert_eq(jd_run_until_complete(rt, NULL).error, -EINVAL);
    cr_assert_eq(jd_run_forever(NULL), -EINVAL);
    jd_stop(NULL);
    cr_assert_eq(jd_runtime_free(NULL), 0);
    cr_assert_null(jd_runtime_spawn(NULL, return_arg, NULL, NULL));
    cr_assert_null(jd_runtime_spawn(rt, NULL, NULL, NULL));
    cr_assert_eq(jd_runtime_spawn_task(NULL, return_arg, NULL, NULL, &t), -EINVAL);
    cr_assert_eq(jd_runtime_spawn_task(rt, NULL, NULL, NULL, &t), -EINVAL);
    cr_assert_eq(jd_runtime_call(NULL, return_arg, NULL).error, -EINVAL);
    cr_assert_eq(jd_runtime_call(rt, NULL, NULL).error, -EINVAL);
    cr_assert_eq(jd_runtime_is_running(NULL), 0);
    cr_assert_eq(jd_worker_count(NULL), 0);
    cr_assert_eq(jd_runtime_info(NULL, &info), -EINVAL);
    cr_assert_eq(jd_runtime_info(rt, NULL), -EINVAL);
    info.size = 0;
    cr_assert_eq(jd_runtime_info(rt, &info), -EINVAL);
    cr_assert_null(t);
    cr_assert_eq(jd_future_new(rt, &f), 0);
    cr_assert_eq(jd_run_until_complete(NULL, f).error, -EINVAL);
    jd_future_unref(f);
    runtime_end(rt);
}

Test(bad_input, spawn_options)
{
    jd_runtime *rt = runtime_of(1, 0);
    struct {
        jd_task_options opt;
        uint64_t tail;
    } newer = { JD_TASK_OPTIONS_INIT, 0 };
    jd_task *t = NULL;

    newer.opt.size = 0;
    cr_assert_eq(jd_runtime_spawn_task(rt, return_arg, NULL, &newer.opt, &t), -EINVAL);
    newer.opt.size = sizeof(newer.opt);
    newer.opt.flags = 1u << 20;
    cr_assert_eq(jd_runtime_spawn_task(rt, return_arg, NULL, &newer.opt, &t), -EINVAL);
    newer.opt.flags = 0;
    newer.opt.size = sizeof(newer);
    newer.tail = 7;
    cr_assert_eq(jd_runtime_spawn_task(rt, return_arg, NULL, &newer.opt, &t), -E2BIG);
    cr_assert_null(t);
    newer.tail = 0;
    cr_assert_eq(jd_runtime_spawn_task(rt, return_arg, NULL, &newer.opt, &t), 0);
    jd_task_unref(t);
    newer.opt.size = offsetof(jd_task_options, stack_bytes);
    newer.opt.flags = 1u << 20;
    cr_assert_eq(jd_runtime_spawn_task(rt, return_arg, NULL, &newer.opt, &t), 0,
                 "an older caller's are shorter");
    jd_task_unref(t);
    runtime_end(rt);
}

Test(bad_input, loops_and_handles)
{
    jd_runtime *rt = runtime_of(2, 0);
    jd_loop *loop = jd_runtime_loop(rt, 1);
    jd_handle *h = NULL;

    cr_assert_not_null(loop);
    cr_assert_null(jd_runtime_loop(rt, 2));
    cr_assert_null(jd_runtime_loop(rt, UINT32_MAX));
    cr_assert_null(jd_runtime_loop(NULL, 0));
    cr_assert_null(jd_loop_current());
    cr_assert_eq(jd_call_soon(NULL, no_callback, NULL, &h), -EINVAL);
    cr_assert_eq(jd_call_soon(loop, NULL, NULL, &h), -EINVAL);
    cr_assert_eq(jd_call_later(NULL, 0, no_callback, NULL, &h), -EINVAL);
    cr_assert_eq(jd_call_later(loop, 0, NULL, NULL, &h), -EINVAL);
    cr_assert_eq(jd_call_at(NULL, 0, no_callback, NULL, &h), -EINVAL);
    cr_assert_eq(jd_call_at(loop, 0, NULL, NULL, &h), -EINVAL);
    cr_assert_null(h);
    cr_assert_eq(jd_call_later(loop, INT64_MIN, no_callback, NULL, NULL), 0, "due at once");
    cr_assert_eq(jd_call_at(loop, INT64_MIN, no_callback, NULL, NULL), 0);
    cr_assert_eq(jd_call_later(loop, INT64_MAX - 1, no_callback, NULL, NULL), 0);
    cr_assert_eq(jd_handle_cancel(NULL), -EINVAL);
    cr_assert_eq(jd_handle_cancel_wait(NULL), -EINVAL);
    cr_assert_eq(jd_handle_cancelled(NULL), 0);
    jd_handle_unref(NULL);
    runtime_end(rt);
}

Test(bad_input, futures)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f = NULL;
    jd_result r = jd_ok_num(1), positive = { .error = 5 };

    cr_assert_eq(jd_future_new(rt, NULL), -EINVAL);
    cr_assert_eq(jd_future_new(NULL, NULL), -EINVAL);
    cr_assert_eq(jd_future_new(NULL, &f), -EPERM);
    cr_assert_null(f);
    cr_assert_eq(jd_future_new(rt, &f), 0);
    cr_assert_null(jd_future_ref(NULL));
    jd_future_unref(NULL);
    cr_assert_eq(jd_future_set(NULL, r), -EINVAL);
    cr_assert_eq(jd_future_set(f, positive), -EINVAL);
    cr_assert_eq(jd_future_done(f), 0);
    cr_assert_eq(jd_future_cancel(NULL, NULL), -EINVAL);
    cr_assert_eq(jd_future_done(NULL), 0);
    cr_assert_eq(jd_future_cancelled(NULL), 0);
    cr_assert_eq(jd_future_result(NULL, &r), -EINVAL);
    cr_assert_eq(jd_future_result(f, NULL), -EINVAL);
    cr_assert_null(jd_future_cancel_reason(NULL));
    cr_assert_null(jd_future_runtime(NULL));
    cr_assert_eq(jd_future_add_done_callback(NULL, no_done, NULL), -EINVAL);
    cr_assert_eq(jd_future_add_done_callback(f, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_future_remove_done_callback(NULL, no_done, NULL), -EINVAL);
    cr_assert_eq(jd_future_remove_done_callback(f, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_future_remove_done_callback_wait(NULL, no_done, NULL), -EINVAL);
    cr_assert_eq(jd_future_remove_done_callback_wait(f, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_future_remove_done_callback_wait(f, no_done, NULL), 0);
    cr_assert_eq(jd_future_wait(NULL, 0), -EINVAL);
    cr_assert_eq(jd_await(NULL).error, -EINVAL);
    cr_assert_eq(jd_await_task(NULL).error, -EINVAL);
    cr_assert_eq(jd_await_outcome(NULL, &r), -EINVAL);
    cr_assert_eq(jd_await_outcome(f, NULL), -EINVAL);
    cr_assert_eq(jd_await_outcome_task(NULL, &r), -EINVAL);
    cr_assert_eq(jd_await(jd_coro_of(NULL, NULL)).error, -EINVAL);
    cr_assert_eq(jd_await_outcome(jd_coro_of(return_arg, NULL), NULL), -EINVAL);
    cr_assert_eq(jd_err(5).error, -EINVAL, "an error is negative");
    jd_future_unref(f);
    runtime_end(rt);
}

static void check_null_tasks(void)
{
    cr_assert_eq(jd_join(NULL).error, -EINVAL);
    cr_assert_null(jd_task_future((jd_task *)NULL));
    cr_assert_null(jd_task_future_const(NULL));
    cr_assert_null(jd_task_ref(NULL));
    jd_task_unref(NULL);
    cr_assert_eq(jd_task_cancel(NULL, NULL), -EINVAL);
    cr_assert_eq(jd_task_cancel_wait(NULL, NULL), -EINVAL);
    cr_assert_eq(jd_task_cancelling(NULL), 0);
    cr_assert_eq(jd_task_uncancel(NULL), -EINVAL);
    cr_assert_eq(jd_task_id(NULL), 0);
    cr_assert_str_eq(jd_task_name(NULL), "");
    jd_task_set_name(NULL, NULL);
    cr_assert_null(jd_task_coro(NULL).fn);
    cr_assert_eq(jd_task_foreach(NULL, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_fork_join(NULL).error, -EINVAL);
    jd_fork_start(NULL, return_arg, NULL);
}

static void check_null_scopes(void)
{
    jd_scope_open(NULL, 0);
    jd_scope_open_shielded(NULL, 0);
    cr_assert_eq(jd_scope_close(NULL), -EINVAL);
    cr_assert_eq(jd_scope_close_with(NULL, 5), -EINVAL);
    cr_assert_eq(jd_scope_close_with(NULL, -EIO), -EIO);
    jd_scope_cancel(NULL);
    cr_assert_eq(jd_scope_set_deadline(NULL, 0), -EINVAL);
}

static jd_result nulls_in_a_task(void *arg)
{
    (void)arg;
    check_null_tasks();
    check_null_scopes();
    cr_assert_null(jd_spawn(NULL, NULL));
    cr_assert_null(jd_spawn_with(NULL, NULL, NULL));
    cr_assert_eq(jd_spawn_detached(NULL, NULL), -EINVAL);
    cr_assert_null(jd_ensure_future(NULL));
    cr_assert_null(jd_ensure_future(jd_coro_of(NULL, NULL)));
    cr_assert_eq(jd_checkpoint(), 0, "nothing was cancelled");
    return jd_ok(NULL);
}

Test(bad_input, nulls_in_a_task_and_on_a_plain_thread)
{
    check_null_tasks();
    check_null_scopes();
    cr_assert_eq(run_workers(1, nulls_in_a_task, NULL).error, 0);
}

/* Only for tasks, or only for workers: on a plain thread and (tasks_only) in callbacks. */
static void check_tasks_only(jd_task *t)
{
    cr_assert_null(jd_task_current());
    cr_assert_eq(jd_yield(), -EPERM);
    cr_assert_eq(jd_checkpoint(), -EPERM);
    cr_assert_eq(jd_sleep(0), -EPERM);
    cr_assert_eq(jd_sleep(JD_FOREVER), -EPERM);
    cr_assert_eq(jd_sleep_until(0), -EPERM);
    cr_assert_eq(jd_sleep_until(JD_FOREVER), -EPERM);
    cr_assert_eq(jd_should_yield(), 0);
    cr_assert_eq(jd_deadline(), JD_FOREVER);
    cr_assert_eq(jd_join(t).error, -EPERM, "the reference stays the caller's");
}

Test(bad_input, a_plain_thread_is_the_wrong_place)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_task *t = jd_runtime_spawn(rt, sleep_forever, NULL, NULL);

    check_tasks_only(t);
    cr_assert_null(jd_spawn(return_arg, NULL));
    cr_assert_null(jd_spawn_with(return_arg, NULL, NULL));
    cr_assert_eq(jd_spawn_detached(return_arg, NULL), -EPERM);
    cr_assert_null(jd_ensure_future(t));
    cr_assert_null(jd_ensure_future(jd_task_future(t)));
    cr_assert_null(jd_ensure_future(jd_coro_of(return_arg, NULL)));
    cr_assert_null(jd_runtime_current());
    cr_assert_null(jd_loop_current());
    cr_assert_eq(jd_worker_index(), -EPERM);
    cr_assert_eq(jd_task_foreach(NULL, no_walk, NULL), -EPERM);
    jd_set_error_handler(NULL, NULL, NULL);
    jd_set_slow_step(NULL, 1);
    jd_task_unref(t);
    runtime_end(rt);
}

static void wrong_in_callback(void *arg)
{
    check_tasks_only(arg);
    cr_assert_eq(jd_task_cancel_wait(arg, NULL), -EPERM);
    cr_assert_eq(jd_task_cancelling(arg), 0, "refused: nothing was requested");
    cr_assert_eq(jd_await((jd_task *)arg).error, -EPERM);
    cr_assert_eq(jd_future_wait(jd_task_future((jd_task *)arg), 0), -EPERM);
    cr_assert_eq(jd_worker_index(), 0);
    rec("ran");
}

static jd_result callback_main(void *arg)
{
    jd_task *t = jd_spawn(sleep_forever, arg);

    yields(1);
    cr_assert_eq(jd_call_soon(jd_loop_current(), wrong_in_callback, t, NULL), 0);
    yields(1);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    return jd_ok(NULL);
}

Test(bad_input, a_callback_is_the_wrong_place)
{
    cr_assert_eq(run_workers(1, callback_main, NULL).error, 0);
    cr_assert_str_eq(rec_text(), "ran");
}

Test(bad_input, error_texts_are_never_null)
{
    cr_assert_not_null(jd_strerror(0));
    cr_assert_not_null(jd_strerror(-99999));
    cr_assert_not_null(jd_strerror(INT32_MIN));
    cr_assert_not_null(jd_strerror(5));
    cr_assert_str_eq(jd_strerror(0), "success");
    cr_assert_str_neq(jd_strerror(-EIO), jd_strerror(-EPIPE));
}
