/* SPDX-License-Identifier: MIT */
#ifndef IO_OP_WAIT_H
#define IO_OP_WAIT_H

/*
 * A task waits for one operation of the reactor: what every call of io.h comes down to.
 *
 * The op and the record around it live in the waiting function's frame. Two parties must agree on
 * when that frame may go: the task, whose wait a cancel or a deadline can end early, and
 * complete(), which any worker calls once. They meet in `state`, which holds the number of the
 * wait that complete() has to end, or OP_WAIT_DONE.
 *
 * I1  state is written by the task before the submission and by two others only: complete()
 *     exchanges it for DONE [OP-1]; the task moves it from its first wait to its second by a CAS
 *     [OP-2]. The two are on one word, so exactly one order of them happens.
 * I2  complete() first. The CAS fails and says DONE: complete() will not touch the record any
 *     more, and the number it read is that of the first wait, which is over, so its word_wake()
 *     finds another number or no open wait and leaves (word.h I2).
 * I3  The CAS first. complete() finds the number of the second wait, which nobody else can end (it
 *     is neither cancellable nor timed), so its word_wake() ends it.
 * I4  complete() copies `target` before the exchange and touches only that afterwards: task
 *     records are type-stable (task.h I1). The task returns after a granted wait, which follows
 *     the exchange, or after it has read DONE. So nobody touches a dead frame, and a buffer is
 *     never lent to the kernel beyond the call.
 * I5  op.result is written before the exchange and read after the wait was granted ([WORD-2]) or
 *     after DONE was read ([OP-2]).
 *
 * Success beats cancel: after the second wait a result that won is returned as it is; only an
 * -ECANCELED of the op itself becomes the cause of the first wait.
 *
 * Threads: a task waits; complete() runs on whatever thread reaps or closes.
 * Rejected: ops on the heap that a cancelled task abandons (the buffer stays lent to the kernel);
 * one uncancellable wait with a hook in the scopes (each cancel would have to know the reactor).
 */
#include "reactor/op.h"
#include "sched/wait.h"

#define OP_WAIT_DONE UINT64_MAX /* no wait has this number: they have 32 bits */

struct op_wait {
    struct op op;
    struct wait_target *target;
    JD_ATOMIC(uint64_t) state;
};

/*
 * Submits w->op, whose caller's part is filled in, and waits for it. The caller has been through
 * call_begin(WAIT_CANCELLABLE). The op's result, or -ECANCELED, -ETIMEDOUT, or why it was refused.
 */
int op_wait(struct jd_task *task, struct op_wait *w, int64_t deadline);

#endif /* IO_OP_WAIT_H */
