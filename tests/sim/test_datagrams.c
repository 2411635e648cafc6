/* SPDX-License-Identifier: MIT */
/*
 * Simulated datagram sockets: messages stay whole; those of UDP may be lost, those of unix may not.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "io/op_wait.h"
#include "jd_test.h"
#include "run_seeds.h"
#include "seeds.h"
#include "sweep.h"

#include <jackdaw/jackdaw.h>

/* --- Messages ------------------------------------------------------------------------------------ */

#define MESSAGES 40u
#define SEEN_MAX (2 * MESSAGES)

/* Message i has i bytes and more, so that each is known by its length alone. */
static size_t message(unsigned char *buf, unsigned i)
{
    memset(buf, (int)i, 200);
    return 2 + i;
}

struct sender {
    int fd;
    unsigned sent;
};

static jd_result send_all_messages(void *arg)
{
    struct sender *s = arg;
    unsigned char buf[200];

    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t len = message(buf, i);
        ssize_t n = jd_send(s->fd, buf, len, 0);

        CHECK(n == (ssize_t)len || n == -ENOBUFS);
        s->sent += n > 0;
    }
    return jd_ok(NULL);
}

struct seen {
    unsigned count, lost, doubled, overtaken;
};

/* Until nothing has come for a second. */
static jd_result collect(int fd, struct seen *seen)
{
    unsigned times[MESSAGES] = { 0 }, last = 0;
    unsigned char buf[200];

    while (jd_poll(fd, POLLIN, JD_SEC(1)) > 0) {
        ssize_t n = jd_recv(fd, buf, sizeof(buf), 0);
        unsigned i;

        CHECK(n >= 2);
        i = (unsigned)n - 2;
        CHECK(i < MESSAGES);
        for (ssize_t k = 0; k < n; k++)
            CHECK(buf[k] == i);
        seen->count++;
        seen->doubled += times[i]++ > 0;
        seen->overtaken += i < last;
        last = i;
    }
    return jd_ok(NULL);
}

