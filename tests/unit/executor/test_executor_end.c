/* SPDX-License-Identifier: MIT */
/*
 * The end of pools: shutdown with and without what is pending, deadlines, the last reference, the end
 * of a runtime, fork. Contract X4, X5, X9, L17.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor_rig.h"
#include "fiber/sanitizer.h"
#include "footprint.h"

/* --- Shutdown --------------------------------------------------------------------------------------- */

struct batch {
    jd_executor *e;
    struct held busy;
    jd_future *f[10]; /* the first one is held, the others are behind it */
    atomic_int ran;
};

static void batch_start(struct batch *b)
{
    b->e = pool_of(1);
    b->ran = 0;
    held_init(&b->busy);
    b->f[0] = jd_run_in_executor(b->e, held_run, &b->busy);
    gate_pass(&b->busy.begun);
    for (int i = 1; i < 10; i++)
        b->f[i] = jd_run_in_executor(b->e, count_up, &b->ran);
}

static void batch_end(struct batch *b, int error, int ran)
{
    cr_assert_eq(jd_await(b->f[0]).error, 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(jd_future_done(b->f[i]), 1);
        cr_assert_eq(jd_await(b->f[i]).error, i ? error : 0);
        cr_assert_eq(jd_future_cancelled(b->f[i]), i && error);
        jd_future_unref(b->f[i]);
    }
    cr_assert_eq(b->ran, ran);
    cr_assert_eq(jd_executor_shutdown(b->e, 0, 0), 0, "a second one has nothing to wait for");
    jd_executor_unref(b->e);
}

static void refuses_work(jd_executor *e)
{
    jd_future *f = NULL;

    cr_assert_eq(jd_executor_submit(e, return_arg, NULL, &f), -ESHUTDOWN);
    cr_assert_null(f);
    cr_assert_null(jd_run_in_executor(e, return_arg, NULL));
}

Test(executor_end, x5_what_was_accepted_runs_and_later_work_is_refused)
{
    struct batch b;

    batch_start(&b);
    cr_assert_eq(jd_executor_shutdown(b.e, 0, 0), -ETIMEDOUT); /* does not wait */
    refuses_work(b.e);
    cr_assert_eq(b.ran, 0);
    gate_open(&b.busy.gate);
    cr_assert_eq(jd_executor_shutdown(b.e, 0, JD_FOREVER), 0);
    batch_end(&b, 0, 9);
}

Test(executor_end, x9_cancel_pending_drops_what_has_not_begun_at_once)
{
    struct batch b;

    batch_start(&b);
    cr_assert_eq(jd_executor_shutdown(b.e, JD_CANCEL_PENDING, JD_MS(1)), -ETIMEDOUT);
    for (int i = 1; i < 10; i++)
        cr_assert_eq(jd_future_cancelled(b.f[i]), 1);
    cr_assert_eq(jd_future_done(b.f[0]), 0);
    gate_open(&b.busy.gate);
    cr_assert_eq(jd_executor_shutdown(b.e, 0, JD_FOREVER), 0);
    batch_end(&b, -ECANCELED, 0);
}

static jd_result shutdown_task(void *arg)
{
    return jd_err(jd_executor_shutdown(arg, 0, JD_FOREVER));
}

static jd_result waiting_body(void *arg)
{
    jd_executor *e = pool_of(2);
    struct held h;
    jd_future *f;
    jd_task *t[3];

    (void)arg;
    held_init(&h);
    f = jd_run_in_executor(e, held_run, &h);
    await_begun(&h);
    for (int i = 0; i < 3; i++)
        t[i] = jd_spawn(shutdown_task, e);
    yields(5);
    cr_assert_eq(jd_task_cancel(t[1], "test"), 0);
    cr_assert_eq(jd_join(t[1]).error, -ECANCELED);
    cr_assert_eq(jd_executor_shutdown(e, 0, JD_MS(1)), -ETIMEDOUT);
    gate_open(&h.gate);
    cr_assert_eq(jd_join(t[0]).error, 0);
    cr_assert_eq(jd_join(t[2]).error, 0);
    cr_assert_eq(jd_await(f).error, 0);
    jd_future_unref(f);
    jd_executor_unref(e);
    return jd_ok(NULL);
}

Test(executor_end, x5_tasks_wait_for_it_with_deadlines_and_cancels)
{
    cr_assert_eq(run_workers(1, waiting_body, NULL).error, 0);
    cr_assert_eq(run_workers(3, waiting_body, NULL).error, 0);
}

static jd_result shuts_itself_down(void *arg)
{
    return jd_err(jd_executor_shutdown(arg, 0, JD_FOREVER));
}

Test(executor_end, a_function_cannot_wait_for_its_own_end)
{
    jd_executor *e = pool_of(2), *other = pool_of(1);
    jd_future *f = jd_run_in_executor(e, shuts_itself_down, e);

    cr_assert_eq(jd_await(f).error, -EDEADLK);
    jd_future_unref(f);
    f = jd_run_in_executor(e, shuts_itself_down, other);
    cr_assert_eq(jd_await(f).error, 0);
    jd_future_unref(f);
    jd_executor_unref(other);
    pool_end(e);
}

