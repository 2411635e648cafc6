/* SPDX-License-Identifier: MIT */
#ifndef TASK_WORD_H
#define TASK_WORD_H

/*
 * The state word of whatever can wait: a task, or a plain thread in a TS call. Run state, the
 * number of the current wait, and how that wait ended live in one 64-bit word, so that "which
 * waker wins" and "who may queue the task" are decided by the same CAS.
 *
 *   NEW --claim--> RUNNING --park--> PARKED --wake--> READY --resume--> RUNNING --> DONE
 *                     |  `--yield--------------------> READY
 *                     `--woken before the park: READY, queued by the post-switch hook
 *
 * I1  WORD_WAITING is set from word_wait_begin() until exactly one waker's CAS clears it and
 *     writes the cause. So a wait ends once, by a grant, a cancel or a timeout, never by two.
 * I2  A waker names the wait by its number (seq). The number only grows, so a late timer or a late
 *     cancel of wait k finds wait k+1 and leaves (stale wake).
 * I3  Only the waker that moves PARKED to READY may queue the task; in RUNNING the waker leaves
 *     and the post-switch hook (word_park) queues. So nobody runs a stack that is still in use,
 *     and the task is in at most one queue.
 * I4  While WORD_WAITING is clear only the runner writes the word: those are plain stores.
 * I5  Records that contain a word are type-stable: a late waker may touch the word of a record
 *     that was reused, and leaves because of I2 (a reused record goes on counting).
 *
 * Threads: claim: anyone. wait_begin, cause, yield, resume, finish: the runner. park: the
 * post-switch hook on the same worker thread. wake, abort: anyone.
 * Rejected: a waiter-node CAS plus a task-state CAS (two RMWs a wake, and a node on a stack that
 * the loser must not touch); NOTIFIED as a bit of its own (the cleared WAITING says the same).
 */
#include <stdbool.h>

#include "atomic/atomic.h"
#include "base/assert.h"
#include "base/mark.h"

enum word_run { WORD_NEW, WORD_RUNNING, WORD_PARKED, WORD_READY, WORD_DONE };

#define WORD_RUN_MASK UINT64_C(7)
#define WORD_WAITING UINT64_C(8)
#define WORD_CANCELLABLE UINT64_C(16)
#define WORD_WAS_PARKED UINT64_C(32) /* the last wait was ended in PARKED */
#define WORD_CAUSE_SHIFT 16
#define WORD_CAUSE_MASK (UINT64_C(0xffff) << WORD_CAUSE_SHIFT)
#define WORD_SEQ_SHIFT 32

/* How a wait ended. From CAUSE_GRANTED on: the resource was handed over (by case number). */
enum word_cause { CAUSE_NONE, CAUSE_CANCELLED, CAUSE_TIMED_OUT, CAUSE_GRANTED };

struct task_word {
    JD_ATOMIC(uint64_t) bits;
};

enum word_wake_result {
    WAKE_LOST,  /* another waker was first, or the wait is over */
    WAKE_WON,   /* the wait ended by this call; the runner has not left its stack yet */
    WAKE_QUEUE, /* the same, and the caller must queue the task */
};

static inline enum word_run word_run(uint64_t bits)
{
    return (enum word_run)(bits & WORD_RUN_MASK);
}

static inline uint32_t word_seq(uint64_t bits)
{
    return (uint32_t)(bits >> WORD_SEQ_SHIFT);
}

/* The number of waits survives a reuse of the record (I5). */
static inline void word_reset(struct task_word *w, enum word_run run)
{
    /* Relaxed: published with the record by the queue or handle that carries it. */
    uint64_t seq = word_seq(atom_load(&w->bits, relaxed));

    atom_store(&w->bits, ((seq + 1) << WORD_SEQ_SHIFT) | (uint64_t)run, relaxed);
}

/* Starting a task: whoever wins this runs it (scheduler, thief or join). */
static inline bool word_claim(struct task_word *w)
{
    /* Relaxed: only a guess, the CAS decides. */
    uint64_t bits = atom_load(&w->bits, relaxed);

    if (word_run(bits) != WORD_NEW)
        return false;
    /* [WORD-1] Pairs with itself: of several claimers (scheduler, thief, join) one wins. Acquire: the
     * winner may have only the handle, and sees the record that its maker released. */
    return atom_cas(&w->bits, &bits, (bits & ~WORD_RUN_MASK) | WORD_RUNNING, acq_rel, relaxed);
}

/* What the word says in the next wait. */
static inline uint64_t word_next_wait(const struct task_word *w)
{
    /* Relaxed: I4, we are the runner and no wait is open. */
    uint64_t bits = atom_load(&w->bits, relaxed);

    JD_ASSERT(word_run(bits) == WORD_RUNNING);
    JD_ASSERT(!(bits & WORD_WAITING));
    return ((uint64_t)(word_seq(bits) + 1) << WORD_SEQ_SHIFT) | WORD_RUNNING | WORD_WAITING;
}

/* Opens the next wait and returns its number. Nodes that carry the number are linked after this. */
static inline uint32_t word_wait_begin(struct task_word *w, bool cancellable)
{
    uint64_t next = word_next_wait(w);

    if (cancellable)
        /* [CANCEL-1] Seq_cst, Dekker with scope_cancel(): we open the wait, then look at the
         * cancel flags; it sets the flag, then looks for open waits. One of us sees the other;
         * otherwise a cancelled task would sleep on. */
        atom_store(&w->bits, next | WORD_CANCELLABLE, seq_cst);
    else
        /* Relaxed: published by the lock of the object into which the node is linked. */
        atom_store(&w->bits, next, relaxed);
    return word_seq(next);
}

