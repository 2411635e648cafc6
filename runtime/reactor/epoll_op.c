/* SPDX-License-Identifier: MIT */
/*
 * Attempts at ops without blocking and without changing the user's O_NONBLOCK:
 *
 *   sockets           recv, send, recvmsg, sendmsg with MSG_DONTWAIT
 *   files             RWF_NOWAIT: what is in memory. Else the plain call, on a thread that may block
 *                     for as long as the disk takes (epoll_file.c).
 *   pipes, ttys, ...  preadv2 and pwritev2 with RWF_NOWAIT; where the file refuses that: poll(2)
 *                     first, then the plain call, writes at most PIPE_BUF at a time, to a
 *                     terminal single bytes: it says "ready" when there is room for one. That may
 *                     block if another process takes the data or the room in between.
 *   accept            a blocking listener is polled first; only one thread at a time accepts on a
 *                     descriptor (fd_slot.running), so only another process could make it block
 *   connect           O_NONBLOCK is set around connect(2) and restored. A unix socket whose peer's
 *                     backlog is full gives -EAGAIN to the caller: nothing tells when to retry.
 *
 * Stateless but for op->stage; whoever holds the op in state RUNNING may enter.
 */
#include "reactor/epoll_op.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mark.h"

#define LEN_MAX 0x7ffff000u /* what read(2) moves at most; results are int */
#define TERMINAL_BYTES 256  /* in one attempt, two system calls each; arbitrary */

enum fd_direction epoll_op_direction(const struct op *op)
{
    switch (op->kind) {
    case OP_POLL:
        return FD_ANY;
    case OP_SEND:
    case OP_SENDMSG:
    case OP_WRITE:
    case OP_WRITEV:
    case OP_CONNECT:
        return FD_OUT;
    default:
        return FD_IN;
    }
}

static bool is_transfer(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_WRITE || op->kind == OP_READV ||
           op->kind == OP_WRITEV;
}

int epoll_op_is_file(const struct op *op)
{
    int class;

    if (op->kind == OP_FSYNC)
        return true;
    if (!is_transfer(op))
        return false;
    class = fd_classify(op->fd);
    return class < 0 ? class : class == FD_CLASS_FILE;
}

bool epoll_op_may_wait(const struct op *op)
{
    switch (op->kind) {
    case OP_RECV:
    case OP_SEND:
    case OP_RECVMSG:
    case OP_SENDMSG:
        return !(op->op_flags & MSG_DONTWAIT);
    case OP_CONNECT:
        return op->stage == EPOLL_CONNECTING;
    default:
        return true;
    }
}

static int is_ready(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };
    int ret = poll(&p, 1, 0);

    return ret < 0 ? -errno : ret > 0 ? (int)(unsigned short)p.revents : -EAGAIN;
}

static int outcome(ssize_t ret)
{
    return ret < 0 ? -errno : (int)ret;
}

static bool is_write(const struct op *op)
{
    return op->kind == OP_WRITE || op->kind == OP_WRITEV;
}

static ssize_t move(const struct op *op, const struct iovec *iov, int count, int flags)
{
    return is_write(op) ? pwritev2(op->fd, iov, count, op->offset, flags)
                        : preadv2(op->fd, iov, count, op->offset, flags);
}

/* Bytes that went out before the terminal had no room, or why none did. */
static int write_terminal(const struct op *op, const struct iovec *iov)
{
    struct iovec byte = { .iov_base = iov->iov_base, .iov_len = 1 };
    int done = 0, ret = 1;

    for (; ret > 0 && (size_t)done < iov->iov_len && done<TERMINAL_BYTES; done += ret> 0) {
        ret = is_ready(op->fd, POLLOUT);
        if (ret > 0)
            ret = outcome(move(op, &byte, 1, 0));
        byte.iov_base = (char *)byte.iov_base + 1;
    }
    return done > 0 ? done : ret;
}

/* The file knows no RWF_NOWAIT. */
static int move_when_ready(const struct op *op, const struct iovec *iov, int count)
{
    struct iovec part = iov[0];
    int ready = is_ready(op->fd, is_write(op) ? POLLOUT : POLLIN);

    MARK(POLLED_FIRST);
    if (ready < 0)
        return ready;
    if (!is_write(op))
        return outcome(move(op, iov, count, 0));
    if (part.iov_len > 1 && isatty(op->fd))
        return write_terminal(op, &part);
    if (part.iov_len > PIPE_BUF)
        part.iov_len = PIPE_BUF;
    return outcome(move(op, &part, 1, 0));
}

