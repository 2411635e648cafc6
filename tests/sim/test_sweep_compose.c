/* SPDX-License-Identifier: MIT */
/*
 * The cancel sweep (sweep.h) over what is made of several waits: futures in gather and wait, groups
 * that are cancelled, fail or win, nested scopes, awaits of each kind. Single calls are in
 * test_sweep_calls.c.
 */
#include <errno.h>

#include "books.h"
#include "jd_test.h"

#include <jackdaw/jackdaw.h>

/* --- Futures that others complete ---------------------------------------------------------------- */

struct promise {
    struct books *books;
    jd_future *future;
};

static jd_result keep(void *arg)
{
    struct promise *p = arg;

    p->books->started++;
    (void)jd_sleep(JD_US(30));
    (void)jd_future_set(p->future, jd_ok_num(5)); /* -EALREADY: a wait_for has cancelled it */
    p->books->ended++;
    return jd_ok(NULL);
}

/* As many as there is memory for: future i is completed by task i. */
static unsigned promise_some(struct promise *p, jd_future **f, jd_task **t, unsigned n,
                             struct books *b)
{
    unsigned count = 0;

    for (unsigned i = 0; i < n; i++) {
        p[count].books = b;
        if (jd_future_new(NULL, &p[count].future))
            continue;
        t[count] = jd_spawn(keep, &p[count]);
        if (!t[count]) {
            jd_future_unref(p[count].future);
            continue;
        }
        f[count] = p[count].future;
        count++;
    }
    return count;
}

static void keep_all(jd_future **f, jd_task **t, unsigned n)
{
    join_all(t, n);
    for (unsigned i = 0; i < n; i++)
        jd_future_unref(f[i]);
}

static jd_result gather_with(struct books *b, unsigned flags)
{
    struct promise p[3];
    jd_result results[3];
    jd_future *f[3];
    jd_task *t[3];
    unsigned n = promise_some(p, f, t, 3, b);
    int error = jd_gather(f, n, results, flags);

    PROMISE(b, is_end(error, 0) || error == -ENOMEM);
    for (unsigned i = 0; error == 0 && i < n; i++)
        PROMISE(b, results[i].error == 0 && results[i].num == 5);
    keep_all(f, t, n);
    return jd_err(error);
}

static jd_result gathered(void *arg)
{
    return gather_with(arg, 0);
}

static jd_result gathered_collecting(void *arg)
{
    return gather_with(arg, JD_GATHER_COLLECT);
}

Test(sim_sweep_compose, gather_of_futures, .timeout = 30)
{
    SWEEP(gathered, 10);
    SWEEP(gathered_collecting, 10);
}

static jd_result wait_with(struct books *b, unsigned when)
{
    unsigned char done[3] = { 0 };
    struct promise p[3];
    jd_future *f[3];
    jd_task *t[3];
    unsigned n = promise_some(p, f, t, 3, b);
    int ended = n ? jd_wait(f, n, when, JD_MS(1), done) : 0;

    PROMISE(b, ended >= 0 || ended == -ECANCELED || ended == -ENOMEM);
    for (unsigned i = 0; i < n; i++)
        PROMISE(b, !done[i] || jd_future_done(f[i]));
    keep_all(f, t, n);
    return jd_err(ended < 0 ? ended : 0);
}

static jd_result waited_for_all(void *arg)
{
    return wait_with(arg, JD_ALL_COMPLETED);
}

static jd_result waited_for_first(void *arg)
{
    return wait_with(arg, JD_FIRST_COMPLETED);
}

Test(sim_sweep_compose, wait_for_futures, .timeout = 30)
{
    SWEEP(waited_for_all, 10);
    SWEEP(waited_for_first, 10);
}

/* --- Awaits of each kind --------------------------------------------------------------------------- */

static jd_result awaited(void *arg)
{
    struct books *b = arg;
    struct promise p[1];
    jd_future *f[1];
    jd_task *t[2];
    jd_result r = jd_await(jd_coro_of(nap, b)); /* in this task: it sees the cancel */
    unsigned n;

    PROMISE(b, r.error == -ECANCELED || r.num == 7);
    PROMISE(b, b->started == b->ended);
    n = promise_some(p, f, t, 1, b);
    if (n > 0) {
        r = jd_await(f[0]);
        PROMISE(b, r.error ? is_end(r.error, -ENOMEM) : r.num == 5);
    }
    keep_all(f, t, n);
    n = spawn_some(t, 2, nap, b);
    for (unsigned i = 0; i < n; i++) {
        r = jd_await(t[i]);
        PROMISE(b, r.error ? is_end(r.error, -ENOMEM) : r.num == 7);
    }
    join_all(t, n);
    return jd_ok(NULL);
}

Test(sim_sweep_compose, await_of_each_kind, .timeout = 30)
{
    SWEEP(awaited, 20);
}

