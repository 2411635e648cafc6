/* SPDX-License-Identifier: MIT */
/*
 * The calls on sockets: recv, send, accept, connect, shutdown.
 *
 * A send whose worker has nothing staged goes straight to send(2): there is no batch that it could
 * join, and a response that fits the socket's buffer is the common case. With other work staged it
 * joins the batch (architecture 15). A recv goes to the ring: usually nothing is there yet.
 * MSG_DONTWAIT asks for no more than the plain system call.
 *
 * The order of checks is the same in all of them: place and cancel, then arguments.
 * Threads: tasks.
 */
#include <errno.h>
#include <string.h>

#include <jackdaw/io.h>

#include "base/clock.h"
#include "io/op_wait.h"
#include "io/sys.h"

static bool nothing_staged(void)
{
    struct worker *w = worker_current();

    return !reactor_has_staged(w->rt->reactor, w->index);
}

ssize_t jd_recv(int fd, void *buf, size_t len, int flags)
{
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (!buf && len > 0)
        return -EINVAL;
    if (fd < 0)
        return -EBADF;
    if (flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) /* nor does recv(2) wait for an error */
        return sys_recv(fd, buf, len, flags);

    struct op_wait w = {
        .op = { .kind = OP_RECV, .fd = fd, .buf = buf, .len = len, .op_flags = flags }
    };

    return op_wait(task, &w, CLOCK_FOREVER);
}

static JD_NOINLINE ssize_t send_staged(struct jd_task *task, int fd, const void *buf, size_t len,
                                       int flags)
{
    /* The op's buffer is used both ways; a send only reads it. */
    struct op_wait w = { .op = { .kind = OP_SEND,
                                 .fd = fd,
                                 .buf = (void *)(uintptr_t)buf,
                                 .len = len,
                                 .op_flags = flags } };

    return op_wait(task, &w, CLOCK_FOREVER);
}

ssize_t jd_send(int fd, const void *buf, size_t len, int flags)
{
    struct jd_task *task;
    ssize_t sent;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (!buf && len > 0)
        return -EINVAL;
    if (fd < 0)
        return -EBADF;
    if ((flags & MSG_DONTWAIT) || nothing_staged()) {
        sent = sys_send(fd, buf, len, flags);
        if ((sent != -EAGAIN && sent != -EINTR) || (flags & MSG_DONTWAIT))
            return sent;
    }
    return send_staged(task, fd, buf, len, flags);
}

int jd_accept(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags)
{
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if ((addr && !addrlen) || (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)))
        return -EINVAL;
    if (fd < 0)
        return -EBADF;

    struct op_wait w = { .op = { .kind = OP_ACCEPT,
                                 .fd = fd,
                                 .addr = addr,
                                 .addrlen = addr ? addrlen : NULL,
                                 .op_flags = flags } };

    return op_wait(task, &w, CLOCK_FOREVER);
}

int jd_connect(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
    struct jd_task *task;
    struct sockaddr_storage copy; /* the caller's is const, and may be shared */
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (!addr || addrlen > sizeof(copy))
        return -EINVAL;
    if (fd < 0)
        return -EBADF;
    memcpy(&copy, addr, addrlen);

    struct op_wait w = { .op = { .kind = OP_CONNECT,
                                 .fd = fd,
                                 .addr = (struct sockaddr *)&copy,
                                 .addr_len = addrlen } };

    return op_wait(task, &w, CLOCK_FOREVER);
}

int jd_shutdown(int fd, int how)
{
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    return sys_shutdown(fd, how);
}

int jd_send_all(int fd, const void *buf, size_t len)
{
    const char *from = buf;
    ssize_t sent;

    do { /* also once for 0 bytes, so that a wrong place or a cancel is seen */
        sent = len > 0 ? jd_send(fd, from, len, 0) : jd_write(fd, from, 0);
        if (sent < 0)
            return (int)sent;
        if (sent == 0 && len > 0)
            return -EIO; /* no stream does this; going on would never end */
        if (sent > 0) {
            from += sent;
            len -= (size_t)sent;
        }
    } while (len > 0);
    return 0;
}
