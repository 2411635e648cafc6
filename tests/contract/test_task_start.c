/* SPDX-License-Identifier: MIT */
/*
 * Where and when a task starts: eager (C20-C22) and pinned ones (M7).
 */
#include <errno.h>
#include <stdint.h>

#include "contract.h"
#include "jd_test.h"

static jd_task *spawn(jd_fn fn, void *arg)
{
    jd_task *t = jd_spawn(fn, arg);

    cr_assert_not_null(t);
    return t;
}

static jd_task *spawn_flags(jd_fn fn, void *arg, unsigned flags)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    opt.flags = flags;
    t = jd_spawn_with(fn, arg, &opt);
    cr_assert_not_null(t);
    return t;
}

static jd_result eager_child(void *arg)
{
    jd_task **seen = arg;

    *seen = jd_task_current();
    return jd_err(-EIO);
}

static jd_result eager(void *arg)
{
    jd_task *self = jd_task_current(), *seen = NULL;
    jd_task *t = spawn_flags(eager_child, &seen, JD_TASK_EAGER);

    (void)arg;
    cr_assert_eq(jd_task_current(), self, "restored");
    cr_assert_eq(seen, t);
    cr_assert_eq(jd_future_done(jd_task_future(t)), 1);
    cr_assert_eq(jd_task_cancel(t, NULL), -EALREADY);
    cr_assert_eq(jd_join(t).error, -EIO, "stored, not raised");
    t = spawn_flags(sleep_forever, NULL, JD_TASK_EAGER);
    cr_assert_eq(jd_future_done(jd_task_future(t)), 0);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    return jd_ok(NULL);
}

Test(task, c20_c21_eager_tasks_run_now_store_their_errors_and_can_be_cancelled)
{
    cr_assert_eq(run_workers(1, eager, NULL).error, 0);
    cr_assert_eq(run_workers(3, eager, NULL).error, 0);
}

static jd_result nested_eager(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    jd_task *t;

    rec_num("in", (long)depth);
    if (depth == 0) {
        yields(1);
        return jd_ok(NULL);
    }
    t = spawn_flags(nested_eager, (void *)(depth - 1), JD_TASK_EAGER);
    rec_num("out", (long)depth);
    return jd_join(t);
}

static jd_result nested_eager_main(void *arg)
{
    jd_task *t = spawn_flags(nested_eager, arg, JD_TASK_EAGER);

    rec("main");
    return jd_join(t);
}

Test(task, c20_eager_starts_nest)
{
    cr_assert_eq(run_fifo(nested_eager_main, (void *)3).error, 0);
    cr_assert_str_eq(rec_text(), "in3 in2 in1 in0 out1 out2 out3 main", "got: %s", rec_text());
    cr_assert_eq(run_workers(2, nested_eager_main, (void *)8).error, 0);
}

static void spawn_eager_in_callback(void *arg)
{
    jd_task *t = spawn_flags(rec_coro, WORD("child"), JD_TASK_EAGER);

    rec("callback");
    *(jd_task **)arg = t;
}

static jd_result eager_in_callback(void *arg)
{
    jd_task *t = NULL;

    (void)arg;
    cr_assert_eq(jd_call_soon(jd_loop_current(), spawn_eager_in_callback, &t, NULL), 0);
    yields(1);
    return jd_join(t);
}

Test(task, c22_an_eager_start_in_a_callback_is_queued)
{
    cr_assert_eq(run_fifo(eager_in_callback, NULL).error, 0);
    cr_assert_str_eq(rec_text(), "callback child");
}

static jd_result stays(void *arg)
{
    int index = jd_worker_index();

    (void)arg;
    for (unsigned i = 0; i < 50; i++) {
        cr_assert_eq(i % 10 ? jd_yield() : jd_sleep(JD_US(50)), 0);
        cr_assert_eq(jd_worker_index(), index);
    }
    return jd_ok(NULL);
}

/* It moves if it can, and would take a pinned joiner along if it ran in the joiner's frame. */
static jd_result moves(void *arg)
{
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(jd_sleep(JD_US(20)), 0);
    return jd_ok(arg);
}

static jd_result pinned_joiner(void *arg)
{
    int index = jd_worker_index();

    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(jd_join(spawn(moves, arg)).error, 0);
        cr_assert_eq(jd_worker_index(), index);
    }
    return jd_ok(NULL);
}

static jd_result pinned(void *arg)
{
    jd_task *t[16];

    (void)arg;
    for (unsigned i = 0; i < 16; i++)
        t[i] = spawn_flags(i % 2 ? stays : pinned_joiner, NULL, JD_TASK_PINNED);
    for (unsigned i = 0; i < 16; i++)
        cr_assert_eq(jd_join(t[i]).error, 0);
    return jd_ok(NULL);
}

Test(task, m7_a_pinned_task_never_changes_its_worker)
{
    cr_assert_eq(run_workers(4, pinned, NULL).error, 0);
}
