/* SPDX-License-Identifier: MIT */
/*
 * Simulated datagram sockets: messages, as UDP and unix sockets have them. See net.h.
 *
 * UDP: a message that finds no room is lost, one that finds nobody is told to a connected sender at
 * its next call. Unix: reliable and in order; a sender waits for room. Faults: of UDP messages that
 * are lost, doubled or overtaken (none with JD_SIM_NO_ERRORS), and no buffers.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/alloc.h"
#include "sim/net.h"

#define MESSAGE_MAX 65507u /* of UDP over IPv4 */

struct sim_message {
    struct list link; /* of `messages` */
    struct address from;
    size_t len;
    char data[];
};

static struct sim_message *first_of(struct sim_file *f)
{
    return list_is_empty(&f->messages)
               ? NULL
               : JD_CONTAINER_OF(f->messages.next, struct sim_message, link);
}

/* --- Receiving ------------------------------------------------------------------------------ */

static void drop(struct sim_file *f, struct sim_message *m)
{
    list_del(&m->link);
    f->len -= m->len;
    mem_free(m, sizeof(*m) + m->len);
}

static size_t copy_out(const struct sim_message *m, const struct sim_transfer *t)
{
    size_t done = 0;

    for (size_t i = 0; i < t->count && done < m->len; i++) {
        size_t left = m->len - done;
        size_t part = t->iov[i].iov_len < left ? t->iov[i].iov_len : left;

        if (part > 0)
            memcpy(t->iov[i].iov_base, m->data + done, part);
        done += part;
    }
    return done;
}

/* Whoever waits for room: its socket is connected to this one, or has sent here by name. */
static void wake_senders(struct sim *sim)
{
    for (unsigned i = 0; i < sim->file_room; i++)
        if (sim->files[i] && sim->files[i]->kind == FILE_DATAGRAM)
            sim_file_wake(sim, sim->files[i]);
}

ssize_t sim_datagram_recv(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    struct sim_message *m = first_of(f);
    size_t done, len;

    if (f->error)
        return sim_take_error(f);
    if (!m) /* shut: as Linux has it, who would wait is told, and who would not is not */
        return f->read_shut && !(t->flags & MSG_DONTWAIT) ? 0 : -EAGAIN;
    done = copy_out(m, t);
    len = m->len;
    if (t->msg) {
        sim_name_out(&m->from, t->msg->msg_name, &t->msg->msg_namelen);
        t->msg->msg_controllen = 0;
        t->msg->msg_flags = done < len ? MSG_TRUNC : 0;
    }
    if (!(t->flags & MSG_PEEK)) {
        drop(f, m);
        if (f->family == AF_UNIX)
            wake_senders(sim);
    }
    return (ssize_t)(t->flags & MSG_TRUNC ? len : done);
}

/* --- Sending -------------------------------------------------------------------------------- */

static bool has_room(const struct sim_file *f, size_t len)
{
    return list_is_empty(&f->messages) || f->len + len <= f->room_max;
}

static bool hears(const struct sim_file *f, const struct address *from)
{
    return f->remote.len == 0 || sim_name_serves(&f->remote, from);
}

static void deliver(struct sim *sim, struct sim_file *to, const struct address *from,
                    const struct sim_transfer *t, size_t len)
{
    struct sim_message *m = sim_alloc(sim, sizeof(*m) + len), *last;
    size_t done = 0;

    m->from = *from;
    m->len = len;
    for (size_t i = 0; i < t->count; i++) {
        if (t->iov[i].iov_len > 0)
            memcpy(m->data + done, t->iov[i].iov_base, t->iov[i].iov_len);
        done += t->iov[i].iov_len;
    }
    last = list_is_empty(&to->messages)
               ? NULL
               : JD_CONTAINER_OF(to->messages.prev, struct sim_message, link);
    list_add_tail(&to->messages, &m->link);
    to->len += len;
    if (last && to->family != AF_UNIX && sim_has_errors(sim) && sim_fault(sim, 2)) {
        list_del(&last->link); /* the new one overtakes it */
        list_add_tail(&to->messages, &last->link);
    }
    sim_file_wake(sim, to);
}

/* A name that messages to `to` come from, and answers go to. */
static void take_name(struct sim *sim, struct sim_file *f, const struct address *to)
{
    if (f->bound || f->family == AF_UNIX)
        return;
    sim_name_towards(sim, NULL, to, &f->local);
    f->bound = true;
    list_add_tail(&sim->bound, &f->link);
}

