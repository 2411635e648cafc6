/* SPDX-License-Identifier: MIT */
/*
 * Laws of conservation for descriptors, on both ports, with cancels at random:
 *
 *   bytes        each byte that a send or a write counted is received once, in order
 *   connections  each accepted one is handled once and closed: as many files are open as before
 *
 * laws.c has those of tasks, permits and items. Bounded by operations; repeat a run with
 * JD_TEST_SEED.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "footprint.h"
#include "jd_test.h"
#include "laws.h"
#include "refused.h"

/* --- Bytes -------------------------------------------------------------------------------------- */

#define STREAMS 4
#define PIECE_MAX 3000
#define ROOM 4096 /* of a socket's buffer, so that senders wait */

/* One direction of a pair: position `sent` is the sender's, `received` the receiver's. */
struct stream {
    int in, out;
    bool is_pipe; /* read and write, else the calls of sockets, too */
    size_t total;
    size_t sent, received;
    atomic_uint next_user;
    atomic_long cancels, timeouts;
};

/* What is at a position: no period that a buffer could have. */
static unsigned char byte_at(size_t position)
{
    return (unsigned char)(position * 2654435761u >> 13);
}

static ssize_t send_piece(struct stream *s, struct rng *rng, const void *piece, size_t len)
{
    size_t done = 0;
    int err;

    if (!s->is_pipe && one_in(rng, 2))
        return jd_send(s->in, piece, len, 0);
    if (one_in(rng, 2))
        return jd_write(s->in, piece, len);
    err = jd_write_all_count(s->in, piece, len, &done);
    cr_assert(err || done == len);
    s->sent += done;
    return err;
}

static ssize_t receive_piece(struct stream *s, struct rng *rng, void *piece, size_t len)
{
    return !s->is_pipe && one_in(rng, 2) ? jd_recv(s->out, piece, len, 0)
                                         : jd_read(s->out, piece, len);
}

/* Whether the task goes on: it was neither cancelled, nor is this the end. */
static bool goes_on(struct stream *s, ssize_t n, int ended)
{
    cr_assert(n >= 0 || n == -ECANCELED, "%zd", n);
    cr_assert(ended == 0 || ended == -ETIMEDOUT, "%d", ended);
    more(&s->timeouts, ended == -ETIMEDOUT && n < 0);
    return n >= 0 || ended == -ETIMEDOUT;
}

/* Until all is sent, or the task is cancelled: then another one goes on. */
static jd_result send_on(void *arg)
{
    struct stream *s = arg;
    struct rng rng = rng_of(atomic_fetch_add(&s->next_user, 1));
    bool on = true;

    while (on && s->sent < s->total) {
        unsigned char piece[PIECE_MAX];
        size_t len = 1 + rng_below(&rng, PIECE_MAX);
        jd_scope scope;
        ssize_t n;

        if (len > s->total - s->sent)
            len = s->total - s->sent;
        for (size_t i = 0; i < len; i++)
            piece[i] = byte_at(s->sent + i);
        jd_scope_open(&scope, one_in(&rng, 2) ? JD_US(rng_below(&rng, 40)) : JD_FOREVER);
        n = send_piece(s, &rng, piece, len);
        s->sent += n > 0 ? (size_t)n : 0;
        on = goes_on(s, n, jd_scope_close(&scope));
    }
    return jd_ok(NULL);
}

static jd_result receive_on(void *arg)
{
    struct stream *s = arg;
    struct rng rng = rng_of(atomic_fetch_add(&s->next_user, 1));
    bool on = true;

    while (on && s->received < s->total) {
        unsigned char piece[PIECE_MAX];
        jd_scope scope;
        ssize_t n;

        jd_scope_open(&scope, one_in(&rng, 2) ? JD_US(rng_below(&rng, 40)) : JD_FOREVER);
        n = receive_piece(s, &rng, piece, 1 + rng_below(&rng, PIECE_MAX));
        for (ssize_t i = 0; i < n; i++)
            cr_assert_eq(piece[i], byte_at(s->received + (size_t)i), "position %zu",
                         s->received + (size_t)i);
        s->received += n > 0 ? (size_t)n : 0;
        on = goes_on(s, n, jd_scope_close(&scope));
    }
    return jd_ok(NULL);
}

