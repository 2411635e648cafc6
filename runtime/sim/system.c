/* SPDX-License-Identifier: MIT */
/*
 * Simulated files behind ops and behind the calls of io/sys.h. See net.h.
 *
 * A descriptor below SIM_FD_BASE is a real one: using it is an escape, which is reported, and fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "io/op_wait.h"
#include "io/sys.h"
#include "sim/net.h"

/* --- Ops ------------------------------------------------------------------------------------ */

static ssize_t file_read(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    if (t->for_socket && !sim_is_socket(f))
        return -ENOTSOCK;
    if (f->kind == FILE_DISK)
        return sim_disk_read(sim, f, t);
    if (t->offset != OP_FILE_POSITION)
        return -ESPIPE;
    if (f->kind == FILE_PIPE_READ || f->kind == FILE_PIPE_WRITE)
        return sim_pipe_read(sim, f, t);
    if (f->kind == FILE_DATAGRAM)
        return sim_datagram_recv(sim, f, t);
    return sim_stream_recv(sim, f, t);
}

static ssize_t file_write(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    if (t->for_socket && !sim_is_socket(f))
        return -ENOTSOCK;
    if (f->kind == FILE_DISK)
        return sim_disk_write(sim, f, t);
    if (t->offset != OP_FILE_POSITION)
        return -ESPIPE;
    if (f->kind == FILE_PIPE_READ || f->kind == FILE_PIPE_WRITE)
        return sim_pipe_write(sim, f, t);
    if (f->kind == FILE_DATAGRAM)
        return sim_datagram_send(sim, f, t);
    return sim_stream_send(sim, f, t);
}

/* As poll(2) answers: what was asked for, and what is told always. */
static int file_poll(const struct sim_file *f, short events)
{
    int wanted = (unsigned short)events | POLLERR | POLLHUP, ready;

    if (f->kind == FILE_DISK)
        ready = POLLIN | POLLOUT;
    else if (f->kind == FILE_PIPE_READ || f->kind == FILE_PIPE_WRITE)
        ready = sim_pipe_poll(f);
    else if (f->kind == FILE_DATAGRAM)
        ready = sim_datagram_poll(f);
    else
        ready = sim_stream_poll(f);
    return ready & wanted;
}

static int file_sync(struct sim *sim, struct sim_file *f)
{
    return f->kind == FILE_DISK ? sim_disk_sync(sim, f) : -EINVAL;
}

static struct sim_transfer transfer_of(const struct op *op, struct iovec *one)
{
    struct sim_transfer t = { .iov = one, .count = 1, .offset = OP_FILE_POSITION };

    *one = (struct iovec){ .iov_base = op->buf, .iov_len = op->len };
    if (op->kind == OP_READV || op->kind == OP_WRITEV) {
        t.iov = op->buf;
        t.count = op->len;
    }
    if (op->kind == OP_RECVMSG || op->kind == OP_SENDMSG) {
        t.msg = op->buf;
        t.iov = t.msg->msg_iov;
        t.count = t.msg->msg_iovlen;
    }
    t.for_socket = t.msg || op->kind == OP_RECV || op->kind == OP_SEND;
    if (t.for_socket)
        t.flags = op->op_flags;
    else
        t.offset = op->offset;
    return t;
}

static ssize_t try_transfer(struct sim *sim, struct sim_file *f, const struct op *op)
{
    struct iovec one;
    struct sim_transfer t = transfer_of(op, &one);

    switch (op->kind) {
    case OP_SEND:
    case OP_SENDMSG:
    case OP_WRITE:
    case OP_WRITEV:
        return file_write(sim, f, &t);
    default:
        return file_read(sim, f, &t);
    }
}

static int try_op(struct sim *sim, struct sim_file *f, struct op *op)
{
    int ready;

    switch (op->kind) {
    case OP_ACCEPT:
        return sim_is_socket(f) ? sim_accept(sim, f, op->addr, op->addrlen) : -ENOTSOCK;
    case OP_CONNECT:
        return sim_is_socket(f) ? sim_connect(sim, f, op->addr, op->addr_len) : -ENOTSOCK;
    case OP_POLL:
        ready = file_poll(f, op->events);
        return ready ? ready : -EAGAIN;
    case OP_FSYNC:
        return file_sync(sim, f);
    default:
        return (int)try_transfer(sim, f, op);
    }
}

int sim_net_try(struct sim *sim, struct op *op)
{
    struct sim_file *f = sim_file_of(sim, op->fd);
    int result = f ? try_op(sim, f, op) : -EBADF;

    if (op->fd < SIM_FD_BASE)
        sim_report_descriptor(sim, task_of_target(JD_CONTAINER_OF(op, struct op_wait, op)->target),
                              sim_op_name(op->kind), op->fd);

    if (result == -EAGAIN)
        list_add_tail(&f->waiting, &op->port_link);
    return result;
}

