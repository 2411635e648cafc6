/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_SEEDS_H
#define SUPPORT_SEEDS_H

/*
 * Which seeds a simulation test runs: 1..n, as the test says, or those of the environment:
 * JD_SIM_SEEDS of them, from JD_SIM_FIRST (1) on. One loop at a time:
 *
 *   for_each_seed(seed, jd_test_rounds(200))
 *       cr_assert_eq(jd_sim_run(seed, ...).error, 0, "seed %lu", (unsigned long)seed);
 *
 * With JD_SIM_HASHES=FILE each seed appends the trace hash of its last run to that file, so that
 * two builds can be compared.
 */
#include <stdbool.h>
#include <stdint.h>

#define for_each_seed(seed, n) \
    for (uint64_t seed = seeds_begin((n), __FILE__, __LINE__); seeds_more(seed); \
         seed = seeds_next(seed))

/* True: the environment says which. What needs many seeds (both outcomes were seen) asks first. */
bool seeds_given(void);

uint64_t seeds_begin(uint64_t n, const char *file, int line);
bool seeds_more(uint64_t seed);
uint64_t seeds_next(uint64_t seed);

#endif /* SUPPORT_SEEDS_H */
