/* SPDX-License-Identifier: MIT */
/*
 * The cancel sweep over what promises to clean up: a cancel at every checkpoint of the main task,
 * before and during the wait there, with and without faults.
 */
#include <errno.h>
#include <string.h>

#include "books.h"
#include "jd_test.h"
#include "scenario.h"
#include "sim/sim.h"
#include "sweep.h"

#include <jackdaw/jackdaw.h>

/* --- The harness itself --------------------------------------------------------------------- */

static jd_result forget_descriptor(void *arg)
{
    int fd = jd_listen("127.0.0.1:0", 0, 0);

    (void)arg;
    if (jd_sleep(JD_MS(1)) == -ECANCELED)
        return jd_err(-ECANCELED); /* the planted leak: on this path only */
    (void)jd_close(fd);
    return jd_ok(NULL);
}

static void cancel_first(jd_task *t, void *arg)
{
    (void)arg;
    (void)jd_task_cancel(t, "swept");
}

/* What sweep_run() looks at after each run must show the leak. */
Test(sim_sweep, a_leak_on_the_cancelled_path_is_counted)
{
    sim_set_checkpoint(cancel_first, NULL);
    jd_result r = jd_sim_run(1, forget_descriptor, NULL, NULL);
    sim_set_checkpoint(NULL, NULL);

    cr_assert_eq(r.error, -ECANCELED);
    cr_assert_eq(sim_last().open_files, 1);
}

/* --- Semaphore ------------------------------------------------------------------------------ */

struct permits {
    jd_sem sem;
};

static void permits_before(void *arg)
{
    (void)jd_sem_init(&((struct permits *)arg)->sem, 3);
}

static void permits_after(void *arg, jd_result r, unsigned where)
{
    cr_assert_eq(jd_sem_value(&((struct permits *)arg)->sem), 3, "checkpoint %u", where);
    cr_assert(where == 0 || r.error == 0 || r.error == -ECANCELED || r.error == -ENOMEM);
}

static jd_result take_and_give(void *arg)
{
    struct permits *p = arg;

    for (int i = 0; i < 3; i++) {
        int error = jd_sem_acquire_n(&p->sem, 2);

        if (error)
            return jd_err(error);
        (void)jd_sleep(JD_US(20)); /* a cancel is seen at the next acquire */
        (void)jd_sem_release_n(&p->sem, 2);
    }
    return jd_ok(NULL);
}

static jd_result use_permits(void *arg)
{
    jd_task *t[3];
    jd_result mine;

    for (int i = 0; i < 3; i++)
        t[i] = jd_spawn(take_and_give, arg);
    mine = take_and_give(arg);
    for (int i = 0; i < 3; i++)
        if (t[i])
            (void)jd_join(t[i]);
    return mine;
}

Test(sim_sweep, a_cancelled_semaphore_keeps_every_permit)
{
    struct permits p;
    struct sweep s = {
        .fn = use_permits, .arg = &p, .before = permits_before, .after = permits_after, .seeds = 10
    };

    sweep_or_sample(s, 60);
}

/* --- Group, gather, wait_for ------------------------------------------------------------------ */

/* Of naps: some have begun, and all have ended. */
static void naps_after(void *arg, jd_result r, unsigned where)
{
    books_after(arg, r, where);
    cr_assert(where != 0 || ((const struct books *)arg)->started > 0);
}

static jd_result grouped(void *arg)
{
    jd_group g;
    int error;

    jd_group_open(&g, 0, JD_FOREVER);
    for (int i = 0; i < 4; i++)
        (void)jd_group_spawn(&g, nap, arg);
    (void)jd_sleep(JD_US(40));
    error = jd_group_close(&g);
    return jd_err(error);
}

Test(sim_sweep, a_cancelled_group_ends_its_members)
{
    struct books b;
    struct sweep s = {
        .fn = grouped, .arg = &b, .before = books_before, .after = naps_after, .seeds = 20
    };

    sweep_or_sample(s, 20);
}

static jd_result gathered(void *arg)
{
    jd_task *t[4];
    jd_result results[4];
    unsigned n = 0;
    int error;

    for (int i = 0; i < 4; i++) {
        t[n] = jd_spawn(nap, arg);
        n += t[n] != NULL;
    }
    error = jd_gather(t, n, results, 0);
    for (unsigned i = 0; i < n; i++)
        jd_task_unref(t[i]);
    return jd_err(error);
}

Test(sim_sweep, a_cancelled_gather_leaves_no_task)
{
    struct books b;
    struct sweep s = {
        .fn = gathered, .arg = &b, .before = books_before, .after = naps_after, .seeds = 20
    };

    sweep_or_sample(s, 20);
}

