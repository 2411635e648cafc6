/* SPDX-License-Identifier: MIT */
#ifndef FILTER_H
#define FILTER_H

/*
 * seccomp filters: the kernel itself refuses a system call, as on a machine in trouble. A filter
 * holds for the calling thread and the threads it makes from then on, until the process ends. Where
 * filters are refused, the test is skipped; so install them on the test's own thread.
 */
#include <stddef.h>
#include <stdint.h>

/* From here on this system call (for pthread_create: clone3) answers the error. */
void filter_refuse(long number, int error);

/* Arguments as the kernel's struct seccomp_data has them. Answers 0 (the call goes on) or an errno. */
typedef int filter_judge(long number, const uint64_t args[6], void *arg);

/* From here on `judge` is asked about each of these calls, on a thread of its own: it must not
 * allocate, since the caller may hold the allocator's lock. One per process. */
void filter_judge_calls(const long *numbers, size_t count, filter_judge *judge, void *arg);

#endif /* FILTER_H */
