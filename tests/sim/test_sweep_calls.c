/* SPDX-License-Identifier: MIT */
/*
 * The cancel sweep (sweep.h) over single calls: what each promises for the case that its caller is
 * cancelled, at every checkpoint, with and without faults. Servers, batches and whole programs are
 * in test_sweep.c.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "books.h"
#include "jd_test.h"

#include <jackdaw/jackdaw.h>

/* --- Tasks and futures ------------------------------------------------------------------------- */

static jd_result joined(void *arg)
{
    struct books *b = arg;
    jd_task *t[2];
    unsigned n = spawn_some(t, 2, nap, b);

    for (unsigned i = 0; i < n; i++) {
        jd_result r = jd_join(t[i]); /* to its end, whatever comes */

        PROMISE(b, r.error == -ECANCELED || r.num == 7);
        PROMISE(b, b->ended > 0);
    }
    return jd_ok(NULL);
}

Test(sim_sweep_calls, join)
{
    SWEEP(joined, 10);
}

static jd_result awaited(void *arg)
{
    struct books *b = arg;
    jd_result r = { .error = 1 };
    jd_task *t[1];
    int error;

    if (spawn_some(t, 1, nap, b) == 0)
        return jd_ok(NULL);
    error = jd_await_outcome(t[0], &r);
    PROMISE(b, error ? error == -ECANCELED && r.error == 1 : r.error == 0 && r.num == 7);
    r = jd_join(t[0]);
    PROMISE(b, r.error == -ECANCELED || r.num == 7);
    return jd_err(error);
}

Test(sim_sweep_calls, await_leaves_the_awaited_alone)
{
    SWEEP(awaited, 10);
}

static jd_result cancel_waited(void *arg)
{
    struct books *b = arg;
    jd_task *t[1];
    int error;

    if (spawn_some(t, 1, nap, b) == 0)
        return jd_ok(NULL);
    error = jd_task_cancel_wait(t[0], "swept");
    PROMISE(b, is_end(error, 0) || error == -EALREADY);
    PROMISE(b, error == -ECANCELED || all_done(t, 1));
    join_all(t, 1);
    return jd_err(error == -EALREADY ? 0 : error);
}

Test(sim_sweep_calls, cancel_wait)
{
    SWEEP(cancel_waited, 10);
}

static jd_result future_waited(void *arg)
{
    struct books *b = arg;
    jd_result r = jd_ok(NULL);
    jd_task *t[1];
    unsigned n;
    int error, again;

    if (jd_future_new(NULL, &b->future))
        return jd_ok(NULL);
    n = spawn_some(t, 1, set_later, b);
    error = jd_future_wait(b->future, JD_US(10));
    PROMISE(b, is_end(error, -ETIMEDOUT) || jd_future_done(b->future));
    again = n ? jd_future_wait(b->future, JD_FOREVER) : 0;
    PROMISE(b, is_end(again, 0));
    if (n && again == 0)
        PROMISE(b, jd_future_result(b->future, &r) == 0 && r.num == 5);
    join_all(t, n);
    jd_future_unref(b->future);
    return jd_err(again);
}

Test(sim_sweep_calls, future_wait)
{
    SWEEP(future_waited, 10);
}

/* --- Several at once ---------------------------------------------------------------------------- */

static jd_result gather_with(struct books *b, unsigned flags, jd_fn second)
{
    jd_result results[4];
    jd_task *t[4];
    unsigned n = spawn_some(t, 2, nap, b);
    int error;

    n += spawn_some(t + n, 2, second, b);
    error = jd_gather(t, n, results, flags);
    if (flags & JD_GATHER_CANCEL)
        PROMISE(b, error == 0 || error == -ENOMEM || all_done(t, n));
    for (unsigned i = 0; error != -ENOMEM && i < n; i++)
        PROMISE(b, (results[i].error == -EAGAIN) ==
                       (error && !(flags & JD_GATHER_CANCEL) && results[i].error == -EAGAIN));
    join_all(t, n);
    if (error == -ECANCELED || (flags & JD_GATHER_COLLECT))
        return jd_err(error);
    PROMISE(b, second == nap || n < 4 || error == -EIO || error == -ENOMEM);
    return jd_ok(NULL);
}

static jd_result gathered_collecting(void *arg)
{
    return gather_with(arg, JD_GATHER_COLLECT, fail_soon);
}

static jd_result gathered_cancelling(void *arg)
{
    return gather_with(arg, JD_GATHER_CANCEL, fail_soon);
}

static jd_result gathered_both(void *arg)
{
    return gather_with(arg, JD_GATHER_CANCEL | JD_GATHER_COLLECT, nap);
}

