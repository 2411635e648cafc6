/* SPDX-License-Identifier: MIT */
/*
 * Queues that are too small, traffic between many threads, refused io_uring.
 */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fault.h"
#include "filter.h"
#include "jd_test.h"
#include "reactor_rig.h"

#define MANY 100

ON_BOTH_PORTS(a_full_submission_queue_never_fails)
{
    struct rig rig;
    struct rig_receives in;

    rig_start(&rig, want, 1, 4);
    rig_receives_init(&in, MANY);
    rig_receives_submit(&rig, 0, &in);
    cr_assert_eq(reactor_in_flight(rig.reactor), (unsigned)MANY);
    rig_receives_send(&in);
    rig_receives_wait(&rig, 0, &in); /* the CQ of 16 overflows, too */
    rig_receives_fini(&in);
    rig_stop(&rig);
}

Test(uring, ops_behind_a_full_queue_wait_in_order)
{
    struct rig rig;
    struct rig_op in[4];
    struct rig_close c;
    char bytes[4] = "";
    int pair[2];

    rig_start(&rig, REACTOR_URING, 1, 4);
    rig_pair(pair);
    fault_arm(FAULT_SQ_FULL, 0, UINT64_MAX);
    for (int i = 0; i < 4; i++)
        in[i] = rig_recv(pair[0], &bytes[i], 1);
    for (int i = 0; i < 3; i++)
        rig_submit(&rig, 0, &in[i]);
    cr_assert_eq(write(pair[1], "abc", 3), 3);
    for (int i = 0; i < 10; i++)
        rig_turn(&rig, 0, 100000);
    for (int i = 0; i < 3; i++)
        cr_assert_not(rig_is_done(&in[i]));
    cr_assert(reactor_has_staged(rig.reactor, 0));
    reactor_cancel(rig.reactor, 0, &in[1].op); /* needs no queue entry */
    cr_assert(rig_is_done(&in[1]));
    cr_assert_eq(in[1].op.result, -ECANCELED);
    fault_arm(FAULT_SQ_FULL, 0, 0);
    rig_submit(&rig, 0, &in[3]); /* there is room, but two wait already */
    cr_assert_eq(rig_wait(&rig, 0, &in[0]), 1);
    cr_assert_eq(rig_wait(&rig, 0, &in[2]), 1);
    cr_assert_eq(rig_wait(&rig, 0, &in[3]), 1);
    cr_assert(bytes[0] == 'a' && bytes[2] == 'b' && bytes[3] == 'c');
    fault_arm(FAULT_SQ_FULL, 0, UINT64_MAX);
    in[0] = rig_recv(pair[0], bytes, 1);
    rig_submit(&rig, 0, &in[0]);
    cr_assert_eq(rig_close(&rig, 0, &c, pair[0]), 0);
    cr_assert_eq(atomic_load(&c.done), 1, "nothing of it was in the kernel");
    cr_assert_eq(in[0].op.result, -EBADF);
    fault_arm(FAULT_SQ_FULL, 0, 0);
    close(pair[1]);
    rig_stop(&rig);
}

/* A helper flushes the overflow of a worker that does nothing. */
static void submit_many_and_burn(struct rig_thread *t)
{
    rig_receives_submit(t->rig, t->index, t->data);
    atomic_store(&t->stage, 1);
    while (!atomic_load(&t->stop)) /* until told */
        ;
}

ON_BOTH_PORTS(help_flushes_an_overflow)
{
    struct rig rig;
    struct rig_thread t;
    struct rig_receives in;

    rig_start(&rig, want, 2, 4);
    rig_receives_init(&in, MANY);
    rig_thread_start(&rig, &t, 1, submit_many_and_burn, &in);
    rig_thread_await(&t, 1);
    rig_receives_send(&in);
    for (int i = 0; i < MANY; i++)
        rig_help_until_done(&rig, &in.ops[i]);
    rig_thread_stop(&t);
    rig_receives_fini(&in);
    rig_stop(&rig);
}

/* --- Traffic: each worker plays ping-pong with itself and helps the others ------------------------ */

