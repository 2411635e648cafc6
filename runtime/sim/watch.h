/* SPDX-License-Identifier: MIT */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

/*
 * Catches escapes (JD_SIM_CATCH_ESCAPES): system calls and clock reads of simulated tasks, whose
 * answers are not the seed's. They are noted, carried out, and reported with the task's name.
 *
 * I1  While it is on, every system call of the simulating thread comes to a signal handler first
 *     (syscall user dispatch); other threads are as ever. The handler only notes; the report is made
 *     at the next choice point, where the program's error handler may run.
 * I2  The clock functions of the vDSO are system calls from the first such run on, for the whole
 *     process: their first bytes were replaced, once, while all other threads waited in the kernel.
 * I3  A call from inside malloc() or free() is the allocator's and no escape; nor are calls about
 *     memory, locks and signals, and what goes to standard output and error.
 * I4  After SIM_ESCAPES_TOLD notes in a run it looks away: the first ones are what is to be mended.
 *
 * Threads: the simulating one.
 * Rejected: a seccomp filter (stays for ever: a thread of its own, and all thread-local state of the
 * caller's is another's); a child process (what the program computes stays there); functions of
 * these names put before the C library's (miss what is bound within a library, and in a program with
 * a sanitizer all of them); trapping rdtsc (coarse clocks and time() do not use it).
 */
#include <stdbool.h>
#include <stdint.h>

#include "task/task.h"

#define SIM_ESCAPES_TOLD 8u
#define SIM_ESCAPE_FRAMES 16

struct sim;

struct sim_escape {
    long number;      /* of the system call */
    uint64_t task_id; /* 0: no task */
    char task_name[TASK_NAME_BYTES];
    void *frames[SIM_ESCAPE_FRAMES]; /* the interrupted function first */
    int frame_count;
};

struct sim_watch {
    volatile unsigned char selector; /* the kernel reads it at each system call */
    bool wanted, on;
    unsigned noted, told;
    struct sim_escape notes[SIM_ESCAPES_TOLD];
    struct sim_watch_saved *saved; /* what the thread had before */
    const void *allocator;         /* the library that malloc() is in, unless the program or libc */
};

/* Can it work here? 0 or -ENOSYS. */
int sim_watch_check(void);
/* Makes clocks watched, too; false: they are not. */
bool sim_watch_clocks(void);
/* Around the time in which tasks run. */
void sim_watch_on(struct sim *sim);
void sim_watch_off(struct sim *sim);
/* Where no lock is held: tells what was noted, and goes on watching after a call that had to pass. */
void sim_watch_tell(struct sim *sim);

/* syscalls.c: which calls are escapes, and how they can be made */
enum call_class {
    CALL_ESCAPE,
    CALL_QUIET,
    CALL_MASK,     /* about the signal mask of the interrupted code */
    CALL_IN_PLACE, /* by the interrupted code itself only */
    CALL_ESCAPE_IN_PLACE
};
enum call_class sim_call_classify(long number, long first_argument);
const char *sim_call_name(long number); /* NULL: no name known */

/* vdso.c: true when the clock functions are system calls, from this call on or an earlier one */
bool vdso_patch(void);
bool vdso_contains(uintptr_t address);

#endif /* SIM_WATCH_H */
