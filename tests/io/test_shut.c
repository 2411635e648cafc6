/* SPDX-License-Identifier: MIT */
/*
 * Sockets that are shut for reading before or while somebody waits there: the wait ends. A datagram
 * socket, and a unix listener, has no end of file to a call that does not block, only an event.
 */
#include "io_test.h"

#include <poll.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "reactor_rig.h"

struct family {
    const char *name;
    int domain;
    bool connected;
};

static const struct family families[] = {
    { "unix, a pair", AF_UNIX, true },      { "unix, not connected", AF_UNIX, false },
    { "UDP, connected", AF_INET, true },    { "UDP, not connected", AF_INET, false },
    { "UDPv6, connected", AF_INET6, true }, { "UDPv6, not connected", AF_INET6, false },
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

static int bound(int domain, int type, struct sockaddr_storage *name, socklen_t *len)
{
    int fd = socket(domain, type | SOCK_CLOEXEC, 0);

    memset(name, 0, sizeof(*name));
    name->ss_family = (sa_family_t)domain;
    *len = sizeof(sa_family_t); /* unix: the kernel finds a name */
    if (domain == AF_INET) {
        ((struct sockaddr_in *)name)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        *len = sizeof(struct sockaddr_in);
    } else if (domain == AF_INET6) {
        ((struct sockaddr_in6 *)name)->sin6_addr = in6addr_loopback;
        *len = sizeof(struct sockaddr_in6);
    }
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)name, *len), 0);
    *len = sizeof(*name);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)name, len), 0);
    return fd;
}

/* fds[0] reads what fds[1] sends. */
static void datagram_sockets(const struct family *f, int fds[2])
{
    struct sockaddr_storage names[2];
    socklen_t lens[2];

    if (f->domain == AF_UNIX && f->connected) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
        return;
    }
    for (int i = 0; i < 2; i++)
        fds[i] = bound(f->domain, SOCK_DGRAM, &names[i], &lens[i]);
    cr_assert_eq(connect(fds[1], (struct sockaddr *)&names[0], lens[0]), 0);
    if (f->connected)
        cr_assert_eq(connect(fds[0], (struct sockaddr *)&names[1], lens[1]), 0);
}

struct receiver {
    int fd;
    bool reads; /* jd_read(), else jd_recv() */
};

static ssize_t receive(const struct receiver *w)
{
    char byte;

    return w->reads ? jd_read(w->fd, &byte, 1) : jd_recv(w->fd, &byte, 1, 0);
}

static jd_result receiver_run(void *arg)
{
    return jd_ok_num(receive(arg));
}

/* Linux answers -ENOTCONN for a UDP socket that is not connected, and shuts it all the same. */
static void shut(const struct family *f, int fd, int how)
{
    int expected = f->connected || f->domain == AF_UNIX ? 0 : -ENOTCONN;

    cr_assert_eq(jd_shutdown(fd, how), expected, "%s", f->name);
}

static void shut_before(const struct family *f, const struct receiver *w, int from)
{
    char byte;

    cr_assert_eq(jd_send(from, "x", 1, 0), 1);
    cr_assert_eq(jd_poll(w->fd, POLLIN, JD_FOREVER), POLLIN);
    shut(f, w->fd, SHUT_RD);
    cr_assert_eq(receive(w), 1, "%s: what has come comes first", f->name);
    for (int i = 0; i < 3; i++) /* the epoll port learns from what receives get */
        cr_assert_eq(receive(w), 0, "%s", f->name);
    cr_assert_eq(jd_recv(w->fd, &byte, 1, MSG_DONTWAIT), -EAGAIN, "%s", f->name);
    cr_assert_eq(jd_poll(w->fd, POLLIN | POLLRDHUP, JD_FOREVER), POLLIN | POLLRDHUP);
}

static void shut_during(const struct family *f, struct receiver *w)
{
    jd_task *t[3];

    for (int i = 0; i < 3; i++)
        t[i] = jd_spawn(receiver_run, w);
    await_in_flight(3);
    shut(f, w->fd, SHUT_RDWR);
    for (int i = 0; i < 3; i++) {
        jd_result r = jd_join(t[i]);

        cr_assert_eq(r.error, 0);
        cr_assert_eq(r.num, 0, "%s", f->name);
    }
}

