/* SPDX-License-Identifier: MIT */
/*
 * jd_close(): what waits on the descriptor ends with -EBADF, before the number can be used again.
 */
#include "io_test.h"

#include <poll.h>

static jd_result waiting_body(void *arg)
{
    struct reader readers[3];
    jd_task *tasks[3];
    int fds[2];

    (void)arg;
    for (int tcp = 0; tcp < 2; tcp++) {
        if (tcp)
            tcp_pair(fds);
        else
            socket_pair(fds);
        for (int i = 0; i < 3; i++) {
            readers[i].fd = fds[0];
            tasks[i] = jd_spawn(reader_run, &readers[i]);
        }
        await_in_flight(3);
        cr_assert_eq(jd_close(fds[0]), 0);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(jd_join(tasks[i]).error, -EBADF);
        cr_assert_eq(jd_close(fds[0]), -EBADF);
        cr_assert_eq(jd_close(fds[1]), 0);
    }
    cr_assert_eq(jd_close(-1), -EBADF);
    cr_assert_eq(jd_close(1 << 29), -EBADF);
    return jd_ok(NULL);
}

Test(close, ends_everybody_who_waits_on_the_descriptor)
{
    on_each_port(waiting_body);
}

static jd_result send_until_full(void *arg)
{
    char buf[4096] = "";
    ssize_t n;

    while ((n = jd_send(*(int *)arg, buf, sizeof(buf), 0)) > 0) {
    }
    return jd_err(n);
}

static jd_result poll_out(void *arg)
{
    return jd_err(jd_poll(*(int *)arg, POLLOUT, JD_FOREVER));
}

static jd_result accept_one(void *arg)
{
    int fd = jd_accept(*(int *)arg, NULL, NULL, 0);

    return fd < 0 ? jd_err(fd) : jd_ok_num(fd);
}

static jd_result kinds_body(void *arg)
{
    jd_task *sender, *poller, *acceptor;
    int fds[2], listener = jd_listen("127.0.0.1:0", 0, 0);

    (void)arg;
    socket_pair(fds);
    sender = jd_spawn(send_until_full, &fds[0]);
    await_in_flight(1);
    poller = jd_spawn(poll_out, &fds[0]);
    acceptor = jd_spawn(accept_one, &listener);
    await_in_flight(3);
    cr_assert_eq(jd_close(fds[0]), 0);
    cr_assert_eq(jd_close(listener), 0);
    cr_assert_eq(jd_join(sender).error, -EBADF);
    cr_assert_eq(jd_join(poller).error, -EBADF);
    cr_assert_eq(jd_join(acceptor).error, -EBADF);
    cr_assert_eq(jd_close(fds[1]), 0);
    return jd_ok(NULL);
}

Test(close, ends_senders_polls_and_acceptors_too)
{
    on_each_port(kinds_body);
}

/* The next file of that number must not meet an operation of the former one. */
static jd_result reuse_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(500);

    (void)arg;
    for (unsigned long i = 0; i < rounds; i++) {
        struct reader reader;
        jd_task *task;
        jd_result r;
        int old[2], next[2];

        await_none_in_flight();
        socket_pair(old);
        reader.fd = old[0];
        task = jd_spawn(reader_run, &reader);
        if (i % 2)
            await_in_flight(1);
        cr_assert_eq(jd_close(old[0]), 0);
        if (i % 2) {
            socket_pair(next);
            cr_assert_eq(next[0], old[0]);
            cr_assert_eq(send(next[1], "mine", 4, 0), 4);
            r = jd_join(task);
            cr_assert_eq(r.error, -EBADF, "%s", jd_strerror(r.error));
            cr_assert_eq(jd_recv(next[0], reader.buf, sizeof(reader.buf), 0), 4);
            close_pair(next);
        } else {
            cr_assert_eq(jd_join(task).error, -EBADF);
        }
        cr_assert_eq(jd_close(old[1]), 0);
    }
    return jd_ok(NULL);
}

Test(close, lets_the_number_be_used_again_at_once, .timeout = 30)
{
    on_each_port(reuse_body);
}

static jd_result cancelled_body(void *arg)
{
    struct reader reader;
    jd_scope scope;
    jd_task *task;
    int fds[2];

    (void)arg;
    socket_pair(fds);
    reader.fd = fds[0];
    task = jd_spawn(reader_run, &reader);
    await_in_flight(1);
    jd_scope_open(&scope, JD_FOREVER);
    jd_scope_cancel(&scope);
    cr_assert_eq(jd_checkpoint(), -ECANCELED);
    cr_assert_eq(jd_close(fds[0]), 0); /* no cancellation point */
    cr_assert_eq(jd_scope_close(&scope), -ECANCELED);
    cr_assert_eq(jd_join(task).error, -EBADF);
    cr_assert_eq(fcntl(fds[0], F_GETFD), -1);
    cr_assert_eq(jd_close(fds[1]), 0);
    return jd_ok(NULL);
}

Test(close, works_in_a_cancelled_scope)
{
    on_each_port(cancelled_body);
}

static jd_result close_run(void *arg)
{
    return jd_ok_num(jd_close(*(int *)arg));
}

/* Close, cancel and data at once: one of them wins, and the descriptor is closed once. */
static jd_result storm_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(500);

    (void)arg;
    for (unsigned long i = 0; i < rounds; i++) {
        struct reader reader;
        jd_task *task, *closers[2];
        jd_result r;
        int fds[2], closed = 0;

        await_none_in_flight();
        socket_pair(fds);
        reader.fd = fds[0];
        task = jd_spawn(reader_run, &reader);
        await_in_flight(1);
        for (int k = 0; k < 2; k++)
            closers[k] = jd_spawn(close_run, &fds[0]);
        (void)jd_task_cancel(task, "storm");
        (void)send(fds[1], "x", 1, MSG_NOSIGNAL);
        r = jd_join(task);
        cr_assert(r.error == -EBADF || r.error == -ECANCELED || (r.error == 0 && r.num == 1), "%s",
                  jd_strerror(r.error));
        for (int k = 0; k < 2; k++)
            closed += jd_join(closers[k]).num == 0;
        cr_assert_eq(closed, 1);
        cr_assert_eq(jd_close(fds[1]), 0);
    }
    return jd_ok(NULL);
}

Test(close, races_with_cancel_and_data_and_a_second_close, .timeout = 30)
{
    on_each_port(storm_body);
}
