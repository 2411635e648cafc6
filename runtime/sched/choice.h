/* SPDX-License-Identifier: MIT */
#ifndef SCHED_CHOICE_H
#define SCHED_CHOICE_H

/*
 * Where a simulation may take over: the choice points of the scheduler, and the events that make up
 * its trace. Outside a simulation each costs one load of a word that nobody writes, and a branch.
 *
 * I1  At a choice point the caller holds no lock that others wait for. Locks that are only tried
 *     (a port's reap lock, a wheel's expirer) may be held.
 * I2  The simulation may let other workers of the same runtime go on, on this very thread, before a
 *     choice point returns. It returns as the same worker, on the same stack.
 * I3  Nothing here is called in the middle of a switch: `post` is carried out, or not yet set.
 *
 * Threads: any; only the one that simulates is affected. The functions are given by sim/, resolved
 * at link time, as the edges of task.h are.
 */
#include <stdbool.h>
#include <stdint.h>

#include "atomic/atomic.h"
#include "base/attr.h"

struct jd_task;
struct wait;

enum choice_point {
    CHOICE_TURN,       /* a worker's loop begins a turn */
    CHOICE_CALL,       /* a task calls something that may suspend */
    CHOICE_CHECKPOINT, /* ... and that a cancel would end: before a look at the cancel, of which a
                          call that waits has two */
    CHOICE_SUSPEND,    /* its wait is open, nothing is switched yet */
    CHOICE_PUBLISH,    /* it left its stack, and is not published yet */
    CHOICE_STEAL,      /* before a look at another worker's queues */
    CHOICE_PARK,       /* announced, before and after the last look */
    CHOICE_FORK,       /* a fork was pushed while others sleep */
};

enum choice_event {
    EVENT_STEP = 1, /* a task runs on */
    EVENT_SPAWN,
    EVENT_WAKE,
    EVENT_END,
    /* Those of the simulation itself. */
    EVENT_SUBMIT,
    EVENT_COMPLETE,
    EVENT_PARK,
    EVENT_UNPARK,
    EVENT_JUMP,
    EVENT_FAULT,
    EVENT_JOB,
};

extern struct choice_flag {
    JD_ATOMIC(uint32_t) armed; /* simulations in this process: 0 or 1 */
} choice_flag;

void sim_point(enum choice_point point);
void sim_event(enum choice_event event, uint64_t id, int64_t value);
void sim_wait(struct wait *w); /* the current task is about to suspend in it */
bool sim_may_inline(void);     /* instead of what depends on the size of frames */
bool sim_is_here(void);        /* is the calling thread simulating? */
bool sim_run_later(void *(*fn)(void *arg), void *arg); /* instead of a thread; false: make one */
void sim_finish_jobs(void); /* all of them, now: what a join would wait for */

/* Relaxed, all of them: it changes while no worker of the thread concerned runs. */
static inline bool choice_is_armed(void)
{
#ifdef JD_CHECK
    return false; /* the model checker makes the choices */
#else
    return JD_UNLIKELY(atom_load(&choice_flag.armed, relaxed) != 0);
#endif
}

static inline void choice(enum choice_point point)
{
    if (choice_is_armed())
        sim_point(point);
}

static inline void choice_note(enum choice_event event, uint64_t id)
{
    if (choice_is_armed())
        sim_event(event, id, 0);
}

static inline bool choice_simulated(void)
{
    return choice_is_armed() && sim_is_here();
}

#endif /* SCHED_CHOICE_H */