static int connect_to(int fd, uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    return jd_connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static jd_result exchange(int a, int b, struct seen *total)
{
    struct sender sender = { .fd = a };
    struct seen seen = { 0 };
    jd_task *t = jd_spawn(send_all_messages, &sender);
    jd_result r = collect(b, &seen);

    CHECK(r.error == 0);
    CHECK(jd_join(t).error == 0);
    CHECK(jd_close(a) == 0);
    CHECK(jd_close(b) == 0);
    total->count += seen.count;
    total->doubled += seen.doubled;
    total->overtaken += seen.overtaken;
    total->lost += sender.sent > seen.count - seen.doubled;
    return jd_ok(NULL);
}

static jd_result udp(void *arg)
{
    int a = jd_sim_datagram("127.0.0.1:53"), b = jd_sim_datagram("127.0.0.1:54");

    CHECK(a >= 0 && b >= 0);
    CHECK(connect_to(a, 54) == 0);
    CHECK(connect_to(b, 53) == 0);
    return exchange(a, b, arg);
}

static jd_result pair(void *arg)
{
    int fds[2];

    CHECK(jd_sim_socketpair(SOCK_DGRAM, fds) == 0);
    return exchange(fds[0], fds[1], arg);
}

Test(sim_datagrams, udp_loses_doubles_and_reorders_but_never_mixes)
{
    struct seen seen = { 0 };

    run_seeds(udp, &seen, 100, 10, JD_SIM_NO_ENOMEM);
    if (!seeds_given()) {
        cr_assert_gt(seen.lost, 0);
        cr_assert_gt(seen.doubled, 0);
        cr_assert_gt(seen.overtaken, 0);
    }
}

Test(sim_datagrams, without_faults_udp_is_in_order)
{
    struct seen seen = { 0 };

    run_seeds(udp, &seen, 100, 0, JD_SIM_NO_ENOMEM);
    cr_assert_eq(seen.lost + seen.doubled + seen.overtaken, 0);
    run_seeds(udp, &seen, 100, 5, JD_SIM_NO_ENOMEM | JD_SIM_NO_ERRORS);
    cr_assert_eq(seen.doubled + seen.overtaken, 0); /* lost: for want of room */
}

Test(sim_datagrams, a_unix_pair_loses_nothing)
{
    struct seen seen = { 0 };

    run_seeds(pair, &seen, 100, 0, JD_SIM_NO_ENOMEM);
    run_seeds(pair, &seen, 100, 10, JD_SIM_NO_ENOMEM);
    cr_assert_eq(seen.lost + seen.doubled + seen.overtaken, 0);
}

/* --- The edges ------------------------------------------------------------------------------------ */

static jd_result edges(void *arg)
{
    char buf[8] = "", name[64];
    int a = jd_sim_datagram("127.0.0.1:0"), b = jd_sim_datagram("127.0.0.1:7");

    (void)arg;
    CHECK(a >= 0 && b >= 0);
    CHECK(jd_sim_datagram("127.0.0.1:7") == -EADDRINUSE);
    CHECK(jd_sim_datagram("localhost:7") == -EINVAL);
    CHECK(jd_sim_datagram(NULL) == -EINVAL);
    CHECK(jd_send(a, "x", 1, 0) == -EDESTADDRREQ);
    CHECK(jd_peer_address(a, name, sizeof(name)) == -ENOTCONN);
    CHECK(jd_accept(a, NULL, NULL, 0) == -EOPNOTSUPP);
    CHECK(connect_to(a, 7) == 0);
    CHECK(jd_peer_address(a, name, sizeof(name)) == 0 && strcmp(name, "127.0.0.1:7") == 0);

    CHECK(jd_send(a, "", 0, 0) == 0); /* a message of no bytes */
    CHECK(jd_recv(b, buf, sizeof(buf), 0) == 0);
    CHECK(jd_send(a, "abcdef", 6, 0) == 6);
    CHECK(jd_recv(b, buf, 3, MSG_PEEK) == 3);
    CHECK(jd_recv(b, buf, 3, MSG_PEEK | MSG_TRUNC) == 6);
    CHECK(jd_read(b, buf, 3) == 3 && memcmp(buf, "abc", 3) == 0); /* the rest is gone */
    CHECK(jd_recv(b, buf, 3, MSG_DONTWAIT) == -EAGAIN);
    CHECK(jd_poll(b, POLLIN, JD_MS(1)) == -ETIMEDOUT);

    CHECK(jd_close(b) == 0);
    CHECK(jd_write(a, "x", 1) == 1); /* nobody hears it */
    CHECK(jd_poll(a, POLLIN, JD_FOREVER) == POLLERR);
    CHECK(jd_recv(a, buf, 1, 0) == -ECONNREFUSED);
    CHECK(jd_close(a) == 0);
    return jd_ok(NULL);
}

Test(sim_datagrams, sizes_names_and_nobody)
{
    run_seeds(edges, NULL, 100, 0, JD_SIM_NO_ENOMEM);
}

static jd_result too_long(void *arg)
{
    static char buf[70000];
    int a = jd_sim_datagram("[::1]:0");

    (void)arg;
    CHECK(a >= 0);
    CHECK(jd_send(a, buf, sizeof(buf), 0) == -EMSGSIZE);
    CHECK(jd_close(a) == 0);
    return jd_ok(NULL);
}

Test(sim_datagrams, a_message_that_is_too_long_is_refused)
{
    run_seeds(too_long, NULL, 10, 0, JD_SIM_NO_ENOMEM);
}

/* A sender waits for room, and learns that the reader has gone. */
static jd_result fill(void *arg)
{
    static const char buf[3000];
    int fd = *(int *)arg;
    ssize_t n;

    do
        n = jd_send(fd, buf, sizeof(buf), 0);
    while (n > 0);
    return jd_err(n == -ECONNREFUSED ? 0 : -1000);
}

static jd_result reader_goes(void *arg)
{
    jd_task *t;
    char buf[10];
    int fds[2];

    (void)arg;
    CHECK(jd_sim_socketpair(SOCK_DGRAM, fds) == 0);
    t = jd_spawn(fill, &fds[0]);
    CHECK(jd_recv(fds[1], buf, sizeof(buf), 0) == 10);
    CHECK(jd_sleep(JD_MS(100)) == 0);
    CHECK(jd_close(fds[1]) == 0);
    CHECK(jd_join(t).error == 0);
    CHECK(jd_send(fds[0], buf, 1, 0) == -ENOTCONN);
    CHECK(jd_close(fds[0]) == 0);
    return jd_ok(NULL);
}

Test(sim_datagrams, a_unix_sender_waits_for_room)
{
    run_seeds(reader_goes, NULL, 100, 0, JD_SIM_NO_ENOMEM);
}

static jd_result receive_one(void *arg)
{
    char buf[8];

    return jd_ok_num(jd_recv(*(int *)arg, buf, sizeof(buf), 0));
}

static jd_result reader_is_shut(void *arg)
{
    jd_task *t[2];
    char buf[8];
    int fds[2];

    (void)arg;
    CHECK(jd_sim_socketpair(SOCK_DGRAM, fds) == 0);
    t[0] = jd_spawn(receive_one, &fds[1]);
    t[1] = jd_spawn(receive_one, &fds[1]);
    CHECK(jd_sleep(JD_SEC(1)) == 0); /* both wait */
    CHECK(jd_shutdown(fds[1], SHUT_RD) == 0);
    for (int i = 0; i < 2; i++) {
        jd_result r = jd_join(t[i]);

        CHECK(r.error == 0 && r.num == 0);
    }
    CHECK(jd_recv(fds[1], buf, sizeof(buf), 0) == 0);
    CHECK(jd_recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT) == -EAGAIN);
    CHECK(jd_send(fds[0], "x", 1, 0) == -EPIPE);
    CHECK(jd_close(fds[0]) == 0);
    CHECK(jd_close(fds[1]) == 0);
    return jd_ok(NULL);
}

