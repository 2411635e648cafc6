/* SPDX-License-Identifier: MIT */
/*
 * Bytes of a connection, as TCP and unix stream sockets have it. See net.h.
 *
 * Faults: short reads and writes, a connection that breaks, no buffers.
 */
#include <errno.h>
#include <poll.h>
#include <sys/uio.h>

#include "sim/net.h"

/* The error that the file keeps is told once. */
static int take_error(struct sim_file *f)
{
    int error = f->error;

    f->error = 0;
    return error;
}

static size_t length_of(const struct iovec *iov, size_t n)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++)
        len += iov[i].iov_len;
    return len;
}

static size_t shorten(struct sim *sim, size_t len)
{
    if (len < 2 || !sim_fault(sim, 1))
        return len;
    return (size_t)sim_between(sim, 1, (int64_t)len - 1);
}

/* 0: there are bytes. */
static int readable(struct sim_file *f, size_t wanted, bool all)
{
    if (f->len == 0 && f->error)
        return take_error(f);
    if (f->len == 0)
        return f->fin || f->read_shut ? 1 : -EAGAIN;
    if (all && f->len < wanted && f->len < f->room_max && !f->fin && !f->error)
        return -EAGAIN;
    return 0;
}

ssize_t sim_stream_recv(struct sim *sim, struct sim_file *f, const struct iovec *iov, size_t n,
                        int flags)
{
    size_t left = length_of(iov, n), done = 0;
    bool peek = (flags & MSG_PEEK) != 0, all = (flags & MSG_WAITALL) != 0;
    int state;

    if (f->kind != FILE_STREAM)
        return f->error ? take_error(f) : -ENOTCONN;
    if (left == 0)
        return 0;
    if (!(sim->flags & JD_SIM_NO_ERRORS) && f->peer && sim_fault(sim, 20))
        sim_file_break(sim, f);
    state = readable(f, left, all);
    if (state != 0)
        return state < 0 ? state : 0;
    left = left < f->len ? left : f->len;
    if (!all)
        left = shorten(sim, left);
    for (size_t i = 0; i < n && left > 0; i++) {
        size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;

        sim_file_take(f, iov[i].iov_base, part, peek);
        done += part;
        left -= part;
        if (peek)
            break; /* the first buffer is all that a look fills */
    }
    if (!peek && f->peer)
        sim_file_wake(sim, f->peer);
    return (ssize_t)done;
}

/* 0: there is room. */
static int writable(struct sim *sim, struct sim_file *f)
{
    if (f->error)
        return take_error(f);
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

ssize_t sim_stream_send(struct sim *sim, struct sim_file *f, const struct iovec *iov, size_t n)
{
    size_t left = length_of(iov, n), done = 0, room;
    int state;

    if (f->kind != FILE_STREAM)
        return f->error ? take_error(f) : -ENOTCONN;
    if (!(sim->flags & JD_SIM_NO_ERRORS) && f->peer && sim_fault(sim, 20))
        sim_file_break(sim, f);
    if (left > 0 && !(sim->flags & JD_SIM_NO_ERRORS) && sim_fault(sim, 50))
        return -ENOBUFS;
    state = writable(sim, f);
    if (state < 0)
        return state;
    if (!f->peer || f->peer->read_shut)
        return (ssize_t)left;
    room = f->peer->room_max - f->peer->len;
    left = shorten(sim, left < room ? left : room);
    for (size_t i = 0; i < n && left > 0; i++) {
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

int sim_stream_poll(const struct sim_file *f, short events)
{
    int wanted = (unsigned short)events | POLLERR | POLLHUP, ready = 0;

    if (f->kind == FILE_STREAM)
        ready = poll_stream(f);
    else if (f->kind == FILE_LISTENER)
        ready = f->backlog_count > 0 ? POLLIN : 0;
    else
        ready = POLLOUT | POLLHUP; /* as Linux has it for a socket that was never connected */
    return ready & wanted;
}

int sim_stream_shutdown(struct sim *sim, struct sim_file *f, int how)
{
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
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
