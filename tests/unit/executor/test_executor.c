/* SPDX-License-Identifier: MIT */
/*
 * Blocking functions on threads: results, cancels, calls back into the runtime. Contract X1, X2, X6,
 * X7, X8, X10, X11.
 */
#include "executor_rig.h"

/* --- Results ---------------------------------------------------------------------------------- */

static jd_result no_worker(void *arg)
{
    cr_assert_null(jd_task_current());
    cr_assert_null(jd_runtime_current());
    cr_assert_eq(jd_yield(), -EPERM);
    cr_assert_eq(jd_sleep(1), -EPERM);
    cr_assert_eq(jd_to_thread(no_worker, NULL).error, -EPERM);
    cr_assert_null(jd_run_in_executor(NULL, no_worker, NULL));
    return jd_ok(arg);
}

static jd_result results_body(void *arg)
{
    jd_future *f;
    jd_result r;
    int word;

    (void)arg;
    r = jd_to_thread(no_worker, &word);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.ptr, &word);
    cr_assert_eq(jd_to_thread(fail_with, WORD(-EIO)).error, -EIO);
    cr_assert_eq(jd_to_thread_with(NULL, fail_with, WORD(-EIO), JD_ABANDON).error, -EIO);
    f = jd_run_in_executor(NULL, no_worker, &word);
    cr_assert_not_null(f);
    r = jd_await(f);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.ptr, &word);
    cr_assert_eq(jd_future_set(f, r), -EALREADY);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(executor, x1_results_and_errors_come_back)
{
    cr_assert_eq(run_workers(1, results_body, NULL).error, 0);
    cr_assert_eq(run_workers(3, results_body, NULL).error, 0);
    cr_assert_eq(run_fifo(results_body, NULL).error, 0);
}

static jd_result until_counted(void *arg)
{
    while (*(atomic_int *)arg == 0) /* bounded by the test's timeout */
        sched_yield();
    return jd_ok(NULL);
}

/* The one worker must run the other task for the function to end. */
static jd_result worker_is_free_body(void *arg)
{
    jd_task *t;
    atomic_int steps = 0;

    (void)arg;
    t = jd_spawn(count_up, &steps);
    cr_assert_eq(jd_to_thread(until_counted, &steps).error, 0);
    cr_assert_eq(jd_join(t).error, 0);
    return jd_ok(NULL);
}

Test(executor, a_call_holds_no_worker)
{
    cr_assert_eq(run_workers(1, worker_is_free_body, NULL).error, 0);
}

static jd_result order_step(void *arg)
{
    rec_num("", (long)(intptr_t)arg);
    return jd_ok(NULL);
}

static jd_result order_body(void *arg)
{
    jd_executor *e = pool_of(1);
    struct held h;
    jd_future *f[6];

    (void)arg;
    held_init(&h);
    f[5] = jd_run_in_executor(e, held_run, &h);
    for (int i = 0; i < 5; i++)
        f[i] = jd_run_in_executor(e, order_step, WORD(i));
    gate_open(&h.gate);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(jd_await(f[i]).error, 0);
        jd_future_unref(f[i]);
    }
    cr_assert_str_eq(rec_text(), "0 1 2 3 4");
    pool_end(e);
    return jd_ok(NULL);
}

Test(executor, functions_start_in_the_order_given)
{
    cr_assert_eq(run_workers(2, order_body, NULL).error, 0);
}

static void done_in_loop(jd_future *f, void *arg)
{
    cr_assert_eq(jd_future_done(f), 1);
    cr_assert_not_null(jd_loop_current());
    atomic_fetch_add((atomic_int *)arg, 1);
}

static jd_result callback_body(void *arg)
{
    atomic_int done = 0, ran = 0;
    jd_future *f = jd_run_in_executor(NULL, count_up, &ran);

    (void)arg;
    cr_assert_eq(jd_future_add_done_callback(f, done_in_loop, &done), 0);
    yield_until(&done);
    cr_assert_eq(ran, 1);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(executor, a_future_of_a_function_has_done_callbacks_like_any_other)
{
    cr_assert_eq(run_workers(2, callback_body, NULL).error, 0);
}

Test(executor, an_unobserved_failure_is_reported_once)
{
    jd_runtime *rt = runtime_of(1, 0);
    jd_future *f;

    sink_install(rt);
    f = jd_run_in_executor(jd_runtime_executor(rt, JD_EXECUTOR_USER), fail_with, WORD(-EIO));
    cr_assert_not_null(f);
    cr_assert_eq(jd_future_wait(f, JD_FOREVER), 0); /* its end, not its result */
    jd_future_unref(f);
    runtime_end(rt); /* joins the thread, which has the other reference */
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 1);
}

