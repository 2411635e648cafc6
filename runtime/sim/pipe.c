/* SPDX-License-Identifier: MIT */
/*
 * Simulated pipes: bytes one way, with the promise of PIPE_BUF. See net.h.
 *
 * The read end holds the bytes; each end is the other's peer. Faults: short reads, and short writes
 * of more than PIPE_BUF bytes, which is all that a pipe may do wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>

#include "sim/net.h"

ssize_t sim_pipe_read(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    size_t left = sim_bytes(t), done = 0;

    if (f->kind != FILE_PIPE_READ)
        return -EBADF;
    if (left == 0)
        return 0;
    if (f->len == 0)
        return f->peer ? -EAGAIN : 0;
    left = sim_shorten(sim, left < f->len ? left : f->len);
    for (size_t i = 0; i < t->count && left > 0; i++) {
        size_t part = t->iov[i].iov_len < left ? t->iov[i].iov_len : left;

        sim_file_take(f, t->iov[i].iov_base, part, false);
        done += part;
        left -= part;
    }
    if (f->peer)
        sim_file_wake(sim, f->peer);
    return (ssize_t)done;
}

ssize_t sim_pipe_write(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    size_t left = sim_bytes(t), done = 0, room;

    if (f->kind != FILE_PIPE_WRITE)
        return -EBADF;
    if (left == 0)
        return 0;
    if (!f->peer)
        return -EPIPE;
    room = f->peer->room_max - f->peer->len;
    if (room == 0 || (left <= PIPE_BUF && room < left))
        return -EAGAIN; /* up to PIPE_BUF: all or nothing */
    if (left > PIPE_BUF)
        left = sim_shorten(sim, left < room ? left : room);
    for (size_t i = 0; i < t->count && left > 0; i++) {
        size_t part = t->iov[i].iov_len < left ? t->iov[i].iov_len : left;

        sim_file_put(sim, f->peer, t->iov[i].iov_base, part);
        done += part;
        left -= part;
    }
    sim_file_wake(sim, f->peer);
    return (ssize_t)done;
}

int sim_pipe_poll(const struct sim_file *f)
{
    if (f->kind == FILE_PIPE_READ)
        return (f->len > 0 ? POLLIN : 0) | (f->peer ? 0 : POLLHUP);
    if (!f->peer)
        return POLLOUT | POLLERR;
    return f->peer->room_max - f->peer->len >= PIPE_BUF ? POLLOUT : 0;
}

void sim_pipe_pair(struct sim_file *read_end, struct sim_file *write_end)
{
    read_end->kind = FILE_PIPE_READ;
    read_end->access = O_RDONLY;
    write_end->kind = FILE_PIPE_WRITE;
    write_end->access = O_WRONLY;
    read_end->peer = write_end;
    write_end->peer = read_end;
    if (read_end->room_max < PIPE_BUF)
        read_end->room_max = PIPE_BUF; /* else PIPE_BUF bytes would never fit */
}
