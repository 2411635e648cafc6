/* SPDX-License-Identifier: MIT */
#ifndef IO_RESOLVE_H
#define IO_RESOLVE_H

/*
 * Host names to addresses, off the workers.
 *
 * getaddrinfo() blocks for as long as name servers let it, and cannot be interrupted. So each
 * look-up runs on a detached thread of its own, which shares a counted record with the task.
 *
 * I1  Record and future are held by both sides: a cancelled task drops its references and leaves;
 *     the thread finishes some time later, completes a future that nobody waits for, and frees.
 * I2  Answers are written before the future is completed and read after it was seen done.
 * I3  The thread touches its record, its future and RESOLVE_THREADS_MAX's semaphore, and nothing
 *     of the runtime, which may be gone by then.
 * I4  At most RESOLVE_THREADS_MAX threads in the process; who comes then waits, cancellably.
 *
 * Threads: tasks call; the look-up's own thread answers.
 * Rejected: waiting for the thread when cancelled (a dead name server would hold up the cancel for
 * half a minute); getaddrinfo_a (its threads and their signals belong to somebody else).
 */
#include "io/dial.h"

#define RESOLVE_THREADS_MAX 64 /* arbitrary: as the default executor */

struct resolve;

/* 0 and a reference; -ECANCELED; else what went wrong, see resolve_error() in resolve.c. */
int resolve_name(const struct address_text *name, struct resolve **ret);
void resolve_unref(struct resolve *r);

unsigned resolve_count(const struct resolve *r); /* 1 .. DIAL_ADDRESSES_MAX */
const struct address *resolve_list(const struct resolve *r);

#endif /* IO_RESOLVE_H */
