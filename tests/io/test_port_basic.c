/* SPDX-License-Identifier: MIT */
/*
 * The happy path of each op kind and of parking, on both ports.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "jd_test.h"
#include "reactor_rig.h"

ON_BOTH_PORTS(recv_waits_for_data)
{
    struct rig rig;
    struct rig_op recv_op, send_op;
    char buf[16] = "";
    int pair[2];

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    recv_op = rig_recv(pair[0], buf, sizeof(buf));
    rig_submit(&rig, 0, &recv_op);
    cr_assert_eq(reactor_poll(rig.reactor, 0), 0);
    cr_assert_not(rig_is_done(&recv_op));
    cr_assert_eq(reactor_in_flight(rig.reactor), 1u);
    send_op = rig_send(pair[1], "hello", 5);
    rig_submit(&rig, 0, &send_op);
    cr_assert_eq(rig_wait(&rig, 0, &recv_op), 5);
    cr_assert_eq(rig_wait(&rig, 0, &send_op), 5);
    cr_assert_str_eq(buf, "hello");
    rig_pair_close(pair);
    rig_stop(&rig);
}

ON_BOTH_PORTS(nonblocking_descriptors_wait_too)
{
    struct rig rig;
    struct rig_op recv_op, read_op;
    char buf[16] = "", buf2[16] = "";
    int pair[2], pipe_fds[2];

    rig_start(&rig, want, 1, 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
    recv_op = rig_recv(pair[0], buf, sizeof(buf));
    read_op = rig_read(pipe_fds[0], buf2, sizeof(buf2));
    rig_submit(&rig, 0, &recv_op);
    rig_submit(&rig, 0, &read_op);
    for (int i = 0; i < 5; i++)
        rig_turn(&rig, 0, 100000);
    cr_assert_not(rig_is_done(&recv_op));
    cr_assert_not(rig_is_done(&read_op));
    cr_assert_eq(write(pair[1], "ab", 2), 2);
    cr_assert_eq(write(pipe_fds[1], "xyz", 3), 3);
    cr_assert_eq(rig_wait(&rig, 0, &recv_op), 2);
    cr_assert_eq(rig_wait(&rig, 0, &read_op), 3);
    cr_assert_str_eq(buf, "ab");
    cr_assert_str_eq(buf2, "xyz");
    for (int i = 0; i < 2; i++) {
        close(pair[i]);
        close(pipe_fds[i]);
    }
    rig_stop(&rig);
}

ON_BOTH_PORTS(dontwait_is_the_users_choice)
{
    struct rig rig;
    struct rig_op recv_op;
    char byte;
    int pair[2];

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    recv_op = rig_recv(pair[0], &byte, 1);
    recv_op.op.op_flags = MSG_DONTWAIT;
    rig_submit(&rig, 0, &recv_op);
    cr_assert_eq(rig_wait(&rig, 0, &recv_op), -EAGAIN);
    rig_pair_close(pair);
    rig_stop(&rig);
}

ON_BOTH_PORTS(accept_and_connect)
{
    struct rig rig;
    struct sockaddr_storage addr;
    struct rig_op accept_op, connect_op;
    socklen_t len;
    int listener = rig_listen(&addr, &len), client = socket(AF_INET, SOCK_STREAM, 0), server;

    rig_start(&rig, want, 1, 0);
    accept_op = rig_accept(listener);
    rig_submit(&rig, 0, &accept_op);
    (void)reactor_poll(rig.reactor, 0);
    cr_assert_not(rig_is_done(&accept_op));
    connect_op = rig_connect(client, (struct sockaddr *)&addr, len);
    rig_submit(&rig, 0, &connect_op);
    cr_assert_eq(rig_wait(&rig, 0, &connect_op), 0);
    server = rig_wait(&rig, 0, &accept_op);
    cr_assert_geq(server, 0);
    cr_assert(!(fcntl(client, F_GETFL) & O_NONBLOCK), "the user's flags are restored");
    cr_assert_eq(write(client, "q", 1), 1);
    cr_assert_eq(read(server, &(char){ 0 }, 1), 1);
    close(listener);
    close(client);
    close(server);
    rig_stop(&rig);
}

ON_BOTH_PORTS(connect_of_a_nonblocking_socket)
{
    struct rig rig;
    struct sockaddr_storage addr;
    struct rig_op connect_op;
    socklen_t len;
    int listener = rig_listen(&addr, &len), client;

    rig_start(&rig, want, 1, 0);
    for (int i = 0; i < 2; i++) { /* accepted, then refused */
        client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect_op = rig_connect(client, (struct sockaddr *)&addr, len);
        rig_submit(&rig, 0, &connect_op);
        cr_assert_eq(rig_wait(&rig, 0, &connect_op), i == 0 ? 0 : -ECONNREFUSED);
        cr_assert(fcntl(client, F_GETFL) & O_NONBLOCK);
        close(client);
        if (i == 0)
            close(listener);
    }
    rig_stop(&rig);
}