/* Submissions beside the shutdown are accepted and run, or refused. Each submitter brings a number
 * of them, and one more after the shutdown: a scheduler that keeps the shutdown off its CPU for a
 * slice would fill the queue with 100,000 jobs otherwise. */
#define RACING_SUBMITTERS 3
#define RACING_JOBS 64

struct racing {
    jd_executor *e;
    int begin; /* so many are accepted before the shutdown begins */
    sem_t ended;
    atomic_int accepted, ran;
};

static int submit_one(struct racing *r)
{
    jd_future *f;
    int error = jd_executor_submit(r->e, count_up, &r->ran, &f);

    if (error == 0) {
        atomic_fetch_add(&r->accepted, 1);
        jd_future_unref(f);
    }
    return error;
}

static void submit_or_shut(unsigned index, void *arg)
{
    struct racing *r = arg;
    int error = 0;

    if (index == 0) {
        while (r->accepted < r->begin) /* bounded: the others bring more */
            sched_yield();
        cr_assert_eq(jd_executor_shutdown(r->e, 0, JD_FOREVER), 0);
        for (int i = 0; i < RACING_SUBMITTERS; i++)
            gate_open(&r->ended);
        return;
    }
    for (int i = 0; i < RACING_JOBS && error == 0; i++)
        error = submit_one(r);
    cr_assert(error == 0 || error == -ESHUTDOWN);
    gate_pass(&r->ended);
    cr_assert_eq(submit_one(r), -ESHUTDOWN);
}

Test(executor_end, x9_submissions_beside_a_shutdown_run_or_are_refused, .timeout = 30)
{
    for (unsigned long round = 0; round < jd_test_rounds(300); round++) {
        struct racing r = { .e = pool_of(2), .begin = (int)(round % (2 * RACING_JOBS)) };
        struct crew c;

        sem_init(&r.ended, 0, 0);
        crew_start(&c, 1 + RACING_SUBMITTERS, submit_or_shut, &r);
        crew_join(&c);
        sem_destroy(&r.ended);
        cr_assert_eq(r.accepted, r.ran);
        jd_executor_unref(r.e);
    }
}

/* With it comes what tools start beside it. */
static void first_thread(void)
{
    jd_executor *e = pool_of(1);

    jd_future_unref(jd_run_in_executor(e, return_arg, NULL));
    pool_end(e);
}

/* --- The last reference --------------------------------------------------------------------------- */

Test(executor_end, a_pool_that_nobody_holds_finishes_what_it_has_and_goes, .timeout = 30)
{
    unsigned before;

    first_thread();
    before = footprint_threads();
    for (unsigned long round = 0; round < jd_test_rounds(200); round++) {
        jd_executor *e = pool_of(3);
        atomic_int ran = 0;
        jd_future *f[20];

        for (int i = 0; i < 20; i++)
            f[i] = jd_run_in_executor(e, count_up, &ran);
        jd_executor_unref(e);
        for (int i = 0; i < 20; i++) {
            cr_assert_eq(jd_await(f[i]).error, 0);
            jd_future_unref(f[i]);
        }
        cr_assert_eq(ran, 20);
    }
    while (footprint_threads() > before) /* bounded by the timeout */
        sched_yield();
}

Test(executor_end, after_a_shutdown_no_thread_is_left)
{
    unsigned before;

    first_thread();
    before = footprint_threads();
    for (unsigned long round = 0; round < jd_test_rounds(200); round++) {
        jd_executor *e = pool_of(3);
        atomic_int ran = 0;

        for (int i = 0; i < 10; i++)
            jd_future_unref(jd_run_in_executor(e, count_up, &ran));
        cr_assert_eq(jd_executor_shutdown(e, 0, JD_FOREVER), 0);
        while (footprint_threads() > before) /* joined; the kernel's list may lag behind */
            sched_yield();
        cr_assert_eq(ran, 10);
        jd_executor_unref(e);
    }
}

/* --- The end of a runtime --------------------------------------------------------------------------- */

#define QUEUED 2000u /* so many that cancelling them takes longer than the end of what runs */

Test(executor_end, l17_a_runtime_that_ends_cancels_what_is_queued_and_waits_for_what_runs)
{
    jd_config cfg = config_of(1, 0);
    jd_runtime *rt;
    jd_executor *e;
    struct held h;
    atomic_int ran = 0;
    jd_future *running, *queued[QUEUED];

    cfg.blocking_threads_max = 1;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    e = jd_runtime_executor(rt, JD_EXECUTOR_USER);
    held_init(&h);
    running = jd_run_in_executor(e, held_until_cancelled, &h);
    gate_pass(&h.begun);
    for (unsigned i = 0; i < QUEUED; i++)
        queued[i] = jd_run_in_executor(e, count_up, &ran);
    gate_open(&h.gate);
    cr_assert_eq(jd_runtime_free(rt), 0);
    cr_assert_eq(h.saw_cancel, 1, "it was told, and waited for");
    cr_assert_eq(jd_await(running).error, 0);
    cr_assert_eq(ran, 0, "%d began, after the end of what ran", ran);
    for (unsigned i = 0; i < QUEUED; i++) {
        cr_assert_eq(jd_await(queued[i]).error, -ECANCELED);
        cr_assert_null(jd_future_runtime(queued[i]));
        jd_future_unref(queued[i]);
    }
    jd_future_unref(running);
}

