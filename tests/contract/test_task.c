/* SPDX-License-Identifier: MIT */
/*
 * Tasks: C12-C25 of the contract, names, ids, foreach, detached tasks, unhandled errors.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "contract.h"
#include "jd_test.h"

static jd_task *spawn(jd_fn fn, void *arg)
{
    jd_task *t = jd_spawn(fn, arg);

    cr_assert_not_null(t);
    return t;
}

static jd_result sleeps(void *arg)
{
    int64_t start = jd_now();

    (void)arg;
    cr_assert_eq(jd_sleep(0), 0);
    cr_assert_eq(jd_sleep(-1), 0);
    cr_assert_eq(jd_sleep(INT64_MIN), 0);
    cr_assert_eq(jd_sleep_until(0), 0);
    cr_assert_eq(jd_sleep(JD_MS(3)), 0);
    cr_assert_geq(jd_now() - start, JD_MS(3));
    start = jd_now();
    cr_assert_eq(jd_sleep_until(start + JD_MS(2)), 0);
    cr_assert_geq(jd_now(), start + JD_MS(2));
    return jd_ok(NULL);
}

Test(task, c12_a7_sleeps_are_never_short)
{
    cr_assert_eq(run_workers(1, sleeps, NULL).error, 0);
    cr_assert_eq(run_workers(3, sleeps, NULL).error, 0);
}

static jd_result identity(void *arg)
{
    jd_task *self = jd_task_current();

    cr_assert_not_null(self);
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(jd_yield(), 0);
        cr_assert_eq(jd_task_current(), self);
        cr_assert_eq(jd_runtime_current(), arg);
    }
    return jd_ok(self);
}

static jd_result identities(void *arg)
{
    jd_task *t[8];

    (void)arg;
    for (unsigned i = 0; i < 8; i++)
        t[i] = spawn(identity, jd_runtime_current());
    for (unsigned i = 0; i < 8; i++) {
        jd_result r = jd_await(t[i]);

        cr_assert_eq(r.ptr, t[i]);
        jd_task_unref(t[i]);
    }
    return identity(jd_runtime_current());
}

Test(task, c14_the_current_task_is_the_same_across_suspensions)
{
    cr_assert_eq(run_workers(4, identities, NULL).error, 0);
    cr_assert_null(jd_task_current());
    cr_assert_null(jd_runtime_current());
}

static jd_result names(void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_task *a = spawn(return_arg, NULL), *b = spawn(return_arg, NULL), *c;
    char made_up[64];

    (void)arg;
    opt.name = "worker bee";
    c = jd_spawn_with(return_arg, WORD("x"), &opt);
    cr_assert_str_neq(jd_task_name(a), jd_task_name(b));
    cr_assert_gt(strlen(jd_task_name(a)), 0);
    cr_assert_str_eq(jd_task_name(c), "worker bee");
    strcpy(made_up, jd_task_name(a));
    jd_task_set_name(a, "a name that is far too long to be kept as a whole by anybody");
    cr_assert_eq(strncmp(jd_task_name(a), "a name that is", 14), 0);
    jd_task_set_name(a, NULL);
    cr_assert_str_eq(jd_task_name(a), made_up);
    jd_task_set_name(NULL, "x");
    cr_assert_str_eq(jd_task_name(NULL), "");
    cr_assert_neq(jd_task_id(a), jd_task_id(b));
    cr_assert_gt(jd_task_id(a), 0);
    cr_assert_eq(jd_task_id(NULL), 0);
    cr_assert_eq(jd_task_coro(c).fn, return_arg);
    cr_assert_str_eq(jd_task_coro(c).arg, "x");
    cr_assert_null(jd_task_coro(NULL).fn);
    cr_assert_eq((void *)jd_task_future(a), (void *)a);
    cr_assert_eq(jd_join(a).error | jd_join(b).error | jd_join(c).error, 0);
    return jd_ok(NULL);
}

Test(task, c17_names_ids_and_coroutines)
{
    cr_assert_eq(run_workers(1, names, NULL).error, 0);
}

static jd_result ids(void *arg)
{
    uint64_t last = 0;

    (void)arg;
    for (unsigned i = 0; i < 2000; i++) {
        jd_task *t = spawn(return_arg, NULL);

        cr_assert_gt(jd_task_id(t), last, "on one worker they grow");
        last = jd_task_id(t);
        cr_assert_eq(jd_join(t).error, 0);
    }
    return jd_ok(NULL);
}

Test(task, ids_are_never_used_again)
{
    cr_assert_eq(run_workers(1, ids, NULL).error, 0);
}

struct census {
    unsigned seen, self;
    jd_task *stop_at;
};

static int count_task(jd_task *t, void *arg)
{
    struct census *c = arg;

    c->seen++;
    c->self += t == jd_task_current();
    return t == c->stop_at ? 42 : 0;
}

static jd_result foreach(void *arg)
{
    jd_task *t[20], *done = spawn(return_arg, NULL);
    struct census c = { 0 };

    (void)arg;
    for (unsigned i = 0; i < 20; i++)
        t[i] = spawn(sleep_forever, NULL);
    yields(2);
    cr_assert_eq(jd_future_done(jd_task_future(done)), 1);
    cr_assert_eq(jd_task_foreach(NULL, count_task, &c), 0);
    cr_assert_eq(c.seen, 21);
    cr_assert_eq(c.self, 1);
    c.stop_at = t[3];
    cr_assert_eq(jd_task_foreach(jd_runtime_current(), count_task, &c), 42);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(jd_task_cancel(t[i], NULL), 0);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(jd_join(t[i]).error, -ECANCELED);
    c = (struct census){ 0 };
    cr_assert_eq(jd_task_foreach(NULL, count_task, &c), 0);
    cr_assert_eq(c.seen, 1, "exactly the unfinished ones");
    jd_task_unref(done);
    return jd_ok(NULL);
}

Test(task, c16_foreach_lists_exactly_the_unfinished_tasks)
{
    cr_assert_eq(run_workers(1, foreach, NULL).error, 0);
}

static jd_result come_and_go(void *arg)
{
    for (unsigned long i = jd_test_rounds(2000); i > 0; i--)
        cr_assert_eq(jd_join(spawn(return_arg, arg)).error, 0);
    return jd_ok(NULL);
}

static int look_at_task(jd_task *t, void *arg)
{
    (void)arg;
    cr_assert_gt(jd_task_id(t), 0);
    return 0;
}

static void watch_tasks(unsigned index, void *arg)
{
    jd_runtime *rt = arg;

    if (index < 2) {
        cr_assert_eq(jd_runtime_call(rt, come_and_go, NULL).error, 0);
        return;
    }
    for (unsigned long i = jd_test_rounds(300); i > 0; i--)
        cr_assert_eq(jd_task_foreach(rt, look_at_task, NULL), 0);
}

Test(task, c16_foreach_on_a_plain_thread_while_tasks_come_and_go, .timeout = 20)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;

    cr_assert_eq(jd_runtime_start(rt), 0);
    crew_start(&crew, 3, watch_tasks, rt);
    crew_join(&crew);
    runtime_end(rt);
}

static atomic_int detached_ran;

static jd_result run_detached(void *arg)
{
    atomic_fetch_add(&detached_ran, 1);
    return jd_err((intptr_t)arg);
}

static jd_result detached(void *arg)
{
    (void)arg;
    sink_install(NULL);
    cr_assert_eq(jd_spawn_detached(run_detached, (void *)(intptr_t)-EIO), 0);
    cr_assert_eq(jd_spawn_detached(return_arg, NULL), 0);
    cr_assert_eq(jd_spawn_detached(NULL, NULL), -EINVAL);
    yields(2);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1, "at once");
    cr_assert_eq(sink_last().error, -EIO);
    return jd_ok(NULL);
}

Test(task, o12_a_failed_detached_task_is_reported_at_once_and_once)
{
    cr_assert_eq(run_workers(1, detached, NULL).error, 0);
    cr_assert_eq(atomic_load(&detached_ran), 1);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1);
}

static jd_result unhandled(void *arg)
{
    jd_task *t = spawn(fail_with, (void *)(intptr_t)-EIO);
    uint64_t id = jd_task_id(t);
    jd_result r;

    (void)arg;
    sink_install(NULL);
    jd_task_unref(t); /* before it runs */
    yields(1);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1);
    cr_assert_eq(sink_last().task_id, id);
    t = spawn(fail_with, (void *)(intptr_t)-EPIPE);
    yields(1);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1, "the user holds it");
    jd_task_unref(t);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 2);
    cr_assert_eq(sink_last().error, -EPIPE);
    t = spawn(fail_with, (void *)(intptr_t)-EPIPE);
    yields(1);
    cr_assert_eq(jd_future_result(jd_task_future(t), &r), 0);
    jd_task_unref(t);
    t = spawn(fail_with, (void *)(intptr_t)-EPIPE);
    cr_assert_eq(jd_await(t).error, -EPIPE);
    jd_task_unref(t);
    cr_assert_eq(jd_join(spawn(fail_with, (void *)(intptr_t)-EPIPE)).error, -EPIPE);
    t = spawn(sleep_forever, NULL);
    yields(1);
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    jd_task_unref(t);
    yields(2);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 2, "looked at, or cancelled");
    return jd_ok(NULL);
}

