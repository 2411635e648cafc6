/* SPDX-License-Identifier: MIT */
#include "run_seeds.h"

#include "jd_test.h"
#include "seeds.h"
#include "sim/sim.h"

void run_seeds_at(jd_fn fn, void *arg, uint64_t n, unsigned fault_percent, unsigned flags,
                  const char *file, int line)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;

    if (jd_test_quick() && !jd_test_is_plain())
        n = (n + 3) / 4;
    o.fault_percent = fault_percent;
    o.flags = flags;
    for (uint64_t seed = seeds_begin(n, file, line); seeds_more(seed); seed = seeds_next(seed)) {
        jd_result r = jd_sim_run(seed, fn, arg, &o);

        cr_assert_eq(r.error, 0, "seed %lu: line %d, or errno", (unsigned long)seed,
                     -r.error - 1000);
        cr_assert_eq(sim_last().open_files, 0, "seed %lu", (unsigned long)seed);
        cr_assert_eq(sim_last().handles, 0, "seed %lu", (unsigned long)seed);
    }
}