void sim_net_leave(struct sim *sim, struct op *op)
{
    (void)sim;
    list_del(&op->port_link);
}

/* --- Calls ---------------------------------------------------------------------------------- */

/* NULL: not open. A real one is reported. */
static struct sim_file *file_of(struct sim *sim, int fd, const char *call)
{
    if (fd < SIM_FD_BASE)
        sim_report_descriptor(sim, task_current(), call, fd);
    return sim_file_of(sim, fd);
}

#define FILE_OF(fd, call) \
    struct sim *sim = sim_current(); \
    struct sim_file *f = file_of(sim, fd, call); \
    if (!f) \
    return -EBADF

#define SOCKET_OF(fd, call) \
    FILE_OF(fd, call); \
    if (!sim_is_socket(f)) \
    return -ENOTSOCK

static int call_socket(int domain, int type, int protocol)
{
    int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct sim *sim = sim_current();
    struct sim_file *f;

    (void)protocol;
    if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
        return -EAFNOSUPPORT;
    if (kind != SOCK_STREAM && kind != SOCK_DGRAM)
        return -EPROTONOSUPPORT;
    f = sim_file_new(sim, domain);
    f->kind = kind == SOCK_DGRAM ? FILE_DATAGRAM : FILE_SOCKET;
    return sim_file_number(sim, f);
}

static int call_set_option(int fd, int level, int name, int value)
{
    SOCKET_OF(fd, "setsockopt");
    (void)level, (void)name, (void)value;
    return 0;
}

static int call_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    SOCKET_OF(fd, "bind");
    return sim_bind(sim, f, addr, len);
}

static int call_listen(int fd, int backlog)
{
    SOCKET_OF(fd, "listen");
    return sim_listen(sim, f, backlog);
}

static int call_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    SOCKET_OF(fd, "connect");
    return sim_connect(sim, f, addr, len);
}

static int call_local_name(int fd, struct sockaddr *addr, socklen_t *len)
{
    SOCKET_OF(fd, "getsockname");
    sim_name_out(&f->local, addr, len);
    return 0;
}

static int call_peer_name(int fd, struct sockaddr *addr, socklen_t *len)
{
    SOCKET_OF(fd, "getpeername");
    if (f->kind == FILE_DATAGRAM ? f->remote.len == 0 : f->kind != FILE_STREAM || f->broken)
        return -ENOTCONN;
    sim_name_out(&f->remote, addr, len);
    return 0;
}

static int call_shutdown(int fd, int how)
{
    SOCKET_OF(fd, "shutdown");
    if (f->kind == FILE_DATAGRAM)
        return sim_datagram_shutdown(sim, f, how);
    return sim_stream_shutdown(sim, f, how);
}

static int call_close(int fd)
{
    return sim_net_close(sim_current(), fd);
}

static int call_unlink(const char *path)
{
    (void)path;
    return -ENOENT; /* a name goes with its listener */
}

static bool call_is_socket_file(const char *path)
{
    (void)path;
    return false;
}

static ssize_t call_recv(int fd, void *buf, size_t len, int flags)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    FILE_OF(fd, "recv");

    return file_read(sim, f,
                     &(struct sim_transfer){ .iov = &iov,
                                             .count = 1,
                                             .offset = OP_FILE_POSITION,
                                             .flags = flags,
                                             .for_socket = true });
}

static ssize_t call_send(int fd, const void *buf, size_t len, int flags)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len }; /* only read */
    FILE_OF(fd, "send");

    return file_write(sim, f,
                      &(struct sim_transfer){ .iov = &iov,
                                              .count = 1,
                                              .offset = OP_FILE_POSITION,
                                              .flags = flags,
                                              .for_socket = true });
}

static int call_poll_now(int fd, short events)
{
    FILE_OF(fd, "poll");
    return file_poll(f, events);
}

static int call_status_flags(int fd)
{
    FILE_OF(fd, "fcntl");
    return f->access | O_NONBLOCK;
}

static const struct io_system simulated = {
    .socket = call_socket,
    .set_option = call_set_option,
    .bind = call_bind,
    .listen = call_listen,
    .connect = call_connect,
    .local_name = call_local_name,
    .peer_name = call_peer_name,
    .shutdown = call_shutdown,
    .close = call_close,
    .unlink = call_unlink,
    .is_socket_file = call_is_socket_file,
    .recv = call_recv,
    .send = call_send,
    .poll_now = call_poll_now,
    .status_flags = call_status_flags,
};

void sim_system_install(void)
{
    sys_replace(&simulated);
}

void sim_system_remove(void)
{
    sys_replace(NULL);
}
