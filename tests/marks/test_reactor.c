/* SPDX-License-Identifier: MIT */
/*
 * Marks of reactor/: queues that are full, help for a worker that burns, ends that come from the side, timers.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fault.h"
#include "jd_test.h"
#include "marks.h"
#include "reactor/timer.h"
#include "reactor_rig.h"

/* --- Full queues ------------------------------------------------------------------------------- */

MARK_TEST(SQ_FULL)
{
    struct rig rig;
    struct rig_receives in;

    rig_start(&rig, REACTOR_URING, 1, 4);
    rig_receives_init(&in, 1);
    fault_arm(FAULT_SQ_FULL, 0, 1);
    rig_receives_submit(&rig, 0, &in);
    fault_arm(FAULT_SQ_FULL, 0, 0);
    rig_receives_send(&in);
    rig_receives_wait(&rig, 0, &in); /* it came in as soon as there was room */
    rig_receives_fini(&in);
    rig_stop(&rig);
}

MARK_TEST(ENDED_IN_QUEUE)
{
    struct rig rig;
    struct rig_receives in;

    rig_start(&rig, REACTOR_URING, 1, 4);
    rig_receives_init(&in, 1);
    fault_arm(FAULT_SQ_FULL, 0, UINT64_MAX);
    rig_receives_submit(&rig, 0, &in);
    reactor_cancel(rig.reactor, 0, &in.ops[0].op);
    cr_assert(rig_is_done(&in.ops[0]), "at once: the kernel knows nothing of it");
    cr_assert_eq(in.ops[0].op.result, -ECANCELED);
    fault_arm(FAULT_SQ_FULL, 0, 0);
    rig_receives_fini(&in);
    rig_stop(&rig);
}

MARK_TEST(CQ_OVERFLOW)
{
    struct rig rig;
    struct rig_receives in;

    rig_start(&rig, REACTOR_URING, 1, 4);
    rig_receives_init(&in, 64); /* a queue of 4 has 16 places for completions */
    rig_receives_submit(&rig, 0, &in);
    rig_receives_send(&in);
    rig_receives_wait(&rig, 0, &in); /* none is lost */
    rig_receives_fini(&in);
    rig_stop(&rig);
}

/* --- Help -------------------------------------------------------------------------------------- */

/* A byte for an op of a worker that burns: another one brings it in. */
static void help_once(bool polled)
{
    struct rig rig;
    struct rig_thread t;
    struct rig_op o;
    struct rig_burner b = { &o, polled };
    char byte = 0;
    int pair[2];

    rig_start(&rig, REACTOR_URING, 2, 0);
    rig_pair(pair);
    o = rig_recv(pair[0], &byte, 1);
    rig_burner_start(&rig, &t, &b);
    cr_assert_eq(write(pair[1], "d", 1), 1);
    rig_help_until_done(&rig, &o);
    cr_assert(o.op.result == 1 && byte == 'd');
    rig_thread_stop(&t);
    rig_pair_close(pair);
    rig_stop(&rig);
}

MARK_TEST(HELPER_SUBMITS)
{
    help_once(/* polled= */ false);
}

MARK_TEST(NUDGED)
{
    do {
        help_once(/* polled= */ true);
    } while (!mark_rose(MARK_NUDGED)); /* the tick of the burner's CPU may have been faster */
}

/* --- Ends -------------------------------------------------------------------------------------- */

MARK_TEST(OP_GOES_ON)
{
    struct rig rig;
    struct rig_op o;
    char byte = 0;
    int ends[2];

    rig_start(&rig, REACTOR_URING, 1, 0);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    o = rig_read(ends[0], &byte, 1); /* a pipe is polled first, then read */
    rig_submit(&rig, 0, &o);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(rig_wait(&rig, 0, &o), 1);
    rig_pair_close(ends);
    rig_stop(&rig);
}

MARK_TEST(ASKED_TOO_LATE)
{
    struct rig rig;
    struct rig_receives in;

    rig_start(&rig, REACTOR_URING, 1, 0);
    rig_receives_init(&in, 1);
    rig_receives_submit(&rig, 0, &in);
    rig_receives_send(&in);
    rig_receives_wait(&rig, 0, &in);
    reactor_cancel(rig.reactor, 0, &in.ops[0].op);
    rig_turn(&rig, 0, 1000000);
    cr_assert(rig_is_done(&in.ops[0]), "once");
    cr_assert_eq(in.ops[0].op.result, 1, "success beats cancel");
    rig_receives_fini(&in);
    rig_stop(&rig);
}

/* The connection is accepted by the kernel, and nobody has seen it when the listener is closed. */
static void accept_into_close(void)
{
    struct sockaddr_storage addr;
    struct rig_close c;
    struct rig rig;
    struct rig_op o;
    socklen_t len;
    int listener, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char byte;

    rig_start(&rig, REACTOR_URING, 1, 0);
    listener = rig_listen(&addr, &len);
    o = rig_accept(listener);
    rig_submit(&rig, 0, &o);
    (void)reactor_poll(rig.reactor, 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&addr, len), 0);
    cr_assert_eq(rig_close(&rig, 0, &c, listener), 0);
    rig_wait_close(&rig, 0, &c);
    cr_assert_eq(o.op.result, -EBADF);
    cr_assert_leq(recv(client, &byte, 1, 0), 0, "the connection is closed, not forgotten");
    close(client);
    rig_stop(&rig);
}

