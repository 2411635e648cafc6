/* SPDX-License-Identifier: MIT */
/*
 * The cancel sweep (sweep.h) over servers: bounded ones, handlers that keep their descriptor or leave
 * when the server drains, one that outlasts its grace. After each run all is closed.
 */
#include <errno.h>

#include "books.h"
#include "jd_test.h"

#include <jackdaw/jackdaw.h>

static const char address[] = "127.0.0.1:80";

struct site {
    struct books *books;
    int64_t stay; /* of a handler that does not look at the cancel */
};

static void echo(struct books *b, int fd)
{
    char buf[32];
    ssize_t n;

    b->started++;
    while ((n = jd_recv(fd, buf, sizeof(buf), 0)) > 0)
        if (jd_send_all(fd, buf, (size_t)n) < 0)
            break;
    b->ended++;
}

static void on_connection(int fd, void *arg)
{
    echo(((struct site *)arg)->books, fd);
}

static void keep_descriptor(int fd, void *arg)
{
    struct books *b = ((struct site *)arg)->books;

    echo(b, fd);
    PROMISE(b, jd_close(fd) == 0); /* in a cancelled scope, too */
}

/* Serves until the server drains, however long its client stays. */
static void leave_when_draining(int fd, void *arg)
{
    struct books *b = ((struct site *)arg)->books;
    int error;

    (void)fd;
    b->started++;
    error = jd_future_wait(jd_serve_draining(), JD_FOREVER);
    PROMISE(b, is_end(error, 0) || error == -ENOMEM);
    b->ended++;
}

static void outstay(int fd, void *arg)
{
    struct site *site = arg;
    jd_scope shield;
    int ended;

    (void)fd;
    site->books->started++;
    jd_scope_open_shielded(&shield, JD_FOREVER);
    (void)jd_sleep(site->stay);
    ended = jd_scope_close(&shield);
    (void)ended;
    site->books->ended++;
}

static jd_result visit(void *arg)
{
    struct books *b = arg;
    char buf[8];
    int fd;

    b->started++;
    fd = jd_dial(address);
    for (int i = 0; fd >= 0 && i < 2; i++)
        if (jd_send_all(fd, "hello", 5) < 0 || jd_recv(fd, buf, sizeof(buf), 0) <= 0)
            break;
    if (fd >= 0)
        (void)jd_close(fd);
    b->ended++;
    return jd_ok(NULL);
}

/* The server for 20 ms of virtual time, or until the sweep cancels it. */
static jd_result serve(struct books *b, jd_serve_fn handler, const jd_serve_options *o)
{
    struct site site = { .books = b, .stay = JD_MS(3) };
    int listener = jd_listen(address, 0, 0), error, ended;
    jd_scope limit;
    jd_task *t[3];
    unsigned n;

    if (listener < 0)
        return jd_err(listener);
    n = spawn_some(t, 3, visit, b);
    jd_scope_open(&limit, JD_MS(20));
    error = jd_serve(listener, handler, &site, o);
    ended = jd_scope_close(&limit);
    (void)ended;
    PROMISE(b, error == -ECANCELED || error == -ENOMEM);
    PROMISE(b, jd_close(listener) == 0);
    join_all(t, n);
    return jd_ok(NULL);
}

static jd_result bounded(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;

    o.connections_max = 1;
    o.backlog_pause = 1;
    o.grace = JD_MS(1);
    return serve(arg, on_connection, &o);
}

static jd_result unbounded(void *arg)
{
    return serve(arg, on_connection, NULL);
}

static jd_result keeping(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;

    o.flags = JD_SERVE_KEEP_FD;
    o.grace = JD_US(100);
    return serve(arg, keep_descriptor, &o);
}

static jd_result draining(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;

    o.grace = JD_SEC(1);
    return serve(arg, leave_when_draining, &o);
}

static jd_result outstayed(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;

    o.grace = JD_US(100);
    o.connections_max = 2;
    return serve(arg, outstay, &o);
}

Test(sim_sweep_server, connections_without_and_with_a_bound, .timeout = 30)
{
    SWEEP(unbounded, 10);
    SWEEP(bounded, 10);
}

Test(sim_sweep_server, handlers_that_keep_their_descriptor, .timeout = 30)
{
    SWEEP(keeping, 10);
}

Test(sim_sweep_server, handlers_that_leave_when_it_drains, .timeout = 30)
{
    SWEEP(draining, 10);
}

Test(sim_sweep_server, handlers_that_outstay_their_grace, .timeout = 30)
{
    SWEEP(outstayed, 10);
}
