/* SPDX-License-Identifier: MIT */
/*
 * Simulated runs per second: an empty one, and the 16-task socket scenario without and with faults.
 */
#include <stdio.h>

#include <jackdaw/jackdaw.h>

#include "base/clock.h"
#include "sim/sim.h"

#include "../../tests/support/scenario.c" /* the program that the tests run, too */

#define RUNS 2000

static jd_result nothing(void *arg)
{
    return jd_ok(arg);
}

static void measure(const char *name, jd_fn fn, unsigned faults)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    int64_t start = clock_now(), ns;
    uint64_t steps = 0;

    o.fault_percent = faults;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        jd_result r = jd_sim_run(seed, fn, NULL, &o);

        (void)r; /* with faults any end is right */
        steps += sim_last().steps;
    }
    ns = clock_now() - start;
    printf("%-24s %8.0f runs/s, %6.0f ns/step\n", name, RUNS * 1e9 / (double)ns,
           (double)ns / (double)steps);
}

int main(void)
{
    measure("nothing", nothing, 0);
    measure("sockets", scenario_echo, 0);
    measure("sockets, 20 % faults", scenario_echo, 20);
    return 0;
}