static void stream_open(struct stream *s, bool is_pipe, unsigned first_user)
{
    int ends[2], room = ROOM;

    *s = (struct stream){ .is_pipe = is_pipe, .total = 60000 + jd_test_rounds(400) * 1000 };
    atomic_init(&s->next_user, first_user);
    if (is_pipe) {
        cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
        (void)fcntl(ends[1], F_SETPIPE_SZ, room); /* the default is fine, too */
    } else {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        cr_assert_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    }
    s->out = ends[0];
    s->in = ends[1];
}

/* Two tasks; each is cancelled now and then, and another one takes its place. */
static jd_result stream_run(void *arg)
{
    struct stream *s = arg;
    struct rng rng = rng_of(atomic_fetch_add(&s->next_user, 1));

    while (s->received < s->total) {
        jd_task *sender = jd_spawn(send_on, s), *receiver = jd_spawn(receive_on, s);

        cr_assert_not_null(sender);
        cr_assert_not_null(receiver);
        cr_assert_eq(jd_sleep(JD_US(rng_below(&rng, 400))), 0);
        more(&s->cancels, one_in(&rng, 2) && jd_task_cancel(sender, "law") == 0);
        more(&s->cancels, one_in(&rng, 2) && jd_task_cancel(receiver, "law") == 0);
        /* Left alone, either may wait for the other for ever. */
        cr_assert_eq(jd_sleep(JD_US(rng_below(&rng, 400))), 0);
        (void)jd_task_cancel(sender, "law");
        (void)jd_task_cancel(receiver, "law");
        cr_assert_eq(jd_join(sender).error, 0);
        cr_assert_eq(jd_join(receiver).error, 0);
        cr_assert_leq(s->received, s->sent);
    }
    return jd_ok(NULL);
}

static jd_result law_of_bytes(void *arg)
{
    static struct stream streams[STREAMS];
    jd_task *t[STREAMS];
    long cancels = 0, timeouts = 0;

    (void)arg;
    for (unsigned i = 0; i < STREAMS; i++) {
        stream_open(&streams[i], i % 2, 1000000 * i);
        cr_assert_not_null(t[i] = jd_spawn(stream_run, &streams[i]));
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *s = &streams[i];
        char beyond;

        cr_assert_eq(jd_join(t[i]).error, 0);
        cr_assert_eq(s->sent, s->total);
        cr_assert_eq(s->received, s->total);
        cr_assert_eq(jd_close(s->in), 0);
        cr_assert_eq(jd_read(s->out, &beyond, 1), 0, "a byte that nobody sent");
        cr_assert_eq(jd_close(s->out), 0);
        cancels += s->cancels;
        timeouts += s->timeouts;
    }
    fprintf(stderr, "# %d streams of %zu bytes, %ld cancels, %ld deadlines\n", STREAMS,
            streams[0].total, cancels, timeouts);
    cr_assert_gt(cancels, 0);
    cr_assert_gt(timeouts, 0);
    return jd_ok(NULL);
}

/* --- Connections -------------------------------------------------------------------------------- */

#define CLIENTS 8

static struct {
    char address[64];
    atomic_long dialled, handled, left, echoed, cancels;
    atomic_uint next_user;
} net;

/* Echoes byte by byte; sometimes leaves before the other one does. */
static void echo(int fd, void *arg)
{
    struct rng rng = rng_of(500000 + atomic_fetch_add(&net.next_user, 1));
    char byte;

    (void)arg;
    more(&net.handled, 1);
    while (!one_in(&rng, 8) && jd_recv(fd, &byte, 1, 0) == 1 && jd_send(fd, &byte, 1, 0) == 1)
        more(&net.echoed, 1);
    more(&net.left, 1);
}

static jd_result serve(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;
    int err;

    o.connections_max = CLIENTS / 2;
    o.grace = JD_US(200);
    err = jd_serve(*(int *)arg, echo, NULL, &o);
    cr_assert_eq(err, -ECANCELED, "%d", err);
    return jd_ok(NULL);
}

