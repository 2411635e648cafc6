/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_JOB_H
#define QUEUE_JOB_H

/*
 * A piece of work that may block, for a thread that may block: what executor/roster.h queues.
 *
 * I1  What was submitted ends by exactly one of: run(), on a thread of the pool; drop(), on any
 *     thread, with the reason; a withdrawal, after which the record is its owner's again.
 * I2  The record is the submitter's memory. run() and drop() may give it up: the pool does not touch
 *     it after calling them.
 *
 * It is below the reactor, because a port hands over what would block its worker.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct job;

struct job_type {
    void (*run)(struct job *job);
    void (*drop)(struct job *job, int error);
    /* Asked on the thread that is inside run(): does nobody want the result any more? May be NULL. */
    bool (*is_cancelled)(const struct job *job);
};

struct job {
    struct list link; /* the pool's, guarded by its lock */
    const struct job_type *type;
    int64_t queued_at; /* the pool's */
    uintptr_t what;    /* address of the function, for reports; 0: a job of the library */
};

/* How a lower layer hands over jobs without knowing who takes them. */
struct job_sink {
    /* 0, or a negative errno: not accepted, the record is the caller's. */
    int (*submit)(void *pool, struct job *job);
    /* True: it had not begun, never will, and the record is the caller's. */
    bool (*withdraw)(void *pool, struct job *job);
    void *pool;
};

#endif /* QUEUE_JOB_H */