Test(task, o1_b14_an_error_that_nobody_looked_at_is_reported_exactly_once)
{
    cr_assert_eq(run_workers(1, unhandled, NULL).error, 0);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 2);
}

static jd_result ensure(void *arg)
{
    jd_future *f = NULL, *again;
    jd_task *t = spawn(return_arg, arg);

    cr_assert_eq(jd_future_new(NULL, &f), 0);
    again = jd_ensure_future(f);
    cr_assert_eq(again, f);
    jd_future_unref(f);
    cr_assert_eq(jd_future_set(again, jd_ok(NULL)), 0, "one more reference");
    jd_future_unref(again);
    again = jd_ensure_future(t);
    cr_assert_eq(again, jd_task_future(t));
    cr_assert_eq(jd_join(t).ptr, arg);
    cr_assert_eq(jd_await(again).ptr, arg);
    jd_future_unref(again);
    again = jd_ensure_future(jd_coro_of(return_arg, arg));
    cr_assert_eq(jd_future_done(again), 0, "a task that is queued");
    cr_assert_eq(jd_await(again).ptr, arg);
    jd_future_unref(again);
    cr_assert_null(jd_ensure_future(NULL));
    cr_assert_null(jd_ensure_from_task(NULL));
    return jd_ok(NULL);
}

