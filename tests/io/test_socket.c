/* SPDX-License-Identifier: MIT */
/*
 * The calls on sockets: what moves, what ends a wait early, and what stays usable after it.
 */
#include "io_test.h"

#include <poll.h>

#define BIG_BYTES (3u << 20) /* more than any socket buffer here */

static jd_result echo_peer(void *arg)
{
    int fd = *(int *)arg;
    char buf[256];
    ssize_t n;

    while ((n = jd_recv(fd, buf, sizeof(buf), 0)) > 0)
        cr_assert_eq(jd_send_all(fd, buf, (size_t)n), 0);
    cr_assert_eq(n, 0);
    return jd_ok(NULL);
}

static jd_result half_closing_peer(void *arg)
{
    int fd = *(int *)arg;
    jd_result r = echo_peer(arg);

    cr_assert_eq(jd_shutdown(fd, SHUT_WR), 0);
    return r;
}

static jd_result echo_body(void *arg)
{
    int fds[2];

    (void)arg;
    for (int tcp = 0; tcp < 2; tcp++) {
        jd_task *peer;
        char buf[16];

        if (tcp)
            tcp_pair(fds);
        else
            socket_pair(fds);
        peer = jd_spawn(half_closing_peer, &fds[1]);
        for (int i = 0; i < 100; i++) {
            int len = snprintf(buf, sizeof(buf), "line %d", i);
            char back[16] = "";

            cr_assert_eq(jd_send_all(fds[0], buf, (size_t)len), 0);
            cr_assert_eq(jd_read_full(fds[0], back, (size_t)len), len);
            cr_assert_str_eq(back, buf);
        }
        cr_assert_eq(jd_shutdown(fds[0], SHUT_WR), 0);
        cr_assert_eq(jd_recv(fds[0], buf, sizeof(buf), 0), 0); /* end of file, from both sides */
        cr_assert_eq(jd_join(peer).error, 0);
        close_pair(fds);
    }
    return jd_ok(NULL);
}

Test(socket, an_echo_comes_back_and_ends_with_the_stream, .timeout = 20)
{
    on_each_port(echo_body);
}

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 8));
}

