/* SPDX-License-Identifier: MIT */
#ifndef BASE_MARK_H
#define BASE_MARK_H

/*
 * Coverage marks: a rare path says that it was taken, and a test named after the mark (tests/marks/)
 * makes it happen and sees the count rise. A percentage of lines does not tell whether a race was ever
 * lost; this does.
 *
 * Compiled in only where the slow assertions are (-Dassertions=full), and not in models; elsewhere
 * MARK() is nothing at all. `./dev tidy marks` wants each mark set by the code and reached by its test.
 */
#include <stdint.h>

enum mark_id {
    /* queue/ */
    MARK_DEQUE_GREW,
    MARK_STEAL_LOST,   /* of a fork, to another thief or to its owner */
    MARK_TAKE_LOST,    /* the owner lost its last fork to a thief */
    MARK_FORKS_FORCED, /* private forks of an owner that burns were shown by the forcer */
    MARK_FIFO_GREW,
    MARK_CLAIM_LOST, /* of ready tasks, to another claimer */
    /* fiber/ */
    MARK_STACK_CACHE_EMPTY, /* no stack at hand: from the pool */
    MARK_STACKS_SPILLED,    /* too many: the oldest to the pool */
    /* task/ */
    MARK_WAKE_BEFORE_PARK, /* a wait ended before its task had left the stack */
    MARK_STALE_WAKE,       /* a waker came for a wait that was over */
    MARK_GRANT_LOST,      /* the waiter was cancelled already: what it was given goes to the next */
    MARK_RECORDS_SPILLED, /* too many free task records: a batch to the depot */
    MARK_WAKE_ROUNDS,     /* an outcome has more waiters than one hold of its lock wakes */
    /* sync/ */
    MARK_GRANT_ROUNDS, /* a release serves more waiters than one hold of the lock wakes */
    /* sched/ */
    MARK_STALE_ENTRY,    /* a queued task that its joiner has run meanwhile */
    MARK_QUEUE_OVERFLOW, /* no memory for a bigger ready queue: to the injector */
    MARK_FORK_PROMOTED,  /* a fork became a task, since its parent suspends */
    MARK_FORK_STOLEN,
    MARK_FORK_OUT_OF_ORDER, /* joined before a younger one */
    MARK_LIFO_STOLEN,       /* the woken task of a worker that burns */
    MARK_HELPED_STALE,      /* ports and timers of a worker that burns were served */
    MARK_STALE_PARK,        /* work came between the last look and the sleep */
    MARK_WAKE_LOST,         /* the sleeper that was to be woken woke by itself */
    /* io/ */
    MARK_CANCEL_BEATS_COMPLETION, /* a cancelled operation ended as cancelled */
    MARK_COMPLETION_BEATS_CANCEL, /* it had its result all the same */
    MARK_COMPLETED_BEFORE_ASKED,  /* the cancel found the completer gone: nobody to wait for */
    MARK_ACCEPT_BACKED_OFF,       /* a server waits for others to give descriptors back */
    /* reactor/ */
    MARK_SQ_FULL,             /* no submission slot: the op waits in the port's queue */
    MARK_ENDED_IN_QUEUE,      /* asked to end before the kernel knew it */
    MARK_ASKED_TOO_LATE,      /* asked to end after its last completion was reaped */
    MARK_HELPER_SUBMITS,      /* a worker submits what another one has staged */
    MARK_NUDGED,              /* a burning worker's completions were made visible */
    MARK_CQ_OVERFLOW,         /* the kernel had to keep completions back */
    MARK_OP_GOES_ON,          /* a completion was not the end: another request follows */
    MARK_ACCEPTED_INTO_CLOSE, /* a connection that came while its listener was closed */
    MARK_CLOSE_WITHOUT_SLOT,  /* no memory for the descriptor's record: closed all the same */
    MARK_EPOLL_FOUND_NOTHING, /* a number that was closed and opened again behind our back */
    MARK_EPOLL_MOVED,         /* a descriptor is waited for at another worker's instance */
    MARK_POLLED_FIRST,        /* a file that knows no RWF_NOWAIT */
    MARK_FOUND_SHUT,          /* a socket without end of file was shut while a receive waited */
    MARK_TIMER_MOVES_SPENT,   /* a slot with more timers than one hold of the lock moves */
    MARK_COUNT
};

#if defined(JD_SLOW_ASSERTS) && !defined(JD_CHECK)
extern uint64_t mark_counts[MARK_COUNT];
/* Relaxed: a count that tests read when all is over. base/ lies below atomic/. */
#define MARK(name) ((void)__atomic_fetch_add(&mark_counts[MARK_##name], 1, __ATOMIC_RELAXED))
#else
#define MARK(name) ((void)0)
#endif

#endif /* BASE_MARK_H */
