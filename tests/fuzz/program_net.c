/* SPDX-License-Identifier: MIT */
/*
 * Sockets: what was sent arrives, in order and once, up to where a connection ends. See program.h.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "program.h"

#define PIECE 300

/* The n-th byte of any stream. */
static unsigned char byte_at(size_t n)
{
    return (unsigned char)(n * 7 + n / 251);
}

struct stream {
    char address[64];
    size_t size, sent, received;
    uint8_t how;
    bool broken; /* some call failed */
};

/* --- The sender -------------------------------------------------------------------------------- */

static int send_piece(const struct stream *s, int fd, const unsigned char *piece, size_t len,
                      size_t *ret_sent)
{
    ssize_t n;

    *ret_sent = len;
    switch (s->how % 4) {
    case 0:
        return jd_send_all(fd, piece, len);
    case 1:
        return jd_write_all_count(fd, piece, len, ret_sent);
    case 2:
        n = jd_send(fd, piece, len, 0);
        break;
    default:
        n = jd_write(fd, piece, len);
        break;
    }
    FUZZ_CHECK_THAT(n < 0 || (n > 0 && (size_t)n <= len), "%ld", (long)n);
    *ret_sent = n < 0 ? 0 : (size_t)n;
    return n < 0 ? (int)n : 0;
}

static jd_result send_stream(void *arg)
{
    struct stream *s = arg;
    unsigned char piece[PIECE];
    int fd = jd_dial(s->address), error = fd < 0 ? fd : 0;

    while (!error && s->sent < s->size) {
        size_t len = s->size - s->sent < PIECE ? s->size - s->sent : PIECE, sent;

        for (size_t i = 0; i < len; i++)
            piece[i] = byte_at(s->sent + i);
        error = send_piece(s, fd, piece, len, &sent);
        s->sent += error ? 0 : sent;
    }
    s->broken |= error != 0;
    if (fd >= 0 && s->how & 32) /* the peer's answer, which does not come, is waited for */
        (void)jd_shutdown(fd, SHUT_WR);
    if (fd >= 0 && s->how & 32)
        (void)jd_recv(fd, piece, sizeof(piece), 0);
    if (fd >= 0)
        FUZZ_CHECK(jd_close(fd) == 0);
    return jd_err(error);
}

/* --- The receiver ------------------------------------------------------------------------------ */

static ssize_t receive_piece(const struct stream *s, int fd, unsigned char *piece)
{
    ssize_t ahead;

    switch (s->how / 4 % 8) {
    case 0:
        return jd_recv(fd, piece, PIECE, 0);
    case 1:
        return jd_read(fd, piece, 7);
    case 2:
        return jd_read_full(fd, piece, PIECE / 2);
    case 3:
        return jd_recv(fd, piece, 50, MSG_WAITALL);
    case 4:
        ahead = jd_recv(fd, piece, 20, MSG_PEEK);
        return ahead <= 0 ? ahead : jd_recv(fd, piece, (size_t)ahead, 0);
    case 5:
        ahead = jd_poll(fd, POLLIN, JD_SEC(1));
        FUZZ_CHECK(ahead != 0);
        return ahead < 0 && ahead != -ETIMEDOUT ? ahead : jd_recv(fd, piece, PIECE, 0);
    default:
        ahead = jd_recv(fd, piece, PIECE, MSG_DONTWAIT);
        return ahead != -EAGAIN ? ahead : jd_recv(fd, piece, 1, 0);
    }
}

/* -EBADF: nobody closes it meanwhile. */
static int receive_stream(struct stream *s, int fd)
{
    unsigned char piece[PIECE];
    ssize_t n;

    while ((n = receive_piece(s, fd, piece)) > 0) { /* bounded by the sender */
        for (size_t i = 0; i < (size_t)n; i++)
            FUZZ_CHECK_THAT(piece[i] == byte_at(s->received + i), "byte %zu", s->received + i);
        s->received += (size_t)n;
        FUZZ_CHECK(s->received <= s->size);
        if (s->how & 64 && s->received > 100)
            return 1;
    }
    FUZZ_CHECK(n != -EBADF);
    return (int)n;
}