/* --- Cancels ---------------------------------------------------------------------------------- */

static jd_result cancel_before_body(void *arg)
{
    jd_executor *e = pool_of(1);
    atomic_int ran = 0;
    struct held h;
    jd_future *busy, *f;

    (void)arg;
    held_init(&h);
    busy = jd_run_in_executor(e, held_run, &h);
    f = jd_run_in_executor(e, count_up, &ran);
    cr_assert_eq(jd_future_cancel(f, "test"), 0);
    cr_assert_eq(jd_future_cancelled(f), 1);
    gate_open(&h.gate);
    cr_assert_eq(jd_await(busy).error, 0);
    cr_assert_eq(jd_executor_shutdown(e, 0, JD_FOREVER), 0);
    cr_assert_eq(ran, 0);
    cr_assert_eq(jd_await(f).error, -ECANCELED);
    jd_future_unref(f);
    jd_future_unref(busy);
    jd_executor_unref(e);
    return jd_ok(NULL);
}

Test(executor, x2_cancelled_before_it_starts_it_never_runs)
{
    cr_assert_eq(run_workers(2, cancel_before_body, NULL).error, 0);
}

static jd_result cancel_running_body(void *arg)
{
    struct held h;
    jd_future *f;

    (void)arg;
    held_init(&h);
    h.result = jd_err(-EIO); /* dropped, and so not reported */
    sink_install(NULL);
    f = jd_run_in_executor(NULL, held_run, &h);
    await_begun(&h);
    cr_assert_eq(jd_future_cancel(f, "test"), 0);
    cr_assert_eq(jd_await(f).error, -ECANCELED);
    cr_assert_eq(jd_future_cancel(f, "again"), -EALREADY);
    jd_future_unref(f);
    gate_open(&h.gate);
    while (stats_of(NULL).idle == 0) /* it goes on to its end */
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(h.ran, 1);
    cr_assert_eq(h.saw_cancel, 1);
    cr_assert_eq(sink_count(JD_REPORT_UNHANDLED), 0);
    return jd_ok(NULL);
}

Test(executor, x2_cancelled_while_it_runs_it_goes_on_and_its_result_is_dropped)
{
    cr_assert_eq(run_workers(2, cancel_running_body, NULL).error, 0);
}

struct to_thread {
    jd_executor *e;
    jd_fn fn;
    struct held *h;
    unsigned flags;
    atomic_int returned;
};

static jd_result to_thread(void *arg)
{
    struct to_thread *c = arg;
    jd_result r = jd_to_thread_with(c->e, c->fn, c->h, c->flags);

    c->returned = 1;
    return r;
}

static jd_result join_queued_body(void *arg)
{
    jd_executor *e = pool_of(1);
    struct held busy, mine;
    struct to_thread c = { .e = e, .fn = held_run, .h = &mine };
    jd_future *f;
    jd_task *t;

    (void)arg;
    held_init(&busy);
    held_init(&mine);
    f = jd_run_in_executor(e, held_run, &busy);
    await_begun(&busy);
    t = jd_spawn(to_thread, &c);
    while (stats_of(e).queued == 0)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_task_cancel(t, "test"), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED); /* although the pool's only thread is held */
    cr_assert_eq(stats_of(e).queued, 0);
    gate_open(&busy.gate);
    cr_assert_eq(jd_await(f).error, 0);
    jd_future_unref(f);
    pool_end(e);
    cr_assert_eq(mine.ran, 0);
    return jd_ok(NULL);
}

Test(executor, x2_a_cancelled_call_that_is_queued_returns_at_once_and_never_runs)
{
    cr_assert_eq(run_workers(1, join_queued_body, NULL).error, 0);
    cr_assert_eq(run_workers(2, join_queued_body, NULL).error, 0);
}

