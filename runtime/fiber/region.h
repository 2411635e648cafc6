/* SPDX-License-Identifier: MIT */
#ifndef FIBER_REGION_H
#define FIBER_REGION_H

/*
 * A region: one stretch of reserved addresses, cut into stack slots from its low end on.
 *
 *   base                                              carved            slots
 *   | guard | stack ... fiber | guard | stack ... fiber | PROT_NONE ... |
 *
 * I1  Reserved as PROT_NONE and NORESERVE, opened for writing slab by slab. So addresses cost
 *     nothing, strict overcommit (vm.overcommit_memory=2) is charged only for carved slots, and
 *     the open part stays one VMA (guards of kind madv do not split it).
 * I2  base is aligned to the slot size and to 2 MiB: slots share page tables as well as can be.
 * I3  Slots [0, guarded) have a kernel guard; the rest of the carved ones are canaries. Takers read
 *     guarded while it grows past their slot.
 * I4  cold has a bit per slot: idle and without memory. Under the pool's lock.
 *
 * Threads: opening, carving and closing under the pool's grow mutex; the signal handler reads base,
 * bytes and carved without any lock.
 * Rejected: one huge reservation (counts against RLIMIT_AS, looks like a leak in top); a mapping
 * per slab (a VMA each).
 */
#include <stddef.h>
#include <stdint.h>

#include "atomic/atomic.h"
#include "fiber/guard.h"

struct stack_region {
    char *base;
    size_t bytes;
    size_t slot_bytes;
    uint32_t slots;
    JD_ATOMIC(uint32_t) carved;
    JD_ATOMIC(uint32_t) guarded;
    uint32_t vma_guards; /* of kind mprotect: their budget comes back on close */
    uint32_t cold_count;
    uint32_t cold_hint; /* no bit is set in words below it */
    uint64_t *cold;
    /* Of the trimming thread only, under grow: idle slots that lose their memory now, all of them
     * in words [trim_first, trim_end). */
    uint64_t *trimming;
    uint32_t trim_first;
    uint32_t trim_end;
};

/* Reserve about bytes_wanted, less if the address space is short, but at least bytes_min.
 * -ENOMEM otherwise. */
int region_open(struct stack_region *r, size_t slot_bytes, size_t bytes_wanted, size_t bytes_min);
void region_close(struct stack_region *r);

/* Open and guard the next n slots, or as many as are left; *kind falls to a weaker one when the
 * stronger no longer works. Returns how many were made (cold is not marked yet); -ENOMEM if none. */
int region_carve(struct stack_region *r, uint32_t n, enum stack_guard *kind);

/* Index of a set bit, cleared now. There must be one. */
uint32_t region_take_cold(struct stack_region *r);
void region_put_cold(struct stack_region *r, uint32_t first, uint32_t n);

/* Trimming, in three steps: mark idle slots (first: memory nobody else can reach); give the memory of all slots marked in trimming back, run by run (system
 * calls: no lock); then turn the marks into cold slots (under the lock). */
void region_trim_add(struct stack_region *r, uint32_t index);
void region_trim_advise(struct stack_region *r);
void region_trim_finish(struct stack_region *r);

#endif /* FIBER_REGION_H */