static jd_result slept_until(void *arg)
{
    struct books *b = arg;
    int64_t start = jd_now();
    int error = jd_sleep_until(start + JD_US(70));

    PROMISE(b, is_end(error, 0));
    PROMISE(b, error || jd_now() >= start + JD_US(70));
    error = jd_sem_acquire(&b->sem);
    PROMISE(b, is_end(error, 0));
    if (!error)
        PROMISE(b, jd_sem_release(&b->sem) == 0);
    error = jd_checkpoint();
    PROMISE(b, is_end(error, 0));
    return jd_err(error);
}

Test(sim_sweep_compose, sleep_until_and_a_free_permit)
{
    SWEEP(slept_until, 20);
}

/* --- Groups that end early ----------------------------------------------------------------------- */

static jd_result cancelled_group(void *arg)
{
    struct books *b = arg;
    jd_group g;
    int error;

    jd_group_open(&g, 0, JD_FOREVER);
    for (int i = 0; i < 3; i++)
        (void)jd_group_spawn(&g, nap, b); /* refused: no memory, or cancelled */
    (void)jd_sleep(JD_US(10));
    jd_group_cancel(&g);
    PROMISE(b, jd_group_spawn(&g, nap, b) < 0);
    error = jd_group_close(&g);
    PROMISE(b, b->started == b->ended);
    PROMISE(b, is_end(error, 0));
    return jd_ok(NULL);
}

static jd_result failed_body(void *arg)
{
    struct books *b = arg;
    jd_group g;
    int error;

    jd_group_open(&g, 0, JD_FOREVER);
    for (int i = 0; i < 3; i++)
        (void)jd_group_spawn(&g, nap, b);
    (void)jd_sleep(JD_US(10));
    error = jd_group_close_with(&g, -EBADMSG);
    PROMISE(b, b->started == b->ended);
    PROMISE(b, is_end(error, -EBADMSG));
    return jd_ok(NULL);
}

static jd_result won(void *arg)
{
    struct books *b = arg;
    jd_result winner;
    jd_group g;
    int error;

    jd_group_open(&g, JD_GROUP_FIRST_OK, JD_FOREVER);
    (void)jd_group_spawn(&g, fail_soon, b);
    (void)jd_group_spawn(&g, nap, b);
    (void)jd_group_spawn(&g, nap, b);
    error = jd_group_close(&g);
    PROMISE(b, b->started == b->ended);
    if (jd_group_winner(&g, &winner) == 0)
        PROMISE(b, winner.error == 0 && winner.num == 7);
    else
        PROMISE(b, error != 0 || b->started == 0);
    return jd_ok(NULL);
}

struct family {
    struct books *books;
    jd_group *group;
};

static jd_result bear_one(void *arg)
{
    struct family *f = arg;
    int error;

    f->books->started++;
    error = jd_yield();
    (void)jd_group_spawn(f->group, nap, f->books); /* refused: no memory, or cancelled */
    f->books->ended++;
    return jd_err(error);
}

static jd_result members_spawn(void *arg)
{
    struct books *b = arg;
    struct family f = { .books = b };
    jd_group g;
    int error;

    f.group = &g;
    jd_group_open(&g, JD_GROUP_KEEP_GOING, JD_FOREVER);
    (void)jd_group_spawn(&g, bear_one, &f);
    (void)jd_group_spawn(&g, bear_one, &f);
    error = jd_group_close(&g);
    PROMISE(b, b->started == b->ended);
    PROMISE(b, is_end(error, 0) || error == -ENOMEM);
    return jd_ok(NULL);
}

Test(sim_sweep_compose, groups_that_end_early, .timeout = 30)
{
    SWEEP(cancelled_group, 10);
    SWEEP(failed_body, 10);
    SWEEP(won, 10);
    SWEEP(members_spawn, 10);
}

/* --- Scopes in scopes ------------------------------------------------------------------------------- */

static jd_result nested(void *arg)
{
    struct books *b = arg;
    jd_scope outer, inner;
    int error, ended;

    jd_scope_open(&outer, JD_MS(1));
    jd_scope_open(&inner, JD_FOREVER);
    PROMISE(b, jd_scope_set_deadline(&inner, jd_now() + JD_US(30)) == 0);
    error = jd_sleep(JD_US(100));
    PROMISE(b, is_end(error, 0)); /* 0: the worker with the deadline's timer is stalled */
    ended = jd_scope_close(&inner);
    PROMISE(b, is_end(ended, -ETIMEDOUT) || ended == 0);
    error = jd_sleep(JD_US(5));
    PROMISE(b, is_end(error, 0));
    jd_scope_cancel(&outer);
    PROMISE(b, jd_checkpoint() == -ECANCELED);
    ended = (int)jd_scope_close_with(&outer, -ECANCELED);
    PROMISE(b, is_end(ended, 0) || ended == -ETIMEDOUT);
    return jd_ok(NULL);
}

Test(sim_sweep_compose, scopes_in_scopes)
{
    SWEEP(nested, 20);
}
