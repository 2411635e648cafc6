/* SPDX-License-Identifier: MIT */
#ifndef FIBER_GUARD_H
#define FIBER_GUARD_H

/*
 * Guards: what stops a task that runs over the low end of its stack.
 *
 * I1  madv: a marker in the page table (MADV_GUARD_INSTALL, Linux 6.13+). 0.6 us, no VMA, survives
 *     MADV_DONTNEED. A million stacks stay in one VMA.
 * I2  mprotect: two VMAs each, so a budget of half of vm.max_map_count for the whole process.
 * I3  canary: no guard. The page below the stack is kept unused, and its end must stay zero:
 *     reading a page that was never written costs no memory, where a written canary costs 4 KiB.
 *     Found on release (and at each switch in debug builds), after the damage: then abort.
 *
 * Threads: any; the budget is atomic.
 */
#include <stdbool.h>
#include <stddef.h>

enum stack_guard {
    STACK_GUARD_AUTO, /* JACKDAW_STACK_GUARD, else the best one that works */
    STACK_GUARD_MADV,
    STACK_GUARD_MPROTECT,
    STACK_GUARD_CANARY,
    STACK_GUARD_COUNT
};

const char *guard_name(enum stack_guard kind);

/* What kind can be had: AUTO is resolved, MADV is tried on a page. -EINVAL: the environment names
 * no kind. -ENOSYS: the kernel lacks MADV_GUARD_INSTALL, and it was asked for by name. */
int guard_choose(enum stack_guard wanted, enum stack_guard *ret_kind);

/* 4 KiB; 64 KiB on aarch64, whose compilers probe big frames in such steps. At least a page. */
size_t guard_bytes(void);

/* Guard [at, at + bytes). Other errors than -ENOMEM mean: this kind does not work here.
 * -ENOSPC: the budget of I2 is used up. */
int guard_install(enum stack_guard kind, void *at, size_t bytes);

/* The memory of n mprotect guards is unmapped: their VMAs are gone. */
void guard_forget(size_t n);

#endif /* FIBER_GUARD_H */