/* The same, cancellable, for a caller that takes a lock before it looks at the cancel flags. */
static inline uint32_t word_wait_begin_locking(struct task_word *w)
{
    uint64_t next = word_next_wait(w);

    /* [CANCEL-1] As in word_wait_begin(). */
    atom_store_before_rmw(&w->bits, next | WORD_CANCELLABLE);
    return word_seq(next);
}

/* Ends wait number seq with this cause, if it is still open. */
static inline enum word_wake_result word_wake(struct task_word *w, uint32_t seq, unsigned cause)
{
    /* Relaxed: the CAS orders; a stale value only costs a retry. */
    uint64_t bits = atom_load(&w->bits, relaxed);

    for (;;) { /* bounded: each retry means that the runner parked or another waker won */
        uint64_t next;
        bool parked = word_run(bits) == WORD_PARKED;

        if (word_seq(bits) != seq || !(bits & WORD_WAITING)) {
            MARK(STALE_WAKE);
            return WAKE_LOST;
        }
        if (cause == CAUSE_CANCELLED && !(bits & WORD_CANCELLABLE))
            return WAKE_LOST;
        next = (bits & ~(WORD_RUN_MASK | WORD_WAITING | WORD_CANCELLABLE)) |
               ((uint64_t)cause << WORD_CAUSE_SHIFT) |
               (parked ? WORD_READY | WORD_WAS_PARKED : (uint64_t)WORD_RUNNING);
        /* [WORD-2] Release, pairs with the acquire in word_cause(): what the granter handed over
         * is visible to the task. Acquire, pairs with [WORD-3]: a waker that queues the task
         * sees its stack saved. */
        if (atom_cas(&w->bits, &bits, next, acq_rel, relaxed))
            return parked ? WAKE_QUEUE : WAKE_WON;
    }
}

/* Cancels whatever cancellable wait is open now. The caller holds the lock that keeps the scope. */
static inline enum word_wake_result word_abort(struct task_word *w)
{
    /* [CANCEL-2] Seq_cst, Dekker with word_wait_begin(). */
    uint64_t bits = atom_load(&w->bits, seq_cst);

    return word_wake(w, word_seq(bits), CAUSE_CANCELLED);
}

/*
 * The post-switch hook: the stack is saved. False: the wait ended meanwhile, the word is READY and
 * the caller must queue the task.
 */
static inline bool word_park(struct task_word *w)
{
    /* [WORD-2] Acquire, pairs with the waker's CAS: if the wait has ended, our plain store below
     * hides that CAS from word_cause(), so what was granted must be passed on from here. */
    uint64_t bits = atom_load(&w->bits, acquire);

    JD_ASSERT(word_run(bits) == WORD_RUNNING);
    if (bits & WORD_WAITING) {
        uint64_t next = (bits & ~WORD_RUN_MASK) | WORD_PARKED;

        /* [WORD-3] Release, pairs with the acquire of the waker's CAS [WORD-2]: the saved stack
         * is visible to whoever queues the task. [WORD-2] Acquire on failure: as above. */
        if (atom_cas(&w->bits, &bits, next, release, acquire))
            return true;
    }
    JD_ASSERT(!(bits & WORD_WAITING));
    MARK(WAKE_BEFORE_PARK);
    /* Relaxed: the queue publishes. */
    atom_store(&w->bits, (bits & ~WORD_RUN_MASK) | WORD_READY, relaxed);
    return false;
}

/* A yield, after the switch: the caller queues the task. */
static inline void word_yield(struct task_word *w)
{
    /* Relaxed: I4; the queue publishes. */
    uint64_t bits = atom_load(&w->bits, relaxed);

    JD_ASSERT(word_run(bits) == WORD_RUNNING);
    atom_store(&w->bits, (bits & ~WORD_RUN_MASK) | WORD_READY, relaxed);
}

/* Taken from a queue, about to be switched to. */
static inline void word_resume(struct task_word *w)
{
    /* Relaxed: the queue ordered us behind the waker and the hook. */
    uint64_t bits = atom_load(&w->bits, relaxed);

    JD_ASSERT(word_run(bits) == WORD_READY);
    atom_store(&w->bits, (bits & ~WORD_RUN_MASK) | WORD_RUNNING, relaxed);
}

/* CAUSE_NONE while the wait is open. */
static inline unsigned word_cause(const struct task_word *w)
{
    /* [WORD-2] Acquire, pairs with the waker's CAS. */
    uint64_t bits = atom_load(&w->bits, acquire);

    if (bits & WORD_WAITING)
        return CAUSE_NONE;
    return (unsigned)((bits & WORD_CAUSE_MASK) >> WORD_CAUSE_SHIFT);
}

/* After a wait, by the runner: a waker had to queue us, and did so after it had left its locks. */
static inline bool word_was_parked(const struct task_word *w)
{
    /* Relaxed: I4, and the queue ordered us behind the waker. */
    return (atom_load(&w->bits, relaxed) & WORD_WAS_PARKED) != 0;
}

static inline void word_finish(struct task_word *w)
{
    /* Relaxed: I4; the outcome publishes the end. */
    uint64_t bits = atom_load(&w->bits, relaxed);

    JD_ASSERT(word_run(bits) == WORD_RUNNING);
    atom_store(&w->bits, (bits & ~(WORD_RUN_MASK | WORD_CAUSE_MASK)) | WORD_DONE, relaxed);
}

#endif /* TASK_WORD_H */