static jd_result cleaning_up(void *arg)
{
    jd_scope s;
    jd_result r;

    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    jd_scope_open_shielded(&s, JD_FOREVER);
    r = jd_to_thread(count_up, arg); /* while the runtime ends */
    cr_assert_eq(r.error, 0);
    cr_assert_eq(jd_scope_close(&s), 0);
    return jd_err(-ECANCELED);
}

static jd_result leave_cleaner(void *arg)
{
    jd_task_unref(jd_spawn(cleaning_up, arg));
    yields(3);
    return jd_ok(NULL);
}

Test(executor_end, l17_tasks_that_clean_up_still_have_the_pool)
{
    atomic_int ran = 0;

    cr_assert_eq(run_workers(2, leave_cleaner, &ran).error, 0);
    cr_assert_eq(ran, 1);
}

Test(executor_end, x5_a_function_that_resists_is_named_and_the_end_does_not_wait_for_ever)
{
    static struct held h; /* it outlives the runtime */
    jd_config cfg = config_of(1, 0);
    jd_runtime *rt;
    jd_future *f;

    if (UNDER_TSAN)
        jd_test_skip("the thread and the runtime are leaked on purpose");
    cfg.shutdown_timeout = JD_MS(50);
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    sink_install(rt);
    held_init(&h);
    f = jd_run_in_executor(jd_runtime_executor(rt, JD_EXECUTOR_USER), held_run, &h);
    gate_pass(&h.begun);
    cr_assert_eq(jd_runtime_free(rt), -ETIMEDOUT);
    cr_assert_eq(sink_count(JD_REPORT_SHUTDOWN), 1);
    cr_assert_not_null(strstr(sink_last().message, "did not end within the shutdown timeout"));
    gate_open(&h.gate);
    cr_assert_eq(jd_future_wait(f, JD_FOREVER), 0);
    jd_future_unref(f);
}

struct late {
    struct held h;
    jd_runtime *rt;
};

static jd_result calls_late(void *arg)
{
    struct late *l = arg;

    (void)held_until_cancelled(&l->h);
    return jd_runtime_call(l->rt, return_arg, NULL);
}

Test(executor_end, x7_a_call_into_a_runtime_that_ends_is_refused)
{
    struct late l = { .rt = runtime_of(1, 0) };
    jd_future *f;

    held_init(&l.h);
    f = jd_run_in_executor(jd_runtime_executor(l.rt, JD_EXECUTOR_USER), calls_late, &l);
    gate_pass(&l.h.begun);
    gate_open(&l.h.gate);
    cr_assert_eq(jd_runtime_free(l.rt), 0);
    cr_assert_eq(jd_await(f).error, -ESHUTDOWN);
    jd_future_unref(f);
}

/* --- fork() ------------------------------------------------------------------------------------------- */

static int in_child(jd_executor *e)
{
    jd_future *f = NULL;

    if (jd_executor_submit(e, return_arg, NULL, &f) != -ESHUTDOWN || f)
        return 1;
    if (jd_executor_shutdown(e, 0, JD_FOREVER) != -ESHUTDOWN)
        return 2;
    jd_executor_unref(e);
    if (UNDER_TSAN)
        return 0;
    if (jd_executor_new(1, NULL, &e) != 0)
        return 3;
    f = jd_run_in_executor(e, return_arg, WORD("x"));
    if (!f || jd_await(f).ptr == NULL)
        return 4;
    jd_future_unref(f);
    if (jd_executor_shutdown(e, 0, JD_FOREVER) != 0)
        return 5;
    jd_executor_unref(e);
    return 0;
}

Test(executor_end, the_child_of_a_fork_inherits_a_closed_pool_and_may_make_one)
{
    jd_executor *e = pool_of(2);
    struct held h;
    jd_future *f;
    pid_t pid;
    int status;

    if (tools_is_valgrind())
        jd_test_skip("to valgrind what threads that a fork left behind had is lost in the child");
    if (jd_test_is_emulated())
        jd_test_skip("the child of a fork with threads dies under qemu-user when it makes one");
    held_init(&h);
    f = jd_run_in_executor(e, held_run, &h);
    gate_pass(&h.begun);
    pid = fork();
    if (pid == 0)
        _exit(in_child(e));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
    gate_open(&h.gate);
    cr_assert_eq(jd_await(f).error, 0);
    jd_future_unref(f);
    pool_end(e);
}
