/* SPDX-License-Identifier: MIT */
/*
 * The thread-local pointer to the worker, and the functions that touch it where current.h has no
 * assembly for it. They are noinline with a compiler barrier: see there.
 */
#include "sched/current.h"

#include "base/attr.h"

/* Named by the assembly in current.h. */
extern _Thread_local struct worker *sched_thread_worker;
_Thread_local struct worker *sched_thread_worker;

#ifndef __x86_64__
JD_NOINLINE struct worker *worker_current(void)
{
    struct worker *w = sched_thread_worker;

    __asm__ volatile("" : "+r"(w)::"memory");
    return w;
}
#endif

JD_NOINLINE void worker_set_current(struct worker *w)
{
    __asm__ volatile("" ::: "memory");
    sched_thread_worker = w;
    __asm__ volatile("" ::: "memory");
}
