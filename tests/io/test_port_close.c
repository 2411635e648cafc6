/* SPDX-License-Identifier: MIT */
/*
 * The close protocol: whatever waits on the descriptor ends with -EBADF on whichever port it is,
 * and no op acts on the next file of that number.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "jd_test.h"
#include "reactor_rig.h"

ON_BOTH_PORTS(close_of_an_idle_descriptor)
{
    struct rig rig;
    struct rig_close c;
    int pair[2];

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    cr_assert_eq(rig_close(&rig, 0, &c, pair[0]), 0);
    cr_assert_eq(atomic_load(&c.done), 1, "at once");
    cr_assert_eq(fcntl(pair[0], F_GETFD), -1);
    cr_assert_eq(rig_close(&rig, 0, &c, pair[0]), -EBADF, "not open any more");
    cr_assert_eq(atomic_load(&c.done), 0);
    cr_assert_eq(rig_close(&rig, 0, &c, -1), -EBADF);
    close(pair[1]);
    rig_stop(&rig);
}

static void close_ends_waiters(enum reactor_want want, bool polled)
{
    struct rig rig;
    struct rig_close c;
    struct rig_op in, in2, ready;
    char byte;
    int pair[2];

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    in = rig_recv(pair[0], &byte, 1);
    in2 = rig_recv(pair[0], &byte, 1);
    ready = rig_poll_op(pair[0], POLLIN);
    rig_submit(&rig, 0, &in);
    rig_submit(&rig, 0, &in2);
    rig_submit(&rig, 0, &ready);
    if (polled)
        (void)reactor_poll(rig.reactor, 0);
    cr_assert_eq(rig_close(&rig, 0, &c, pair[0]), 0);
    rig_wait_close(&rig, 0, &c);
    cr_assert(rig_is_done(&in) && rig_is_done(&in2) && rig_is_done(&ready));
    cr_assert_eq(in.op.result, -EBADF);
    cr_assert_eq(in2.op.result, -EBADF);
    cr_assert_eq(ready.op.result, -EBADF);
    cr_assert_eq(read(pair[1], &byte, 1), 0, "really closed");
    close(pair[1]);
    rig_stop(&rig);
}

ON_BOTH_PORTS(close_ends_what_waits)
{
    close_ends_waiters(want, true);
}

ON_BOTH_PORTS(close_ends_what_is_staged)
{
    close_ends_waiters(want, false);
}

ON_BOTH_PORTS(close_of_a_listener)
{
    struct rig rig;
    struct rig_close c;
    struct rig_op o;
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = rig_listen(&addr, &len);

    rig_start(&rig, want, 1, 0);
    o = rig_accept(listener);
    rig_submit(&rig, 0, &o);
    (void)reactor_poll(rig.reactor, 0);
    cr_assert_eq(rig_close(&rig, 0, &c, listener), 0);
    rig_wait_close(&rig, 0, &c);
    cr_assert_eq(o.op.result, -EBADF);
    rig_stop(&rig);
}

static int count_open(void)
{
    int open_count = 0;

    for (int fd = 0; fd < 256; fd++)
        open_count += fcntl(fd, F_GETFD) >= 0;
    return open_count;
}

/* An accept that succeeds while the listener is closed: no descriptor leaks. */
ON_BOTH_PORTS(an_accept_that_loses_to_close_leaks_nothing)
{
    struct rig rig;
    int before;

    rig_start(&rig, want, 1, 0);
    before = count_open();
    for (int i = 0; i < 20; i++) {
        struct rig_close c;
        struct rig_op o;
        struct sockaddr_storage addr;
        socklen_t len;
        int listener = rig_listen(&addr, &len), client = socket(AF_INET, SOCK_STREAM, 0);

        o = rig_accept(listener);
        rig_submit(&rig, 0, &o);
        if (i % 2)
            (void)reactor_poll(rig.reactor, 0);
        cr_assert_eq(connect(client, (struct sockaddr *)&addr, len), 0);
        cr_assert_eq(rig_close(&rig, 0, &c, listener), 0);
        rig_wait_close(&rig, 0, &c);
        cr_assert(rig_is_done(&o));
        if (o.op.result >= 0)
            close(o.op.result);
        else
            cr_assert_eq(o.op.result, -EBADF);
        close(client);
    }
    cr_assert_eq(count_open(), before);
    rig_stop(&rig);
}

