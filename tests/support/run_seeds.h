/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_RUN_SEEDS_H
#define SUPPORT_RUN_SEEDS_H

/*
 * A scenario for n seeds (seeds.h), a quarter of them under a tool when quick: each run ends well, and no
 * descriptor and no handle is left.
 * The scenario returns the line of the first CHECK() that does not hold. Most say JD_SIM_NO_ENOMEM: what
 * fails for memory is what a sweep (sweep.h) is for.
 */
#include <stdint.h>

#include <jackdaw/jackdaw.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            return jd_err(-(__LINE__ + 1000)); /* above every errno */ \
    } while (0)

/* A macro, as it names the place of the hashes. On one line: see sweep_or_sample(). */
#define run_seeds(fn, arg, n, fault_percent, flags) \
    run_seeds_at((fn), (arg), (n), (fault_percent), (flags), __FILE__, __LINE__)
void run_seeds_at(jd_fn fn, void *arg, uint64_t n, unsigned fault_percent, unsigned flags,
                  const char *file, int line);

#endif /* SUPPORT_RUN_SEEDS_H */
