/* SPDX-License-Identifier: MIT */
#ifndef RUN_DELAY_H
#define RUN_DELAY_H

/*
 * How long threads of this process were runnable without a CPU (schedstat): the part of a latency
 * that a busy machine adds, and no change of ours can take away.
 */
#include <stdint.h>
#include <sys/types.h>

/* Nanoseconds since their starts, summed over all threads but `except` (0: none). 0 where the kernel
 * does not count. */
int64_t run_delay_ns(pid_t except);

#endif /* RUN_DELAY_H */