static int try_transfer(const struct op *op)
{
    struct iovec one = { .iov_base = op->buf, .iov_len = op->len > LEN_MAX ? LEN_MAX : op->len };
    bool vector = op->kind == OP_READV || op->kind == OP_WRITEV;
    struct iovec *iov = vector ? op->buf : &one;
    int class = fd_classify(op->fd), count = vector ? (int)op->len : 1, ret;

    if (class < 0)
        return class;
    if (class == FD_CLASS_FILE || count <= 0)
        return outcome(move(op, iov, count, 0));
    if (class == FD_CLASS_SOCKET && is_write(op)) { /* no SIGPIPE */
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)count };

        return outcome(sendmsg(op->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    ret = outcome(move(op, iov, count, RWF_NOWAIT));
    return ret == -EOPNOTSUPP ? move_when_ready(op, iov, count) : ret;
}

/* Nothing to accept will ever come: why, as accept(2) says it. -EAGAIN: it listens. */
static int not_listening(int fd)
{
    int listening = 0, type = 0;
    socklen_t len = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
        return -errno; /* no socket */
    if (listening)
        return -EAGAIN;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -errno;
    return type == SOCK_STREAM || type == SOCK_SEQPACKET ? -EINVAL : -EOPNOTSUPP;
}

static int try_accept(const struct op *op)
{
    int flags = fcntl(op->fd, F_GETFL);

    if (flags < 0)
        return -errno;
    if (!(flags & O_NONBLOCK)) {
        int ready = is_ready(op->fd, POLLIN);

        if (ready == -EAGAIN)
            return not_listening(op->fd);
        if (ready < 0)
            return ready;
    }
    return outcome(accept4(op->fd, op->addr, op->addrlen, op->op_flags));
}

static int start_connect(struct op *op)
{
    int flags = fcntl(op->fd, F_GETFL), ret;

    if (flags < 0)
        return -errno;
    if (!(flags & O_NONBLOCK) && fcntl(op->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    ret = outcome(connect(op->fd, op->addr, op->addr_len));
    if (!(flags & O_NONBLOCK) && fcntl(op->fd, F_SETFL, flags) < 0)
        return -errno;
    if (ret != -EINPROGRESS && ret != -EINTR)
        return ret;
    op->stage = EPOLL_CONNECTING; /* an interrupted connect goes on by itself, too */
    return -EAGAIN;
}

static int try_connect(struct op *op)
{
    socklen_t len = sizeof(int);
    int ready, error = 0;

    if (op->stage == EPOLL_FIRST)
        return start_connect(op);
    ready = is_ready(op->fd, POLLOUT);
    if (ready < 0)
        return ready;
    if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return -errno;
    return -error;
}

static int try_poll(const struct op *op)
{
    int ready = is_ready(op->fd, op->events);

    return ready > 0 && (ready & POLLNVAL) ? -EBADF : ready;
}

static int try_socket(const struct op *op)
{
    size_t len = op->len > LEN_MAX ? LEN_MAX : op->len;
    int flags = op->op_flags | MSG_DONTWAIT;

    switch (op->kind) {
    case OP_RECV:
        return outcome(recv(op->fd, op->buf, len, flags));
    case OP_SEND:
        return outcome(send(op->fd, op->buf, len, flags | MSG_NOSIGNAL));
    case OP_RECVMSG:
        return outcome(recvmsg(op->fd, op->buf, flags));
    default:
        return outcome(sendmsg(op->fd, op->buf, flags | MSG_NOSIGNAL));
    }
}

static int try_once(struct op *op)
{
    switch (op->kind) {
    case OP_RECV:
    case OP_SEND:
    case OP_RECVMSG:
    case OP_SENDMSG:
        return try_socket(op);
    case OP_ACCEPT:
        return try_accept(op);
    case OP_CONNECT:
        return try_connect(op);
    case OP_POLL:
        return try_poll(op);
    case OP_FSYNC:
        return outcome(op->op_flags ? fdatasync(op->fd) : fsync(op->fd));
    default:
        return try_transfer(op);
    }
}

int epoll_op_try(struct op *op)
{
    int ret;

    do { /* bounded by signals */
        ret = try_once(op);
    } while (ret == -EINTR);
    return ret;
}

/* --- Files --------------------------------------------------------------------------------------- */

/* After a read of fewer bytes than asked for: because there are no more? */
static bool is_at_end(const struct op *op, int moved)
{
    struct stat st;
    off_t position =
        op->offset == OP_FILE_POSITION ? lseek(op->fd, 0, SEEK_CUR) : (off_t)op->offset + moved;

    return fstat(op->fd, &st) == 0 && S_ISREG(st.st_mode) && position >= st.st_size;
}

int epoll_op_try_now(struct op *op)
{
    struct iovec all = { .iov_base = op->buf, .iov_len = op->len > LEN_MAX ? LEN_MAX : op->len };
    int ret;

    if (op->kind != OP_READ && op->kind != OP_WRITE)
        return -EAGAIN;
    ret = outcome(move(op, &all, 1, RWF_NOWAIT));
    if (ret < 0) /* not in memory, not supported, or an error that the real attempt will tell */
        return -EAGAIN;
    if (ret == 0 || (size_t)ret == all.iov_len || (!is_write(op) && is_at_end(op, ret)))
        return ret;
    op->moved = ret;
    op->buf = (char *)op->buf + ret;
    op->len -= (size_t)ret;
    if (op->offset != OP_FILE_POSITION)
        op->offset += ret;
    return -EAGAIN;
}

int epoll_op_do(struct op *op)
{
    int ret = epoll_op_try(op);

    if (op->moved == 0)
        return ret;
    return ret < 0 ? op->moved : op->moved + ret; /* an error after some bytes is the next call's */
}
