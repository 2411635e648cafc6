/* SPDX-License-Identifier: MIT */
/*
 * Bytes of a connection, as TCP and unix stream sockets have it. See net.h.
 *
 * Faults: short reads and writes, a connection that breaks, no buffers.
 */
#include <errno.h>
#include <poll.h>

#include "sim/net.h"

/* 0: there are bytes. */
static int readable(struct sim_file *f, size_t wanted, bool all)
{
    if (f->len == 0 && f->error)
        return sim_take_error(f);
    if (f->len == 0)
        return f->fin || f->read_shut ? 1 : -EAGAIN;
    if (all && f->len < wanted && f->len < f->room_max && !f->fin && !f->error)
        return -EAGAIN;
    return 0;
}

ssize_t sim_stream_recv(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    const struct iovec *iov = t->iov;
    size_t left = sim_bytes(t), done = 0;
    bool peek = (t->flags & MSG_PEEK) != 0, all = (t->flags & MSG_WAITALL) != 0;
    int state;

    if (f->kind != FILE_STREAM)
        return f->error ? sim_take_error(f) : -ENOTCONN;
    if (left == 0)
        return 0;
    if (sim_has_errors(sim) && f->peer && sim_fault(sim, 20))
        sim_file_break(sim, f);
    state = readable(f, left, all);
    if (state != 0)
        return state < 0 ? state : 0;
    left = left < f->len ? left : f->len;
    if (!all)
        left = sim_shorten(sim, left);
    for (size_t i = 0; i < t->count && left > 0; i++) {
        size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;

        sim_file_take(f, iov[i].iov_base, part, peek);
        done += part;
        left -= part;
        if (peek)
            break; /* the first buffer is all that a look fills */
    }
    if (!peek && f->peer)
        sim_file_wake(sim, f->peer);
    if (t->msg) {
        t->msg->msg_namelen = 0;
        t->msg->msg_controllen = 0;
        t->msg->msg_flags = 0;
    }
    return (ssize_t)done;
}

/* 0: there is room. */
static int writable(struct sim *sim, struct sim_file *f)
{
    if (f->error)
        return sim_take_error(f);
    if (f->write_shut || f->broken)
        return -EPIPE;
    if (f->peer)
        return f->peer->len < f->peer->room_max ? 0 : -EAGAIN;
    if (f->family == AF_UNIX)
        return -EPIPE;
    f->broken = true; /* TCP hears of the peer's end by what it sends into the void */
    f->error = -ECONNRESET;
    (void)sim;
    return 0;
}

ssize_t sim_stream_send(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    const struct iovec *iov = t->iov;
    size_t left = sim_bytes(t), done = 0, room;
    int state;

    if (f->kind != FILE_STREAM)
        return f->error ? sim_take_error(f) : -ENOTCONN;
    if (sim_has_errors(sim) && f->peer && sim_fault(sim, 20))
        sim_file_break(sim, f);
    if (left > 0 && sim_has_errors(sim) && sim_fault(sim, 50))
        return -ENOBUFS;
    state = writable(sim, f);
    if (state < 0)
        return state;
    if (!f->peer || f->peer->read_shut)
        return (ssize_t)left;
    room = f->peer->room_max - f->peer->len;
    left = sim_shorten(sim, left < room ? left : room);
    for (size_t i = 0; i < t->count && left > 0; i++) {
        size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;

        sim_file_put(sim, f->peer, iov[i].iov_base, part);
        done += part;
        left -= part;
    }
    sim_file_wake(sim, f->peer);
    return (ssize_t)done;
}

static int poll_stream(const struct sim_file *f)
{
    int ready = 0;

    if (f->len > 0 || f->fin || f->read_shut || f->error)
        ready |= POLLIN;
    if (f->fin || f->read_shut)
        ready |= POLLRDHUP;
    if (!f->peer || f->peer->len < f->peer->room_max)
        ready |= POLLOUT;
    if (f->broken || (f->fin && f->write_shut))
        ready |= POLLHUP;
    return f->error ? ready | POLLERR : ready;
}

static int poll_listener(const struct sim_file *f)
{
    int ready = f->backlog_count > 0 || f->read_shut ? POLLIN : 0;

    if (f->read_shut)
        ready |= POLLRDHUP;
    return f->read_shut && f->write_shut ? ready | POLLHUP : ready;
}

int sim_stream_poll(const struct sim_file *f)
{
    if (f->kind == FILE_STREAM)
        return poll_stream(f);
    if (f->kind == FILE_LISTENER)
        return poll_listener(f);
    return POLLOUT | POLLHUP; /* as Linux has it for a socket that was never connected */
}

/* A unix listener serves those who have come; TCP's listens no more, and may again. */
static int shut_listener(struct sim *sim, struct sim_file *f, int how)
{
    if (f->family == AF_UNIX) {
        f->read_shut |= how != SHUT_WR;
        f->write_shut |= how != SHUT_RD;
    } else if (how != SHUT_WR) {
        f->kind = FILE_SOCKET;
        sim_backlog_drop(sim, f);
    }
    sim_file_wake(sim, f);
    return 0;
}

int sim_stream_shutdown(struct sim *sim, struct sim_file *f, int how)
{
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    if (f->kind == FILE_LISTENER)
        return shut_listener(sim, f, how);
    if (f->kind != FILE_STREAM || f->broken)
        return -ENOTCONN;
    if (how != SHUT_WR)
        f->read_shut = true;
    if (how != SHUT_RD) {
        f->write_shut = true;
        if (f->peer) {
            f->peer->fin = true;
            sim_file_wake(sim, f->peer);
        }
    }
    sim_file_wake(sim, f);
    return 0;
}

void sim_stream_pair(struct sim_file *a, struct sim_file *b)
{
    a->kind = b->kind = FILE_STREAM;
    a->remote.storage.ss_family = AF_UNIX; /* which has no name */
    a->remote.len = sizeof(sa_family_t);
    a->local = b->local = b->remote = a->remote;
    a->peer = b;
    b->peer = a;
}
