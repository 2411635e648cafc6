/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/sim.h"

#define MAIN_ID 1u

void fuzz_failed(const char *file, int line, const char *what, const char *format, ...)
{
    va_list args;

    dprintf(STDERR_FILENO, "%s:%d: wrong: %s: ", file, line, what);
    va_start(args, format);
    vdprintf(STDERR_FILENO, format, args);
    va_end(args);
    dprintf(STDERR_FILENO, "\n");
    abort();
}

void fuzz_quiet(void)
{
    static FILE *nowhere;

    if (nowhere || fuzz_is_traced())
        return;
    nowhere = fopen("/dev/null", "w");
    FUZZ_CHECK(nowhere != NULL);
    stderr = nowhere;
}

bool fuzz_is_traced(void)
{
    const char *text = getenv("JD_FUZZ_TRACE");

    return text && *text == '1';
}

struct cut {
    unsigned at, seen;
    bool later;
};

static void *cancel_later(void *arg)
{
    jd_task *t = arg;

    (void)jd_task_cancel(t, "fuzzed"); /* -EALREADY: it has ended */
    jd_task_unref(t);
    return NULL;
}

static void at_checkpoint(jd_task *t, void *arg)
{
    struct cut *cut = arg;

    if (jd_task_id(t) != MAIN_ID || ++cut->seen != cut->at)
        return;
    if (!cut->later)
        (void)jd_task_cancel(t, "fuzzed"); /* it runs */
    else
        FUZZ_CHECK(sim_run_later(cancel_later, jd_task_ref(t)));
}

jd_result fuzz_live(const struct fuzz_life *life, jd_fn fn, void *arg)
{
    struct cut cut = { .at = life->cut_at, .later = life->cut_later };
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    struct sim_summary left;
    jd_result r;

    o.workers = life->workers;
    o.fault_percent = life->fault_percent;
    o.flags = life->flags;
    sim_set_choices(life->choices, life->choice_count);
    sim_set_checkpoint(life->cut_at ? at_checkpoint : NULL, &cut);
    r = jd_sim_run(life->seed, fn, arg, &o);
    sim_set_checkpoint(NULL, NULL);
    sim_set_choices(NULL, 0);
    left = sim_last();
    FUZZ_CHECK(r.error != -EDEADLK);
    FUZZ_CHECK(!left.stuck);
    FUZZ_CHECK_THAT(left.open_files == 0, "%u descriptors", left.open_files);
    FUZZ_CHECK_THAT(left.handles == 0, "%u handles", left.handles);
    return r;
}
