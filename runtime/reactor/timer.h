/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_TIMER_H
#define REACTOR_TIMER_H

/*
 * Timers of one worker: a hierarchical wheel down to single nanoseconds, under a leaf spin lock.
 *
 * Eleven levels of 64 slots. A timer sits at the level of the highest 6-bit digit in which its
 * deadline differs from the wheel's time `elapsed`, in the slot of that digit. Time moves to the
 * earliest slot, whose timers then move to lower levels ("opening" it): a radix heap. Arm and
 * disarm are O(1); a timer moves at most ten times, in practice two to four.
 *
 * I1  elapsed never exceeds a `now` that timer_wheel_expire() was given, nor the deadline of a
 *     timer in a slot. Deadlines before elapsed wait in `overdue`, sorted.
 * I2  Timers with equal deadlines are in the same slot, in submission order: the slot follows from
 *     (deadline, elapsed), lists are appended to, and opening a slot keeps the order. So expiry is
 *     in (deadline, submission) order, and never before the deadline, without keys for ties.
 * I3  A slot being opened is drained in portions, so that the lock is never held for long; until it
 *     is empty, timers armed in its range queue up behind it (else I2 would break).
 * I4  slot.min is a lower bound of the deadlines in a slot; exact unless marked stale (its timer was
 *     disarmed). The published `next` is never later than the earliest deadline. It is exact after
 *     an arm; after disarms it may be early, but each look at an early one makes it exact or opens
 *     a slot, so a wheel full of cancelled timers wakes its owner a few times at most.
 * I5  A timer is unlinked and claimed in one critical section: after timer_disarm() returned,
 *     nobody touches it any more, whichever way it ended.
 *
 * Park protocol (Dekker), with the idle word of the scheduler:
 *   S1 timer_arm() stores next, seq_cst [TIMER-1]   P1 the owner announces that it parks, seq_cst
 *   S2 the caller loads the idle word, seq_cst      P2 timer_wheel_next(), seq_cst load [TIMER-1]
 *   If S2 misses P1 then P2 sees S1; otherwise the owner would sleep past the deadline.
 *
 * Threads: any, for all but init. One expires at a time. Arm and disarm of the same timer are
 * ordered by its owner; disarm may race with expiry.
 *
 * Rejected: a heap (cancel, which ends 99 % of timeouts, costs 14-22 ns and grows); ticks of 1 ms
 * or 2^16 ns (a second, sorted structure for the exact order within a tick; measured no cheaper);
 * lazy cancel (nodes live in frames and must be gone when the wait ends).
 */
#include <stdbool.h>
#include <stdint.h>

#include "atomic/atomic.h"
#include "atomic/spin.h"
#include "base/attr.h"
#include "base/list.h"

#define TIMER_LEVELS 11
#define TIMER_SLOTS_PER_LEVEL 64
#define TIMER_SLOTS (TIMER_LEVELS * TIMER_SLOTS_PER_LEVEL)

struct timer_wheel;

/* Intrusive; its memory belongs to whoever arms it. All fields are guarded by the wheel's lock
 * while armed. */
struct timer {
    struct list link;
    int64_t deadline;
    struct timer_wheel *wheel; /* of the last arm; NULL: never armed */
    /* Called at expiry under the wheel's lock, after unlinking; the last access to the timer. It
     * must not block, lock or call the wheel. Returns what to deliver; NULL: nothing. */
    void *(*claim)(struct timer *t);
    uint16_t slot; /* slot number or enum timer_place */
};

struct timer_slot {
    struct list timers;
    int64_t min; /* I4; meaningless while empty */
};

struct timer_wheel {
    /* Published: read by the owner each turn, and by the watchdog. Written under the lock. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(int64_t) next;
    JD_ATOMIC(int64_t) settle_at; /* when expire should look even though nothing is due */
    JD_ATOMIC(uint64_t) count;

    JD_ALIGNED(JD_CACHE_LINE) struct spin expirer; /* only ever tried; held over deliveries */
    struct spin lock;                              /* guards all below, and the armed timers */
    uint32_t levels;                               /* bit per level that has a used slot */
    int64_t elapsed;                               /* I1 */
    int64_t opened_min;                            /* lower bound of opened; INT64_MAX: empty */
    int64_t opened_last;                           /* I3: last deadline of its range */
    uint16_t opened_slot;                          /* its number, still noted in its timers */
    struct list opened;                            /* the slot being opened, in order */
    struct list overdue;                           /* sorted by (deadline, submission) */
    uint64_t used[TIMER_LEVELS];                   /* bit per slot that is not empty */
    uint64_t stale[TIMER_LEVELS];                  /* bit per slot whose min may be too early */
    struct timer_slot slots[TIMER_SLOTS];
};

/* now >= 0: the wheel's first idea of the time. */
void timer_wheel_init(struct timer_wheel *w, int64_t now);

/* Before the first arm. */
void timer_init(struct timer *t, void *(*claim)(struct timer *t));

/* Anyone; t is not armed. True when it became the wheel's earliest deadline: the caller then wakes
 * the owner if it is parked. Deadlines in the past are due at once. */
bool timer_arm(struct timer_wheel *w, struct timer *t, int64_t deadline);

/* Anyone. True = unlinked before it was claimed; false = it was claimed, or never armed. In both
 * cases the timer is the caller's again. */
bool timer_disarm(struct timer *t);

/* Any worker. Claims the timers due at `now` in (deadline, submission) order and delivers their
 * tokens in that order, without the lock. Returns how many it delivered; 0 also when another thread
 * is at it. Ends early after about a slice of work (HOLDS_MAX): then next stays due, and the caller
 * comes again in its next turn, even after a 0. */
unsigned timer_wheel_expire(struct timer_wheel *w, int64_t now,
                            void (*deliver)(void *token, void *ctx), void *ctx);

/* When to expire next, INT64_MAX = never. P2 of the park protocol above. */
static inline int64_t timer_wheel_next(struct timer_wheel *w)
{
    /* [TIMER-1] seq_cst, pairs with the store in timer_arm(). */
    return atom_load(&w->next, seq_cst);
}

static inline uint64_t timer_wheel_count(struct timer_wheel *w)
{
    return atom_load(&w->count, relaxed); /* Relaxed: a statistic. */
}

#endif /* REACTOR_TIMER_H */
