/* SPDX-License-Identifier: MIT */
#ifndef IO_TEST_H
#define IO_TEST_H

/*
 * What the I/O tests share: every test body runs as the main task on each port, with one worker
 * and with two. Waiting for "somebody waits in the reactor now" asks the reactor, so no test sleeps.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "jd_test.h"
#include "sched/worker.h"

/* Where the runtime must have io_uring and the machine says no. Rings count as locked memory of the
 * user: what RLIMIT_MEMLOCK allows may be in use by others of his, or by rings that are going. */
static bool is_refused(int error)
{
    struct rlimit locked;

    return error == -ENOSYS || error == -EPERM ||
           (error == -ENOMEM && getrlimit(RLIMIT_MEMLOCK, &locked) == 0 &&
            locked.rlim_cur < 1 << 20);
}

__attribute__((unused)) static void on_each_port(jd_fn body)
{
    static const unsigned reactors[] = { JD_REACTOR_URING, JD_REACTOR_EPOLL };

    for (unsigned i = 0; i < 4; i++) {
        jd_config cfg = JD_CONFIG_INIT;
        jd_result r;

        cfg.reactor = reactors[i / 2];
        cfg.workers = 1 + i % 2;
        cfg.flags = JD_NO_ENV | (i % 2 ? JD_DEBUG : 0);
        r = jd_run(body, NULL, &cfg);
        if (cfg.reactor == JD_REACTOR_URING && is_refused(r.error))
            continue; /* refused here; the epoll port still runs */
        cr_assert_eq(r.error, 0, "reactor %u, workers %u: %s", cfg.reactor, cfg.workers,
                     jd_strerror(r.error));
    }
}

/* Until n operations are in flight in the caller's runtime. */
__attribute__((unused)) static void await_in_flight(unsigned n)
{
    while (reactor_in_flight(worker_current()->rt->reactor) < n) /* bounded by the test's timeout */
        cr_assert_eq(jd_yield(), 0);
}

__attribute__((unused)) static void socket_pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* Until none is: an operation is counted until its completion has been dealt with. */
__attribute__((unused)) static void await_none_in_flight(void)
{
    while (reactor_in_flight(worker_current()->rt->reactor) != 0) /* bounded, as above */
        cr_assert_eq(jd_yield(), 0);
}

/* A connected pair over TCP on the loopback: fds[0] connected, fds[1] was accepted. */
__attribute__((unused)) static void tcp_pair(int fds[2])
{
    char address[64];
    int listener = jd_listen("127.0.0.1:0", 0, 0);

    cr_assert_geq(listener, 0);
    cr_assert_eq(jd_local_address(listener, address, sizeof(address)), 0);
    fds[0] = jd_dial(address);
    cr_assert_geq(fds[0], 0, "%s", jd_strerror(fds[0]));
    fds[1] = jd_accept(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(fds[1], 0, "%s", jd_strerror(fds[1]));
    cr_assert_eq(jd_close(listener), 0);
}

__attribute__((unused)) static void close_pair(const int fds[2])
{
    cr_assert_eq(jd_close(fds[0]), 0);
    cr_assert_eq(jd_close(fds[1]), 0);
}

/* A receive in a task of its own, with its result as the task's. */
struct reader {
    int fd;
    char buf[64];
};

__attribute__((unused)) static jd_result reader_run(void *arg)
{
    struct reader *r = arg;
    ssize_t n = jd_recv(r->fd, r->buf, sizeof(r->buf), 0);

    return n < 0 ? jd_err(n) : jd_ok_num(n);
}

#endif /* IO_TEST_H */
