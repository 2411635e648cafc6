/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_REACTOR_H
#define REACTOR_REACTOR_H

/*
 * One reactor per runtime, made of one port (an io_uring or an epoll instance) per worker.
 *
 * I1  Any worker thread may reap any port and submit any port's published submissions: nobody's
 *     I/O is stranded behind a worker that burns CPU.
 * I2  An op completes exactly once, after its last completion (op.h).
 * I3  No op acts on a recycled descriptor: reactor_close() ends every op in flight first.
 * I4  A parked worker holds its reap lock from before it announces the park until it has reaped
 *     its wake-up: nobody else can consume what should wake it.
 *
 * "owner of index": the thread between reactor_thread_enter() and reactor_thread_leave() for it.
 * A thread that submits must outlive its submissions or leave properly: leave puts what this
 * thread submitted back into the queues, to be submitted by somebody else.
 *
 * Rejected: one ring behind a lock (20-40 % slower), DEFER_TASKRUN (strands a burning worker's
 * completions), default flags (an interrupt per completion), MSG_RING wakes (no faster, not for
 * plain threads). docs: README.md in this folder.
 */
#include <stdbool.h>
#include <stdint.h>

#include "reactor/op.h"

#define REACTOR_NO_WORKER UINT32_MAX /* `index` of a plain thread, where allowed */

enum reactor_want { REACTOR_AUTO, REACTOR_URING, REACTOR_EPOLL };

struct reactor;
struct port_ops;

struct reactor_config {
    unsigned workers;
    enum reactor_want want;
    unsigned sq_entries;            /* 0: 256 */
    const struct port_ops *replace; /* the simulator's port (port.h); NULL: choose by `want` */
    const struct job_sink *files;   /* who does what would block; NULL: the worker does. Copied */
};

/*
 * Probes io_uring by a self-test and falls back to epoll when it is refused and AUTO is wanted.
 * Errors: what refused it (URING), -EMFILE, -ENFILE, -ENOMEM, -EINVAL.
 */
int reactor_new(const struct reactor_config *cfg, struct reactor **ret);
/* No op in flight, no thread inside, every thread left. NULL is allowed. */
void reactor_free(struct reactor *r);
const char *reactor_name(const struct reactor *r); /* "uring" or "epoll" */
const char *reactor_why(const struct reactor *r);  /* one sentence, lives as long as r */

/* The calling thread now serves worker `index` (once per thread and reactor). Cannot fail: else a
 * run could begin that nobody serves. */
void reactor_thread_enter(struct reactor *r, unsigned index);
void reactor_thread_leave(struct reactor *r, unsigned index);
/* The calling thread plays this worker for now, next to others (simulation). NULL: none. */
void reactor_thread_play(const struct reactor *r, unsigned index);
/* In the child of a fork: this thread serves nothing any more; the parent's reactor is left alone. */
void reactor_thread_forget(void);

/*
 * Owner of index only. 0: complete() is called exactly once, maybe before this returns and maybe
 * on another thread. Negative: refused, complete() is never called: -EBADF (not open, or being
 * closed), -ENOMEM. A full submission queue is no error: the op waits in a FIFO.
 */
int reactor_submit(struct reactor *r, unsigned index, struct op *op);

/*
 * Asks for an early end of an op whose record the caller keeps alive (complete() may have been
 * called already). It still completes exactly once: -ECANCELED, or what won. Any worker thread.
 */
void reactor_cancel(struct reactor *r, unsigned index, struct op *op);

/* Owner; never blocks: submits what is staged, reaps. Returns how many completions it handled. */
int reactor_poll(struct reactor *r, unsigned index);

/* Owner: is there anything staged that no system call has submitted yet? A shared-memory look. */
bool reactor_has_staged(const struct reactor *r, unsigned index);

/* Any entered thread, for another worker's port. Returns how many completions it handled. */
int reactor_help(struct reactor *r, unsigned victim);
/* Any thread (watchdog too); no side effects beyond a rate-limited look at an epoll instance. */
bool reactor_needs_help(struct reactor *r, unsigned victim);

/*
 * Parking, owner only: begin; re-check all queues; then park or abort. begin answers false when
 * somebody reaps the port right now: do not park. deadline: CLOCK_MONOTONIC ns or CLOCK_FOREVER.
 * park submits, sleeps until a completion, a wake or the deadline, reaps, and returns how many
 * completions it handled; it may return early with 0, which proves nothing.
 */
bool reactor_park_begin(struct reactor *r, unsigned index);
int reactor_park(struct reactor *r, unsigned index, int64_t deadline);
void reactor_park_abort(struct reactor *r, unsigned index);
/* Any thread. A wake before the park makes it return at once; no system call if not parked. */
void reactor_wake(struct reactor *r, unsigned index);

/* Ops admitted and not yet completed. Exact when no thread is inside the reactor. */
unsigned reactor_in_flight(const struct reactor *r);

/* Lives until done() was called. */
struct fd_close {
    void (*done)(struct fd_close *c); /* once, after close(2); any thread, no lock held */
    int fd;
    int result; /* 0 or what close(2) said, negative */
};

/*
 * Ends every op in flight on c->fd (with -EBADF unless it has a result), then closes it and calls
 * done(), maybe before this returns. Negative: -EBADF, done() is never called (not open, or being
 * closed by somebody else). index: the caller's worker, or REACTOR_NO_WORKER from a plain thread.
 */
int reactor_close(struct reactor *r, unsigned index, struct fd_close *c);

#endif /* REACTOR_REACTOR_H */
