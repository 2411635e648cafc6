/* SPDX-License-Identifier: MIT */
/*
 * The bytes are the choices of the simulator: who runs on, who steals, what fails, which of two
 * comes first. The programs are those that the simulation tests run by seed.
 *
 *   what, workers, faults, program (2), cut (2), choices...
 */
#include <errno.h>
#include <stdio.h>

#include "chaos.h"
#include "fuzz.h"
#include "scenario.h"

#define WHAT_SCENARIO 3u
#define WHAT_CUT 4u   /* the main task is cancelled somewhere */
#define WHAT_LATER 8u /* while it waits */
#define WHAT_TWICE 16u

static void check_chaos(const struct chaos *c, jd_result r, bool cut)
{
    FUZZ_CHECK_THAT(c->wrong == 0, "chaos.c:%d", c->wrong);
    FUZZ_CHECK_THAT(cut || r.error == 0, "%d", r.error);
    FUZZ_CHECK_THAT(c->started == c->ended, "%d, %d", c->started, c->ended);
    FUZZ_CHECK_THAT(jd_sem_value(&c->sem) == CHAOS_PERMITS, "%d", jd_sem_value(&c->sem));
    FUZZ_CHECK_THAT(c->callbacks == c->callbacks_ran, "%d, %d", c->callbacks, c->callbacks_ran);
}

static void run_chaos(const struct fuzz_life *life, unsigned program)
{
    static struct chaos c;

    chaos_init(&c, program);
    check_chaos(&c, fuzz_live(life, chaos_main, &c), life->cut_at != 0);
}

static void run_echo(const struct fuzz_life *life)
{
    jd_result r = fuzz_live(life, scenario_echo, NULL);

    FUZZ_CHECK(r.error != -EBADMSG);
    if (life->fault_percent > 0 || life->cut_at > 0)
        return;
    FUZZ_CHECK_THAT(r.error == 0, "%d", r.error);
    FUZZ_CHECK_THAT(r.num == (intptr_t)ECHO_CLIENTS * ECHO_ROUNDS, "%ld", (long)r.num);
}

/* Two messages of which each read takes one: it waits for ever when one is refused. */
static void run_messages(struct fuzz_life *life)
{
    life->flags |= JD_SIM_NO_ERRORS | JD_SIM_NO_ENOMEM;
    life->cut_at = 0;
    (void)fuzz_live(life, scenario_assumes_full_read, NULL); /* wrong, by design, when short */
}

static void run(struct fuzz_life *life, unsigned scenario, unsigned program)
{
    if (scenario == 0)
        run_echo(life);
    else if (scenario == 1)
        run_messages(life);
    else
        run_chaos(life, program);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, data + size };
    struct fuzz_life life = { .seed = 1 };
    unsigned what = fuzz_byte(&in), program;
    uint64_t hash;

    life.workers = 1 + fuzz_byte(&in) % 8;
    life.fault_percent = fuzz_byte(&in) % 64;
    life.fault_percent = life.fault_percent > 40 ? 0 : life.fault_percent;
    program = fuzz_byte(&in);
    program |= (unsigned)fuzz_byte(&in) << 8;
    life.cut_at = fuzz_byte(&in);
    life.cut_at |= (unsigned)fuzz_byte(&in) << 8;
    life.cut_at = what & WHAT_CUT ? 1 + life.cut_at % 2000 : 0;
    life.cut_later = (what & WHAT_LATER) != 0;
    life.flags = fuzz_is_traced() ? JD_SIM_TRACE : 0;
    life.choices = in.at;
    life.choice_count = fuzz_left(&in);
    run(&life, what & WHAT_SCENARIO, program);
    hash = jd_sim_trace_hash();
    if (what & WHAT_TWICE) {
        run(&life, what & WHAT_SCENARIO, program);
        FUZZ_CHECK_THAT(jd_sim_trace_hash() == hash, "the same choices gave another life");
    }
    return 0;
}
