/* SPDX-License-Identifier: MIT */
#ifndef SCHED_CURRENT_H
#define SCHED_CURRENT_H

/*
 * The worker that the calling thread serves.
 *
 * A compiler may keep the address of a thread-local variable over a call. A task that was moved to
 * another thread by that call would then go on with its former thread's worker. So the variable is
 * read by an instruction that the compiler does not understand and never merges, each time anew.
 *
 * Rejected: a function of its own for each read (3 calls in a spawn and join, 1.3 ns each).
 */
struct worker;

#if defined(__x86_64__) && !defined(JD_CHECK)
/* NULL on threads that are no workers. */
static inline struct worker *worker_current(void)
{
    struct worker *w;

    __asm__ volatile("movq sched_thread_worker@gottpoff(%%rip), %0\n\t"
                     "movq %%fs:(%0), %0"
                     : "=r"(w)
                     :
                     : "memory");
    return w;
}
#else
struct worker *worker_current(void); /* current.c; a model brings its own */
#endif

void worker_set_current(struct worker *w);

#endif /* SCHED_CURRENT_H */