ON_BOTH_PORTS(the_next_file_of_the_number_is_safe)
{
    struct rig rig;
    char old_byte = 0, new_byte = 0;

    rig_start(&rig, want, 1, 0);
    for (int i = 0; i < 50; i++) {
        struct rig_close c;
        struct rig_op old_op, new_op;
        int pair[2], next[2];

        rig_pair(pair);
        old_op = rig_recv(pair[0], &old_byte, 1);
        rig_submit(&rig, 0, &old_op);
        if (i % 2)
            (void)reactor_poll(rig.reactor, 0);
        cr_assert_eq(rig_close(&rig, 0, &c, pair[0]), 0);
        rig_wait_close(&rig, 0, &c);
        rig_pair(next);
        cr_assert_eq(next[0], pair[0], "the number is used again");
        cr_assert_eq(write(next[1], "n", 1), 1);
        (void)reactor_poll(rig.reactor, 0);
        cr_assert_eq(old_op.op.result, -EBADF);
        cr_assert_eq(old_byte, 0, "the old receive took the new connection's data");
        new_op = rig_recv(next[0], &new_byte, 1);
        rig_submit(&rig, 0, &new_op);
        cr_assert_eq(rig_wait(&rig, 0, &new_op), 1);
        cr_assert_eq(new_byte, 'n');
        close(pair[1]);
        cr_assert_eq(rig_close(&rig, 0, &c, next[0]), 0);
        close(next[1]);
    }
    rig_stop(&rig);
}

/* The user closed the number himself and got it again: the next file still works. */
ON_BOTH_PORTS(a_number_closed_behind_our_back)
{
    struct rig rig;
    char byte;

    rig_start(&rig, want, 1, 0);
    for (int i = 0; i < 10; i++) {
        struct rig_op o;
        int pair[2];

        rig_pair(pair);
        o = rig_recv(pair[0], &byte, 1);
        rig_submit(&rig, 0, &o);
        (void)reactor_poll(rig.reactor, 0);
        cr_assert_eq(write(pair[1], "x", 1), 1);
        cr_assert_eq(rig_wait(&rig, 0, &o), 1);
        rig_pair_close(pair);
    }
    rig_stop(&rig);
}

/* --- From other threads ------------------------------------------------------------------------ */

static void wait_there(struct rig_thread *t)
{
    struct rig_op *o = t->data;

    rig_submit(t->rig, t->index, o);
    atomic_store(&t->stage, 1);
    if (o->op.addr_len == 1) /* the test's mark for: park */
        (void)rig_wait(t->rig, t->index, o);
    while (!atomic_load(&t->stop)) /* until told; else burns, nothing is submitted */
        ;
}

static void close_across(enum reactor_want want, bool parks)
{
    for (int i = 0; i < 5; i++) {
        struct rig rig;
        struct rig_thread t;
        struct rig_close c;
        struct rig_op o;
        char byte;
        int pair[2];

        rig_start(&rig, want, 2, 0);
        rig_pair(pair);
        o = rig_recv(pair[0], &byte, 1);
        o.op.addr_len = parks;
        rig_thread_start(&rig, &t, 1, wait_there, &o);
        rig_thread_await(&t, 1);
        cr_assert_eq(rig_close(&rig, 0, &c, pair[0]), 0);
        while (atomic_load(&c.done) == 0) {
            rig_help_all(&rig, 0);
            (void)reactor_poll(rig.reactor, 0);
        }
        cr_assert(rig_is_done(&o));
        cr_assert_eq(o.op.result, -EBADF);
        rig_thread_stop(&t);
        close(pair[1]);
        rig_stop(&rig);
    }
}

