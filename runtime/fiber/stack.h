/* SPDX-License-Identifier: MIT */
#ifndef FIBER_STACK_H
#define FIBER_STACK_H

/*
 * Stacks: pools of equal, guarded slots, and a small cache per worker.
 *
 *   slot:  | guard | low ...... usable ...... high | struct fiber | colour, 0..960 B |
 *
 * I1  Promise: after stack_pool_reserve(n) the next n stack_take() succeed. Mapping and guarding
 *     happen in reserve only, so -ENOMEM appears at a spawn, never at a suspension.
 *     Carved slots >= reservations >= stacks in use + what caches may hold: each cache reserves
 *     its own capacity, so idle stacks of one worker never starve another.
 * I2  A reservation is held from spawn to end by each task that may suspend, and is given back
 *     only after the task's stack is put back or has become the one the worker stands on. A cache
 *     reserves two more: that standing stack, and one abandoned but not put back yet.
 * I3  The top is coloured by 64 B x (slot index % 16), so a hundred thousand parked fibers do not
 *     meet in the same cache set (29 ns per resume against 51). struct fiber and the first frames
 *     share the slot's last page.
 * I4  Idle stacks are hot (linked through struct fiber) or cold (a bit in the region, no memory).
 *     Hot ones go first, newest first.
 * I5  Slots are never unmapped before the pool ends: a fiber address stays readable.
 *
 * Threads: stack_cache functions: the owner only. stack_pool functions: any.
 * Rejected: mmap per stack (5 us, and max_map_count ends it at 32,753); segmented stacks;
 * MADV_FREE (the memory stays on our bill).
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atomic/atomic.h"
#include "atomic/spin.h"
#include "base/list.h"
#include "fiber/fiber.h"
#include "fiber/guard.h"
#include "fiber/region.h"

enum {
    STACK_BYTES_MIN = 16384,
    STACK_BYTES_DEFAULT = 262144,
    STACK_REGIONS_MAX = 64, /* sizes double from 1 GiB to 64 GiB: 4 TiB of addresses */
    STACK_CACHE_MAX = 32,   /* stacks per worker cache; arbitrary, keeps 128 workers near 1 GiB */
    STACK_CACHE_BATCH = 16  /* stacks moved per visit of the shared list */
};

struct stack_pool {
    size_t slot_bytes;
    size_t guard_bytes;
    bool valgrind;
    JD_ATOMIC(size_t) reserved; /* promised; never more than carved */
    JD_ATOMIC(size_t) carved;   /* grows only, under grow */

    pthread_mutex_t grow;   /* covers system calls, so no spin lock; taken every 64th new stack */
    enum stack_guard guard; /* under grow: the kind for the next slots */
    JD_ATOMIC(unsigned) region_count;
    struct stack_region regions[STACK_REGIONS_MAX];

    struct spin lock JD_ALIGNED(JD_CACHE_LINE); /* leaf: hot list and cold bits */
    struct list hot;                            /* newest first */
    size_t hot_count;
    size_t cold_count;

    JD_ATOMIC(size_t) canary_slots; /* metric: stacks without a kernel guard */
    JD_ATOMIC(size_t) trimmed;      /* metric: stacks whose memory went back so far */
};

/* Per worker. */
struct stack_cache {
    struct stack_pool *pool;
    unsigned count;
    unsigned credits;                      /* reservations in stock */
    struct fiber *stacks[STACK_CACHE_MAX]; /* newest last */
};

struct stack_stats {
    size_t stack_bytes; /* usable, without colour */
    size_t carved;      /* slots made so far */
    size_t reserved;
    size_t idle_hot; /* in the shared list; caches are not counted */
    size_t idle_cold;
    size_t canary_slots; /* loud when not zero: overflows corrupt before they are found */
    size_t trimmed;
    unsigned regions;
    enum stack_guard guard;
};

/* stack_bytes: rounded up to a power of two >= STACK_BYTES_MIN; the guard is part of it unless it
 * would take more than a quarter. -EINVAL (absurd size or environment), -ENOSYS (guard_choose). */
int stack_pool_init(struct stack_pool *p, size_t stack_bytes, enum stack_guard guard);
/* All stacks are back and all caches are gone; unmaps. */
void stack_pool_fini(struct stack_pool *p);

/* Promise n more stacks (I1). 0 or -ENOMEM. */
int stack_pool_reserve(struct stack_pool *p, size_t n);
void stack_pool_unreserve(struct stack_pool *p, size_t n);

/* Without a cache, for rare size classes: a lock each. */
struct fiber *stack_pool_take(struct stack_pool *p);
void stack_pool_put(struct stack_pool *p, struct fiber *f);

/* For caches: up to max hot stacks, or one cold one; returns how many (never 0, I1). Newest last,
 * both ways. */
unsigned stack_pool_take_batch(struct stack_pool *p, struct fiber **ret, unsigned max);
void stack_pool_put_batch(struct stack_pool *p, struct fiber *const *stacks, unsigned n);

/* Give the memory of idle shared stacks back until at most keep are hot; returns how many lost
 * theirs. From a low-frequency path: 0.3 us per stack, in system calls. */
size_t stack_pool_trim(struct stack_pool *p, size_t keep);
void stack_pool_stats(struct stack_pool *p, struct stack_stats *ret_stats);

static inline bool stack_pool_is_valgrind(const struct stack_pool *p)
{
    return p->valgrind;
}

int stack_cache_init(struct stack_cache *c, struct stack_pool *p); /* 0 or -ENOMEM */
void stack_cache_fini(struct stack_cache *c);

/* The caller holds an unused reservation: cannot fail. The fiber needs fiber_init(). */
struct fiber *stack_take(struct stack_cache *c);
/* A retired fiber, or a taken one that was never initialised. Any cache of the pool will do. */
void stack_put(struct stack_cache *c, struct fiber *f);

/* Slow parts of the two below: 16 reservations at once, from and to the pool. */
int stack_cache_fill_credits(struct stack_cache *c);
void stack_cache_drain_credits(struct stack_cache *c);

/* stack_pool_reserve(1) for the spawn path: no shared write 15 times of 16. 0 or -ENOMEM. */
static inline int stack_cache_reserve(struct stack_cache *c)
{
    if (JD_UNLIKELY(c->credits == 0)) {
        int err = stack_cache_fill_credits(c);
        if (err)
            return err;
    }
    c->credits--;
    return 0;
}

static inline void stack_cache_unreserve(struct stack_cache *c)
{
    if (JD_UNLIKELY(++c->credits > 2 * STACK_CACHE_BATCH))
        stack_cache_drain_credits(c);
}

/* The fiber whose guard, in whatever pool of the process, holds this address, or NULL.
 * Async-signal-safe. */
struct fiber *stack_find_guard(const void *addr);

#endif /* FIBER_STACK_H */