static ssize_t send_unix(struct sim *sim, struct sim_file *f, struct sim_file *to,
                         const struct sim_transfer *t, size_t len)
{
    if (!to || !hears(to, &f->local))
        return to ? -EPERM : -ECONNREFUSED;
    if (to->read_shut)
        return -EPIPE;
    if (!has_room(to, len))
        return -EAGAIN;
    deliver(sim, to, &f->local, t, len);
    return (ssize_t)len;
}

static ssize_t send_udp(struct sim *sim, struct sim_file *f, const struct address *dest,
                        const struct sim_transfer *t, size_t len)
{
    struct sim_file *to = sim_find(sim, dest, FILE_DATAGRAM);
    struct address from;
    unsigned copies = 1;

    take_name(sim, f, dest);
    sim_name_towards(sim, &f->local, dest, &from);
    if (!to || to->family != f->family || !hears(to, &from)) {
        if (f->remote.len > 0)
            f->error = -ECONNREFUSED; /* an ICMP message said so */
        sim_file_wake(sim, f);
        return (ssize_t)len;
    }
    if (sim_has_errors(sim) && sim_fault(sim, 4))
        copies = sim_percent(sim, 50) ? 0 : 2;
    for (; copies > 0; copies--)
        if (has_room(to, len)) /* also when it was shut for reading */
            deliver(sim, to, &from, t, len);
    return (ssize_t)len;
}

ssize_t sim_datagram_send(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    struct address dest = f->remote;
    size_t len = sim_bytes(t);
    int error;

    if (f->error)
        return sim_take_error(f);
    if (f->write_shut)
        return -EPIPE;
    if (len > MESSAGE_MAX)
        return -EMSGSIZE;
    if (sim_has_errors(sim) && sim_fault(sim, 50))
        return -ENOBUFS;
    if (t->msg && t->msg->msg_name) {
        error = sim_name_in(&dest, t->msg->msg_name, t->msg->msg_namelen, f->family);
        if (error < 0)
            return error;
        if (f->family == AF_UNIX)
            return send_unix(sim, f, sim_find(sim, &dest, FILE_DATAGRAM), t, len);
    } else if (f->family == AF_UNIX && f->remote.len > 0) {
        struct sim_file *to = f->peer ? f->peer : sim_find(sim, &dest, FILE_DATAGRAM);

        if (!to)
            f->remote.len = 0; /* it has gone: told once */
        return send_unix(sim, f, to, t, len);
    }
    if (dest.len == 0)
        return f->family == AF_UNIX ? -ENOTCONN : -EDESTADDRREQ;
    return send_udp(sim, f, &dest, t, len);
}

/* --- The rest ------------------------------------------------------------------------------- */

int sim_datagram_poll(const struct sim_file *f)
{
    int ready = POLLOUT;

    if (f->family == AF_UNIX && f->peer && !has_room(f->peer, 1))
        ready = 0;
    if (!list_is_empty(&f->messages) || f->read_shut)
        ready |= POLLIN;
    if (f->read_shut)
        ready |= POLLRDHUP;
    if (f->read_shut && f->write_shut)
        ready |= POLLHUP;
    return f->error ? ready | POLLERR : ready;
}

int sim_datagram_shutdown(struct sim *sim, struct sim_file *f, int how)
{
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    f->read_shut |= how != SHUT_WR;
    f->write_shut |= how != SHUT_RD;
    sim_file_wake(sim, f);
    if (f->family == AF_UNIX)
        wake_senders(sim);
    /* As Linux has it: an error, and shut all the same. */
    return f->family != AF_UNIX && f->remote.len == 0 ? -ENOTCONN : 0;
}

int sim_datagram_connect(struct sim *sim, struct sim_file *f, const struct sockaddr *addr,
                         socklen_t len)
{
    struct address to;
    int error;

    if (addr && len >= sizeof(sa_family_t) && addr->sa_family == AF_UNSPEC) {
        f->remote.len = 0;
        return 0;
    }
    error = sim_name_in(&to, addr, len, f->family);
    if (error < 0)
        return error;
    if (f->family == AF_UNIX && !sim_find(sim, &to, FILE_DATAGRAM))
        return -ECONNREFUSED;
    f->remote = to;
    take_name(sim, f, &to);
    return 0;
}

void sim_datagram_pair(struct sim_file *a, struct sim_file *b)
{
    sim_stream_pair(a, b);
    a->kind = b->kind = FILE_DATAGRAM;
}

void sim_datagram_end(struct sim *sim, struct sim_file *f)
{
    struct sim_message *m;

    while ((m = first_of(f)))
        drop(f, m);
    if (f->kind == FILE_DATAGRAM && f->family == AF_UNIX)
        wake_senders(sim);
}
