/* SPDX-License-Identifier: MIT */
#ifndef STRESS_LAWS_H
#define STRESS_LAWS_H

/* Counters and dice of the tests of conservation. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

static inline void more(atomic_long *counter, long n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Set once, before there are others. */
static uint64_t run_seed;

/* Random numbers for each user of its own, by its number. Two draws: the generator's step would make
 * the numbers of neighbours the same ones, shifted. */
static inline struct rng rng_of(unsigned user)
{
    struct rng rng;

    rng_seed(&rng, run_seed + user);
    rng_seed(&rng, rng_next(&rng));
    return rng;
}

static inline bool one_in(struct rng *rng, unsigned n)
{
    return rng_below(rng, n) == 0;
}

#endif /* STRESS_LAWS_H */