Test(sim_sweep_calls, gather_of_each_kind, .timeout = 30)
{
    SWEEP(gathered_collecting, 20);
    SWEEP(gathered_cancelling, 20);
    SWEEP(gathered_both, 20);
}

static jd_result wait_with(struct books *b, unsigned when, jd_fn second)
{
    unsigned char done[4] = { 0 };
    jd_task *t[4];
    unsigned n = spawn_some(t, 2, nap, b);
    int ended;

    n += spawn_some(t + n, 2, second, b);
    if (n == 0)
        return jd_ok(NULL);
    ended = jd_wait(t, n, when, JD_MS(1), done);
    PROMISE(b, ended >= 0 || ended == -ECANCELED || ended == -ENOMEM);
    for (unsigned i = 0; i < n; i++)
        PROMISE(b, !done[i] || jd_future_done(jd_task_future(t[i])));
    PROMISE(b, ended <= 0 || when != JD_ALL_COMPLETED || (unsigned)ended == n);
    join_all(t, n); /* they go on: no cancel of the wait is passed on */
    return jd_err(ended < 0 ? ended : 0);
}

static jd_result waited_for_all(void *arg)
{
    return wait_with(arg, JD_ALL_COMPLETED, nap);
}

static jd_result waited_for_first(void *arg)
{
    return wait_with(arg, JD_FIRST_COMPLETED, nap);
}

static jd_result waited_for_error(void *arg)
{
    return wait_with(arg, JD_FIRST_ERROR, fail_soon);
}

Test(sim_sweep_calls, wait_of_each_kind, .timeout = 30)
{
    SWEEP(waited_for_all, 20);
    SWEEP(waited_for_first, 20);
    SWEEP(waited_for_error, 20);
}

static jd_result wait_fored(void *arg)
{
    struct books *b = arg;
    jd_task *t[2];
    unsigned n = spawn_some(t, 2, nap, b);
    int error = 0;

    for (unsigned i = 0; i < n; i++) {
        jd_result r = i ? jd_wait_for(t[i], JD_MS(1)) : jd_wait_for(jd_task_future(t[i]), JD_US(9));

        PROMISE(b, jd_future_done(jd_task_future(t[i]))); /* it owns the end */
        PROMISE(b, is_end(r.error, 0) || r.error == -ETIMEDOUT);
        error = r.error == -ECANCELED ? r.error : error;
    }
    join_all(t, n);
    return jd_err(error);
}

Test(sim_sweep_calls, wait_for_of_tasks)
{
    SWEEP(wait_fored, 15);
}

/* --- Groups and scopes -------------------------------------------------------------------------- */

static jd_result group_with(struct books *b, unsigned flags, int64_t timeout)
{
    jd_group g;
    int error;

    jd_group_open(&g, flags, timeout);
    (void)jd_group_spawn(&g, nap, b); /* refused: no memory, or cancelled */
    (void)jd_group_spawn(&g, fail_soon, b);
    (void)jd_group_spawn(&g, nap, b);
    (void)jd_sleep(JD_US(15));
    error = jd_group_close(&g);
    PROMISE(b, b->started == b->ended); /* no member is left */
    PROMISE(b, is_end(error, 0) || error == -EIO || error == -ETIMEDOUT);
    PROMISE(b, error != -ETIMEDOUT || timeout != JD_FOREVER);
    return jd_err(error == -EIO || error == -ETIMEDOUT ? 0 : error);
}

static jd_result grouped_on(void *arg)
{
    return group_with(arg, JD_GROUP_KEEP_GOING, JD_FOREVER);
}

static jd_result grouped_first(void *arg)
{
    return group_with(arg, JD_GROUP_FIRST_OK, JD_FOREVER);
}

static jd_result grouped_in_time(void *arg)
{
    return group_with(arg, 0, JD_US(40));
}

Test(sim_sweep_calls, groups_of_each_kind, .timeout = 30)
{
    SWEEP(grouped_on, 15);
    SWEEP(grouped_first, 15);
    SWEEP(grouped_in_time, 15);
}