static jd_result join_running_body(void *arg)
{
    struct held h;
    struct to_thread c = { .fn = held_until_cancelled, .h = &h };
    jd_task *t;
    jd_result r;

    (void)arg;
    held_init(&h);
    t = jd_spawn(to_thread, &c);
    await_begun(&h);
    cr_assert_eq(jd_task_cancel(t, "test"), 0);
    yield_until(&h.saw_cancel);
    yields(20);
    cr_assert_eq(c.returned, 0, "it waits to the end");
    gate_open(&h.gate);
    r = jd_join(t);
    cr_assert_eq(r.error, 0, "what came to its end wins: %d", r.error);
    cr_assert_eq(r.ptr, &h);
    return jd_ok(NULL);
}

Test(executor, x6_a_cancelled_call_waits_for_a_function_that_runs_and_tells_it)
{
    cr_assert_eq(run_workers(1, join_running_body, NULL).error, 0);
    cr_assert_eq(run_workers(2, join_running_body, NULL).error, 0);
}

struct stopped {
    int ran, error; /* ran: written before its call returns */
};

static jd_result stops_when_told(void *arg)
{
    struct stopped *s = arg;

    s->ran = 1;
    while (!jd_thread_cancelled()) /* bounded by the test's timeout */
        sched_yield();
    return jd_err(s->error);
}

/* What the scope says of a function that has heard of its deadline and returns this. On a busy
 * machine the deadline comes before a thread does: once more then. */
static int stopped_with(int error)
{
    struct stopped s = { 0, error };
    jd_scope limit;
    int said;

    do { /* bounded by the test's timeout */
        jd_scope_open(&limit, JD_MS(2));
        said = (int)jd_scope_close_with(&limit, jd_to_thread(stops_when_told, &s).error);
        cr_assert(s.ran || said == -ETIMEDOUT);
    } while (!s.ran);
    return said;
}

static jd_result deadline_body(void *arg)
{
    cr_assert_eq(stopped_with(-ECANCELED), -ETIMEDOUT);
    cr_assert_eq(stopped_with(0), 0, "it came to its end");
    cr_assert_eq(stopped_with(-EIO), -EIO);
    return jd_ok(arg);
}

Test(executor, x6_a_function_that_stops_at_a_deadline_has_timed_out)
{
    cr_assert_eq(run_workers(1, deadline_body, NULL).error, 0);
    cr_assert_eq(run_workers(2, deadline_body, NULL).error, 0);
}

static jd_result abandon_body(void *arg)
{
    jd_executor *e = pool_of(1);
    struct held h;
    struct to_thread c = { .e = e, .fn = held_until_cancelled, .h = &h, .flags = JD_ABANDON };
    jd_task *t;

    (void)arg;
    held_init(&h);
    t = jd_spawn(to_thread, &c);
    await_begun(&h);
    cr_assert_eq(jd_task_cancel(t, "test"), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    yield_until(&h.saw_cancel);
    cr_assert_eq(stats_of(e).idle, 0, "its place is taken until it really ends");
    gate_open(&h.gate);
    pool_end(e);
    return jd_ok(NULL);
}

Test(executor, x6_an_abandoned_call_returns_at_once_and_the_function_goes_on)
{
    cr_assert_eq(run_workers(1, abandon_body, NULL).error, 0);
    cr_assert_eq(run_workers(2, abandon_body, NULL).error, 0);
}

static jd_result cancelled_before_body(void *arg)
{
    atomic_int ran = 0;
    jd_scope s;

    (void)arg;
    jd_scope_open(&s, 0);
    cr_assert_eq(jd_sleep(JD_SEC(1)), -ECANCELED);
    cr_assert_eq(jd_to_thread(count_up, &ran).error, -ECANCELED);
    cr_assert_eq(jd_to_thread_with(NULL, count_up, &ran, JD_ABANDON).error, -ECANCELED);
    cr_assert_eq(jd_scope_close(&s), -ETIMEDOUT);
    cr_assert_eq(ran, 0);
    jd_scope_open_shielded(&s, JD_FOREVER); /* cleaning up works */
    cr_assert_eq(jd_to_thread(count_up, &ran).error, 0);
    cr_assert_eq(jd_scope_close(&s), 0);
    cr_assert_eq(ran, 1);
    return jd_ok(NULL);
}

Test(executor, in_a_cancelled_scope_nothing_starts)
{
    cr_assert_eq(run_workers(1, cancelled_before_body, NULL).error, 0);
}

/* --- Back into the runtime ------------------------------------------------------------------------ */

struct nest {
    jd_runtime *rt;
    jd_executor *e;
    int depth;
};

static jd_result nest_task(void *arg);

static jd_result nest_thread(void *arg)
{
    struct nest *n = arg;

    return jd_runtime_call(n->rt, nest_task, n);
}

static jd_result nest_task(void *arg)
{
    struct nest *n = arg;

    cr_assert_not_null(jd_task_current());
    if (n->depth-- == 0)
        return jd_ok(n);
    return jd_to_thread_with(n->e, nest_thread, n, 0);
}

static jd_result nest_body(void *arg)
{
    struct nest n = { .rt = jd_runtime_current(), .e = pool_of(1), .depth = 8 };
    jd_result r = nest_task(&n);

    (void)arg;
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.ptr, &n);
    cr_assert_eq(stats_of(n.e).blocked, 0);
    pool_end(n.e);
    return jd_ok(NULL);
}

