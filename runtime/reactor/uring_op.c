/* SPDX-License-Identifier: MIT */
/*
 * Translation between ops and io_uring. See uring_op.h. No state but the op's own: whoever has
 * reaped the op's CQE, or stages its SQE under the submit lock, has the op to itself.
 */
#include "reactor/uring_op.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/mark.h"
#include "reactor/fd_table.h"

#define CONNECT_TRIES_MAX 8 /* arbitrary; two are needed for TCP */
#define LEN_MAX 0x7ffff000u /* what read(2) moves at most */

static bool is_transfer(uint8_t kind)
{
    return kind == OP_READ || kind == OP_WRITE || kind == OP_READV || kind == OP_WRITEV;
}

static bool is_write(const struct op *op)
{
    return op->kind == OP_WRITE || op->kind == OP_WRITEV;
}

/*
 * Cached for reads, where a stale class (the user called close(2)) costs time only. A write asks
 * each time: a socket must go by send, for the sake of SIGPIPE, and nothing else may.
 */
static int class_of(struct op *op)
{
    int class = atom_load(&op->slot->class_hint, relaxed); /* Relaxed: a hint. */

    if (class == FD_CLASS_UNKNOWN || is_write(op)) {
        class = fd_classify(op->fd);
        if (class < 0)
            return FD_CLASS_UNKNOWN; /* the kernel will tell what is wrong */
        atom_store(&op->slot->class_hint, (uint8_t) class, relaxed);
    }
    return class;
}

void uring_op_start(struct op *op)
{
    /* The wrong end of a pipe goes directly: the kernel answers -EBADF where a poll would hang. */
    bool wait_first =
        is_transfer(op->kind) && class_of(op) >= FD_CLASS_STREAM && fd_allows(op->fd, is_write(op));

    op->stage = wait_first ? URING_READY : URING_DIRECT;
    /* The kernel wants a file before it looks at the queue, so no connection is taken. */
    if (op->kind == OP_ACCEPT && fault_hit(FAULT_NFILE))
        op->stage = URING_NFILE;
}

static unsigned readiness(const struct op *op)
{
    switch (op->kind) {
    case OP_SEND:
    case OP_SENDMSG:
    case OP_WRITE:
    case OP_WRITEV:
    case OP_CONNECT:
        return POLLOUT;
    default:
        return POLLIN | POLLRDHUP;
    }
}

static unsigned bounded(size_t len)
{
    return len > LEN_MAX ? LEN_MAX : (unsigned)len;
}

static void prepare_transfer(const struct op *op, struct io_uring_sqe *sqe)
{
    unsigned len = bounded(op->len);
    uint64_t offset = (uint64_t)op->offset;

    switch (op->kind) {
    case OP_READ:
        io_uring_prep_read(sqe, op->fd, op->buf, len, offset);
        break;
    case OP_WRITE:
        /* A socket by send, which can be told not to raise SIGPIPE. Relaxed: a hint. */
        if (atom_load(&op->slot->class_hint, relaxed) == FD_CLASS_SOCKET)
            io_uring_prep_send(sqe, op->fd, op->buf, len, MSG_NOSIGNAL);
        else
            io_uring_prep_write(sqe, op->fd, op->buf, len, offset);
        break;
    case OP_READV:
        io_uring_prep_readv(sqe, op->fd, op->buf, len, offset);
        break;
    default:
        io_uring_prep_writev(sqe, op->fd, op->buf, len, offset);
        break;
    }
    /* A terminal without room blocks who submits a write, so a thread of the kernel's does it.
     * Relaxed: a hint. */
    if (is_write(op) && atom_load(&op->slot->class_hint, relaxed) == FD_CLASS_DEVICE)
        sqe->flags |= IOSQE_ASYNC;
}