/* Dials and talks until something ends it: the server's leave, a deadline, a cancel. */
static jd_result client(void *arg)
{
    struct rng rng = rng_of(atomic_fetch_add(&net.next_user, 1));
    jd_scope scope;
    char byte = 'x';
    int fd;

    (void)arg;
    jd_scope_open(&scope, one_in(&rng, 3) ? JD_US(rng_below(&rng, 300)) : JD_FOREVER);
    fd = jd_dial(net.address);
    if (fd >= 0) {
        more(&net.dialled, 1);
        while (jd_send(fd, &byte, 1, 0) == 1 && jd_recv(fd, &byte, 1, 0) == 1)
            cr_assert_eq(byte, 'x');
        cr_assert_eq(jd_close(fd), 0);
    }
    cr_assert(fd >= 0 || fd == -ECANCELED || fd == -ECONNRESET || fd == -ECONNREFUSED, "%d", fd);
    fd = jd_scope_close(&scope);
    cr_assert(fd == 0 || fd == -ETIMEDOUT, "%d", fd);
    return jd_ok(NULL);
}

static void connection_round(struct rng *rng, int *listener)
{
    jd_task *server = jd_spawn(serve, listener), *t[CLIENTS];

    cr_assert_not_null(server);
    for (int i = 0; i < CLIENTS; i++)
        cr_assert_not_null(t[i] = jd_spawn(client, NULL));
    cr_assert_eq(jd_sleep(JD_US(rng_below(rng, 1000))), 0);
    for (int i = 0; i < CLIENTS; i++)
        more(&net.cancels, one_in(rng, 2) && jd_task_cancel(t[i], "law") == 0);
    if (one_in(rng, 2))
        cr_assert_eq(jd_sleep(JD_US(rng_below(rng, 300))), 0);
    cr_assert_eq(jd_task_cancel(server, "law"), 0);
    cr_assert_eq(jd_join(server).error, 0);
    for (int i = 0; i < CLIENTS; i++) {
        (void)jd_task_cancel(t[i], "law"); /* nobody accepts what is still in the queue */
        cr_assert_eq(jd_join(t[i]).error, 0);
    }
}

static jd_result law_of_connections(void *arg)
{
    unsigned long rounds = jd_test_rounds(100);
    struct rng rng = rng_of(400000);
    unsigned before = footprint_descriptors();
    int listener = jd_listen("127.0.0.1:0", 0, 0);

    (void)arg;
    cr_assert_geq(listener, 0, "%d", listener);
    cr_assert_eq(jd_local_address(listener, net.address, sizeof(net.address)), 0);
    for (unsigned long i = 0; i < rounds; i++)
        connection_round(&rng, &listener);
    cr_assert_eq(jd_close(listener), 0);
    fprintf(stderr, "# %ld dialled, %ld handled, %ld bytes echoed, %ld cancels\n", net.dialled,
            net.handled, net.echoed, net.cancels);
    cr_assert_eq(net.left, net.handled);
    cr_assert_gt(net.handled, 0);
    cr_assert_gt(net.cancels, 0);
    cr_assert_eq(footprint_descriptors(), before);
    return jd_ok(NULL);
}

/* --- The tests ---------------------------------------------------------------------------------- */

static void check(jd_fn law, unsigned reactor, unsigned workers)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    run_seed = jd_test_seed();
    cfg.workers = workers;
    cfg.reactor = reactor;
    cfg.flags = JD_NO_ENV;
    r = jd_run(law, NULL, &cfg);
    skip_if_refused(cfg.reactor, r.error);
    cr_assert_eq(r.error, 0, "%d", r.error);
}

#define LAW(name, port, reactor, workers) \
    Test(laws_io, name##_##port##_##workers, .timeout = 30) \
    { \
        check(law_of_##name, reactor, workers); \
    }

LAW(bytes, uring, JD_REACTOR_URING, 2)
LAW(bytes, uring, JD_REACTOR_URING, 3)
LAW(bytes, epoll, JD_REACTOR_EPOLL, 2)
LAW(bytes, epoll, JD_REACTOR_EPOLL, 3)
LAW(connections, uring, JD_REACTOR_URING, 2)
LAW(connections, uring, JD_REACTOR_URING, 3)
LAW(connections, epoll, JD_REACTOR_EPOLL, 2)
LAW(connections, epoll, JD_REACTOR_EPOLL, 3)
