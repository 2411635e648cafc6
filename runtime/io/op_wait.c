/* SPDX-License-Identifier: MIT */
/*
 * See op_wait.h for the protocol and its proof.
 */
#include "io/op_wait.h"

#include <errno.h>

#include "base/clock.h"

/* The reactor's callback: maybe before reactor_submit() has returned, on any of its threads. */
static void op_wait_complete(struct op *op)
{
    struct op_wait *w = JD_CONTAINER_OF(op, struct op_wait, op);
    struct wait_target *target = w->target;
    /* [OP-1] Release, pairs with the failed CAS of [OP-2]: the task that reads DONE sees the
     * result. Acquire, pairs with its successful CAS: the number of the second wait is found
     * with that wait open. The record may be gone from here on. */
    uint64_t seq = atom_exchange(&w->state, OP_WAIT_DONE, acq_rel);

    if (word_wake(&target->word, (uint32_t)seq, CAUSE_GRANTED) == WAKE_QUEUE)
        wait_target_ready(target);
}

/* The first wait ended early: ask for the end of the op, and wait for that end, always. */
static JD_NOINLINE void op_wait_cancel(struct jd_task *task, struct op_wait *w, uint32_t first_seq)
{
    struct worker *worker = worker_current();
    uint64_t state = first_seq;
    struct wait second;
    unsigned cause;

    reactor_cancel(worker->rt->reactor, worker->index, &w->op);
    (void)wait_open(&second, task, 0); /* cannot fail: no parker is needed for a task */
    /* [OP-2] Release, pairs with [OP-1]: who reads this number finds the wait open. Acquire on
     * failure, pairs with [OP-1]: DONE was read, so the result is there. */
    if (!atom_cas(&w->state, &state, (uint64_t)second.seq, acq_rel, acquire)) {
        JD_ASSERT(state == OP_WAIT_DONE);
        (void)word_wake(&second.target->word, second.seq, CAUSE_GRANTED); /* nobody else can */
    }
    cause = wait_sleep(&second, CLOCK_FOREVER);
    JD_ASSERT(cause == CAUSE_GRANTED);
    wait_close(&second);
}

int op_wait(struct jd_task *task, struct op_wait *w, int64_t deadline)
{
    struct worker *worker;
    struct wait first;
    unsigned cause;
    int error = wait_open(&first, task, WAIT_CANCELLABLE);

    if (error < 0)
        return error;
    w->target = first.target;
    w->op.complete = op_wait_complete;
    /* Relaxed: the reactor's admission lock publishes it with the op. */
    atom_store(&w->state, (uint64_t)first.seq, relaxed);
    worker = worker_current();
    error = reactor_submit(worker->rt->reactor, worker->index, &w->op);
    if (error < 0) {
        /* Closes the wait; losing to a cancel does that, too. */
        (void)word_wake(&first.target->word, first.seq, CAUSE_GRANTED);
        wait_close(&first);
        return error;
    }
    cause = wait_sleep(&first, deadline);
    wait_close(&first);
    if (JD_LIKELY(cause == CAUSE_GRANTED))
        return w->op.result;
    op_wait_cancel(task, w, first.seq);
    if (w->op.result != -ECANCELED)
        return w->op.result;
    return wait_error(&first, cause);
}