static int connect_unix(struct rig *rig, int listener, int type)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    struct rig_op o;
    int fd = socket(AF_UNIX, type, 0), result;

    cr_assert_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    o = rig_connect(fd, (struct sockaddr *)&addr, len);
    rig_submit(rig, 0, &o);
    result = rig_wait(rig, 0, &o);
    if (result < 0)
        close(fd);
    return result < 0 ? result : fd;
}

ON_BOTH_PORTS(a_full_backlog_does_not_spin)
{
    struct rig rig;
    struct sockaddr any = { .sa_family = AF_UNIX }; /* the kernel chooses an abstract name */
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), first, second;

    rig_start(&rig, want, 1, 0);
    cr_assert_eq(bind(listener, &any, sizeof(sa_family_t)), 0);
    cr_assert_eq(listen(listener, 0), 0);
    first = connect_unix(&rig, listener, SOCK_STREAM | SOCK_NONBLOCK);
    cr_assert_geq(first, 0);
    second = connect_unix(&rig, listener, SOCK_STREAM | SOCK_NONBLOCK);
    cr_assert_eq(second, -EAGAIN);
    close(first);
    close(listener);
    rig_stop(&rig);
}

ON_BOTH_PORTS(connect_refused)
{
    struct rig rig;
    struct sockaddr_storage addr;
    struct rig_op connect_op;
    socklen_t len;
    int listener = rig_listen(&addr, &len), client = socket(AF_INET, SOCK_STREAM, 0);

    close(listener);
    rig_start(&rig, want, 1, 0);
    connect_op = rig_connect(client, (struct sockaddr *)&addr, len);
    rig_submit(&rig, 0, &connect_op);
    cr_assert_eq(rig_wait(&rig, 0, &connect_op), -ECONNREFUSED);
    close(client);
    rig_stop(&rig);
}

ON_BOTH_PORTS(poll_reports_readiness)
{
    struct rig rig;
    struct rig_op in, out;
    uint64_t one = 1;
    int event = eventfd(0, EFD_CLOEXEC);

    rig_start(&rig, want, 1, 0);
    in = rig_poll_op(event, POLLIN);
    out = rig_poll_op(event, POLLOUT);
    rig_submit(&rig, 0, &in);
    rig_submit(&rig, 0, &out);
    cr_assert_eq(rig_wait(&rig, 0, &out), POLLOUT);
    cr_assert_not(rig_is_done(&in));
    cr_assert_eq(write(event, &one, sizeof(one)), 8);
    cr_assert(rig_wait(&rig, 0, &in) & POLLIN);
    close(event);
    rig_stop(&rig);
}