static jd_result scoped(void *arg)
{
    struct books *b = arg;
    jd_scope limit, shield;
    int error, ended;

    jd_scope_open(&limit, JD_US(40));
    error = jd_sleep(JD_US(20));
    PROMISE(b, is_end(error, 0));
    jd_scope_open_shielded(&shield, JD_US(100));
    error = jd_sleep(JD_US(50)); /* beyond the outer deadline, and any cancel */
    PROMISE(b, error == 0 || (error == -ECANCELED && b->started == 0));
    ended = jd_scope_close(&shield);
    PROMISE(b, ended == 0 || ended == -ETIMEDOUT); /* a stalled worker uses the time up */
    error = jd_sleep(JD_US(10));
    PROMISE(b, error == -ECANCELED); /* late by now */
    ended = jd_scope_close(&limit);
    PROMISE(b, is_end(ended, -ETIMEDOUT) || ended == 0); /* 0: the task was cancelled */
    return jd_ok(NULL);
}

Test(sim_sweep_calls, deadlines_and_shields)
{
    SWEEP(scoped, 20);
}

/* --- Semaphores --------------------------------------------------------------------------------- */

static jd_result hold_permits(void *arg)
{
    struct books *b = arg;
    int error;

    b->started++;
    error = jd_sem_acquire_n_for(&b->sem, 2, JD_US(200));
    if (!error) {
        (void)jd_sleep(JD_US(20));
        PROMISE(b, jd_sem_release_n(&b->sem, 2) == 0);
    }
    b->ended++;
    return jd_ok(NULL);
}

/* A waiter that is cancelled hands on what it would have got, also while the number changes. */
static jd_result resized(void *arg)
{
    struct books *b = arg;
    jd_task *t[2];
    unsigned n = spawn_some(t, 2, hold_permits, b);
    int error;

    PROMISE(b, jd_sem_resize(&b->sem, 1) == 0);
    error = jd_sem_acquire_for(&b->sem, JD_US(30));
    PROMISE(b, is_end(error, 0) || error == -ETIMEDOUT);
    PROMISE(b, jd_sem_resize(&b->sem, 2) == 0);
    if (error == 0)
        PROMISE(b, jd_sem_release(&b->sem) == 0);
    join_all(t, n);
    return jd_err(error == -ETIMEDOUT ? 0 : error);
}

Test(sim_sweep_calls, semaphores_with_several_permits_and_a_changing_number)
{
    SWEEP(resized, 15);
}

/* --- Forks and maps ------------------------------------------------------------------------------ */

static jd_result forked(void *arg)
{
    jd_fork left, right;

    jd_fork_start(&left, nap, arg);
    jd_fork_start(&right, fail_soon, arg);
    (void)jd_yield(); /* where they are stolen or promoted */
    (void)jd_fork_join(&right);
    return jd_err(jd_fork_join(&left).error);
}

Test(sim_sweep_calls, forks_are_joined_all_the_same)
{
    SWEEP(forked, 15);
}

static jd_result map_one(void *item, void *ctx)
{
    (void)item;
    return nap(ctx);
}

static jd_result mapped(void *arg)
{
    void *items[6] = { NULL };
    jd_result results[6];
    struct books *b = arg;
    int error = jd_map(items, 6, 2, map_one, b, results);

    PROMISE(b, is_end(error, 0) || error == -ENOMEM);
    for (unsigned i = 0; error != -ENOMEM && i < 6; i++)
        PROMISE(b, results[i].error ? results[i].error == -ECANCELED : results[i].num == 7);
    return jd_err(error);
}

Test(sim_sweep_calls, map)
{
    SWEEP(mapped, 15);
}

/* --- Callbacks ----------------------------------------------------------------------------------- */

static void on_call(void *arg)
{
    ((struct books *)arg)->ran++;
}

static void on_done(jd_future *f, void *arg)
{
    (void)f;
    ((struct books *)arg)->ran++;
}

static jd_result called(void *arg)
{
    struct books *b = arg;
    jd_handle *h;
    int prevented, again;

    if (jd_call_later(jd_loop_current(), JD_US(20), on_call, b, &h))
        return jd_ok(NULL);
    b->callbacks++;
    (void)jd_sleep(JD_US(18));
    prevented = jd_handle_cancel_wait(h);
    PROMISE(b, is_end(prevented, 0) || prevented == 1);
    again = jd_handle_cancel(h);
    PROMISE(b, again == 0 || prevented == -ECANCELED);
    b->callbacks -= prevented == 1 || again == 1;
    PROMISE(b, prevented != 0 || b->ran == 1);
    jd_handle_unref(h);
    return jd_err(prevented < 0 ? prevented : 0);
}