static jd_result datagrams_body(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 8 * FAMILIES; i++) {
        const struct family *f = &families[i / 8];
        struct receiver w = { .reads = i % 8 / 4 };
        int fds[2];

        datagram_sockets(f, fds);
        w.fd = fds[0];
        if (i % 4 / 2)
            cr_assert_eq(fcntl(w.fd, F_SETFL, O_NONBLOCK), 0);
        if (i % 2)
            shut_before(f, &w, fds[1]);
        else
            shut_during(f, &w);
        close_pair(fds);
    }
    return jd_ok(NULL);
}

Test(shut, a_datagram_socket_that_is_shut_ends_its_receives, .timeout = 20)
{
    on_each_port(datagrams_body);
}

/* --- Listeners ----------------------------------------------------------------------------------- */

static jd_result accept_run(void *arg)
{
    return jd_ok_num(jd_accept(*(int *)arg, NULL, NULL, SOCK_CLOEXEC));
}

static void listener_shut_during(int domain, bool blocking)
{
    struct sockaddr_storage name;
    socklen_t len;
    jd_task *t;
    int fd = bound(domain, blocking ? SOCK_STREAM : SOCK_STREAM | SOCK_NONBLOCK, &name, &len);

    cr_assert_eq(listen(fd, 1), 0);
    t = jd_spawn(accept_run, &fd);
    await_in_flight(1);
    cr_assert_eq(jd_shutdown(fd, SHUT_RD), 0);
    cr_assert_eq(jd_join(t).num, -EINVAL, "family %d, blocking %d", domain, blocking);
    cr_assert_eq(jd_accept(fd, NULL, NULL, 0), -EINVAL, "family %d, blocking %d", domain, blocking);
    cr_assert_eq(jd_close(fd), 0);
}

static jd_result listeners_body(void *arg)
{
    int fds[2], listener = jd_listen("unix:@jackdaw-test-shut", 0, 0);

    (void)arg;
    for (int i = 0; i < 6; i++)
        listener_shut_during((int[]){ AF_UNIX, AF_INET, AF_INET6 }[i / 2], i % 2);
    cr_assert_geq(listener, 0);
    fds[0] = jd_dial("unix:@jackdaw-test-shut");
    cr_assert_geq(fds[0], 0);
    cr_assert_eq(jd_shutdown(listener, SHUT_RD), 0);
    fds[1] = jd_accept(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(fds[1], 0, "who has come before is served");
    cr_assert_eq(jd_accept(listener, NULL, NULL, SOCK_CLOEXEC), -EINVAL);
    cr_assert_eq(jd_close(listener), 0);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(shut, a_listener_that_is_shut_ends_its_accepts, .timeout = 20)
{
    on_each_port(listeners_body);
}

/* --- The ops that have no call of their own -------------------------------------------------------- */

ON_BOTH_PORTS(vectors_and_messages_end_when_their_socket_is_shut)
{
    struct rig rig;
    char byte;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    int pair[2];

    rig_start(&rig, want, 1, 0);
    for (int i = 0; i < 2; i++) {
        struct rig_op vector, message, dontwait;

        cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | (i ? SOCK_NONBLOCK : 0), 0, pair), 0);
        vector = rig_read(pair[0], &iov, 1);
        vector.op.kind = OP_READV;
        message = rig_recv(pair[0], &msg, 0);
        message.op.kind = OP_RECVMSG;
        rig_submit(&rig, 0, &vector);
        rig_submit(&rig, 0, &message);
        (void)reactor_poll(rig.reactor, 0);
        cr_assert_not(rig_is_done(&vector));
        cr_assert_not(rig_is_done(&message));
        cr_assert_eq(shutdown(pair[0], SHUT_RD), 0);
        cr_assert_eq(rig_wait(&rig, 0, &vector), 0);
        cr_assert_eq(rig_wait(&rig, 0, &message), 0);
        dontwait = rig_recv(pair[0], &byte, 1);
        dontwait.op.op_flags = MSG_DONTWAIT;
        rig_submit(&rig, 0, &dontwait);
        cr_assert_eq(rig_wait(&rig, 0, &dontwait), -EAGAIN);
        close(pair[0]);
        close(pair[1]);
    }
    rig_stop(&rig);
}