ON_BOTH_PORTS(files_at_offsets)
{
    struct rig rig;
    struct rig_op o;
    char name[] = "/tmp/jd-port-XXXXXX", buf[8] = "", buf2[8] = "";
    struct iovec iov[2] = { { buf, 3 }, { buf2, 3 } };
    int fd = mkstemp(name);

    cr_assert_geq(fd, 0);
    unlink(name);
    rig_start(&rig, want, 1, 0);
    o = rig_write(fd, "abcdef", 6);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 6);
    o = rig_read(fd, buf, 2);
    o.op.offset = 4;
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 2);
    cr_assert_str_eq(buf, "ef");
    o = rig_read(fd, iov, 2);
    o.op.kind = OP_READV;
    o.op.offset = 0;
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 6);
    cr_assert(memcmp(buf, "abc", 3) == 0 && memcmp(buf2, "def", 3) == 0);
    o = rig_read(fd, NULL, 0);
    o.op.kind = OP_FSYNC;
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 0);
    close(fd);
    rig_stop(&rig);
}

ON_BOTH_PORTS(a_blocking_pipe_does_not_block)
{
    struct rig rig;
    struct rig_op read_op, write_op, again;
    char buf[8] = "";
    static char large[1 << 20];
    int p[2];
    int sent;

    rig_start(&rig, want, 1, 0);
    cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
    read_op = rig_read(p[0], buf, 2);
    rig_submit(&rig, 0, &read_op);
    rig_turn(&rig, 0, 100000);
    cr_assert_not(rig_is_done(&read_op));
    write_op = rig_write(p[1], "hi", 2);
    rig_submit(&rig, 0, &write_op);
    cr_assert_eq(rig_wait(&rig, 0, &write_op), 2);
    cr_assert_eq(rig_wait(&rig, 0, &read_op), 2);
    cr_assert_eq(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
    write_op = rig_write(p[1], large, 4096);
    rig_submit(&rig, 0, &write_op);
    sent = rig_wait(&rig, 0, &write_op);
    cr_assert_eq(sent, 4096);
    again = rig_write(p[1], "x", 1);
    rig_submit(&rig, 0, &again);
    rig_turn(&rig, 0, 100000);
    cr_assert_not(rig_is_done(&again), "the pipe is full");
    cr_assert_eq(read(p[0], large, 4096), 4096);
    cr_assert_eq(rig_wait(&rig, 0, &again), 1);
    close(p[0]);
    close(p[1]);
    rig_stop(&rig);
}

ON_BOTH_PORTS(several_ops_wait_on_one_descriptor)
{
    struct rig rig;
    struct rig_op in[3];
    char bytes[3] = "";
    int pair[2], left = 0;

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    for (int i = 0; i < 3; i++) {
        in[i] = rig_recv(pair[0], &bytes[i], 1);
        rig_submit(&rig, 0, &in[i]);
    }
    cr_assert_eq(write(pair[1], "a", 1), 1);
    while (left < 1) {
        rig_turn(&rig, 0, 1000000);
        left = rig_is_done(&in[0]) + rig_is_done(&in[1]) + rig_is_done(&in[2]);
    }
    cr_assert_eq(left, 1, "one byte ends one receive");
    cr_assert_eq(write(pair[1], "bc", 2), 2);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rig_wait(&rig, 0, &in[i]), 1);
    cr_assert_eq(bytes[0] + bytes[1] + bytes[2], 'a' + 'b' + 'c');
    rig_pair_close(pair);
    rig_stop(&rig);
}

ON_BOTH_PORTS(end_of_stream_and_broken_pipe)
{
    struct rig rig;
    struct rig_op o;
    char byte;
    int pair[2];

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    close(pair[1]);
    o = rig_recv(pair[0], &byte, 1);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 0);
    o = rig_send(pair[0], "x", 1);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), -EPIPE);
    o = rig_write(pair[0], "x", 1); /* no SIGPIPE either */
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), -EPIPE);
    close(pair[0]);
    rig_stop(&rig);
}

static int submit_or_wait(struct rig *rig, struct rig_op *o)
{
    int error = reactor_submit(rig->reactor, 0, &o->op);

    return error < 0 ? error : rig_wait(rig, 0, o);
}