static jd_result forgotten(void *arg)
{
    struct books *b = arg;
    jd_task *t[1];
    int removed, again;

    if (spawn_some(t, 1, nap, b) == 0)
        return jd_ok(NULL);
    if (jd_future_add_done_callback(jd_task_future(t[0]), on_done, b) == 0)
        b->callbacks++;
    (void)jd_sleep(JD_US(55));
    removed = jd_future_remove_done_callback_wait(jd_task_future(t[0]), on_done, b);
    again = jd_future_remove_done_callback(jd_task_future(t[0]), on_done, b);
    PROMISE(b, is_end(removed, 0) || removed == 1);
    PROMISE(b, again == 0 || removed == -ECANCELED);
    b->callbacks -= removed == 1 || again == 1;
    join_all(t, 1);
    (void)jd_sleep(JD_MS(1));
    return jd_err(removed < 0 ? removed : 0);
}

/* A callback that is scheduled runs, though nobody waits for it any more. */
static jd_result with_callbacks(void *arg)
{
    jd_result r = called(arg);

    return r.error ? r : forgotten(arg);
}

Test(sim_sweep_calls, callbacks_run_once_or_are_prevented, .timeout = 30)
{
    SWEEP(with_callbacks, 20);
}

/* --- Sockets ------------------------------------------------------------------------------------- */

static jd_result talk(void *arg)
{
    struct books *b = arg;
    char buf[64];
    int fd;

    b->started++;
    fd = jd_dial("127.0.0.1:80");
    if (fd >= 0) {
        if (jd_send_all(fd, "hello, hello", 12) == 0)
            (void)jd_recv(fd, buf, sizeof(buf), 0);
        (void)jd_close(fd);
    }
    b->ended++;
    return jd_ok(NULL);
}

/* Each call on a connection: the descriptor is the caller's all the time. */
static int use_connection(struct books *b, int fd)
{
    char buf[16];
    ssize_t n;
    int error = jd_poll(fd, POLLIN, JD_SEC(1));

    PROMISE(b, error > 0 || error == -ECANCELED || error == -ETIMEDOUT || error == -ENOMEM);
    n = jd_recv(fd, buf, 3, MSG_PEEK);
    if (n > 0)
        n = jd_read_full(fd, buf, 12);
    PROMISE(b, n < 12 || memcmp(buf, "hello, hello", 12) == 0);
    error = n == 12 ? jd_write_all(fd, "thanks", 6) : -ECONNRESET;
    (void)jd_shutdown(fd, SHUT_WR);
    return error;
}

static jd_result connected(void *arg)
{
    struct books *b = arg;
    int listener = jd_listen("127.0.0.1:80", 0, 0), fd = -ENOMEM, ended;
    jd_scope limit; /* the caller may have been refused by a fault */
    jd_task *t[1];
    unsigned n;

    if (listener < 0)
        return jd_ok(NULL);
    n = spawn_some(t, 1, talk, b);
    jd_scope_open(&limit, JD_SEC(1));
    if (n > 0)
        fd = jd_accept(listener, NULL, NULL, 0);
    if (fd >= 0) {
        (void)use_connection(b, fd);
        PROMISE(b, jd_close(fd) == 0); /* in a cancelled scope, too */
    }
    ended = jd_scope_close(&limit);
    (void)ended;
    PROMISE(b, jd_close(listener) == 0);
    join_all(t, n);
    return jd_ok(NULL);
}

Test(sim_sweep_calls, accept_and_a_connection_s_calls, .timeout = 30)
{
    SWEEP(connected, 20);
}

static jd_result take_one(void *arg)
{
    struct books *b = arg;
    int listener = jd_listen("[::1]:80", 0, 0), fd;

    b->started++;
    fd = listener < 0 ? listener : jd_accept(listener, NULL, NULL, 0);
    if (fd >= 0)
        (void)jd_close(fd);
    if (listener >= 0)
        (void)jd_close(listener);
    b->ended++;
    return jd_ok(NULL);
}

/* By name, so that addresses are tried side by side: the losers are closed. */
static jd_result dialled(void *arg)
{
    struct books *b = arg;
    jd_task *t[1];
    unsigned n = spawn_some(t, 1, take_one, b);
    int fd;

    (void)jd_sleep(JD_US(10));
    fd = jd_dial("localhost:80");
    PROMISE(b, fd >= 0 || fd == -ECANCELED || fd == -ECONNREFUSED || fd == -ETIMEDOUT ||
                   fd == -ENOMEM);
    if (fd >= 0)
        (void)jd_close(fd);
    if (n > 0)
        (void)jd_task_cancel(t[0], "dialled"); /* -EALREADY: it has ended */
    join_all(t, n);
    return jd_err(fd == -ECANCELED ? fd : 0);
}

Test(sim_sweep_calls, dial_by_name_leaves_no_attempt, .timeout = 30)
{
    SWEEP(dialled, 20);
}