static void ping_pong(struct rig_thread *t)
{
    struct rig_op in, out;
    int pair[2];
    char byte;

    rig_pair(pair);
    for (unsigned long i = jd_test_rounds(3000); i > 0; i--) {
        in = rig_recv(pair[0], &byte, 1);
        out = rig_send(pair[1], "p", 1);
        rig_submit(t->rig, t->index, &in);
        if (i % 7 == 0) {
            reactor_cancel(t->rig->reactor, t->index, &in.op);
        } else if (i % 3 == 0) {
            (void)reactor_poll(t->rig->reactor, t->index);
            rig_help_all(t->rig, t->index);
        }
        if (i % 7 != 0) {
            rig_submit(t->rig, t->index, &out);
            while (!rig_is_done(&out)) {
                rig_help_all(t->rig, t->index);
                rig_turn(t->rig, t->index, 1000000);
            }
        }
        cr_assert_eq(rig_wait(t->rig, t->index, &in), i % 7 ? 1 : -ECANCELED);
        reactor_wake(t->rig->reactor, (t->index + 1) % t->rig->workers);
    }
    rig_pair_close(pair);
}

ON_BOTH_PORTS(traffic_with_help_and_cancels)
{
    struct rig rig;
    struct rig_thread t[3];

    rig_start(&rig, want, 4, 8);
    for (unsigned i = 0; i < 3; i++)
        rig_thread_start(&rig, &t[i], i + 1, ping_pong, NULL);
    for (unsigned i = 0; i < 3; i++)
        rig_thread_stop(&t[i]);
    cr_assert_eq(reactor_in_flight(rig.reactor), 0u);
    rig_stop(&rig);
}

/* --- Refusal ------------------------------------------------------------------------------------- */

static void check_refused(int error, const char *name)
{
    struct reactor_config cfg = { .workers = 2, .want = REACTOR_URING };
    struct rig rig;
    struct reactor *none = NULL;
    struct rig_op o;
    char byte;
    int pair[2];

    cr_assert_eq(reactor_new(&cfg, &none), error, "what was asked for explicitly is not replaced");
    cr_assert_null(none);
    rig_start(&rig, REACTOR_AUTO, 2, 0);
    cr_assert_str_eq(reactor_name(rig.reactor), "epoll");
    cr_assert_not_null(strstr(reactor_why(rig.reactor), name), "%s", reactor_why(rig.reactor));
    rig_pair(pair);
    o = rig_recv(pair[0], &byte, 1);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(write(pair[1], "x", 1), 1);
    cr_assert_eq(rig_wait(&rig, 0, &o), 1);
    rig_pair_close(pair);
    rig_stop(&rig);
}

Test(refused, by_seccomp_with_eperm)
{
    filter_refuse(SYS_io_uring_setup, EPERM);
    check_refused(-EPERM, "EPERM");
}

Test(refused, by_seccomp_with_enosys)
{
    filter_refuse(SYS_io_uring_setup, ENOSYS);
    check_refused(-ENOSYS, "ENOSYS");
}

Test(refused, by_fault_injection)
{
    fault_arm(FAULT_URING_SETUP, 0, UINT64_MAX);
    check_refused(-EPERM, "EPERM");
}

Test(refused, auto_prefers_io_uring)
{
    struct rig rig;

    rig_start(&rig, REACTOR_URING, 1, 0); /* skips where it cannot work at all */
    rig_stop(&rig);
    rig_start(&rig, REACTOR_AUTO, 1, 0);
    cr_assert_str_eq(reactor_name(rig.reactor), "uring", "%s", reactor_why(rig.reactor));
    rig_stop(&rig);
}

Test(refused, allocations_that_fail)
{
    struct reactor_config cfg = { .workers = 2 };

    for (int want = REACTOR_AUTO; want <= REACTOR_EPOLL; want += REACTOR_EPOLL) {
        int error;
        uint64_t n = 0;

        cfg.want = (enum reactor_want)want;
        do {
            struct reactor *r = NULL;

            fault_arm(FAULT_ALLOC, n++, 1);
            error = reactor_new(&cfg, &r);
            cr_assert(error == 0 || error == -ENOMEM);
            cr_assert_eq(error == 0, r != NULL);
            reactor_free(r);
        } while (error < 0);
        cr_assert_geq(n, 5u, "there were allocations to fail");
    }
    fault_arm(FAULT_ALLOC, 0, 0);
}
