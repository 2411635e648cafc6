/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_CHAOS_H
#define SUPPORT_CHAOS_H

/*
 * A random program over the API: a tree of tasks, each of which does random things (sleeps, locks,
 * spawns, joins, cancels, groups, deadlines, futures, callbacks, forks, sockets). What it does
 * follows from its seed; any result of a call is fine, but at the end the books must balance.
 */
#include <jackdaw/jackdaw.h>

#include "base/rng.h"

#define CHAOS_BODIES 256
#define CHAOS_PERMITS 3

struct chaos;

struct chaos_body {
    struct chaos *chaos;
    struct rng rng;
    unsigned depth;
};

struct chaos {
    uint64_t seed;
    jd_sem sem;
    unsigned body_count; /* bodies given out, all of them in the array */
    struct chaos_body bodies[CHAOS_BODIES];
    /* The books. */
    int started, ended;           /* bodies */
    int callbacks, callbacks_ran; /* that were not cancelled */
    int wrong;                    /* line of the first broken promise */
};

void chaos_init(struct chaos *c, uint64_t seed);
jd_result chaos_main(void *arg); /* arg: struct chaos */

#endif /* SUPPORT_CHAOS_H */
