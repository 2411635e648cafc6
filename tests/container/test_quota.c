/* SPDX-License-Identifier: MIT */
/*
 * In a control group with a CPU quota, BOX_CPU_PERCENT (check_container.py): how many workers there
 * are by default, and that none spins where the quota is less than the workers could burn.
 */
#include <stdlib.h>

#include <jackdaw/jackdaw.h>

#include "jd_test.h"
#include "sched/worker.h"

static jd_runtime *runtime_with(unsigned workers)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_runtime *rt;

    cfg.workers = workers;
    cfg.flags = JD_NO_ENV;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    return rt;
}

static unsigned percent(void)
{
    const char *text = getenv("BOX_CPU_PERCENT");

    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

Test(quota, bounds_the_workers)
{
    jd_runtime *rt;

    if (percent() == 0)
        jd_test_skip("no quota here");
    rt = runtime_with(0);
    cr_assert_leq(jd_worker_count(rt), (percent() + 99) / 100);
    cr_assert_eq(jd_runtime_free(rt), 0);
}

Test(quota, less_than_the_workers_could_burn_ends_the_spinning)
{
    unsigned enough = (percent() + 99) / 100;

    if (percent() == 0)
        jd_test_skip("no quota here");
    for (unsigned workers = 1; workers <= enough + 1; workers++) {
        jd_runtime *rt = runtime_with(workers);

        cr_assert_eq(rt->has_quota, percent() < workers * 100, "%u workers", workers);
        cr_assert_eq(jd_runtime_free(rt), 0);
    }
}
