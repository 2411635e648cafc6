/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_URING_OP_H
#define REACTOR_URING_OP_H

/*
 * An op in the language of io_uring: which SQE comes next, what a CQE means.
 *
 * I1  At most one SQE of an op is in flight, so an op is a little machine: DIRECT (the operation
 *     itself) or READY (a poll, then DIRECT, or SHUT if the poll said that nothing more will come).
 * I2  user_data = the record's address | generation << 48. A cancel names one SQE exactly, even if
 *     the next op of the same task has the same address; a stale CQE trips an assertion.
 *
 * READY comes first for streams that are no sockets (a blocking read of a pipe would occupy a
 * kernel thread), and after an -EAGAIN (the user's descriptor is O_NONBLOCK).
 */
#include <stdbool.h>
#include <stdint.h>

#include "reactor/op.h"
#include "reactor/uring_compat.h"

enum {
    URING_DIRECT,
    URING_READY,
    URING_SHUT, /* as DIRECT, but -EAGAIN is the end: op_result_when_shut() */
    URING_NFILE /* a request that does nothing, completed in place of an accept: FAULT_NFILE */
};

#define URING_TAG_MASK 7u /* records are aligned to 8 */
enum { URING_TAG_OP, URING_TAG_WAKE };

static inline uint64_t uring_user_data(const void *record, unsigned tag, uint16_t generation)
{
    return (uint64_t)(uintptr_t)record | tag | (uint64_t)generation << 48;
}

static inline void *uring_user_record(uint64_t user_data)
{
    return (void *)(uintptr_t)(user_data & ((UINT64_C(1) << 48) - 1) & ~(uint64_t)URING_TAG_MASK);
}

/* Chooses the first stage. */
void uring_op_start(struct op *op);

/* Fills all of a zeroed SQE but user_data. */
void uring_op_prepare(const struct op *op, struct io_uring_sqe *sqe);

/* Digests a CQE. False: the op goes on, stage another SQE. True: it ended with *ret_result. */
bool uring_op_ended(struct op *op, int res, int *ret_result);

#endif /* REACTOR_URING_OP_H */
