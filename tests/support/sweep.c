/* SPDX-License-Identifier: MIT */
#include "sweep.h"

#include <errno.h>

#include "jd_test.h"
#include "seeds.h"
#include "sim/sim.h"

#define MAIN_ID 1u

struct cut {
    unsigned at; /* 0: only count */
    bool later;  /* while it waits */
    unsigned seen;
};

static void *cancel_later(void *arg)
{
    jd_task *t = arg;

    (void)jd_task_cancel(t, "swept"); /* -EALREADY: it has ended */
    jd_task_unref(t);
    return NULL;
}

static void at_checkpoint(struct jd_task *t, void *arg)
{
    struct cut *cut = arg;

    if (jd_task_id(t) != MAIN_ID || ++cut->seen != cut->at)
        return;
    if (!cut->later)
        (void)jd_task_cancel(t, "swept"); /* it runs */
    else if (!sim_run_later(cancel_later, jd_task_ref(t)))
        cr_assert_fail("no memory for a job");
}

static void check_end(const struct sweep *s, jd_result r, const struct cut *cut, uint64_t seed)
{
    struct sim_summary left = sim_last();

    cr_assert_neq(r.error, -EDEADLK, "seed %lu, checkpoint %u", (unsigned long)seed, cut->at);
    cr_assert(!left.stuck, "tasks left: seed %lu, checkpoint %u", (unsigned long)seed, cut->at);
    cr_assert_eq(left.open_files, 0, "descriptors left: %u, seed %lu, checkpoint %u, later %d",
                 left.open_files, (unsigned long)seed, cut->at, cut->later);
    cr_assert_eq(left.handles, 0, "handles left: %u, seed %lu, checkpoint %u, later %d",
                 left.handles, (unsigned long)seed, cut->at, cut->later);
    if (s->after)
        s->after(s->arg, r, cut->at);
}

static unsigned run_once(const struct sweep *s, uint64_t seed, unsigned at, bool later)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    struct cut cut = { .at = at, .later = later };
    jd_result r;

    o.fault_percent = s->fault_percent;
    if (s->before)
        s->before(s->arg);
    sim_set_checkpoint(at_checkpoint, &cut);
    r = jd_sim_run(seed, s->fn, s->arg, &o);
    sim_set_checkpoint(NULL, NULL);
    check_end(s, r, &cut, seed);
    return cut.seen;
}

unsigned sweep_run(const struct sweep *s)
{
    unsigned seeds = s->seeds ? s->seeds : 3, swept = 0;
    unsigned step = jd_test_quick() && !jd_test_is_plain() ? 5 : 1;

    if (jd_test_quick())
        seeds = (seeds + 2) / 3;

    for (uint64_t seed = 1; seed <= seeds; seed++) {
        unsigned points = run_once(s, seed, 0, false);

        for (unsigned at = 1; at <= points; at += step) {
            (void)run_once(s, seed, at, false);
            (void)run_once(s, seed, at, true);
        }
        swept += points;
    }
    return swept;
}

unsigned sweep_sample(const struct sweep *s, uint64_t seed)
{
    unsigned points = run_once(s, seed, 0, false);
    unsigned at = points ? 1 + (unsigned)(seed * 0x9e3779b97f4a7c15u >> 32) % points : 0;

    if (at) {
        (void)run_once(s, seed, at, false);
        (void)run_once(s, seed, at, true);
    }
    return points;
}

void sweep_or_sample_at(struct sweep s, unsigned at_least, const char *file, int line)
{
    unsigned points;

    if (seeds_given()) {
        for (uint64_t seed = seeds_begin(0, file, line); seeds_more(seed);
             seed = seeds_next(seed)) {
            s.fault_percent = seed % 2 ? 20 : 0;
            (void)sweep_sample(&s, seed);
        }
        return;
    }
    points = sweep_run(&s);
    if (jd_test_quick()) /* a third of the seeds */
        at_least /= 3;
    cr_assert_geq(points, at_least, "%u checkpoints", points);
    s.fault_percent = 20;
    (void)sweep_run(&s);
}
