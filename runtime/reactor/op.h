/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_OP_H
#define REACTOR_OP_H

/*
 * One asynchronous operation on a file descriptor.
 *
 * I1  The record lives (usually on the caller's stack) from reactor_submit() == 0 until complete()
 *     was called. What it points to (buf, addr, addrlen) is lent to the kernel for that time.
 * I2  complete() is called exactly once, after the operation's last completion: nothing in the
 *     kernel refers to the record or its buffers any more.
 * I3  A submitted op is on the list of its fd slot until it is finished, so that a close finds it.
 *
 * complete() may be called before reactor_submit() returns, by any thread which reaps or closes,
 * with no lock held; it must be short and must not suspend. The record may be gone afterwards.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

#include "atomic/atomic.h"
#include "base/list.h"
#include "queue/job.h"

enum op_kind {
    OP_RECV,    /* buf, len, op_flags: MSG_* */
    OP_SEND,    /* buf, len, op_flags: MSG_*; MSG_NOSIGNAL is implied */
    OP_READ,    /* buf, len, offset */
    OP_WRITE,   /* buf, len, offset */
    OP_READV,   /* buf: struct iovec[len], offset */
    OP_WRITEV,  /* buf: struct iovec[len], offset */
    OP_RECVMSG, /* buf: struct msghdr, op_flags: MSG_* */
    OP_SENDMSG, /* buf: struct msghdr, op_flags: MSG_*; MSG_NOSIGNAL is implied */
    OP_ACCEPT,  /* addr and addrlen (may be NULL), op_flags: SOCK_*; result: the new fd */
    OP_CONNECT, /* addr, addr_len */
    OP_POLL,    /* events: POLL*; result: what is ready */
    OP_FSYNC,   /* op_flags: 1 for data only */
    OP_KIND_COUNT
};

#define OP_FILE_POSITION (-1) /* `offset`: use and move the file's own position */

struct fd_slot;
struct reactor;

struct op {
    /* Set by the caller before reactor_submit(). */
    void (*complete)(struct op *op);
    uint8_t kind; /* enum op_kind */
    short events;
    int fd;
    void *buf;
    size_t len;
    int64_t offset;
    struct sockaddr *addr;
    socklen_t *addrlen;
    socklen_t addr_len;
    int op_flags;

    /* Set before complete(): bytes, new fd, ready events or 0; else a negative errno. */
    int result;

    /* Private to the reactor. `slot` and `port` are constant from admission on. */
    struct fd_slot *slot;
    struct list fd_link;      /* slot lock: all ops in flight on this fd */
    struct list port_link;    /* uring: submit lock, FIFO or cancel list; epoll: reaper's list */
    unsigned port;            /* index of the port it was submitted to */
    uint16_t generation;      /* uring: of the latest SQE, upper bits of its user_data */
    uint8_t state;            /* uring: submit lock; epoll: slot lock */
    uint8_t stage;            /* uring: what the SQE in flight does; whoever reaped it */
    uint8_t restaged;         /* uring: times it was issued and ended without a result */
    uint8_t direction;        /* epoll: constant after submission */
    JD_ATOMIC(uint8_t) asked; /* OP_ASKED_*; written under the lock that guards `state` */
    /* epoll: of a file's op, which goes to a thread that may block. */
    int moved; /* bytes that the attempt without blocking has moved; the rest is in buf and len */
    struct reactor *reactor;
    struct job job;
};

enum {
    OP_ASKED_CANCEL = 1, /* by reactor_cancel() */
    OP_ASKED_CLOSE = 2   /* by reactor_close() */
};

/*
 * Where a call that waits answers at once, the same call without blocking goes on saying -EAGAIN:
 * datagram sockets and unix listeners that were shut for reading (Linux; poll(2) says POLLRDHUP).
 * So after an event with that bit, a try which still says -EAGAIN is the end, with this result.
 */
static inline int op_result_when_shut(const struct op *op)
{
    return op->kind == OP_ACCEPT ? -EINVAL : 0;
}

#endif /* REACTOR_OP_H */