static void prepare_socket(const struct op *op, struct io_uring_sqe *sqe)
{
    switch (op->kind) {
    case OP_RECV:
        io_uring_prep_recv(sqe, op->fd, op->buf, bounded(op->len), op->op_flags);
        break;
    case OP_SEND:
        io_uring_prep_send(sqe, op->fd, op->buf, bounded(op->len), op->op_flags | MSG_NOSIGNAL);
        break;
    case OP_RECVMSG:
        io_uring_prep_recvmsg(sqe, op->fd, op->buf, (unsigned)op->op_flags);
        break;
    case OP_SENDMSG:
        io_uring_prep_sendmsg(sqe, op->fd, op->buf, (unsigned)(op->op_flags | MSG_NOSIGNAL));
        break;
    case OP_ACCEPT:
        io_uring_prep_accept(sqe, op->fd, op->addr, op->addrlen, op->op_flags);
        break;
    default:
        io_uring_prep_connect(sqe, op->fd, op->addr, op->addr_len);
        break;
    }
}

void uring_op_prepare(const struct op *op, struct io_uring_sqe *sqe)
{
    if (op->stage == URING_READY)
        io_uring_prep_poll_add(sqe, op->fd, readiness(op));
    else if (op->stage == URING_NFILE)
        io_uring_prep_nop(sqe);
    else if (op->kind == OP_POLL)
        io_uring_prep_poll_add(sqe, op->fd, (unsigned short)op->events);
    else if (op->kind == OP_FSYNC)
        io_uring_prep_fsync(sqe, op->fd, op->op_flags ? IORING_FSYNC_DATASYNC : 0);
    else if (is_transfer(op->kind))
        prepare_transfer(op, sqe);
    else
        prepare_socket(op, sqe);
}

/* A connect that was issued before: the first attempt went on in the socket meanwhile. */
static int connect_again(int res)
{
    if (res == -EISCONN)
        return 0;
    return res == -EALREADY || res == -EINPROGRESS ? -EAGAIN : res;
}

/* A non-blocking unix socket whose peer's backlog is full is always "ready" to connect. */
static bool connect_is_stuck(const struct op *op)
{
    return op->kind == OP_CONNECT && op->restaged >= CONNECT_TRIES_MAX;
}

static void count_again(struct op *op)
{
    if (op->restaged < UINT8_MAX)
        op->restaged++;
}

static bool may_wait(const struct op *op)
{
    return !(op->op_flags & MSG_DONTWAIT) || op->kind == OP_ACCEPT || op->kind == OP_CONNECT ||
           is_transfer(op->kind);
}

static void note_bytes(const struct op *op, int res)
{
    if (res > 0 && (op->kind == OP_RECV || op->kind == OP_READ))
        uring_note_written(op->buf, (size_t)res);
}

bool uring_op_ended(struct op *op, int res, int *ret_result)
{
    /* Relaxed: whoever asks later finds the next SQE through the cancel list. */
    uint8_t asked = atom_load(&op->asked, relaxed) & (OP_ASKED_CANCEL | OP_ASKED_CLOSE);

    if (res == -ECANCELED || res == -EINTR) {
        *ret_result = -ECANCELED;
        count_again(op);
        return asked != 0; /* nobody asked: the thread that submitted it ended */
    }
    if (op->stage == URING_READY) {
        *ret_result = res;
        op->stage = res > 0 && (res & POLLRDHUP) ? URING_SHUT : URING_DIRECT;
        return res < 0;
    }
    if (op->stage == URING_NFILE)
        res = -ENFILE;
    if (op->kind == OP_CONNECT && (op->restaged || res == -EINPROGRESS))
        res = connect_again(res);
    if (res == -EAGAIN && op->stage == URING_SHUT) {
        MARK(FOUND_SHUT);
        res = op_result_when_shut(op);
    }
    if (res == -EAGAIN && may_wait(op) && !connect_is_stuck(op)) {
        *ret_result = -ECANCELED;
        count_again(op);
        op->stage = URING_READY;
        return asked != 0;
    }
    note_bytes(op, res);
    *ret_result = res;
    return true;
}
