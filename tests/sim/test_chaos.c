/* SPDX-License-Identifier: MIT */
/*
 * Random programs in random circumstances: whatever they do, every permit comes back, every body
 * that began ends, and nothing is left.
 */
#include "chaos.h"
#include "jd_test.h"
#include "seeds.h"
#include "sim/sim.h"
#include "sweep.h"

static void check(const struct chaos *c, jd_result r, uint64_t seed)
{
    struct sim_summary left = sim_last();

    cr_assert_eq(c->wrong, 0, "seed %lu: chaos.c:%d", (unsigned long)seed, c->wrong);
    cr_assert_eq(r.error, 0, "seed %lu: %d", (unsigned long)seed, r.error);
    cr_assert(!left.stuck, "seed %lu", (unsigned long)seed);
    cr_assert_eq(left.open_files, 0, "seed %lu", (unsigned long)seed);
    cr_assert_eq(left.handles, 0, "seed %lu", (unsigned long)seed);
    cr_assert_eq(c->started, c->ended, "seed %lu", (unsigned long)seed);
    cr_assert_eq(jd_sem_value(&c->sem), CHAOS_PERMITS, "seed %lu", (unsigned long)seed);
    cr_assert_eq(c->callbacks, c->callbacks_ran, "seed %lu", (unsigned long)seed);
}

static void run(unsigned faults, unsigned workers)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    static struct chaos c;

    o.fault_percent = faults;
    o.workers = workers;
    for_each_seed(seed, jd_test_rounds(1500)) {
        jd_result r;

        chaos_init(&c, seed);
        r = jd_sim_run(seed, chaos_main, &c, &o);
        check(&c, r, seed);
    }
}

Test(sim_chaos, on_one_worker, .timeout = 60)
{
    run(0, 1);
}

Test(sim_chaos, on_three_workers, .timeout = 60)
{
    run(0, 3);
}

Test(sim_chaos, on_eight_workers_with_faults, .timeout = 60)
{
    run(15, 8);
}

static void swept_before(void *arg)
{
    chaos_init(arg, ((struct chaos *)arg)->seed);
}

static void swept_after(void *arg, jd_result r, unsigned where)
{
    struct chaos *c = arg;

    cr_assert_eq(c->wrong, 0, "program %lu, checkpoint %u: chaos.c:%d", (unsigned long)c->seed,
                 where, c->wrong);
    cr_assert(where != 0 || r.error == 0);
    cr_assert_eq(c->started, c->ended);
    cr_assert_eq(jd_sem_value(&c->sem), CHAOS_PERMITS);
    cr_assert_eq(c->callbacks, c->callbacks_ran);
}

Test(sim_chaos, cancelled_anywhere, .timeout = 60)
{
    static struct chaos c;

    struct sweep s = {
        .fn = chaos_main, .arg = &c, .before = swept_before, .after = swept_after, .seeds = 2
    };

    for_each_seed(program, jd_test_rounds(40)) {
        c.seed = program;
        if (seeds_given())
            (void)sweep_sample(&s, program);
        else
            (void)sweep_run(&s);
    }
}

/* The choices of a run can be given as bytes: what a fuzzer does. */
Test(sim_chaos, bytes_decide_in_place_of_the_seed)
{
    unsigned char bytes[4096];
    static struct chaos c;
    uint64_t hash, seeded;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 7 + i / 256);
    chaos_init(&c, 3);
    cr_assert_eq(jd_sim_run(3, chaos_main, &c, NULL).error, 0);
    seeded = jd_sim_trace_hash();
    for (int i = 0; i < 2; i++) {
        uint64_t last = hash = i ? jd_sim_trace_hash() : 0;

        sim_set_choices(bytes, sizeof(bytes));
        chaos_init(&c, 3);
        cr_assert_eq(jd_sim_run(3, chaos_main, &c, NULL).error, 0);
        sim_set_choices(NULL, 0);
        hash = jd_sim_trace_hash();
        cr_assert_neq(hash, seeded);
        cr_assert(i == 0 || hash == last);
    }
}
