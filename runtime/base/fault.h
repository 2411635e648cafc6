/* SPDX-License-Identifier: MIT */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

/*
 * Fault points: tests make the n-th visit of a named point fail. Off (the normal case) a visit
 * costs one relaxed load of a word that nobody writes.
 */
#include <stdbool.h>
#include <stdint.h>

enum fault_point {
    FAULT_ALLOC,       /* mem_alloc and friends answer NULL */
    FAULT_STACK,       /* mapping or guarding stacks answers -ENOMEM */
    FAULT_URING_SETUP, /* io_uring is refused */
    FAULT_MEMBARRIER,  /* membarrier is refused */
    FAULT_SQ_FULL,     /* no submission slot is free */
    FAULT_EINTR,       /* a port's wait is interrupted */
    FAULT_NFILE,       /* a ring's accept completes with -ENFILE */
    FAULT_THREAD,      /* the system gives an executor no thread */
    FAULT_POINT_COUNT
};

/* Let visits [first, first + count) of a point fail, counted from now; count 0 switches it off. */
void fault_arm(enum fault_point point, uint64_t first, uint64_t count);
/* Visits since fault_arm(). */
uint64_t fault_visits(enum fault_point point);
/* Asked in addition at each visit, by any thread; NULL: nobody. For the simulator. */
void fault_set_source(bool (*source)(enum fault_point point));
bool fault_hit_slow(enum fault_point point);

extern int fault_armed_any; /* written by tests while the runtime is quiet */

static inline bool fault_hit(enum fault_point point)
{
    return __builtin_expect(__atomic_load_n(&fault_armed_any, __ATOMIC_RELAXED) != 0, 0) &&
           fault_hit_slow(point);
}

#endif /* BASE_FAULT_H */
