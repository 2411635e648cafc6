/* SPDX-License-Identifier: MIT */
#ifndef FIBER_OVERFLOW_H
#define FIBER_OVERFLOW_H

/*
 * The report of a stack overflow: a fault inside a guard names what ran on the stack, then goes to
 * the handler that was there before ours, and the process dies of the signal.
 *
 * I1  Faults outside the guards are passed on untouched: to the former handler, or to the default.
 * I2  After a guard fault nobody returns to the faulting code: when the former handler returns,
 *     the default action takes the process, with the registers of the fault in the core file.
 * I3  Runs on an alternate stack, one per worker thread, and only with async-signal-safe calls.
 * I4  A handler that someone installs above ours stays: ours then only passes on.
 *
 * Limit: a frame larger than the guard can jump over it; -fstack-clash-protection prevents that.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct fiber;

/*
 * Says in buf (a terminated string) what runs on f: task name, id, spawn site. Called in the signal
 * handler: no locks, no allocation, no stdio; sigline.h helps. May be NULL.
 */
typedef void overflow_describe_fn(const struct fiber *f, char *buf, size_t bytes);
void overflow_set_describe(overflow_describe_fn *describe);

/* Counted: the first install takes SIGSEGV and SIGBUS, the last uninstall gives them back. */
int overflow_handler_install(void); /* 0 or -errno */
void overflow_handler_uninstall(void);

/* The alternate stack of a thread that runs fibers. It is mapped in init, so that a thread can enter
 * when no memory is left. */
struct overflow_thread {
    void *stack;
    size_t bytes;
    stack_t former;
    bool entered;
};

int overflow_thread_init(struct overflow_thread *t); /* 0 or -ENOMEM */
void overflow_thread_fini(struct overflow_thread *t);
/* 0 or -errno: then an overflow on this thread is a bare SIGSEGV. Leave in either case. */
int overflow_thread_enter(struct overflow_thread *t);
void overflow_thread_leave(struct overflow_thread *t);

/* A canary below f's stack was overwritten: report and abort, other stacks are corrupt. */
JD_NORETURN JD_COLD void overflow_report_canary(const struct fiber *f);

#endif /* FIBER_OVERFLOW_H */
