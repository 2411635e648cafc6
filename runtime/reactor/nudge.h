/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_NUDGE_H
#define REACTOR_NUDGE_H

/*
 * Makes a worker that burns CPU in user code pass through the kernel, so that the completions
 * pending for it (COOP_TASKRUN) appear in its queue: 13 us instead of up to a timer tick.
 *
 * I1  A thread is nudged at most once per NUDGE_INTERVAL_NS, so a nudge that missed (a membarrier
 *     skips a CPU that looks idle, < 0.4 %) is repeated after that time by whoever looks again.
 * I2  A nudge never changes what the target computes: no signal where membarrier works; else an
 *     empty SIGURG handler with SA_RESTART, installed only over the default disposition.
 *
 * Rejected: enter(GETEVENTS) on the victim's ring (does not run the victim's pending work).
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "atomic/spin.h"

#define NUDGE_INTERVAL_NS INT64_C(1000000)

enum nudge_how {
    NUDGE_CPU,    /* membarrier on the CPU the target runs on */
    NUDGE_ALL,    /* membarrier on all threads: no rseq area to read the CPU from */
    NUDGE_SIGNAL, /* SIGURG */
    NUDGE_NONE    /* membarrier refused, SIGURG taken by the user: the timer tick must do */
};

struct nudge_target {
    struct spin lock; /* guards tid and cpu_id: the area dies with its thread */
    pid_t tid;        /* 0: nobody serves this worker now */
    const volatile uint32_t *cpu_id;
    JD_ATOMIC(int64_t) next_at;
};

struct nudge {
    enum nudge_how how;
    unsigned count;
    struct nudge_target *targets;
};

int nudge_init(struct nudge *n, unsigned count);
void nudge_fini(struct nudge *n);
const char *nudge_name(const struct nudge *n);

/* The calling thread serves worker `index` from here on; leave is called by the same thread. */
void nudge_enter(struct nudge *n, unsigned index);
void nudge_leave(struct nudge *n, unsigned index);

/* Any thread. False: not sent, the target is the caller, absent, or was nudged just now. */
bool nudge_send(struct nudge *n, unsigned index);

#endif /* REACTOR_NUDGE_H */
