/* SPDX-License-Identifier: MIT */
#ifndef BASE_MEMBARRIER_H
#define BASE_MEMBARRIER_H

/*
 * membarrier(2): a memory barrier on the CPUs where this process runs, from outside.
 *
 * Cost: a system call, 0.3 us where the others sleep; where they run an interrupt each, 9 us for the
 * caller and 5 us for each of them (prototypes.md section 0).
 */
#include <stdbool.h>

/* The system call; a negative error number if it fails. */
long membarrier_call(int command, unsigned flags, int cpu);

/* Registers the process for heavy fences. False: refused here (an old kernel, a seccomp filter). */
bool membarrier_fence_init(void);

/*
 * A heavy fence: the other half of atom_fence_light(). Each thread of the process passes a full
 * barrier between two of its instructions. False: refused, nothing is ordered.
 */
bool membarrier_fence(void);

#endif /* BASE_MEMBARRIER_H */
