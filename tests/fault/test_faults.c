/* SPDX-License-Identifier: MIT */
/*
 * What fails, fails by its return value, and nothing else breaks.
 *
 * alloc_*: a small program runs once for each n, and in that run the n-th allocation fails (once, or
 * from there on; a quick run takes one of these in turn). N is counted in a first run without
 * faults. The program joins what it got and checks that everything it got was also run; a leak is
 * the sanitizer's to find.
 *
 * Rule: jd_run() answers the program's own verdict, or -ENOMEM when the runtime could not be made or
 * the run could not begin; in that case main is entered all the same, and cancelled sooner or later.
 * Every other answer is a failure, a hang (timeout) included.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "base/fault.h"
#include "jd_test.h"
#include "refused.h"

#define ALL_FROM_THERE UINT64_MAX
#define NEVER UINT64_MAX

/* What a program was given and what came of it. */
static struct {
    _Atomic long given, ran;
    _Atomic long refused;
} books;

static jd_result count_run(void *arg)
{
    atomic_fetch_add(&books.ran, 1);
    return jd_ok(arg);
}

static jd_result sleep_and_count(void *arg)
{
    (void)jd_sleep(JD_US(20));
    return count_run(arg);
}

static jd_result verdict(void)
{
    return jd_ok_num(books.given == books.ran);
}

static bool given(bool success)
{
    atomic_fetch_add(success ? &books.given : &books.refused, 1);
    return success;
}

static bool ok_or_cancelled(int err)
{
    return err == 0 || err == -ECANCELED;
}

static void wait_for_all(void)
{
    int err = 0;

    while (err == 0 && books.ran < books.given)
        err = jd_sleep(JD_US(50));
    cr_assert(ok_or_cancelled(err), "%d", err);
}

/* --- The programs ----------------------------------------------------------------------------- */

#define CROWD 150 /* more than the caches of stacks and records hold at first */

static jd_result spawn_program(void *arg)
{
    jd_task_options named = JD_TASK_OPTIONS_INIT;
    jd_task *tasks[CROWD];

    (void)arg;
    named.name = "named";
    for (int i = 0; i < CROWD; i++) {
        named.flags = i % 5 == 0 ? JD_TASK_EAGER : i % 7 == 0 ? JD_TASK_PINNED : 0;
        tasks[i] =
            jd_spawn_with(i % 2 ? sleep_and_count : count_run, NULL, i % 3 == 0 ? &named : NULL);
        (void)given(tasks[i] != NULL);
        (void)jd_task_name(tasks[i]); /* "" without memory */
    }
    for (int i = 0; i < 10; i++) {
        int err = jd_spawn_detached(count_run, NULL);

        cr_assert(err == 0 || err == -ENOMEM, "%d", err);
        (void)given(err == 0);
    }
    for (int i = 0; i < CROWD; i++)
        if (tasks[i])
            cr_assert_eq(jd_join(tasks[i]).error, 0);
    wait_for_all();
    return verdict();
}

static void count_callback(void *arg)
{
    (void)arg;
    atomic_fetch_add(&books.ran, 1);
}

static void count_done(jd_future *f, void *arg)
{
    (void)f;
    count_callback(arg);
}

static jd_result set_future(void *arg)
{
    jd_future *f = arg;

    (void)jd_sleep(JD_US(20));
    (void)jd_future_set(f, jd_ok_num(1)); /* -EALREADY: never, it is the only one */
    jd_future_unref(f);
    return jd_ok(NULL);
}

static void one_future(void)
{
    jd_future *f = NULL;
    jd_result r;
    int err = jd_future_new(NULL, &f);

    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    if (err)
        return;
    err = jd_future_add_done_callback(f, count_done, NULL);
    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    (void)given(err == 0);
    jd_future_ref(f);
    if (jd_spawn_detached(set_future, f) != 0) {
        cr_assert_eq(jd_future_set(f, jd_ok_num(1)), 0);
        jd_future_unref(f);
    }
    r = jd_await(f);
    cr_assert(r.error == -ECANCELED || r.num == 1, "%d", r.error);
    jd_future_unref(f);
}

static jd_result future_program(void *arg)
{
    (void)arg;
    for (int i = 0; i < 12; i++)
        one_future();
    wait_for_all();
    return verdict();
}

static jd_result callback_program(void *arg)
{
    jd_loop *loop = jd_loop_current();
    jd_loop *other = jd_runtime_loop(jd_runtime_current(), 1);
    jd_handle *handle;

    (void)arg;
    for (int i = 0; i < 10; i++) {
        int err = jd_call_soon(i % 2 ? loop : other, count_callback, NULL, NULL);

        cr_assert(err == 0 || err == -ENOMEM, "%d", err);
        (void)given(err == 0);
        err = jd_call_later(loop, JD_US(10), count_callback, NULL, NULL);
        cr_assert(err == 0 || err == -ENOMEM, "%d", err);
        (void)given(err == 0);
        err = jd_call_later(other, JD_SEC(100), count_callback, NULL, &handle);
        cr_assert(err == 0 || err == -ENOMEM, "%d", err);
        if (!err) {
            cr_assert_eq(jd_handle_cancel(handle), 1);
            jd_handle_unref(handle);
        }
    }
    wait_for_all();
    return verdict();
}