ON_BOTH_PORTS(close_across_ports_parked)
{
    close_across(want, true);
}

ON_BOTH_PORTS(close_across_ports_burning)
{
    close_across(want, false);
}

static void *close_from_plain_thread(void *arg)
{
    struct fd_close **pair = arg;

    return (void *)(intptr_t)reactor_close((struct reactor *)(void *)pair[0], REACTOR_NO_WORKER,
                                           pair[1]);
}

ON_BOTH_PORTS(close_from_a_plain_thread)
{
    struct rig rig;
    struct rig_thread t;
    struct rig_close c = { .done = 0 };
    struct rig_op o;
    pthread_t plain;
    void *result;
    char byte;
    int pair[2];

    rig_start(&rig, want, 2, 0);
    rig_pair(pair);
    o = rig_recv(pair[0], &byte, 1);
    rig_thread_start(&rig, &t, 1, rig_help_loop, NULL);
    rig_submit(&rig, 0, &o); /* staged, and this thread does not drive it */
    {
        struct rig_close probe; /* borrows the done function */
        void *args[2] = { rig.reactor, &c.close };

        cr_assert_eq(rig_close(&rig, 0, &probe, -1), -EBADF);
        c.close.done = probe.close.done;
        c.close.fd = pair[0];
        cr_assert_eq(pthread_create(&plain, NULL, close_from_plain_thread, args), 0);
        cr_assert_eq(pthread_join(plain, &result), 0);
    }
    cr_assert_null(result);
    while (atomic_load(&c.done) == 0) /* the helper does it all */
        sched_yield();
    cr_assert_eq(o.op.result, -EBADF);
    rig_thread_stop(&t);
    close(pair[1]);
    rig_stop(&rig);
}

/* Two closes at once: exactly one of them closes. */
static void close_too(struct rig_thread *t)
{
    struct rig_close *c = t->data;

    atomic_store(&t->stage, 1);
    while (atomic_load(&t->stage) != 2) /* until told */
        ;
    if (reactor_close(t->rig->reactor, t->index, &c->close) == -EBADF)
        atomic_store(&t->stage, 3);
    else
        atomic_store(&t->stage, 4);
    while (!atomic_load(&t->stop))
        rig_turn(t->rig, t->index, 100000);
}

ON_BOTH_PORTS(a_double_close_is_refused)
{
    struct rig rig;

    rig_start(&rig, want, 2, 0);
    for (int i = 0; i < 20; i++) {
        struct rig_thread t;
        struct rig_close first, second;
        struct rig_op o;
        char byte;
        int pair[2], ret;

        rig_pair(pair);
        o = rig_recv(pair[0], &byte, 1);
        rig_submit(&rig, 0, &o);
        (void)reactor_poll(rig.reactor, 0);
        cr_assert_eq(rig_close(&rig, 0, &second, -1), -EBADF);
        second.close.fd = pair[0];
        rig_thread_start(&rig, &t, 1, close_too, &second);
        rig_thread_await(&t, 1);
        atomic_store(&t.stage, 2);
        ret = rig_close(&rig, 0, &first, pair[0]);
        while (atomic_load(&t.stage) < 3)
            (void)reactor_poll(rig.reactor, 0);
        cr_assert_eq((ret == 0) + (atomic_load(&t.stage) == 4), 1);
        while (atomic_load(&first.done) + atomic_load(&second.done) == 0)
            rig_turn(&rig, 0, 1000000);
        rig_thread_stop(&t);
        cr_assert_eq(atomic_load(&first.done) + atomic_load(&second.done), 1);
        cr_assert_eq(o.op.result, -EBADF);
        close(pair[1]);
    }
    rig_stop(&rig);
}
