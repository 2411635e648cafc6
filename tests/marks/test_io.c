/* SPDX-License-Identifier: MIT */
/*
 * Marks of io/: how a cancel and a completion can meet, in simulation, where the seeds try all orders; and a
 * server without descriptors.
 */
#include <errno.h>

#include <jackdaw/jackdaw.h>

#include "base/fault.h"
#include "jd_test.h"
#include "marks.h"
#include "refused.h"

struct meeting {
    int fds[2];
    jd_result received; /* of the receiver that was cancelled */
};

static jd_result receive(void *arg)
{
    struct meeting *m = arg;
    char byte;

    return jd_ok_num(jd_recv(m->fds[0], &byte, 1, 0));
}

/* A byte and a cancel on their way to one receiver: it has either, never neither. */
static jd_result meet(void *arg)
{
    struct meeting *m = arg;
    int listener = jd_listen("127.0.0.1:0", 0, 0);
    char name[64], byte;
    jd_task *t;
    int error;

    (void)jd_local_address(listener, name, sizeof(name));
    m->fds[1] = jd_dial(name);
    m->fds[0] = jd_accept(listener, NULL, NULL, 0);
    t = jd_spawn(receive, m);
    (void)jd_checkpoint(); /* perhaps it waits now */
    error = jd_send(m->fds[1], "x", 1, 0) == 1 ? 0 : -EIO;
    (void)jd_checkpoint(); /* perhaps the byte is there */
    (void)jd_task_cancel(t, NULL);
    m->received = jd_join(t);
    if (m->received.num == -ECANCELED && jd_recv(m->fds[0], &byte, 1, 0) != 1)
        error = -EBADMSG; /* the byte is lost */
    (void)jd_close(m->fds[0]);
    (void)jd_close(m->fds[1]);
    (void)jd_close(listener);
    return jd_err(error);
}

static void meet_until(enum mark_id m)
{
    uint64_t seed = 0;

    do {
        struct meeting each = { .fds = { -1, -1 } };

        cr_assert_eq(jd_sim_run(++seed, meet, &each, NULL).error, 0, "seed %lu",
                     (unsigned long)seed);
    } while (seed < 5000 && !mark_rose(m));
}

MARK_TEST(CANCEL_BEATS_COMPLETION)
{
    meet_until(MARK_CANCEL_BEATS_COMPLETION);
}

MARK_TEST(COMPLETION_BEATS_CANCEL)
{
    meet_until(MARK_COMPLETION_BEATS_CANCEL);
}

MARK_TEST(COMPLETED_BEFORE_ASKED)
{
    meet_until(MARK_COMPLETED_BEFORE_ASKED);
}

/* --- A server without descriptors ------------------------------------------------------------------- */

static void echo_byte(int fd, void *arg)
{
    char byte;

    (void)arg;
    cr_assert_eq(jd_read_full(fd, &byte, 1), 1);
    cr_assert_eq(jd_send_all(fd, &byte, 1), 0);
}

static jd_result serve_echo(void *listener)
{
    return jd_ok_num(jd_serve(*(int *)listener, echo_byte, NULL, NULL));
}

static jd_result ask_once(void *arg)
{
    int listener = jd_listen("127.0.0.1:0", 0, 0), fd;
    char address[64], byte;
    jd_task *server;

    cr_assert_geq(listener, 0);
    cr_assert_eq(jd_local_address(listener, address, sizeof(address)), 0);
    server = jd_spawn(serve_echo, &listener);
    cr_assert_geq(fd = jd_dial(address), 0);
    cr_assert_eq(jd_send_all(fd, "x", 1), 0);
    cr_assert_eq(jd_read_full(fd, &byte, 1), 1, "it is served in the end");
    cr_assert_eq(jd_close(fd), 0);
    cr_assert_eq(jd_task_cancel(server, NULL), 0);
    cr_assert_eq(jd_join(server).num, -ECANCELED);
    cr_assert_eq(jd_close(listener), 0);
    return jd_ok(arg);
}

MARK_TEST(ACCEPT_BACKED_OFF)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    cfg.flags = JD_NO_ENV;
    cfg.reactor = JD_REACTOR_URING;
    cfg.workers = 1;
    fault_arm(FAULT_NFILE, 0, 1);
    r = jd_run(ask_once, NULL, &cfg);
    fault_arm(FAULT_NFILE, 0, 0);
    skip_if_refused(cfg.reactor, r.error);
    cr_assert_eq(r.error, 0);
}
