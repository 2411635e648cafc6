/* SPDX-License-Identifier: MIT */
/*
 * The bytes are a program over the API, which is checked against a naive model: program.h.
 *
 *   workers, faults, flags, seed, permits (3), instructions (3 each)...
 */
#include <stdio.h>

#include "program.h"

#define FLAG_LEAVE 1u /* main does not wait for the others */

static struct program program;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, data + size };
    struct fuzz_life life = { .workers = 1 + fuzz_byte(&in) % 4 };
    unsigned flags;
    jd_result r;

    life.flags = fuzz_is_traced() ? JD_SIM_TRACE : 0;
    life.fault_percent = fuzz_byte(&in) % 64;
    life.fault_percent = life.fault_percent > 30 ? 0 : life.fault_percent;
    flags = fuzz_byte(&in);
    life.seed = fuzz_byte(&in);
    program_init(&program, &in);
    program.workers = life.workers;
    program.quiet = life.fault_percent == 0;
    program.wait = !(flags & FLAG_LEAVE);
    r = fuzz_live(&life, program_main, &program);
    FUZZ_CHECK_THAT(r.error == 0 || !program.quiet, "%d", r.error);
    program_check_end(&program);
    return 0;
}