Test(task, ensure_future_takes_all_awaitables)
{
    cr_assert_eq(run_workers(1, ensure, WORD("v")).error, 0);
}

static jd_result double_sum(void *arg)
{
    intptr_t n = (intptr_t)arg;

    return n == 0 ? jd_ok_num(0)
                  : jd_ok_num(n + jd_await(jd_coro_of(double_sum, (void *)(n - 1))).num);
}

static jd_result coroutines(void *arg)
{
    jd_result r;

    (void)arg;
    cr_assert_eq(jd_await(jd_coro_of(double_sum, (void *)10)).num, 55);
    cr_assert_eq(jd_await_outcome(jd_coro_of(fail_with, (void *)(intptr_t)-EIO), &r), 0);
    cr_assert_eq(r.error, -EIO);
    cr_assert_eq(jd_await(jd_coro_of(NULL, NULL)).error, -EINVAL);
    return jd_ok(NULL);
}

Test(task, c1_c10_coroutines_run_when_awaited)
{
    cr_assert_eq(run_workers(1, coroutines, NULL).error, 0);
    cr_assert_eq(jd_await(jd_coro_of(double_sum, (void *)4)).num, 10, "on a plain thread, too");
}

static jd_result slow_return(void *arg)
{
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(jd_sleep(JD_US(20)), 0);
    return jd_ok(arg);
}

static jd_result many_joiners(void *arg)
{
    return jd_await((jd_task *)arg);
}

static jd_result c25_main(void *arg)
{
    jd_task *shared = spawn(slow_return, arg), *t[4];

    for (unsigned i = 0; i < 4; i++)
        t[i] = spawn(many_joiners, shared);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(jd_join(t[i]).ptr, arg);
    cr_assert_eq(jd_await(shared).ptr, arg);
    return jd_join(shared);
}

Test(task, c25_a_task_may_be_awaited_by_many_and_again)
{
    cr_assert_eq(run_workers(3, c25_main, WORD("v")).error, 0);
}

static jd_result drop_and_run(void *arg)
{
    jd_task_unref(spawn(rec_coro, arg));
    return jd_ok(NULL);
}

Test(task, c18_dropping_the_reference_never_stops_a_task)
{
    cr_assert_eq(run_workers(1, drop_and_run, WORD("ran")).error, 0);
    cr_assert_str_eq(rec_text(), "ran", "also when main ends first");
}

static jd_result deep(void *arg)
{
    intptr_t depth = (intptr_t)arg;

    return depth == 0 ? jd_ok_num(0) : jd_ok_num(1 + jd_join(spawn(deep, (void *)(depth - 1))).num);
}

Test(task, joins_nest_deeper_than_one_stack_holds)
{
    jd_result r = run_workers(2, deep, (void *)5000);

    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.num, 5000);
}