static int accept_in_time(int listener)
{
    jd_scope limit;
    int fd, ended;

    jd_scope_open(&limit, JD_SEC(2));
    do /* bounded by the deadline */
        fd = jd_accept(listener, NULL, NULL, 0);
    while (fd == -ECONNABORTED || fd == -EMFILE);
    ended = jd_scope_close(&limit);
    (void)ended; /* fd says it */
    return fd;
}

/* A stream from a task to this one. */
void step_stream(struct body *b, struct instruction i)
{
    struct stream s = { .size = (size_t)i.a * 13, .how = i.b };
    int listener = jd_listen("127.0.0.1:0", 0, 0), fd, end = -ECANCELED;
    jd_task *sender;

    FUZZ_CHECK(listener >= 0 || !b->p->quiet);
    if (listener < 0)
        return;
    FUZZ_CHECK(jd_local_address(listener, s.address, sizeof(s.address)) == 0);
    sender = jd_spawn(send_stream, &s);
    FUZZ_CHECK(sender || !b->p->quiet || b->p->ending);
    fd = sender ? accept_in_time(listener) : -ENOMEM;
    if (fd >= 0) {
        end = receive_stream(&s, fd);
        FUZZ_CHECK(jd_close(fd) == 0);
    }
    FUZZ_CHECK(jd_close(listener) == 0);
    if (sender)
        (void)jd_join(sender);
    FUZZ_CHECK_THAT(end != 0 || s.broken || s.received == s.size, "%zu of %zu", s.received, s.size);
    FUZZ_CHECK(end >= 0 || !sender || !b->p->quiet || may_be_cancelled(b));
}

/* --- A server ---------------------------------------------------------------------------------- */

struct service {
    unsigned running, most, started, ended;
};

static void handle(int fd, void *arg)
{
    struct service *s = arg;
    char buf[64];
    ssize_t n;

    s->started++;
    s->running++;
    FUZZ_CHECK(s->running <= s->most && jd_serve_draining() != NULL);
    while ((n = jd_recv(fd, buf, sizeof(buf), 0)) > 0) /* bounded by the client */
        if (jd_send_all(fd, buf, (size_t)n) < 0)
            break;
    s->running--;
    s->ended++;
}

static jd_result visit(void *arg)
{
    char buf[8];
    int fd = jd_dial(arg);

    if (fd < 0)
        return jd_ok(NULL);
    for (int i = 0; i < 3; i++) {
        ssize_t got;

        if (jd_send_all(fd, "question", 8) < 0)
            break;
        got = jd_read_full(fd, buf, 8);
        FUZZ_CHECK(got < 8 || !memcmp(buf, "question", 8));
        if (got < 8)
            break;
    }
    (void)jd_close(fd);
    return jd_ok(NULL);
}

void step_serve(struct body *b, struct instruction i)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;
    struct service s = { .most = 1 + i.a % 3 };
    unsigned visitors = i.b % 4;
    char address[64];
    int listener = jd_listen("127.0.0.1:0", 0, 0), error, ended;
    jd_task *t[4] = { NULL };
    jd_scope scope;
    int64_t deadline;

    if (listener < 0)
        return;
    (void)jd_local_address(listener, address, sizeof(address));
    for (unsigned n = 0; n < visitors; n++)
        t[n] = jd_spawn(visit, address);
    o.connections_max = s.most;
    o.grace = JD_MS(1) * (1 + i.a / 4 % 8);
    deadline = model_now() + JD_MS(5);
    jd_scope_open(&scope, JD_MS(5));
    error = jd_serve(listener, handle, &s, &o);
    ended = jd_scope_close(&scope);
    FUZZ_CHECK(s.running == 0 && s.started == s.ended);
    FUZZ_CHECK_THAT(error == -ECANCELED || (error < 0 && !b->p->quiet), "%d", error);
    FUZZ_CHECK(error != -ECANCELED || ended != 0 || may_be_cancelled(b));
    check_soon(deadline + o.grace, 0);
    FUZZ_CHECK(jd_close(listener) == 0);
    for (unsigned n = 0; n < visitors; n++)
        if (t[n])
            (void)jd_join(t[n]);
}
