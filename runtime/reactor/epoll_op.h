/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_EPOLL_OP_H
#define REACTOR_EPOLL_OP_H

/*
 * One attempt at an op by ordinary system calls that do not block. See epoll_op.c for what is done
 * where Linux has no such call.
 */
#include <stdbool.h>
#include <stdint.h>

#include "reactor/fd_table.h"
#include "reactor/op.h"

/* `stage` of a connect in the epoll port. */
enum { EPOLL_FIRST, EPOLL_CONNECTING };

enum fd_direction epoll_op_direction(const struct op *op);

/* Files are never waited for: the call blocks. Negative errno: not open. */
int epoll_op_is_file(const struct op *op);
/* A file's op: what moves without waiting for the disk. -EAGAIN: it, or its rest, has to wait. */
int epoll_op_try_now(struct op *op);
/* The same, or that rest, however long it takes. */
int epoll_op_do(struct op *op);

/* -EAGAIN: not ready, wait (if epoll_op_may_wait()). Else the op's result. */
int epoll_op_try(struct op *op);

/* False: the user asked for -EAGAIN (MSG_DONTWAIT). */
bool epoll_op_may_wait(const struct op *op);

#endif /* REACTOR_EPOLL_OP_H */
