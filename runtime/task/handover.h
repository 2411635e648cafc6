/* SPDX-License-Identifier: MIT */
#ifndef TASK_HANDOVER_H
#define TASK_HANDOVER_H

/*
 * When may the frame of a waiting task go? The kernel under waits for something that somebody else
 * works on, with a record in the waiting frame: io/op_wait.h, executor/call.c. On its own for the
 * model checker (tests/model/model_handover.c).
 *
 * Two parties: the task, whose first wait a cancel or a deadline may end early, and the completer,
 * who comes exactly once, from any thread. They meet in `state`: the number of the wait that the
 * completer has to end, or HANDOVER_DONE.
 *
 * I1  state is written by the task before the other side can see it, and by two others only: the
 *     completer exchanges it for DONE [OP-1], the task moves it from its first wait to its second
 *     by a CAS [OP-2]. Both are on one word, so exactly one order of the two happens.
 * I2  The completer first: the CAS fails and says DONE. The number that the completer has read is
 *     that of the first wait, which is over, so its word_wake() leaves (word.h I2).
 * I3  The CAS first: the completer reads the number of the second wait, which nobody else can end
 *     (it is neither cancellable nor timed), so its word_wake() ends it.
 * I4  The completer reads the target before the exchange and touches nothing but the target after
 *     it; the target is type-stable. The task goes on after a granted wait, which follows the
 *     exchange, or after it has read DONE. So nobody touches a dead frame.
 * I5  What the completer wrote before the exchange is seen by the task: through its word (granted,
 *     [WORD-2]) or through DONE ([OP-1]).
 */
#include "atomic/atomic.h"
#include "task/word.h"

#define HANDOVER_DONE UINT64_MAX /* no wait has this number: they have 32 bits */

struct handover {
    JD_ATOMIC(uint64_t) state;
};

static inline void handover_open(struct handover *h, uint32_t seq)
{
    /* Relaxed: published by whatever shows the record to the completer. */
    atom_init(&h->state, seq);
}

/* The completer, once: the number of the wait to end. The record may be gone afterwards. */
static inline uint32_t handover_done(struct handover *h)
{
    /* [OP-1] Release, pairs with the acquire of handover_move(): who reads DONE sees the result.
     * [OP-2] Acquire, pairs with its release: who reads the second number finds that wait open. */
    return (uint32_t)atom_exchange(&h->state, HANDOVER_DONE, acq_rel);
}

/* The task, with its second wait open. False: done already, nobody will end that wait. */
static inline bool handover_move(struct handover *h, uint32_t first, uint32_t second)
{
    uint64_t state = first;

    /* [OP-2] Release, pairs with the acquire in handover_done(): who reads this number finds the
     * wait open. [OP-1] Acquire on failure: DONE was read, so the result is there. */
    if (atom_cas(&h->state, &state, (uint64_t)second, release, acquire))
        return true;
    JD_ASSERT(state == HANDOVER_DONE);
    return false;
}

#endif /* TASK_HANDOVER_H */