static jd_result waited_for(void *arg)
{
    jd_result r = jd_wait_for(jd_coro_of(nap, arg), JD_MS(5));

    if (!r.error)
        r = jd_wait_for(jd_coro_of(nap, arg), JD_US(10)); /* runs into its timeout */
    return r.error == -ETIMEDOUT ? jd_ok(NULL) : r;
}

Test(sim_sweep, a_cancelled_wait_for_waits_for_the_end)
{
    struct books b;
    struct sweep s = {
        .fn = waited_for, .arg = &b, .before = books_before, .after = naps_after, .seeds = 20
    };

    sweep_or_sample(s, 20);
}

/* --- Batch ---------------------------------------------------------------------------------- */

struct items {
    int pulled, ended, running;
};

static void items_before(void *arg)
{
    *(struct items *)arg = (struct items){ 0, 0, 0 };
}

static void items_after(void *arg, jd_result r, unsigned where)
{
    const struct items *items = arg;

    (void)r;
    cr_assert_eq(items->pulled, items->ended, "checkpoint %u: each item ends once", where);
    cr_assert_eq(items->running, 0);
}

static int pull(void *ctx, void **ret_item)
{
    struct items *items = ctx;

    if (items->pulled == 12)
        return 0;
    items->pulled++;
    *ret_item = items;
    return 1;
}

static jd_result call(void *item, void *ctx)
{
    struct items *items = ctx;
    int error;

    (void)item;
    items->running++;
    error = jd_sleep(JD_US(30));
    items->running--;
    return jd_err(error);
}

static int sink(void *item, jd_result r, void *ctx)
{
    (void)item, (void)r;
    ((struct items *)ctx)->ended++;
    (void)jd_checkpoint();
    return 0;
}

static void abandon(void *item, jd_result r, void *ctx)
{
    (void)item, (void)r;
    ((struct items *)ctx)->ended++;
}

static jd_result batched(void *arg)
{
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    int error;

    o.limit = 3;
    o.errors_max = JD_ALL;
    o.abandon = abandon;
    o.ctx = arg;
    error = jd_batch_run(pull, call, sink, &o, NULL);
    return jd_err(error);
}

Test(sim_sweep, a_cancelled_batch_ends_every_item_once, .timeout = 30)
{
    struct items items;
    struct sweep s = {
        .fn = batched, .arg = &items, .before = items_before, .after = items_after, .seeds = 10
    };

    sweep_or_sample(s, 60);
}

/* --- Server --------------------------------------------------------------------------------- */

static void serve_one(int fd, void *arg)
{
    char buf[32];
    ssize_t n;

    (void)arg;
    while ((n = jd_recv(fd, buf, sizeof(buf), 0)) > 0)
        if (jd_send_all(fd, buf, (size_t)n) < 0)
            return;
}

static jd_result visit(void *arg)
{
    char buf[32];
    int fd = jd_dial(arg);

    if (fd < 0)
        return jd_ok(NULL);
    for (int i = 0; i < 3; i++)
        if (jd_send_all(fd, "hello", 5) < 0 || jd_recv(fd, buf, sizeof(buf), 0) <= 0)
            break;
    (void)jd_close(fd);
    return jd_ok(NULL);
}

static jd_result served(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;
    int listener = jd_listen("127.0.0.1:80", 0, 0);
    jd_scope scope;
    int error, ended;

    (void)arg;
    if (listener < 0)
        return jd_err(listener);
    for (int i = 0; i < 3; i++)
        if (jd_spawn_detached(visit, (void *)(uintptr_t) "127.0.0.1:80"))
            break; /* a fault: no memory */
    o.connections_max = 2;
    o.grace = JD_MS(2);
    jd_scope_open(&scope, JD_MS(20));
    error = jd_serve(listener, serve_one, NULL, &o);
    ended = jd_scope_close(&scope);
    (void)ended;
    (void)jd_close(listener);
    return jd_err(error == -ECANCELED || error == -ENOMEM ? 0 : error);
}

static void served_after(void *arg, jd_result r, unsigned where)
{
    (void)arg;
    cr_assert_eq(r.error, 0, "checkpoint %u: %d", where, r.error);
}

Test(sim_sweep, a_cancelled_server_closes_every_connection, .timeout = 30)
{
    struct sweep s = { .fn = served, .after = served_after, .seeds = 10 };

    sweep_or_sample(s, 30);
}

static void any_end(void *arg, jd_result r, unsigned where)
{
    (void)arg, (void)r, (void)where;
}

Test(sim_sweep, a_cancelled_echo_program_leaves_nothing, .timeout = 30)
{
    struct sweep s = { .fn = scenario_echo, .after = any_end, .seeds = 5 };

    sweep_or_sample(s, 5);
}
