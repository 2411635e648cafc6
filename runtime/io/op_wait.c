/* SPDX-License-Identifier: MIT */
/*
 * See op_wait.h, and handover.h for the proof that nobody touches a dead frame.
 */
#include "io/op_wait.h"

#include <errno.h>

#include "base/clock.h"
#include "base/mark.h"

/* The reactor's callback: maybe before reactor_submit() has returned, on any of its threads. */
static void op_wait_complete(struct op *op)
{
    struct op_wait *w = JD_CONTAINER_OF(op, struct op_wait, op);
    struct wait_target *target = w->target;
    uint32_t seq = handover_done(&w->handover); /* the record may be gone from here on */

    if (word_wake(&target->word, seq, CAUSE_GRANTED) == WAKE_QUEUE)
        wait_target_ready(target);
}

/* The first wait ended early: ask for the end of the op, and wait for that end, always. */
static JD_NOINLINE void op_wait_cancel(struct jd_task *task, struct op_wait *w, uint32_t first_seq)
{
    struct worker *worker = worker_current();
    struct wait second;
    unsigned cause;

    reactor_cancel(worker->rt->reactor, worker->index, &w->op);
    (void)wait_open(&second, task, 0); /* cannot fail: no parker is needed for a task */
    if (!handover_move(&w->handover, first_seq, second.seq)) {
        MARK(COMPLETED_BEFORE_ASKED);
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
    handover_open(&w->handover, first.seq); /* published by the reactor's admission lock */
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
    if (w->op.result != -ECANCELED) {
        MARK(COMPLETION_BEATS_CANCEL);
        return w->op.result;
    }
    MARK(CANCEL_BEATS_COMPLETION);
    return wait_error(&first, cause);
}