MARK_TEST(ACCEPTED_INTO_CLOSE)
{
    do {
        accept_into_close();
    } while (!mark_rose(MARK_ACCEPTED_INTO_CLOSE)); /* the cancel may have been faster */
}

MARK_TEST(CLOSE_WITHOUT_SLOT)
{
    struct rig rig;
    struct rig_close c;
    int fd;

    rig_start(&rig, REACTOR_EPOLL, 1, 0);
    fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 600); /* of a chunk that nothing has touched */
    cr_assert_geq(fd, 600);
    fault_arm(FAULT_ALLOC, 0, UINT64_MAX);
    cr_assert_eq(rig_close(&rig, 0, &c, fd), 0);
    fault_arm(FAULT_ALLOC, 0, 0);
    rig_wait_close(&rig, 0, &c);
    cr_assert_eq(fcntl(fd, F_GETFD), -1, "it is closed");
    rig_stop(&rig);
}

/* --- The epoll port ------------------------------------------------------------------------------ */

static void receive_a_byte(struct rig *rig, unsigned index, const int pair[2])
{
    char byte = 0;
    struct rig_op o = rig_recv(pair[0], &byte, 1);

    rig_submit(rig, index, &o); /* it waits: nothing is there */
    cr_assert_eq(write(pair[1], "x", 1), 1);
    cr_assert_eq(rig_wait(rig, index, &o), 1);
}

MARK_TEST(EPOLL_FOUND_NOTHING)
{
    struct rig rig;
    int pair[2], other[2];

    rig_start(&rig, REACTOR_EPOLL, 1, 0);
    rig_pair(pair);
    receive_a_byte(&rig, 0, pair);
    rig_pair(other);
    cr_assert_eq(dup2(other[0], pair[0]), pair[0]); /* the number stays, the registration is gone */
    close(pair[1]);
    close(other[0]);
    other[0] = pair[0];
    receive_a_byte(&rig, 0, other);
    rig_pair_close(other);
    rig_stop(&rig);
}

static void receive_elsewhere(struct rig_thread *t)
{
    receive_a_byte(t->rig, t->index, t->data);
    atomic_store(&t->stage, 1);
}

MARK_TEST(EPOLL_MOVED)
{
    struct rig_thread t;
    struct rig rig;
    int pair[2];

    rig_start(&rig, REACTOR_EPOLL, 2, 0);
    rig_pair(pair);
    receive_a_byte(&rig, 0, pair);
    rig_thread_start(&rig, &t, 1, receive_elsewhere, pair);
    rig_thread_await(&t, 1);
    rig_thread_stop(&t);
    rig_pair_close(pair);
    rig_stop(&rig);
}

MARK_TEST(POLLED_FIRST)
{
    int near = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), far;
    struct rig rig;
    struct rig_op o;

    if (near < 0 || grantpt(near) != 0 || unlockpt(near) != 0)
        jd_test_skip("no pseudo terminals here");
    far = open(ptsname(near), O_RDWR | O_NOCTTY | O_CLOEXEC);
    rig_start(&rig, REACTOR_EPOLL, 1, 0);
    o = rig_write(far, "x", 1);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 1);
    close(near);
    close(far);
    rig_stop(&rig);
}

MARK_TEST(FOUND_SHUT)
{
    int pair[2];
    struct rig rig;
    struct rig_op o;
    char byte;

    rig_start(&rig, REACTOR_EPOLL, 1, 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    o = rig_recv(pair[0], &byte, 1);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(shutdown(pair[0], SHUT_RD), 0);
    cr_assert_eq(rig_wait(&rig, 0, &o), 0);
    rig_pair_close(pair);
    rig_stop(&rig);
}

/* --- Timers ---------------------------------------------------------------------------------------- */

#define TIMERS 400                        /* more than one hold of the lock moves */
#define FIRST_DEADLINE (INT64_C(1) << 30) /* with all others in one slot of a high level */

static struct timer timers[TIMERS];
static unsigned fired;

static void *claim_timer(struct timer *t)
{
    return t;
}

static void in_order(void *token, void *ctx)
{
    (void)ctx;
    cr_assert_eq(token, &timers[fired++]);
}

MARK_TEST(TIMER_MOVES_SPENT)
{
    static struct timer_wheel wheel;

    timer_wheel_init(&wheel, 0);
    for (int i = 0; i < TIMERS; i++) {
        timer_init(&timers[i], claim_timer);
        timer_arm(&wheel, &timers[i], FIRST_DEADLINE + i);
    }
    cr_assert_eq(timer_wheel_expire(&wheel, FIRST_DEADLINE, in_order, NULL), 1);
    cr_assert_eq(timer_wheel_next(&wheel), FIRST_DEADLINE + 1);
    cr_assert_eq(timer_wheel_expire(&wheel, FIRST_DEADLINE + TIMERS, in_order, NULL), TIMERS - 1);
    cr_assert_eq(timer_wheel_count(&wheel), 0);
}