static jd_result slow_reader(void *arg)
{
    int fd = *(int *)arg;
    unsigned char buf[5000];
    size_t done = 0;
    ssize_t n;

    while ((n = jd_read(fd, buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            cr_assert_eq(buf[i], pattern(done + (size_t)i));
        done += (size_t)n;
        cr_assert_eq(jd_yield(), 0);
    }
    cr_assert_eq(n, 0);
    return jd_ok_num((intptr_t)done);
}

static jd_result big_body(void *arg)
{
    unsigned char *data = malloc(BIG_BYTES);

    (void)arg;
    for (size_t i = 0; i < BIG_BYTES; i++)
        data[i] = pattern(i);
    for (int round = 0; round < 3; round++) {
        int fds[2];
        jd_task *reader;
        size_t done = 0;

        if (round == 0)
            tcp_pair(fds);
        else
            socket_pair(fds);
        reader = jd_spawn(slow_reader, &fds[1]);
        if (round < 2)
            cr_assert_eq(jd_send_all(fds[0], data, BIG_BYTES), 0);
        else
            cr_assert_eq(jd_write_all_count(fds[0], data, BIG_BYTES, &done), 0);
        if (round == 2)
            cr_assert_eq(done, BIG_BYTES);
        cr_assert_eq(jd_shutdown(fds[0], SHUT_WR), 0);
        cr_assert_eq(jd_join(reader).num, BIG_BYTES);
        close_pair(fds);
    }
    free(data);
    return jd_ok(NULL);
}

/* A sender that runs into a full buffer goes on where it stopped. */
Test(socket, send_all_gets_through_to_a_slow_reader, .timeout = 60)
{
    on_each_port(big_body);
}

static jd_result cancel_body(void *arg)
{
    int fds[2];

    (void)arg;
    for (int i = 0; i < 20; i++) {
        struct reader reader;
        jd_task *task;
        jd_result r;

        if (i % 2)
            tcp_pair(fds);
        else
            socket_pair(fds);
        reader.fd = fds[0];
        task = jd_spawn(reader_run, &reader);
        await_in_flight(1);
        cr_assert_eq(jd_task_cancel(task, "test"), 0);
        r = jd_join(task);
        cr_assert_eq(r.error, -ECANCELED, "%s", jd_strerror(r.error));
        cr_assert_eq(jd_send(fds[1], "x", 1, 0), 1);
        cr_assert_eq(jd_recv(fds[0], reader.buf, 1, 0), 1); /* as good as before */
        close_pair(fds);
    }
    return jd_ok(NULL);
}

Test(socket, a_cancelled_recv_takes_nothing_and_leaves_the_socket_usable, .timeout = 20)
{
    on_each_port(cancel_body);
}

static jd_result timeout_body(void *arg)
{
    int fds[2];
    char buf[4];
    int64_t before = jd_now();
    jd_scope limit;
    ssize_t n;

    (void)arg;
    socket_pair(fds);
    jd_scope_open(&limit, JD_MS(20));
    n = jd_recv(fds[0], buf, sizeof(buf), 0);
    cr_assert_eq(jd_recv(fds[0], buf, sizeof(buf), 0), -ECANCELED); /* again and again */
    cr_assert_eq(jd_send(fds[0], "a", 1, 0), -ECANCELED);
    n = jd_scope_close_with(&limit, n);
    cr_assert_eq(n, -ETIMEDOUT, "%s", jd_strerror((int)n));
    cr_assert_geq(jd_now() - before, JD_MS(20));
    cr_assert_eq(jd_send(fds[1], "a", 1, 0), 1);
    cr_assert_eq(jd_recv(fds[0], buf, sizeof(buf), 0), 1);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(socket, a_scope_s_deadline_ends_a_recv)
{
    on_each_port(timeout_body);
}

/* Conservation: whatever the race of data and cancel gives, no byte is lost and none is doubled. */
static jd_result race_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(2000), won = 0;
    int fds[2];

    (void)arg;
    tcp_pair(fds);
    for (unsigned long i = 0; i < rounds; i++) {
        struct reader reader = { .fd = fds[0] };
        jd_task *task = jd_spawn(reader_run, &reader);
        char byte = (char)i;
        jd_result r;

        if (i % 2)
            await_in_flight(1);
        cr_assert_eq(jd_send(fds[1], &byte, 1, 0), 1);
        (void)jd_task_cancel(task, "race"); /* may have ended already */
        r = jd_join(task);
        if (r.error == 0) {
            won++;
            cr_assert_eq(r.num, 1);
        } else {
            cr_assert_eq(r.error, -ECANCELED, "%s", jd_strerror(r.error));
            cr_assert_eq(jd_recv(fds[0], reader.buf, sizeof(reader.buf), 0), 1);
        }
        cr_assert_eq(reader.buf[0], byte);
    }
    cr_assert_leq(won, rounds);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(socket, a_recv_that_races_with_its_cancel_loses_no_byte, .timeout = 60)
{
    on_each_port(race_body);
}

static jd_result reset_body(void *arg)
{
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    struct reader reader;
    jd_task *task;
    int fds[2];

    (void)arg;
    tcp_pair(fds);
    reader.fd = fds[0];
    task = jd_spawn(reader_run, &reader);
    await_in_flight(1);
    cr_assert_eq(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    cr_assert_eq(jd_close(fds[1]), 0);
    cr_assert_eq(jd_join(task).error, -ECONNRESET);
    cr_assert_eq(jd_send(fds[0], "x", 1, 0), -EPIPE); /* and no SIGPIPE */
    cr_assert_eq(jd_write(fds[0], "x", 1), -EPIPE);
    cr_assert_eq(jd_close(fds[0]), 0);
    return jd_ok(NULL);
}

Test(socket, a_reset_by_the_peer_ends_a_recv_and_raises_no_signal)
{
    on_each_port(reset_body);
}

static jd_result dontwait_body(void *arg)
{
    char buf[4096] = "";
    ssize_t n;
    int fds[2];

    (void)arg;
    socket_pair(fds);
    cr_assert_eq(jd_recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), -EAGAIN);
    do {
        n = jd_send(fds[0], buf, sizeof(buf), MSG_DONTWAIT);
    } while (n > 0);
    cr_assert_eq(n, -EAGAIN);
    cr_assert_gt(jd_recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT), 0);
    cr_assert_eq(jd_send(fds[0], NULL, 0, 0), 0);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(socket, msg_dontwait_does_not_suspend)
{
    on_each_port(dontwait_body);
}

static jd_result connect_body(void *arg)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in peer;
    socklen_t len = sizeof(in), peer_len = sizeof(peer);
    int fd, listener = jd_listen("127.0.0.1:0", 1, 0);

    (void)arg;
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    fd = socket(AF_INET, SOCK_STREAM, 0); /* blocking: the library does not care */
    cr_assert_eq(jd_connect(fd, (struct sockaddr *)&in, len), 0);
    (void)jd_connect(fd, (struct sockaddr *)&in, len); /* Linux says 0 once more, or EISCONN */
    cr_assert_eq(jd_connect(fd, (struct sockaddr *)&in, len), -EISCONN);
    int got = jd_accept(listener, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK);
    cr_assert_geq(got, 0);
    cr_assert_eq(peer_len, sizeof(peer));
    cr_assert_eq(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    cr_assert_neq(fcntl(got, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_eq(jd_close(got), 0);
    cr_assert_eq(jd_close(fd), 0);
    cr_assert_eq(jd_close(listener), 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(jd_connect(fd, (struct sockaddr *)&in, len), -ECONNREFUSED);
    cr_assert_eq(jd_close(fd), 0);
    return jd_ok(NULL);
}

Test(socket, connect_and_accept_tell_who_is_there)
{
    on_each_port(connect_body);
}

struct acceptor {
    int listener;
    int fd;
};

static jd_result acceptor_run(void *arg)
{
    struct acceptor *a = arg;

    a->fd = jd_accept(a->listener, NULL, NULL, 0);
    return jd_ok(NULL);
}

/* Several may accept on one socket; a cancelled one takes no connection with it. */
static jd_result acceptors_body(void *arg)
{
    struct acceptor acceptors[4];
    jd_task *tasks[4];
    char address[64];
    int listener = jd_listen("127.0.0.1:0", 0, 0), fds[3], got = 0;

    (void)arg;
    cr_assert_eq(jd_local_address(listener, address, sizeof(address)), 0);
    for (int i = 0; i < 4; i++) {
        acceptors[i] = (struct acceptor){ listener, -1 };
        tasks[i] = jd_spawn(acceptor_run, &acceptors[i]);
    }
    await_in_flight(4);
    cr_assert_eq(jd_task_cancel_wait(tasks[1], "one less"), 0);
    cr_assert_eq(acceptors[1].fd, -ECANCELED);
    for (int i = 0; i < 3; i++)
        cr_assert_geq(fds[i] = jd_dial(address), 0);
    for (int i = 0; i < 4; i++)
        (void)jd_join(tasks[i]);
    for (int i = 0; i < 4; i++) {
        if (acceptors[i].fd >= 0) {
            got++;
            cr_assert_eq(jd_close(acceptors[i].fd), 0);
        }
    }
    cr_assert_eq(got, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(jd_close(fds[i]), 0);
    cr_assert_eq(jd_close(listener), 0);
    return jd_ok(NULL);
}

Test(socket, several_tasks_accept_on_one_socket)
{
    on_each_port(acceptors_body);
}

static jd_result misuse_body(void *arg)
{
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof(addr);
    char buf[4];
    int fds[2];

    (void)arg;
    socket_pair(fds);
    errno = 77;
    cr_assert_eq(jd_recv(fds[0], NULL, 1, 0), -EINVAL);
    cr_assert_eq(jd_send(fds[0], NULL, 1, 0), -EINVAL);
    cr_assert_eq(jd_recv(-1, buf, 1, 0), -EBADF);
    cr_assert_eq(jd_send(-1, buf, 1, 0), -EBADF);
    cr_assert_eq(jd_recv(1 << 29, buf, 1, 0), -EBADF);
    cr_assert_eq(jd_send(1 << 29, buf, 1, 0), -EBADF);
    cr_assert_eq(jd_accept(-1, NULL, NULL, 0), -EBADF);
    cr_assert_eq(jd_accept(fds[0], (struct sockaddr *)&addr, NULL, 0), -EINVAL);
    cr_assert_eq(jd_accept(fds[0], NULL, NULL, 0x40000000), -EINVAL);
    cr_assert_eq(jd_connect(fds[0], NULL, len), -EINVAL);
    cr_assert_eq(jd_connect(fds[0], (struct sockaddr *)&addr, 1u << 20), -EINVAL);
    cr_assert_eq(jd_connect(-1, (struct sockaddr *)&addr, len), -EBADF);
    cr_assert_eq(jd_shutdown(-1, SHUT_WR), -EBADF);
    cr_assert_eq(jd_shutdown(fds[0], 99), -EINVAL);
    cr_assert_eq(jd_send_all(fds[0], NULL, 0), 0);
    cr_assert_eq(jd_send_all(fds[0], NULL, 1), -EINVAL);
    cr_assert_eq(jd_send(0, "x", 1, 0), -ENOTSOCK);
    cr_assert_eq(errno, 77); /* nothing above suspends, so it is the same thread's */
    cr_assert_eq(jd_recv(0, buf, 1, 0), -ENOTSOCK);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(socket, bad_arguments_are_told_apart)
{
    int null = open("/dev/null", O_RDONLY);

    cr_assert_geq(null, 0);
    cr_assert_eq(dup2(null, 0), 0);
    on_each_port(misuse_body);
}

/* Blocking descriptors on purpose: an accept on them could wait for ever. */
static jd_result accept_nothing_body(void *arg)
{
    int fds[2], datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)arg;
    cr_assert_geq(datagram, 0);
    cr_assert_eq(jd_accept(datagram, NULL, NULL, 0), -EOPNOTSUPP);
    cr_assert_eq(jd_close(datagram), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(jd_accept(fds[0], NULL, NULL, 0), -EINVAL);
    close_pair(fds);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(jd_accept(fds[0], NULL, NULL, 0), -ENOTSOCK);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(socket, accept_on_what_does_not_listen_is_an_error)
{
    on_each_port(accept_nothing_body);
}

/* Data are there; of the errors there is none, and nobody waits for one. */
static jd_result error_queue_body(void *arg)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char byte;

    (void)arg;
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&name, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    cr_assert_eq(jd_connect(fd, (struct sockaddr *)&name, len), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(jd_recv(fd, &byte, 1, MSG_ERRQUEUE), -EAGAIN, "%d datagrams", i);
        cr_assert_eq(jd_send(fd, "x", 1, 0), 1);
    }
    cr_assert_eq(jd_recv(fd, &byte, 1, 0), 1);
    cr_assert_eq(jd_close(fd), 0);
    return jd_ok(NULL);
}

Test(socket, the_error_queue_is_not_waited_for, .timeout = 10)
{
    on_each_port(error_queue_body);
}

Test(socket, outside_a_task_every_call_says_so)
{
    struct sockaddr_storage addr = { 0 };
    char buf[1];
    size_t done = 7;
    int fds[2];

    socket_pair(fds);
    cr_assert_eq(jd_recv(fds[0], buf, 1, 0), -EPERM);
    cr_assert_eq(jd_send(fds[0], buf, 1, 0), -EPERM);
    cr_assert_eq(jd_accept(fds[0], NULL, NULL, 0), -EPERM);
    cr_assert_eq(jd_connect(fds[0], (struct sockaddr *)&addr, sizeof(addr)), -EPERM);
    cr_assert_eq(jd_shutdown(fds[0], SHUT_WR), -EPERM);
    cr_assert_eq(jd_read(fds[0], buf, 1), -EPERM);
    cr_assert_eq(jd_write(fds[0], buf, 1), -EPERM);
    cr_assert_eq(jd_read_full(fds[0], buf, 1), -EPERM);
    cr_assert_eq(jd_write_all(fds[0], buf, 1), -EPERM);
    cr_assert_eq(jd_write_all_count(fds[0], buf, 1, &done), -EPERM);
    cr_assert_eq(done, 0);
    cr_assert_eq(jd_send_all(fds[0], buf, 0), -EPERM);
    cr_assert_eq(jd_poll(fds[0], POLLIN, 0), -EPERM);
    cr_assert_eq(jd_close(fds[0]), -EPERM);
    cr_assert_eq(close(fds[0]), 0); /* jd_close() left it open */
    cr_assert_eq(close(fds[1]), 0);
}