static jd_result group_program(void *arg)
{
    jd_group g;

    (void)arg;
    jd_group_open(&g, JD_GROUP_KEEP_GOING, JD_FOREVER);
    for (int i = 0; i < 100; i++) {
        int err = jd_group_spawn(&g, i % 2 ? count_run : sleep_and_count, NULL);

        cr_assert(err == 0 || err == -ENOMEM, "%d", err);
        (void)given(err == 0);
    }
    cr_assert(ok_or_cancelled(jd_group_close(&g)));
    return verdict();
}

static int next_item(void *ctx, void **ret_item)
{
    int *left = ctx;

    *ret_item = left;
    return (*left)-- > 0;
}

static jd_result call_item(void *item, void *ctx)
{
    int err = jd_sleep(JD_US(10));

    (void)item;
    (void)ctx;
    return err ? jd_err(err) : jd_ok(NULL);
}

static int take_result(void *item, jd_result r, void *ctx)
{
    (void)item;
    (void)ctx;
    cr_assert(ok_or_cancelled(r.error) || r.error == -ENOMEM, "%d", r.error);
    (void)given(true);
    count_callback(NULL);
    return 0;
}

static jd_result batch_program(void *arg)
{
    jd_batch_options opt = JD_BATCH_OPTIONS_INIT;
    int left = 20, err;

    (void)arg;
    opt.limit = 4;
    opt.errors_max = JD_ALL;
    opt.ctx = &left;
    err = jd_batch_run(next_item, call_item, take_result, &opt, NULL);
    cr_assert(ok_or_cancelled(err) || err == -ENOMEM, "%d", err);
    return verdict();
}

static jd_result receive(void *arg)
{
    char byte;
    ssize_t n = jd_recv(*(int *)arg, &byte, 1, 0);

    cr_assert(n == 1 || n == -ENOMEM || n == -ECANCELED, "%zd", n);
    return count_run(NULL);
}

static void one_exchange(void)
{
    int ends[2], err;
    jd_task *t;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    t = jd_spawn(receive, &ends[0]);
    if (given(t != NULL)) {
        ssize_t n = jd_send(ends[1], "x", 1, 0);

        cr_assert(n == 1 || n == -ENOMEM || n == -ECANCELED, "%zd", n);
        if (n != 1)
            (void)jd_task_cancel(t, "nothing comes"); /* -EALREADY: it failed, too */
        cr_assert_eq(jd_join(t).error, 0);
    }
    for (int i = 0; i < 2; i++) {
        err = jd_close(ends[i]);
        cr_assert(err == 0 || err == -ENOMEM, "%d", err);
        if (err)
            close(ends[i]);
    }
}

static jd_result io_program(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++)
        one_exchange();
    return verdict();
}

static jd_result fork_tree(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    jd_result left, right;
    jd_fork f;

    if (depth == 0)
        return jd_ok_num(1);
    jd_fork_start(&f, fork_tree, (void *)(depth - 1));
    if (depth % 3 == 0)
        (void)jd_yield(); /* promotes the forks that are open to tasks */
    right = fork_tree((void *)(depth - 1));
    left = jd_fork_join(&f);
    return jd_ok_num(left.num + right.num);
}

static jd_result fork_program(void *arg)
{
    (void)arg;
    cr_assert_eq(fork_tree((void *)8).num, 256);
    return verdict();
}

/* What was accepted runs, or says by -EAGAIN that no thread was to be had. */
static void take_offloaded(jd_future *f)
{
    jd_result r = jd_await(f);

    cr_assert(ok_or_cancelled(r.error) || r.error == -EAGAIN, "%d", r.error);
    if (r.error)
        (void)count_run(NULL);
    jd_future_unref(f);
}

static jd_result blocking_call(void *arg)
{
    return jd_runtime_call(arg, count_run, NULL); /* may fail for want of memory */
}

static void call_blocking(jd_executor *e, jd_fn fn, void *arg)
{
    jd_result r = jd_to_thread_with(e, fn, arg, 0);

    cr_assert(ok_or_cancelled(r.error) || r.error == -EAGAIN || r.error == -ENOMEM, "%d", r.error);
    (void)given(true);
    if (r.error)
        (void)count_run(NULL);
}