Test(executor, x10_functions_that_call_tasks_that_call_functions_do_not_starve_in_a_pool_of_one)
{
    cr_assert_eq(run_workers(1, nest_body, NULL).error, 0);
    cr_assert_eq(run_workers(3, nest_body, NULL).error, 0);
}

/* Any wait of a plain thread gives the place away, here a semaphore's. */
struct handing {
    jd_sem sem;
    struct held *h;
};

static jd_result take_permit(void *arg)
{
    cr_assert_eq(jd_sem_acquire(&((struct handing *)arg)->sem), 0);
    return jd_ok(NULL);
}

static jd_result give_permit(void *arg)
{
    cr_assert_eq(jd_sem_release(&((struct handing *)arg)->sem), 0);
    return jd_ok(NULL);
}

static jd_result permit_body(void *arg)
{
    struct handing p = { .sem = JD_SEM_INIT(0) };
    jd_executor *e = pool_of(1);
    jd_future *f[20];

    (void)arg;
    for (int i = 0; i < 20; i++)
        f[i] = jd_run_in_executor(e, i < 10 ? take_permit : give_permit, &p);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(jd_await(f[i]).error, 0);
        jd_future_unref(f[i]);
    }
    cr_assert_eq(jd_sem_value(&p.sem), 0);
    pool_end(e);
    return jd_ok(NULL);
}

Test(executor, x10_functions_that_wait_for_later_ones_of_the_same_pool_of_one_get_them)
{
    cr_assert_eq(run_workers(2, permit_body, NULL).error, 0);
}

static jd_result waits_for_future(void *arg)
{
    return jd_await((jd_future *)arg);
}

static jd_result cancelled_callback_body(void *arg)
{
    jd_runtime *rt = jd_runtime_current();
    jd_future *f, *gate;

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &gate), 0);
    f = jd_run_in_executor(NULL, waits_for_future, gate);
    while (stats_of(NULL).blocked == 0)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_future_wait(f, 0), -ETIMEDOUT);
    cr_assert_eq(jd_future_cancel(gate, "test"), 0); /* crosses the border */
    cr_assert_eq(jd_await(f).error, -ECANCELED);
    cr_assert_eq(jd_future_cancelled(f), 0, "the function returned that; nobody cancelled it");
    jd_future_unref(gate);
    jd_future_unref(f);
    cr_assert_eq(jd_runtime_current(), rt);
    return jd_ok(NULL);
}

Test(executor, x8_a_function_may_wait_for_a_future_and_sees_its_cancel)
{
    cr_assert_eq(run_workers(2, cancelled_callback_body, NULL).error, 0);
}

/* --- Plain threads ---------------------------------------------------------------------------------- */

#define EACH 200

struct producers {
    jd_executor *e;
    atomic_int ran;
};

static void produce(unsigned index, void *arg)
{
    struct producers *p = arg;
    jd_future *f[EACH];

    (void)index;
    for (int i = 0; i < EACH; i++) {
        f[i] = jd_run_in_executor(p->e, count_up, &p->ran);
        cr_assert_not_null(f[i]);
    }
    for (int i = 0; i < EACH; i++) {
        cr_assert_eq(jd_future_wait(f[i], JD_FOREVER), 0);
        jd_future_unref(f[i]);
    }
}

