/* SPDX-License-Identifier: MIT */
/*
 * The simulated network behind ops and behind the calls of io/sys.h. See net.h.
 *
 * A descriptor below SIM_FD_BASE is a real one: using it is an escape, which is reported, and fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

#include "io/op_wait.h"
#include "io/sys.h"
#include "sim/net.h"

/* --- Ops ------------------------------------------------------------------------------------ */

static ssize_t try_transfer(struct sim *sim, struct sim_file *f, struct op *op)
{
    struct iovec one = { .iov_base = op->buf, .iov_len = op->len };
    struct msghdr *msg = op->buf;

    switch (op->kind) {
    case OP_RECV:
        return sim_stream_recv(sim, f, &one, 1, op->op_flags);
    case OP_READ:
        return sim_stream_recv(sim, f, &one, 1, 0);
    case OP_READV:
        return sim_stream_recv(sim, f, op->buf, op->len, 0);
    case OP_RECVMSG:
        msg->msg_namelen = 0;
        msg->msg_controllen = 0;
        msg->msg_flags = 0;
        return sim_stream_recv(sim, f, msg->msg_iov, msg->msg_iovlen, op->op_flags);
    case OP_SEND:
    case OP_WRITE:
        return sim_stream_send(sim, f, &one, 1);
    case OP_WRITEV:
        return sim_stream_send(sim, f, op->buf, op->len);
    case OP_SENDMSG:
        return sim_stream_send(sim, f, msg->msg_iov, msg->msg_iovlen);
    default:
        return -EINVAL; /* sockets cannot do it */
    }
}

static int try_op(struct sim *sim, struct sim_file *f, struct op *op)
{
    int ready;

    switch (op->kind) {
    case OP_ACCEPT:
        return sim_accept(sim, f, op->addr, op->addrlen);
    case OP_CONNECT:
        return sim_connect(sim, f, op->addr, op->addr_len);
    case OP_POLL:
        ready = sim_stream_poll(f, op->events);
        return ready ? ready : -EAGAIN;
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

static int call_socket(int domain, int type, int protocol)
{
    struct sim *sim = sim_current();

    (void)protocol;
    if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
        return -EAFNOSUPPORT;
    if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM)
        return -EPROTONOSUPPORT;
    return sim_file_number(sim, sim_file_new(sim, domain));
}

static int call_set_option(int fd, int level, int name, int value)
{
    FILE_OF(fd, "setsockopt");
    (void)level, (void)name, (void)value;
    return 0;
}

static int call_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    FILE_OF(fd, "bind");
    return sim_bind(sim, f, addr, len);
}

static int call_listen(int fd, int backlog)
{
    FILE_OF(fd, "listen");
    return sim_listen(sim, f, backlog);
}

static int call_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    FILE_OF(fd, "connect");
    return sim_connect(sim, f, addr, len);
}

static int call_local_name(int fd, struct sockaddr *addr, socklen_t *len)
{
    FILE_OF(fd, "getsockname");
    sim_name_out(&f->local, addr, len);
    return 0;
}

static int call_peer_name(int fd, struct sockaddr *addr, socklen_t *len)
{
    FILE_OF(fd, "getpeername");
    if (f->kind != FILE_STREAM || f->broken)
        return -ENOTCONN;
    sim_name_out(&f->remote, addr, len);
    return 0;
}

static int call_shutdown(int fd, int how)
{
    FILE_OF(fd, "shutdown");
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

    return sim_stream_recv(sim, f, &iov, 1, flags);
}

static ssize_t call_send(int fd, const void *buf, size_t len, int flags)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len }; /* only read */
    FILE_OF(fd, "send");

    (void)flags;
    return sim_stream_send(sim, f, &iov, 1);
}

static int call_poll_now(int fd, short events)
{
    FILE_OF(fd, "poll");
    return sim_stream_poll(f, events);
}

static int call_status_flags(int fd)
{
    FILE_OF(fd, "fcntl");
    (void)f;
    return O_RDWR | O_NONBLOCK;
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
