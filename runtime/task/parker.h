/* SPDX-License-Identifier: MIT */
#ifndef TASK_PARKER_H
#define TASK_PARKER_H

/*
 * How a plain thread waits in a TS call: the same word as a task, plus a futex.
 *
 * I1  Parkers are type-stable: they come from a process-wide free list and are never freed, so a
 *     late waker finds a parker whose wait number does not fit.
 * I2  A thread holds a parker only during one wait.
 *
 * Rejected: ck_ec (its wait has no way to name one waiter of several words); one parker per thread
 * with a destructor key (a TS call in another key's destructor would lose it).
 */
#include <stdint.h>

#include "task/wait_list.h"

struct parker;

struct parker *parker_take(void); /* NULL: out of memory */
void parker_put(struct parker *p);
struct wait_target *parker_target(struct parker *p);
/* Until the wait is over or the deadline (CLOCK_FOREVER: none) passes. The cause of its end. */
unsigned parker_wait(struct parker *p, uint32_t seq, int64_t deadline);
/* The target's word said WAKE_QUEUE. */
void parker_ready(struct wait_target *target);

#endif /* TASK_PARKER_H */