static jd_result executor_program(void *arg)
{
    jd_executor *e = NULL;
    jd_future *f[20];
    int err = jd_executor_new(2, "faults", &e);

    (void)arg;
    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    for (int i = 0; i < 20; i++) {
        f[i] = jd_run_in_executor(err || i % 2 ? NULL : e, count_run, NULL);
        (void)given(f[i] != NULL);
    }
    for (int i = 0; i < 5; i++)
        call_blocking(err ? NULL : e, count_run, NULL);
    call_blocking(err ? NULL : e, blocking_call, jd_runtime_current());
    for (int i = 0; i < 20; i++)
        if (f[i])
            take_offloaded(f[i]);
    if (!err) {
        jd_future *last = jd_run_in_executor(e, count_run, NULL);

        err = given(last != NULL) ? jd_executor_shutdown(e, JD_CANCEL_PENDING, JD_FOREVER) : 0;
        cr_assert(ok_or_cancelled(err), "%d", err);
        if (last)
            take_offloaded(last); /* cancelled: counted there */
        jd_executor_unref(e);
    }
    return verdict();
}

/* --- alloc_* and stack: the n-th one fails ------------------------------------------------------ */

static jd_result run_with_fault(jd_fn program, unsigned reactor, enum fault_point point,
                                uint64_t first, uint64_t count)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    cfg.workers = 2;
    cfg.reactor = reactor;
    cfg.flags = JD_NO_ENV;
    books.given = books.ran = books.refused = 0;
    fault_arm(point, first, count);
    r = jd_run(program, NULL, &cfg);
    return r;
}

static void fail_each(jd_fn program, unsigned reactor, enum fault_point point)
{
    jd_result r = run_with_fault(program, reactor, point, NEVER, 1);
    uint64_t visits = fault_visits(point);
    long refused = 0;

    skip_if_refused(reactor, r.error);
    cr_assert_eq(r.error, 0, "without faults: %d", r.error);
    cr_assert_eq(r.num, 1);
    cr_assert_gt(visits, 0);
    for (uint64_t n = 0; n < visits + 2; n++) {
        uint64_t counts[] = { 1, 3, ALL_FROM_THERE };

        for (int i = 0; i < 3; i++) {
            if (jd_test_quick() && (uint64_t)i != n % 3)
                continue;
            if (jd_test_quick() && !jd_test_is_plain() && n % 2 != (reactor == JD_REACTOR_EPOLL))
                continue; /* under a tool each place on one port */
            r = run_with_fault(program, reactor, point, n, counts[i]);
            fault_arm(point, 0, 0);
            cr_assert(r.error == 0 || r.error == -ENOMEM, "fault %d at %d: %d", i, (int)n, r.error);
            cr_assert(r.error || r.num == 1, "fault %d at %d: %ld given, %ld ran", i, (int)n,
                      (long)books.given, (long)books.ran);
            refused += books.refused;
        }
    }
    fprintf(stderr, "# %d places failed in turn, %ld calls refused\n", (int)visits, refused);
}

#define FAIL_ALLOC(name) \
    Test(faults, alloc_##name##_uring, .timeout = 60) \
    { \
        fail_each(name##_program, JD_REACTOR_URING, FAULT_ALLOC); \
    } \
    Test(faults, alloc_##name##_epoll, .timeout = 60) \
    { \
        fail_each(name##_program, JD_REACTOR_EPOLL, FAULT_ALLOC); \
    }

FAIL_ALLOC(spawn)
FAIL_ALLOC(future)
FAIL_ALLOC(callback)
FAIL_ALLOC(group)
FAIL_ALLOC(batch)
FAIL_ALLOC(io)
FAIL_ALLOC(fork)
FAIL_ALLOC(executor)

Test(faults, thread_executor, .timeout = 60)
{
    fail_each(executor_program, JD_REACTOR_EPOLL, FAULT_THREAD);
}

Test(faults, stack_spawn, .timeout = 60)
{
    fail_each(spawn_program, JD_REACTOR_EPOLL, FAULT_STACK);
}

Test(faults, stack_group, .timeout = 60)
{
    fail_each(group_program, JD_REACTOR_EPOLL, FAULT_STACK);
}

Test(faults, stack_fork, .timeout = 60)
{
    fail_each(fork_program, JD_REACTOR_EPOLL, FAULT_STACK);
}

Test(faults, interrupted_waits, .timeout = 60)
{
    static const unsigned reactors[] = { JD_REACTOR_EPOLL, JD_REACTOR_URING };

    for (unsigned i = 0; i < 2; i++) {
        jd_result r = run_with_fault(io_program, reactors[i], FAULT_EINTR, 0, 50);

        skip_if_refused(reactors[i], r.error);
        cr_assert_eq(r.num, 1, "%d", r.error);
    }
}

Test(faults, submission_queue_full, .timeout = 60)
{
    jd_result r = run_with_fault(io_program, JD_REACTOR_URING, FAULT_SQ_FULL, 0, 40);

    skip_if_refused(JD_REACTOR_URING, r.error);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.num, 1);
}