Test(sim_datagrams, receives_end_when_the_socket_is_shut)
{
    run_seeds(reader_is_shut, NULL, 100, 0, JD_SIM_NO_ENOMEM);
    run_seeds(reader_is_shut, NULL, 100, 10, JD_SIM_NO_ENOMEM | JD_SIM_NO_ERRORS);
}

/* --- Names in messages: the ops that recvfrom and sendto are made of -------------------------------- */

static int transfer_message(uint8_t kind, int fd, char *buf, size_t len, struct sockaddr_in *name)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    struct msghdr msg = {
        .msg_name = name, .msg_namelen = sizeof(*name), .msg_iov = &iov, .msg_iovlen = 1
    };
    struct op_wait w = { .op = { .kind = kind, .fd = fd, .buf = &msg } };
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    return error < 0 ? error : op_wait(task, &w, CLOCK_FOREVER);
}

static jd_result answer_each(void *arg)
{
    struct sockaddr_in from;
    char buf[16];

    for (int i = 0; i < 6; i++) {
        int n = transfer_message(OP_RECVMSG, *(int *)arg, buf, sizeof(buf), &from);

        CHECK(n > 0);
        CHECK(from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
        CHECK(transfer_message(OP_SENDMSG, *(int *)arg, buf, (size_t)n, &from) == n);
    }
    return jd_ok(NULL);
}

static jd_result ask(void *arg)
{
    char question[16], answer[16] = "";
    int fd = jd_sim_datagram("0.0.0.0:0");

    CHECK(fd >= 0);
    CHECK(connect_to(fd, 7) == 0);
    for (int i = 0; i < 3; i++) {
        int len = snprintf(question, sizeof(question), "%d-%d", fd, i);

        CHECK(jd_send(fd, question, (size_t)len, 0) == len);
        CHECK(jd_recv(fd, answer, sizeof(answer), 0) == len);
        CHECK(memcmp(question, answer, (size_t)len) == 0);
    }
    (void)arg;
    CHECK(jd_close(fd) == 0);
    return jd_ok(NULL);
}

static jd_result two_clients(void *arg)
{
    int fd = jd_sim_datagram("0.0.0.0:7");
    jd_task *t[3];

    (void)arg;
    CHECK(fd >= 0);
    t[0] = jd_spawn(answer_each, &fd);
    t[1] = jd_spawn(ask, NULL);
    t[2] = jd_spawn(ask, NULL);
    for (int i = 0; i < 3; i++) {
        jd_result r = jd_join(t[i]);

        CHECK(r.error == 0);
    }
    CHECK(jd_close(fd) == 0);
    return jd_ok(NULL);
}

Test(sim_datagrams, a_server_answers_the_name_that_a_message_came_from)
{
    run_seeds(two_clients, NULL, 100, 0, JD_SIM_NO_ENOMEM);
}

/* --- Cancelled at every checkpoint ------------------------------------------------------------------ */

struct counts {
    unsigned sent, received;
};

static void counts_before(void *arg)
{
    *(struct counts *)arg = (struct counts){ 0, 0 };
}

static void counts_after(void *arg, jd_result r, unsigned where)
{
    const struct counts *c = arg;

    (void)r;
    cr_assert_eq(c->sent, c->received, "checkpoint %u: %u sent, %u received", where, c->sent,
                 c->received);
}

struct taker {
    struct counts *counts;
    int fd;
};

/* Until the last message, which has no bytes. */
static jd_result take(void *arg)
{
    struct taker *t = arg;
    char buf[2000];
    ssize_t n;

    do { /* a fault, no memory: goes on, as the sender would wait for ever */
        n = jd_recv(t->fd, buf, sizeof(buf), 0);
        t->counts->received += n > 0;
    } while (n > 0 || n == -ENOMEM);
    return jd_err((int)n);
}

static void send_the_last(int fd, struct taker *taker)
{
    jd_scope shield;
    int ended;

    jd_scope_open_shielded(&shield, JD_FOREVER);
    while (jd_send(fd, "", 0, MSG_DONTWAIT) < 0) /* full, or a fault: make room */
        if (jd_recv(taker->fd, (char[2000]){ 0 }, 2000, MSG_DONTWAIT) > 0)
            taker->counts->received++;
    ended = jd_scope_close(&shield);
    (void)ended;
}

static jd_result send_and_take(void *arg)
{
    struct taker taker = { .counts = arg };
    jd_scope shield;
    int ended;
    jd_task *t;
    char buf[2000] = { 0 };
    int fds[2];
    ssize_t n = 1;

    if (jd_sim_socketpair(SOCK_DGRAM, fds) != 0)
        return jd_err(-1000);
    taker.fd = fds[1];
    t = jd_spawn(take, &taker);
    for (int i = 0; t && i < 6 && n > 0; i++) {
        n = jd_send(fds[0], buf, 1000, 0);
        taker.counts->sent += n > 0;
    }
    if (t && n > 0) {
        send_the_last(fds[0], &taker);
        (void)jd_join(t);
    } else if (t) {
        (void)jd_task_cancel(t, "swept");
        (void)jd_join(t);
    }
    jd_scope_open_shielded(&shield, JD_FOREVER);
    while (jd_recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT) > 0) /* what the taker has left */
        taker.counts->received++;
    ended = jd_scope_close(&shield);
    (void)ended;
    (void)jd_close(fds[0]);
    (void)jd_close(fds[1]);
    return jd_ok(NULL);
}

Test(sim_datagrams, a_cancel_takes_no_message_away, .timeout = 30)
{
    struct counts c;
    struct sweep s = {
        .fn = send_and_take, .arg = &c, .before = counts_before, .after = counts_after, .seeds = 10
    };

    sweep_or_sample(s, 60);
}
