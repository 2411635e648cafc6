/* SPDX-License-Identifier: MIT */
#ifndef IO_OP_WAIT_H
#define IO_OP_WAIT_H

/*
 * A task waits for one operation of the reactor: what every call of io.h comes down to.
 *
 * I1  The op and the record around it live in the waiting function's frame, and that function
 *     returns only when complete() has let go of them: the protocol and its proof are in
 *     task/handover.h. So a buffer is never lent to the kernel beyond the call.
 * I2  A wait that a cancel or a deadline ended is followed by a second one, which nothing but
 *     complete() ends.
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
#include "task/handover.h"

struct op_wait {
    struct op op;
    struct wait_target *target;
    struct handover handover;
};

/*
 * Submits w->op, whose caller's part is filled in, and waits for it. The caller has been through
 * call_begin(WAIT_CANCELLABLE). The op's result, or -ECANCELED, -ETIMEDOUT, or why it was refused.
 */
int op_wait(struct jd_task *task, struct op_wait *w, int64_t deadline);

#endif /* IO_OP_WAIT_H */
