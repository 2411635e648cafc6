/* SPDX-License-Identifier: MIT */
#ifndef STRESS_LAWS_H
#define STRESS_LAWS_H

/* Counters and dice of the tests of conservation, and how a law is held against a runtime. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <jackdaw/jackdaw.h>

#include "base/rng.h"
#include "contract.h"
#include "jd_test.h"

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

/* The law is given a runtime that has started, and ends it. */
static inline void law_holds(void (*law)(jd_runtime *), unsigned workers)
{
    jd_runtime *rt = runtime_of(workers, 0);

    run_seed = jd_test_seed();
    cr_assert_eq(jd_runtime_start(rt), 0);
    law(rt);
}

#define LAW_OF_A_RUNTIME(suite, name) \
    Test(suite, name##_on_two_workers, .timeout = 30) \
    { \
        law_holds(law_of_##name, 2); \
    } \
    Test(suite, name##_on_three_workers, .timeout = 30) \
    { \
        law_holds(law_of_##name, 3); \
    }

#endif /* STRESS_LAWS_H */
