/* SPDX-License-Identifier: MIT */
#ifndef SCHED_CPU_H
#define SCHED_CPU_H

/*
 * What the text of cgroup files says about CPUs, apart from where it is read: see cpu.c.
 */
#include <stdbool.h>
#include <stdio.h>

/* The first line of a file, as fgets() has it; false: there is none. */
typedef bool (*cpu_read_fn)(const char *path, char *line, int bytes, void *arg);

/* The smallest quota of the groups in `groups` (/proc/self/cgroup) and of those above them, in
 * thousandths of a CPU, at most IDLE_WORKERS_MAX CPUs; 0: none. */
unsigned cpu_quota(FILE *groups, cpu_read_fn read, void *arg);

#endif /* SCHED_CPU_H */