Test(executor, plain_threads_use_a_pool_without_any_runtime)
{
    struct producers p = { .e = pool_of(3) };
    struct crew c;

    crew_start(&c, CREW_MAX, produce, &p);
    crew_join(&c);
    cr_assert_eq(p.ran, CREW_MAX * EACH);
    pool_end(p.e);
}

/* --- Bad input ---------------------------------------------------------------------------------------- */

static void in_callback(void *arg)
{
    cr_assert_eq(jd_to_thread(return_arg, NULL).error, -EPERM);
    *(int *)arg = 1;
}

static jd_result bad_body(void *arg)
{
    jd_executor_stats s = JD_EXECUTOR_STATS_INIT;
    jd_future *f = NULL;
    int called = 0;

    (void)arg;
    cr_assert_eq(jd_to_thread(NULL, NULL).error, -EINVAL);
    cr_assert_eq(jd_to_thread_with(NULL, return_arg, NULL, 1u << 5).error, -EINVAL);
    cr_assert_eq(jd_executor_submit(NULL, NULL, NULL, &f), -EINVAL);
    cr_assert_eq(jd_executor_submit(NULL, return_arg, NULL, NULL), -EINVAL);
    cr_assert_null(f);
    cr_assert_eq(jd_executor_get_stats(NULL, NULL), -EINVAL);
    s.size = 0;
    cr_assert_eq(jd_executor_get_stats(NULL, &s), -EINVAL);
    s.size = offsetof(jd_executor_stats, threads);
    s.threads = 77;
    cr_assert_eq(jd_executor_get_stats(NULL, &s), 0);
    cr_assert_eq(s.threads, 77, "only what fits is filled");
    cr_assert_eq(s.threads_max, 64);
    for (unsigned which = 0; which < 3; which++)
        cr_assert_eq(jd_executor_shutdown(jd_runtime_executor(NULL, which), 0, 0), -EPERM);
    cr_assert_null(jd_runtime_executor(NULL, 3));
    cr_assert_eq(jd_call_soon(jd_loop_current(), in_callback, &called, NULL), 0);
    yields(2);
    cr_assert_eq(called, 1);
    return jd_ok(NULL);
}

Test(executor, wrong_arguments_and_places_are_refused)
{
    jd_executor_stats s = JD_EXECUTOR_STATS_INIT;
    jd_executor *e = NULL;

    cr_assert_eq(jd_executor_new(1, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_executor_new(32768, NULL, &e), -EINVAL);
    cr_assert_null(e);
    cr_assert_eq(jd_to_thread(return_arg, NULL).error, -EPERM);
    cr_assert_null(jd_run_in_executor(NULL, return_arg, NULL));
    cr_assert_eq(jd_executor_get_stats(NULL, &s), -EPERM);
    cr_assert_null(jd_runtime_executor(NULL, 0));
    cr_assert_eq(jd_executor_shutdown(NULL, 0, 0), -EINVAL);
    cr_assert_eq(jd_thread_cancelled(), 0);
    jd_executor_unref(NULL);
    cr_assert_null(jd_executor_ref(NULL));
    e = pool_of(0);
    cr_assert_eq(stats_of(e).threads_max, 64);
    cr_assert_eq(jd_executor_shutdown(e, 1u << 7, 0), -EINVAL);
    cr_assert_eq(jd_executor_ref(e), e);
    jd_executor_unref(e);
    pool_end(e);
    cr_assert_eq(run_workers(1, bad_body, NULL).error, 0);
}

/* What NULL means is the configuration's. */
Test(executor, the_bound_of_the_runtime_s_pool_is_configured)
{
    jd_config cfg = config_of(1, 0);
    jd_runtime *rt;

    cfg.blocking_threads_max = 3;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    cr_assert_eq(stats_of(jd_runtime_executor(rt, JD_EXECUTOR_USER)).threads_max, 3);
    cr_assert_eq(jd_runtime_free(rt), 0);
    cfg.blocking_threads_max = 32768;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), -EINVAL);
}
