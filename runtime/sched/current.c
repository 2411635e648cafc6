/* SPDX-License-Identifier: MIT */
/*
 * The thread-local pointer to the worker, and the only functions that touch it. They are noinline
 * with a compiler barrier: a compiler that inlined them would keep the address of the thread-local
 * over a switch, and a task that moved would write to its former thread's worker.
 */
#include "sched/worker.h"

static _Thread_local struct worker *thread_worker;

JD_NOINLINE struct worker *worker_current(void)
{
    struct worker *w = thread_worker;

    __asm__ volatile("" : "+r"(w)::"memory");
    return w;
}

JD_NOINLINE void worker_set_current(struct worker *w)
{
    __asm__ volatile("" ::: "memory");
    thread_worker = w;
    __asm__ volatile("" ::: "memory");
}