ON_BOTH_PORTS(bad_descriptors)
{
    struct rig rig;
    char byte;
    struct rig_op o = rig_recv(-1, &byte, 1);

    rig_start(&rig, want, 1, 0);
    cr_assert_eq(reactor_submit(rig.reactor, 0, &o.op), -EBADF);
    o = rig_recv(INT32_MAX, &byte, 1);
    cr_assert_eq(reactor_submit(rig.reactor, 0, &o.op), -EBADF);
    o = rig_recv(999, &byte, 1); /* in the table, not open */
    cr_assert_eq(submit_or_wait(&rig, &o), -EBADF);
    o = rig_read(999, &byte, 1);
    cr_assert_eq(submit_or_wait(&rig, &o), -EBADF);
    o = rig_poll_op(999, POLLIN);
    cr_assert_eq(submit_or_wait(&rig, &o), -EBADF);
    rig_stop(&rig);
}

ON_BOTH_PORTS(park_times_out)
{
    struct rig rig;
    int64_t start;

    rig_start(&rig, want, 1, 0);
    (void)reactor_poll(rig.reactor, 0);
    for (int i = 0; i < 3; i++) {
        start = rig_now();
        cr_assert(reactor_park_begin(rig.reactor, 0));
        cr_assert_eq(reactor_park(rig.reactor, 0, start + 3000000), 0);
    }
    cr_assert_geq(rig_now() - start, 2900000, "slept %ld ns", (long)(rig_now() - start));
    cr_assert(reactor_park_begin(rig.reactor, 0));
    cr_assert_eq(reactor_park(rig.reactor, 0, 1), 0, "a deadline in the past");
    cr_assert(reactor_park_begin(rig.reactor, 0));
    cr_assert_not(reactor_park_begin(rig.reactor, 0), "it is held");
    reactor_park_abort(rig.reactor, 0);
    rig_stop(&rig);
}

ON_BOTH_PORTS(a_wake_before_the_park_counts)
{
    struct rig rig;

    rig_start(&rig, want, 1, 0);
    for (int i = 0; i < 100; i++) {
        reactor_wake(rig.reactor, 0);
        if (i % 3 == 0)
            reactor_wake(rig.reactor, 0);
        if (i % 2 == 0)
            (void)reactor_poll(rig.reactor, 0);
        cr_assert(reactor_park_begin(rig.reactor, 0));
        (void)reactor_park(rig.reactor, 0, INT64_MAX); /* would never return */
    }
    rig_stop(&rig);
}

static void wake_when_told(struct rig_thread *t)
{
    while (!atomic_load(&t->stop)) /* until told */
        if (atomic_exchange(&t->stage, 0) == 1)
            reactor_wake(t->rig->reactor, 0);
}

ON_BOTH_PORTS(a_wake_ends_the_park)
{
    struct rig rig;
    struct rig_thread t;

    rig_start(&rig, want, 2, 0);
    rig_thread_start(&rig, &t, 1, wake_when_told, NULL);
    for (unsigned long i = jd_test_rounds(2000); i > 0; i--) {
        atomic_store(&t.stage, 1);
        /* The wake comes before, while or after: only the exchange shows that it was sent. */
        do {
            cr_assert(reactor_park_begin(rig.reactor, 0));
            (void)reactor_park(rig.reactor, 0, atomic_load(&t.stage) ? INT64_MAX : 1);
        } while (atomic_load(&t.stage) == 1);
    }
    rig_thread_stop(&t);
    rig_stop(&rig);
}

ON_BOTH_PORTS(an_interrupted_park_goes_on)
{
    struct rig rig;
    struct rig_op o;
    char byte;
    int pair[2];
    int64_t start;

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    (void)reactor_poll(rig.reactor, 0);
    fault_arm(FAULT_EINTR, 0, 3);
    start = rig_now();
    cr_assert(reactor_park_begin(rig.reactor, 0));
    cr_assert_eq(reactor_park(rig.reactor, 0, start + 2000000), 0);
    cr_assert_geq(rig_now() - start, 1900000);
    cr_assert_geq(fault_visits(FAULT_EINTR), 3u);
    o = rig_recv(pair[0], &byte, 1);
    fault_arm(FAULT_EINTR, 0, 2);
    cr_assert_eq(write(pair[1], "x", 1), 1);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 1);
    rig_pair_close(pair);
    rig_stop(&rig);
}
